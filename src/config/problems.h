// The problems of a configuration, collected so that the user sees all of them at once, in the order of the file.
#pragma once
#include <string>
#include <vector>

#include "base/error.h"

namespace dmoerm::config {

/// Where a value was written.
struct Position {
  int source = 0;  ///< 0 = the file, n = the n-th override
  int line = 1;
  int column = 1;
  auto operator<=>(const Position&) const = default;
};

class Problems {
 public:
  Problems(std::string file, std::vector<std::string> overrides) : file_(std::move(file)), overrides_(std::move(overrides)) {}

  void add(const Position& where, ErrorCode code, const std::string& message) {
    problems_.push_back({where, with_code(message, code)});
  }
  /// "file:line:column" or "--set train.lr=1".
  [[nodiscard]] std::string place(const Position& where) const;
  /// Returns if there are no problems.
  /// @throws ConfigError with the first 100 problems, one a line with its code, sorted by position
  void throw_if_any() const;

 private:
  struct Problem {
    Position where;
    std::string message;
  };
  std::string file_;
  std::vector<std::string> overrides_;
  std::vector<Problem> problems_;
};

}  // namespace dmoerm::config
