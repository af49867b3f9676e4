// Things with numbers, of which some belong together.
#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <string>
#include <vector>

namespace dmoerm {

/// The numbers below a count, at first each in a set of its own. The number of a set is that of its first member.
class JoinedSets {
 public:
  explicit JoinedSets(std::int64_t count) : parent_(static_cast<std::size_t>(count)) {
    std::iota(parent_.begin(), parent_.end(), 0);
  }
  [[nodiscard]] std::int64_t set_of(std::int64_t member) {
    while (parent(member) != member) member = parent(member) = parent(parent(member));
    return member;
  }
  void join(std::int64_t a, std::int64_t b) {
    const auto [first, second] = std::minmax({set_of(a), set_of(b)});
    parent(second) = first;
  }
  /// Joins a member with all others that have one of these names.
  void join_by_name(std::int64_t member, const std::vector<std::string>& names) {
    for (const std::string& name : names) join(first_with_.try_emplace(name, member).first->second, member);
  }

 private:
  std::int64_t& parent(std::int64_t member) { return parent_[static_cast<std::size_t>(member)]; }
  std::vector<std::int64_t> parent_;
  std::map<std::string, std::int64_t> first_with_;
};

}  // namespace dmoerm
