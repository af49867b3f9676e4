// The error that a row of a data file raises when it cannot become a group.
#pragma once
#include <stdexcept>
#include <string>

#include "base/error.h"

namespace dmoerm::preference {

/// A row that cannot be used. `what()` says what was expected and what was found; the reader adds file and line.
class RowError : public std::runtime_error {
 public:
  RowError(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  using std::runtime_error::runtime_error;
  /// An error about a well-formed row that no group can hold. Such rows are dropped and reported, but do not count as bad.
  static RowError unusable(ErrorCode code, const std::string& why) {
    RowError error(code, why);
    error.bad_ = false;
    return error;
  }
  [[nodiscard]] bool bad() const { return bad_; }
  [[nodiscard]] ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
  bool bad_ = true;
};

}  // namespace dmoerm::preference
