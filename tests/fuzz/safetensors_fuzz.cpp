// Fuzzer of the safetensors header: any bytes are either refused with a DataError or give entries that lie inside the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "nn/safetensors_header.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Headers tell the size of the file they stand in; the bytes that follow the header are not read.
  for (const std::uint64_t file_bytes : {static_cast<std::uint64_t>(size), static_cast<std::uint64_t>(size) + 4096}) {
    try {
      const auto header =
          dmoerm::nn::parse_safetensors_header({reinterpret_cast<const char*>(data), size}, file_bytes, "fuzz.safetensors");
      for (const auto& entry : header.tensors) {
        if (entry.begin > entry.end || header.data_offset + entry.end > file_bytes) std::abort();
        std::uint64_t bytes = dmoerm::nn::element_size(entry.dtype);
        for (const std::int64_t extent : entry.shape) bytes *= static_cast<std::uint64_t>(extent);
        if (bytes != entry.end - entry.begin) std::abort();
      }
    } catch (const dmoerm::DataError&) {
    }
  }
  return 0;
}
