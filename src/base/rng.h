// Random numbers that are a pure function of a key. No checkpoint has to save them, and they are the same on every rank.
#pragma once
#include <cstdint>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include "base/hash.h"

namespace dmoerm {

/// One step of splitmix64: a bijective mixer of 64 bits.
constexpr std::uint64_t mix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// A stream of random numbers that a key names. Number i of the stream is mix64(mix64(key) + i * golden), counted from 1.
class Rng {
 public:
  explicit Rng(std::uint64_t key) : state_(mix64(key)) {}
  /// A stream named by a seed, a text and a number, as in Rng(seed, "expert/chat/logic", epoch).
  Rng(std::uint64_t seed, std::string_view name, std::uint64_t index = 0)
      : Rng(mix64(seed) ^ stable_hash(name) ^ mix64(index * 0x2545f4914f6cdd1dULL + 1)) {}

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    return mix64(state_);
  }
  /// Uniform in [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  /// Uniform integer in [0, n), n >= 1. The bias of the modulo is below n / 2^64.
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  /// A standard normal number (Box-Muller, one per call).
  double normal();

  /// Fisher-Yates shuffle.
  template <class T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  std::uint64_t state_;
};

}  // namespace dmoerm
