// CUDA on the CPU, as far as the kernels use it. The blocks of a grid run one after another; each thread of a block is a fibre
// that runs until it meets a barrier or a shuffle. A kernel whose threads wait for each other where they should gives the same
// result in whatever order they run; tests try two.
#pragma once
#include <ucontext.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <vector>

#define __shared__ static thread_local
#define __global__
#define __device__
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(16) uint4 {
  std::uint32_t x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

namespace dmoerm::kernels {

class Block {
 public:
  /// The block that this thread of the CPU runs.
  static Block*& current() {
    static thread_local Block* block = nullptr;
    return block;
  }
  /// Whether the threads of a block run from the last to the first.
  static bool& backwards() {
    static thread_local bool last_first = false;
    return last_first;
  }

  Block(dim3 grid_size, dim3 block_size) : grid(grid_size), size(block_size), fibres_(block_size.x), shuffled_(block_size.x) {
    for (Fibre& f : fibres_) f.stack = std::make_unique<char[]>(kStackBytes);
  }

  const dim3 grid, size;
  dim3 block, thread;  ///< the ones that run

  /// Run the kernel's body for each thread of the block `at`.
  /// @throws std::logic_error if threads wait for others that never come
  void run(dim3 at, const std::function<void()>& body) {
    block = at, body_ = &body;
    for (Fibre& f : fibres_) start(f);
    for (std::size_t left = fibres_.size(); left > 0;) {
      bool moved = false;
      for (std::size_t i = 0; i < fibres_.size(); ++i) {
        running_ = backwards() ? fibres_.size() - 1 - i : i;
        Fibre& f = fibres_[running_];
        if (f.done || !may_go_on(running_)) continue;
        thread = {static_cast<unsigned>(running_)};
        swapcontext(&scheduler_, &f.context);
        moved = true;
        if (f.done) --left;
      }
      if (!moved) throw std::logic_error("threads of a block wait for others that never come");
    }
  }

  /// Wait for all threads of the block.
  void wait_for_block() { wait(Waits::for_block); }

  /// The value that a thread of the same warp gave.
  float shuffle_xor(float value, int mask) {
    shuffled_[running_] = value;
    wait(Waits::for_warp);
    const float other = shuffled_[running_ ^ static_cast<std::size_t>(mask)];
    wait(Waits::for_warp);  // until all have read
    return other;
  }

 private:
  static constexpr std::size_t kStackBytes = 64 << 10, kWarp = 32;
  enum class Waits { no, for_block, for_warp };
  struct Fibre {
    ucontext_t context{};
    std::unique_ptr<char[]> stack;
    std::size_t block_waits = 0, warp_waits = 0;  ///< how often it has waited
    Waits waits = Waits::no;
    bool done = false;
  };

  void start(Fibre& f) {
    f.block_waits = f.warp_waits = 0, f.waits = Waits::no, f.done = false;
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = kStackBytes;
    f.context.uc_link = &scheduler_;
    makecontext(&f.context, &Block::enter, 0);
  }
  static void enter() {
    Block& b = *current();
    (*b.body_)();
    b.fibres_[b.running_].done = true;
  }
  void wait(Waits what) {
    Fibre& f = fibres_[running_];
    f.waits = what;
    ++(what == Waits::for_block ? f.block_waits : f.warp_waits);
    swapcontext(&f.context, &scheduler_);
    f.waits = Waits::no;
  }
  /// Whether all threads that thread t waits for have come as far. One that has ended never comes.
  [[nodiscard]] bool may_go_on(std::size_t t) const {
    const Fibre& f = fibres_[t];
    if (f.waits == Waits::no) return true;
    const bool of_block = f.waits == Waits::for_block;
    const std::size_t first = of_block ? 0 : t / kWarp * kWarp;
    const std::size_t last = of_block ? fibres_.size() : first + kWarp;
    if (last > fibres_.size()) throw std::logic_error("a shuffle in a warp of fewer than 32 threads");
    return std::all_of(
        fibres_.begin() + static_cast<std::ptrdiff_t>(first), fibres_.begin() + static_cast<std::ptrdiff_t>(last),
        [&](const Fibre& other) { return of_block ? other.block_waits >= f.block_waits : other.warp_waits >= f.warp_waits; });
  }

  ucontext_t scheduler_{};
  const std::function<void()>* body_ = nullptr;
  std::vector<Fibre> fibres_;
  std::vector<float> shuffled_;
  std::size_t running_ = 0;
};

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 size, Stream /*stream*/, A&&... arguments) {
  Block state(grid, size);
  Block::current() = &state;
  for (unsigned y = 0; y < grid.y; ++y) {
    for (unsigned x = 0; x < grid.x; ++x) state.run({x, y}, [&] { kernel(static_cast<P>(arguments)...); });
  }
  Block::current() = nullptr;
}

/// Two floats rounded to bfloat16, to the nearest and ties to even; the first is in the lower half.
inline std::uint32_t round_pair(float low, float high) {
  const auto rounded = [](float value) -> std::uint32_t {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7fffffffU) > 0x7f800000U) return 0x7fffU;  // NaN
    return (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  };
  return rounded(low) | rounded(high) << 16;
}

}  // namespace dmoerm::kernels

#define threadIdx (::dmoerm::kernels::Block::current()->thread)
#define blockIdx (::dmoerm::kernels::Block::current()->block)
#define blockDim (::dmoerm::kernels::Block::current()->size)
#define gridDim (::dmoerm::kernels::Block::current()->grid)

inline void __syncthreads() { ::dmoerm::kernels::Block::current()->wait_for_block(); }
inline float __shfl_xor_sync(unsigned /*lanes*/, float value, int mask) {
  return ::dmoerm::kernels::Block::current()->shuffle_xor(value, mask);
}
inline float __uint_as_float(std::uint32_t bits) { return std::bit_cast<float>(bits); }
inline float __expf(float x) { return std::exp(x); }
inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
