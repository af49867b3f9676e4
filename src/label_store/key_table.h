// What is known of every key that was ever asked: an open-addressing table of 32 bytes an entry.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "label_store/label.h"

namespace dmoerm::label_store {

/// What is kept in memory of the latest label of a key.
struct Known {
  Verdict verdict = Verdict::error;
  float first_probability = -1;  ///< as Label::first_probability
};

/// Told apart by the first 16 bytes of the key: two keys out of 10^9 agree in those with a probability below 10^-20.
class KeyTable {
 public:
  /// nullptr if the key was never asked. Good until the next put().
  [[nodiscard]] const Known* find(const Digest& key) const;
  /// Number of the label that holds for the key; 0 if it was never asked.
  [[nodiscard]] std::int64_t sequence(const Digest& key) const;
  /// Take up label number `sequence` >= 1 of a key, unless a later one is known.
  void put(const Digest& key, const Known& known, std::int64_t sequence);
  [[nodiscard]] std::size_t size() const { return used_; }
  /// Make room for `keys` in all.
  void reserve(std::size_t keys);
  /// Bytes of memory.
  [[nodiscard]] std::size_t bytes() const { return slots_.capacity() * sizeof(Slot); }

 private:
  struct Slot {
    std::uint64_t high = 0, low = 0;
    std::int64_t sequence = 0;  ///< 0: empty
    Known known;
  };
  static_assert(sizeof(Slot) == 32);
  [[nodiscard]] std::size_t place(std::uint64_t high, std::uint64_t low) const;
  void resize(std::size_t slots);

  std::vector<Slot> slots_;
  std::size_t used_ = 0;
};

}  // namespace dmoerm::label_store
