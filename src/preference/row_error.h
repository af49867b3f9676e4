// The error that a row of a data file raises when it cannot become a group.
#pragma once
#include <stdexcept>
#include <string>

namespace dmoerm::preference {

/// A row that cannot be used. `what()` says what was expected and what was found; the reader adds file and line.
class RowError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  /// An error about a well-formed row that no group can hold. Such rows are dropped and reported, but do not count as bad.
  static RowError unusable(const std::string& why) {
    RowError error(why);
    error.bad_ = false;
    return error;
  }
  [[nodiscard]] bool bad() const { return bad_; }

 private:
  bool bad_ = true;
};

}  // namespace dmoerm::preference
