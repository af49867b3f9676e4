// Exceptions by cause. What must end the work throws; what is expected (a cache miss, an unparsable verdict) is a return value.
#pragma once
#include <cstddef>
#include <exception>
#include <stdexcept>
#include <string>

namespace dmoerm {

/// Short name of a refusal that stays when the words of its message change, so that users and tests can name it: two to five
/// words in lower case with hyphens ("label-store-in-use"). docs/errors.md lists all of them.
class ErrorCode {
 public:
  ErrorCode() = default;
  /// The compiler refuses text that is not such a name.
  consteval ErrorCode(const char* text) : text_(text) {  // NOLINT(google-explicit-constructor): callers write the text alone
    char before = '-';
    std::size_t size = 0;
    for (; text[size] != 0; before = text[size++]) {
      const char c = text[size];
      if (c == '-' ? before == '-' : (c < 'a' || c > 'z') && (c < '0' || c > '9')) throw "not lower-case words with hyphens";
    }
    if (before == '-' || size > 40) throw "empty, ends with a hyphen, or longer than 40 characters";
  }
  [[nodiscard]] const char* text() const { return text_; }
  [[nodiscard]] bool empty() const { return *text_ == 0; }

 private:
  const char* text_ = "";
};

/// Base of every error that dmoerm reports on purpose. `what()` is one message for the user. It says what happened, where (file,
/// line or key), which two values disagree, and what to do.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  using std::runtime_error::runtime_error;
  [[nodiscard]] ErrorCode code() const { return code_; }
  /// Exit code of the process when the error ends it: 1 failed; 2 bad usage, configuration or input; 3 stopped on request or at a
  /// limit, so that the same command continues.
  [[nodiscard]] virtual int exit_code() const { return 1; }
  /// Whether the same work may succeed when it is tried again.
  [[nodiscard]] virtual bool may_pass() const { return true; }

 private:
  ErrorCode code_;
};

/// The message of an error with its code: "data.jsonl:3: the response is empty [empty-response]".
std::string with_code(const std::string& message, ErrorCode code);

/// A wrong command line or configuration.
class ConfigError : public Error {
 public:
  using Error::Error;
  [[nodiscard]] int exit_code() const override { return 2; }
  [[nodiscard]] bool may_pass() const override { return false; }
};

/// Input files whose content cannot be used: data, checkpoints, tokenizers.
class DataError : public Error {
 public:
  using Error::Error;
  [[nodiscard]] int exit_code() const override { return 2; }
  [[nodiscard]] bool may_pass() const override { return false; }
};

/// Tensors whose shapes or dtypes do not fit together.
class ShapeError : public Error {
 public:
  using Error::Error;
  [[nodiscard]] int exit_code() const override { return 2; }
  [[nodiscard]] bool may_pass() const override { return false; }
};

/// The operating system refused a read or write.
class IoError : public Error {
 public:
  using Error::Error;
  [[nodiscard]] int exit_code() const override { return 2; }
};

/// A collective, a rank or the launcher failed.
class CommError : public Error {
  using Error::Error;
};

/// Training produced NaN or infinity. This ends one task, not the run.
class NumericError : public Error {
 public:
  using Error::Error;
  [[nodiscard]] int exit_code() const override { return 2; }
};

/// A signal or a limit stopped the work; what was done is saved.
class Stopped : public Error {
 public:
  using Error::Error;
  [[nodiscard]] int exit_code() const override { return 3; }
};

/// A group of ranks saved its work and stopped so that the work can continue on other ranks.
class Paused : public Error {
  using Error::Error;
};

/// What the process says and returns when an exception ends it.
struct Failure {
  int exit_code = 1;
  std::string message;   ///< with the error's code
  bool may_pass = true;  ///< whether the same work may succeed when it is tried again
};
/// What to report for an exception. An Error reports itself, a refused file system call counts as IoError, and lack of memory is
/// named; anything else is reported as a bug.
Failure failure_of(const std::exception& e);

namespace detail {
[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& message);
}

}  // namespace dmoerm

/// Checks a condition that only a bug in dmoerm can break. It is evaluated in every build type.
#define DMOERM_CHECK(condition, message)                                                         \
  do {                                                                                           \
    if (!(condition)) ::dmoerm::detail::check_failed(#condition, __FILE__, __LINE__, (message)); \
  } while (false)
