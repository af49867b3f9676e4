#include "label/recent_share.h"

#include <algorithm>
#include <cmath>

namespace dmoerm::label {
namespace {

constexpr std::int64_t kTooFew = 8;  // results that do not show what is usual

/// A number of bad results among `size` that chance alone hardly exceeds if the share of bad ones is `usual`.
std::int64_t beyond_chance(double usual, std::int64_t size, double deviations) {
  const auto n = static_cast<double>(size);
  return static_cast<std::int64_t>(std::ceil(n * usual + deviations * std::sqrt(n * usual * (1 - usual)) - 1e-9));
}

}  // namespace

void RecentShare::add(bool bad) {
  latest_.push_back(bad);
  bad_ += bad ? 1 : 0;
  if (seen() <= size_) return;
  ++earlier_;
  earlier_bad_ += latest_.front() ? 1 : 0;
  bad_ -= latest_.front() ? 1 : 0;
  latest_.pop_front();
}

std::int64_t RecentShare::limit() const {
  const auto fixed = static_cast<std::int64_t>(std::ceil(share_ * static_cast<double>(size_) - 1e-9));
  if (earlier_ == 0) return fixed;
  const double n = static_cast<double>(earlier_) + 2;  // a good and a bad result are added: few results say little
  const double share = (static_cast<double>(earlier_bad_) + 1) / n;
  const double highest = std::min(1.0, share + std::sqrt(share * (1 - share) / n));
  const std::int64_t unusual = std::max(fixed, beyond_chance(highest, size_, 4.5));
  return earlier_ < kTooFew ? std::min(unusual, size_) : unusual;
}

bool RecentShare::doubtful() const {
  const double usual = earlier_ > 0 ? static_cast<double>(earlier_bad_) / static_cast<double>(earlier_) : 0;
  return bad_ >= std::max(doubted_, beyond_chance(usual, size_, 3));
}

std::int64_t RecentShare::left() const { return std::max<std::int64_t>(1, limit() - bad_); }

}  // namespace dmoerm::label
