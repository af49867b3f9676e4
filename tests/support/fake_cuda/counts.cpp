#include <cxxabi.h>

#include <cstdlib>

#include "support/fake_cuda/state.h"

namespace dmoerm::test {

GpuCounts GpuCounts::operator-(const GpuCounts& o) const {
  return {kernels - o.kernels,
          products - o.products,
          copies - o.copies,
          fills - o.fills,
          uploads - o.uploads,
          downloads - o.downloads,
          pageable - o.pageable,
          syncs - o.syncs,
          downloaded_bytes - o.downloaded_bytes,
          uploaded_bytes - o.uploaded_bytes,
          product_flops - o.product_flops};
}

namespace fake_cuda {

State& state() {
  static auto* const all = new State;  // kernels are registered before main() and memory is freed after it
  return *all;
}

void note_kernel(const void* function, void* stream) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  ++s.counts.kernels;
  s.last_stream = stream;
  const auto found = s.kernel_names.find(function);
  ++s.calls[found == s.kernel_names.end() ? "unknown kernel" : found->second];
}

void note_product(const std::string& shape, double flops) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  ++s.counts.products;
  s.counts.product_flops += flops;
  ++s.calls[shape];
}

bool within(const std::map<const char*, std::size_t>& ranges, const void* pointer) {
  auto after = ranges.upper_bound(static_cast<const char*>(pointer));
  if (after == ranges.begin()) return false;
  --after;
  return static_cast<const char*>(pointer) < after->first + after->second;
}

bool on_device(const void* pointer) {
  const std::lock_guard lock(state().mutex);
  return within(state().device, pointer);
}

}  // namespace fake_cuda

GpuCounts gpu_counts() {
  const std::lock_guard lock(fake_cuda::state().mutex);
  return fake_cuda::state().counts;
}

std::map<std::string, std::int64_t> gpu_calls() {
  const std::lock_guard lock(fake_cuda::state().mutex);
  std::map<std::string, std::int64_t> readable;
  for (const auto& [name, count] : fake_cuda::state().calls) {
    int status = 0;
    char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
    readable[status == 0 ? text : name] += count;
    std::free(text);
  }
  return readable;
}

std::int64_t gpu_pinned_memory() {
  const std::lock_guard lock(fake_cuda::state().mutex);
  std::int64_t bytes = 0;
  for (const auto& [begin, size] : fake_cuda::state().pinned) bytes += static_cast<std::int64_t>(size);
  return bytes;
}

void* gpu_last_stream() {
  const std::lock_guard lock(fake_cuda::state().mutex);
  return fake_cuda::state().last_stream;
}

std::int64_t gpu_memory_peak() {
  const std::lock_guard lock(fake_cuda::state().mutex);
  return fake_cuda::state().memory_peak;
}

}  // namespace dmoerm::test
