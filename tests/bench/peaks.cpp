// What this machine can do at most: fused multiply-adds in registers, reading and copying memory, and matrix products of the
// shapes that training a decoder with LoRA asks for. Output: one JSON line of GFLOP/s and GB/s.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point began) { return std::chrono::duration<double>(Clock::now() - began).count(); }

/// Seconds in which `threads` threads do `work(thread)` side by side, begun together: the best of five.
template <class Work>
double best_of_five(int threads, const Work& work) {
  double best = 1e9;
  for (int repeat = 0; repeat < 5; ++repeat) {
    Clock::time_point began;
    std::barrier start(threads, [&]() noexcept { began = Clock::now(); });
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t) {
      all.emplace_back([&, t] {
        start.arrive_and_wait();
        work(t);
      });
    }
    for (std::thread& thread : all) thread.join();
    best = std::min(best, seconds_since(began));
  }
  return best;
}

template <int Floats>
struct Register {
  typedef float type __attribute__((vector_size(4 * Floats)));
};

/// Multiply-adds on registers that depend on nothing but themselves; this file is compiled so that they are fused.
template <int Floats>
float multiply_add(std::int64_t rounds, float start) {
  using V = typename Register<Floats>::type;
  constexpr int kChains = 12;  // more than latency times units needs, and few enough for 16 registers
  V chains[kChains], factor = {}, more = {};
  factor += 0.999999F * start;
  more += 1e-6F * start;
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) chains[c] = V{} + start * static_cast<float>(c);
  for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) chains[c] = chains[c] * factor + more;
  }
  float sum = 0;
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) sum += chains[c][0] + chains[c][Floats - 1];
  return sum;
}

template <int Floats>
double fma_gflops(int threads) {
  constexpr std::int64_t kRounds = 200'000'000;  // so long that the threads have found cores of their own
  volatile float start = 1.0F;
  std::vector<float> sums(static_cast<std::size_t>(threads) * 64);
  const double s =
      best_of_five(threads, [&](int t) { sums[static_cast<std::size_t>(t) * 64] = multiply_add<Floats>(kRounds, start); });
  return 2.0 * Floats * 12 * static_cast<double>(kRounds) * threads / s * 1e-9;
}

struct Bandwidth {
  double read = 0, copy = 0;  // GB/s; a copy counts what is read and what is written
};

Bandwidth bandwidth(int threads) {
  constexpr std::size_t kFloats = std::size_t{64} << 20;  // 256 MiB, several times a cache
  std::vector<float> from(kFloats, 1.0F), to(kFloats, 0.0F);
  const std::size_t part = kFloats / static_cast<std::size_t>(threads);
  std::vector<float> sums(static_cast<std::size_t>(threads) * 64);
  const double bytes = static_cast<double>(part) * threads * sizeof(float);
  const double read = best_of_five(threads, [&](int t) {
    const float* own = from.data() + static_cast<std::size_t>(t) * part;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::size_t i = 0; i < part; ++i) sum += own[i];
    sums[static_cast<std::size_t>(t) * 64] = sum;
  });
  const double copy = best_of_five(threads, [&](int t) {
    const std::size_t begin = static_cast<std::size_t>(t) * part;
    std::memcpy(to.data() + begin, from.data() + begin, part * sizeof(float));
  });
  return {bytes / read * 1e-9, 2 * bytes / copy * 1e-9};
}

struct Shape {
  const char* what;
  std::int64_t inner, columns;
  bool turned;  // whether the right factor is a transposed view, as weights are in the forward pass
};

double product_gflops(const Shape& shape, std::int64_t rows) {
  const at::Tensor x = at::rand({rows, shape.inner});
  const at::Tensor w = shape.turned ? at::rand({shape.columns, shape.inner}).t() : at::rand({shape.inner, shape.columns});
  at::mm(x, w);
  const double flops = 2.0 * static_cast<double>(rows * shape.inner * shape.columns);
  const int times = std::max(1, static_cast<int>(5e9 / flops));
  double best = 1e9;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const auto began = Clock::now();
    for (int i = 0; i < times; ++i) at::mm(x, w);
    best = std::min(best, seconds_since(began));
  }
  return flops * times / best * 1e-9;
}

}  // namespace

int main(int argc, char** argv) {
  std::int64_t rows = 1672, width = 576, intermediate = 1536, kv = 192, rank = 32;
  int threads = 2;
  bool quick = false;
  CLI::App app{"Measures what the machine can do at most"};
  app.add_option("--rows", rows);
  app.add_option("--width", width);
  app.add_option("--intermediate", intermediate);
  app.add_option("--kv-width", kv);
  app.add_option("--rank", rank);
  app.add_option("--threads", threads);
  app.add_flag("--quick", quick, "multiply-adds only");
  CLI11_PARSE(app, argc, argv);
  json found{{"threads", threads}};
  std::vector<int> counts{1};
  if (threads > 1) counts.push_back(threads);
  for (const int count : counts) {
    const double narrow = fma_gflops<8>(count), wide = fma_gflops<16>(count);
    json& one =
        found["on"][std::to_string(count)] = {{"fma_256_bits", narrow}, {"fma_512_bits", wide}, {"fma", std::max(narrow, wide)}};
    if (quick) continue;
    const Bandwidth memory = bandwidth(count);
    one["read_gb_s"] = memory.read, one["copy_gb_s"] = memory.copy;
  }
  if (quick) {
    fmt::print("{}\n", found.dump());
    return 0;
  }
  const std::vector<Shape> shapes = {{"q, k, v", width, width + 2 * kv, true},
                                     {"o", width, width, true},
                                     {"gate and up", width, 2 * intermediate, true},
                                     {"down", intermediate, width, true},
                                     {"gradient of q, k, v", width + 2 * kv, width, false},
                                     {"gradient of o", width, width, false},
                                     {"gradient of gate and up", 2 * intermediate, width, false},
                                     {"gradient of down", width, intermediate, false},
                                     {"LoRA A of q and v", width, 2 * rank, true},
                                     {"LoRA B of q", rank, width, true}};
  for (const int count : counts) {
    at::set_num_threads(count);
    for (const Shape& shape : shapes)
      found["products"].push_back({{"what", shape.what},
                                   {"threads", count},
                                   {"rows", rows},
                                   {"inner", shape.inner},
                                   {"columns", shape.columns},
                                   {"gflops", product_gflops(shape, rows)}});
  }
  fmt::print("{}\n", found.dump());
  return 0;
}
