// The header of a safetensors file, checked before any data is read. Does not use torch, so that the fuzzer can build it alone.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace dmoerm::nn {

/// One tensor of a file: `begin` and `end` are byte offsets into the data part.
struct TensorEntry {
  std::string name;
  std::string dtype;  ///< Type as the file spells it: F32, BF16, F16, F64, I8, U8, BOOL, F8_E4M3, ...
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;             ///< Entries in the order of their data
  std::map<std::string, std::string> metadata;  ///< The entry "__metadata__"
  std::uint64_t data_offset = 0;                ///< Byte offset of the data part in the file
};

/// Bytes of one element; 0 for an unknown dtype.
std::uint64_t element_size(std::string_view dtype);

/// Parse and check the start of a file: length field, JSON, every entry's shape against its byte range, ranges inside the file,
/// in order, without overlap or gap.
/// @param start  the file's first bytes, at least the whole header (or as much as the file has)
/// @param file_bytes  size of the file
/// @param file  name used in messages
/// @throws DataError naming the file, the tensor and the two values that disagree
SafetensorsHeader parse_safetensors_header(std::string_view start, std::uint64_t file_bytes, const std::string& file);

/// "[2, 3]"
std::string shape_text(const std::vector<std::int64_t>& shape);

}  // namespace dmoerm::nn
