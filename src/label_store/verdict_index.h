// The verdict for every key that was ever asked, in memory: a hash table with open addressing and 32 bytes an entry.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "label_store/label.h"

namespace dmoerm::label_store {

/// The part of a key's latest label that is kept in memory.
struct CachedVerdict {
  Verdict verdict = Verdict::error;
  bool ask_again = false;        ///< The reply had no verdict, and the question shall be asked again: LabelStore::ask_again()
  float first_probability = -1;  ///< As Label::first_probability
};

/// Keys are compared by their first 16 bytes: the probability that any two of 10^9 keys share them is below 10^-20.
class VerdictIndex {
 public:
  /// nullptr if the key was never asked. The pointer is valid until the next put().
  [[nodiscard]] const CachedVerdict* find(const Digest& key) const;
  /// Number of the key's latest label; 0 if it was never asked.
  [[nodiscard]] std::int64_t sequence(const Digest& key) const;
  /// Record label number `sequence` >= 1 of a key, unless a later one is recorded.
  void put(const Digest& key, const CachedVerdict& verdict, std::int64_t sequence);
  [[nodiscard]] std::size_t size() const { return used_; }
  /// Reserve space for a total of `keys`.
  void reserve(std::size_t keys);
  /// Bytes of memory in use.
  [[nodiscard]] std::size_t bytes() const { return slots_.capacity() * sizeof(Slot); }

 private:
  struct Slot {
    std::uint64_t high = 0, low = 0;
    std::int64_t sequence = 0;  ///< 0: empty
    CachedVerdict verdict;
  };
  static_assert(sizeof(Slot) == 32);
  [[nodiscard]] std::size_t place(std::uint64_t high, std::uint64_t low) const;
  void resize(std::size_t slots);

  std::vector<Slot> slots_;
  std::size_t used_ = 0;
};

}  // namespace dmoerm::label_store
