// Compares the share of bad results among the latest with what was usual before, so that a judge that has just turned bad is told
// from one that was always so.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>

namespace dmoerm::label {

class RecentShare {
 public:
  /// @param size     number of the latest results that are looked at
  /// @param share    share of bad ones among them that is too much, if it is far more than usual
  /// @param doubted  number of bad ones from which results are doubted, if that is more than usual
  RecentShare(std::int64_t size, double share, std::int64_t doubted) : size_(size), share_(share), doubted_(doubted) {}

  void add(bool bad);
  /// Whether the latest results are too bad.
  [[nodiscard]] bool too_bad() const { return seen() == size_ && bad_ >= limit(); }
  /// Whether more are bad than usual.
  [[nodiscard]] bool doubtful() const;
  /// Bad results after which they are too bad, at least 1.
  [[nodiscard]] std::int64_t left() const;
  /// Number of bad ones among the latest.
  [[nodiscard]] std::int64_t bad() const { return bad_; }
  /// Number of the latest results, at most `size`.
  [[nodiscard]] std::int64_t seen() const { return std::ssize(latest_); }

 private:
  [[nodiscard]] std::int64_t limit() const;

  std::int64_t size_;
  double share_;
  std::int64_t doubted_;
  std::deque<bool> latest_;                     ///< Whether each of the latest results was bad
  std::int64_t bad_ = 0;                        ///< Bad ones among them
  std::int64_t earlier_ = 0, earlier_bad_ = 0;  ///< Results before them, and the bad ones among these
};

}  // namespace dmoerm::label
