#include "label_store/verdict_index.h"

#include <cstring>
#include <utility>

namespace dmoerm::label_store {
namespace {

__extension__ using Wide = unsigned __int128;

/// The first 16 bytes of a key as two numbers.
std::pair<std::uint64_t, std::uint64_t> halves(const Digest& key) {
  std::uint64_t high = 0, low = 0;
  std::memcpy(&high, key.data(), sizeof high);
  std::memcpy(&low, key.data() + sizeof high, sizeof low);
  return {high, low};
}

}  // namespace

/// The key's slot, or the empty one where it would go. Keys are hashes, so their first half can choose where the search begins.
std::size_t VerdictIndex::place(std::uint64_t high, std::uint64_t low) const {
  auto at = static_cast<std::size_t>(static_cast<Wide>(high) * slots_.size() >> 64);
  while (slots_[at].sequence != 0 && (slots_[at].high != high || slots_[at].low != low))
    at = at + 1 == slots_.size() ? 0 : at + 1;
  return at;
}

void VerdictIndex::resize(std::size_t count) {
  std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(count));
  for (const Slot& slot : old) {
    if (slot.sequence != 0) slots_[place(slot.high, slot.low)] = slot;
  }
}

void VerdictIndex::reserve(std::size_t keys) {
  const std::size_t slots = keys + keys / 4 + 16;  // at most four in five slots are used
  if (slots > slots_.size()) resize(slots);
}

const CachedVerdict* VerdictIndex::find(const Digest& key) const {
  if (slots_.empty()) return nullptr;
  const auto [high, low] = halves(key);
  const Slot& slot = slots_[place(high, low)];
  return slot.sequence == 0 ? nullptr : &slot.verdict;
}

std::int64_t VerdictIndex::sequence(const Digest& key) const {
  if (slots_.empty()) return 0;
  const auto [high, low] = halves(key);
  return slots_[place(high, low)].sequence;
}

void VerdictIndex::put(const Digest& key, const CachedVerdict& verdict, std::int64_t sequence) {
  if ((used_ + 1) + (used_ + 1) / 4 + 1 > slots_.size()) reserve((used_ + 16) * 3 / 2);
  const auto [high, low] = halves(key);
  Slot& slot = slots_[place(high, low)];
  if (slot.sequence == 0) ++used_;
  if (sequence >= slot.sequence) slot = {high, low, sequence, verdict};
}

}  // namespace dmoerm::label_store
