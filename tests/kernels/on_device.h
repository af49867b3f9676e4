// Helpers for the tests of kernels: one source that runs emulated on the CPU, or on a GPU where nvcc compiles it.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/device.h"

namespace dmoerm::test {

using kernels::Bfloat16;

inline int& failures() {
  static int count = 0;
  return count;
}
inline void expect(bool held, const std::string& what) {
  if (held) return;
  ++failures();
  std::printf("FAILED: %s\n", what.c_str());
}

inline double value_of(float x) { return x; }
inline double value_of(Bfloat16 x) {
  const std::uint32_t bits = std::uint32_t{x.bits} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline Bfloat16 bfloat16(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return {static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16)};
}

/// Numbers of a normal distribution.
class Draw {
 public:
  std::vector<Bfloat16> bfloat16s(std::size_t count) {
    std::vector<Bfloat16> values(count);
    for (Bfloat16& v : values) v = bfloat16(normal_(random_));
    return values;
  }
  std::vector<float> floats(std::size_t count) {
    std::vector<float> values(count);
    for (float& v : values) v = normal_(random_);
    return values;
  }

 private:
  std::mt19937 random_{1};
  std::normal_distribution<float> normal_;
};

/// An array where the kernel runs, of exactly its elements.
template <class T>
class Array {
 public:
  explicit Array(const std::vector<T>& host) : count_(host.size()) {
#ifdef __CUDACC__
    if (cudaMalloc(&data_, bytes()) != cudaSuccess) throw std::runtime_error("cudaMalloc failed");
    cudaMemcpy(data_, host.data(), bytes(), cudaMemcpyHostToDevice);
#else
    data_ = new T[count_];
    std::copy(host.begin(), host.end(), data_);
#endif
  }
  /// NaNs: what a kernel does not write shows.
  explicit Array(std::size_t count) : Array(std::vector<T>(count, not_a_number())) {}
  ~Array() {
#ifdef __CUDACC__
    cudaFree(data_);
#else
    delete[] data_;
#endif
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  [[nodiscard]] T* get() const { return data_; }
  [[nodiscard]] std::vector<T> host() const {
    std::vector<T> copy(count_);
#ifdef __CUDACC__
    if (const cudaError_t code = cudaMemcpy(copy.data(), data_, bytes(), cudaMemcpyDeviceToHost); code != cudaSuccess)
      throw std::runtime_error(cudaGetErrorString(code));
#else
    std::copy(data_, data_ + count_, copy.begin());
#endif
    return copy;
  }

 private:
  static T not_a_number() {
    T value;
    std::memset(&value, 0xff, sizeof value);
    return value;
  }
  [[nodiscard]] std::size_t bytes() const { return count_ * sizeof(T); }
  T* data_ = nullptr;
  std::size_t count_;
};

/// The largest gap to `want`, as a multiple of what rounding to T allows: half a step of bfloat16 where T is that, and 1e-5 of
/// the value and of 1 for the float32 arithmetic inside.
template <class T>
double largest_gap(const std::vector<T>& got, const std::vector<double>& want) {
  if (got.size() != want.size()) return INFINITY;
  double largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (value_of(got[i]) == want[i]) continue;
    const double size = std::fabs(want[i]), allowed = (sizeof(T) == 2 ? size / 256 : 0) + 1e-5 * (1 + size);
    const double gap = std::fabs(value_of(got[i]) - want[i]) / allowed;
    largest = std::isnan(gap) ? INFINITY : std::fmax(largest, gap);
  }
  return largest;
}
template <class T>
void expect_close(const std::vector<T>& got, const std::vector<double>& want, const std::string& what) {
  const double gap = largest_gap(got, want);
  expect(gap <= 1, what + ": " + std::to_string(gap) + " times the tolerance");
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

/// Call `work` with the threads of a block in either order. It returns the bits of its result, which must be the same.
template <class Work>
auto same_in_both_orders(const Work& work, const std::string& what) {
#ifndef __CUDACC__
  kernels::Block::backwards() = true;
#endif
  const auto one = work();
#ifndef __CUDACC__
  kernels::Block::backwards() = false;
#endif
  const auto other = work();
  expect(same_bits(one, other), what + ": the order of threads changes the result");
  return other;
}

/// Run the test. @return the program's exit code
template <class Test>
int run(const Test& test) {
  try {
#ifdef __CUDACC__
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
      std::printf("skipped: there is no GPU\n");
      return 77;
    }
#endif
    test();
  } catch (const std::exception& e) {
    expect(false, e.what());
  }
  std::printf("%d failures\n", failures());
  return failures() == 0 ? 0 : 1;
}

}  // namespace dmoerm::test
