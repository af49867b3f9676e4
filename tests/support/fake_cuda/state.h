// What the parts of the runtime share.
#pragma once
#include <map>
#include <mutex>
#include <string>

#include "support/fake_cuda/fake_cuda.h"

namespace dmoerm::test::fake_cuda {

struct State {
  std::mutex mutex;
  GpuCounts counts;
  std::map<const void*, std::string> kernel_names;  ///< Names, keyed by the host's function
  std::map<std::string, std::int64_t> calls;
  std::map<const char*, std::size_t> device, pinned;  ///< Sizes, keyed by the first byte
  std::int64_t memory = 0, memory_peak = 0;
  void* last_stream = nullptr;  ///< of the latest kernel
};

State& state();
void note_kernel(const void* function, void* stream);
/// @param shape  names the product's shape and types
void note_product(const std::string& shape, double flops);
bool on_device(const void* pointer);
/// Whether a pointer is in one of the ranges.
bool within(const std::map<const char*, std::size_t>& ranges, const void* pointer);

}  // namespace dmoerm::test::fake_cuda
