#include "nn/safetensors_header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/json_problem.h"

namespace dmoerm::nn {
namespace {

using nlohmann::json;

constexpr std::uint64_t kHeaderBytesMax = 100'000'000;  // the format's own limit

/// Elements of a shape; throws when it overflows or is negative.
std::uint64_t element_count(const TensorEntry& entry, const std::string& file) {
  std::uint64_t count = 1;
  for (std::int64_t extent : entry.shape) {
    if (__builtin_mul_overflow(count, static_cast<std::uint64_t>(extent), &count)) {
      throw DataError("safetensors-damaged", fmt::format("{}: tensor {}: shape {} has more elements than 64 bits count", file,
                                                         entry.name, shape_text(entry.shape)));
    }
  }
  return count;
}

TensorEntry parse_entry(const std::string& name, const json& value, const std::string& file) {
  const auto refuse = [&](const std::string& why) -> DataError {
    return DataError("safetensors-damaged", fmt::format("{}: tensor {}: {}", file, name, why));
  };
  if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") || !value.contains("data_offsets")) {
    throw refuse("its header entry must be an object with dtype, shape and data_offsets");
  }
  TensorEntry entry;
  entry.name = name;
  if (!value["dtype"].is_string()) throw refuse("dtype must be a string");
  entry.dtype = value["dtype"].get<std::string>();
  const std::uint64_t element = element_size(entry.dtype);
  if (element == 0) throw refuse(fmt::format("dtype {} is not supported (F64, F32, F16, BF16, and integers)", entry.dtype));
  if (!value["shape"].is_array()) throw refuse("shape must be a list");
  for (const json& extent : value["shape"]) {
    if (!extent.is_number_unsigned() || extent.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
      throw refuse("shape must hold whole numbers >= 0");
    }
    entry.shape.push_back(extent.get<std::int64_t>());
  }
  const json& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned()) {
    throw refuse("data_offsets must be two whole numbers >= 0");
  }
  entry.begin = offsets[0].get<std::uint64_t>();
  entry.end = offsets[1].get<std::uint64_t>();
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(element_count(entry, file), element, &bytes) || entry.end < entry.begin ||
      entry.end - entry.begin != bytes) {
    throw refuse(fmt::format("shape {} of {} needs {} bytes, data_offsets [{}, {}] give another number", shape_text(entry.shape),
                             entry.dtype, bytes, entry.begin, entry.end));
  }
  return entry;
}

/// Refuse a header that no model has, before a parser takes many times its size in memory.
void check_extent(std::string_view text, const std::string& file) {
  constexpr std::size_t kDepth = 8, kValues = 4'000'000;
  std::size_t depth = 0, values = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
      continue;
    }
    quoted = c == '"';
    if (c == '[' || c == '{') ++depth;
    if ((c == ']' || c == '}') && depth > 0) --depth;
    if (c == ',') ++values;
    if (depth > kDepth || values > kValues)
      throw DataError("safetensors-damaged",
                      fmt::format("{}: the safetensors header is nested deeper than {} levels or holds more than {} values", file,
                                  kDepth, kValues));
  }
}

json parse_json(std::string_view text, const std::string& file) {
  check_extent(text, file);
  std::set<std::string> seen;
  std::string duplicate;
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::key && depth == 1 && !seen.insert(value.get<std::string>()).second)
      duplicate = value.get<std::string>();
    return true;
  };
  json header;
  try {
    header = json::parse(text, watch);
  } catch (const json::exception& e) {
    throw DataError("safetensors-damaged",
                    fmt::format("{}: the safetensors header is not JSON: {}", file, json_complaint(text, e)));
  }
  if (!duplicate.empty()) throw DataError("tensor-twice", fmt::format("{}: tensor {} is in the header twice", file, duplicate));
  if (!header.is_object())
    throw DataError("safetensors-damaged", fmt::format("{}: the safetensors header must be a JSON object", file));
  return header;
}

}  // namespace

std::uint64_t element_size(std::string_view dtype) {
  static const std::map<std::string_view, std::uint64_t> kSizes = {
      {"F64", 8}, {"F32", 4},     {"F16", 2},     {"BF16", 2},    {"I64", 8},         {"I32", 4},
      {"I16", 2}, {"I8", 1},      {"U8", 1},      {"BOOL", 1},    {"U64", 8},         {"U32", 4},
      {"U16", 2}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"F8_E4M3FNUZ", 1}, {"F8_E5M2FNUZ", 1}};
  const auto found = kSizes.find(dtype);
  return found == kSizes.end() ? 0 : found->second;
}

std::string shape_text(const std::vector<std::int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

namespace {

/// What a file holds whose first bytes are not those of a safetensors file; "" if that is unknown.
std::string other_content(std::string_view start) {
  if (start.starts_with("version https://git-lfs"))
    return "this is a pointer of Git LFS, not the file itself: run `git lfs pull` where it came from";
  if (start.starts_with("PK\x03\x04") || start.starts_with("\x80\x02"))
    return "this is a file of torch.save(), not safetensors: read the model with transformers and write it with "
           "save_pretrained(DIR)";
  if (start.starts_with("GGUF")) return "this is a file of llama.cpp (GGUF), not safetensors";
  const std::size_t text = start.find_first_not_of(" \t\r\n");
  if (text == std::string_view::npos || start[text] != '<') {
    const std::string type = foreign_type(start);
    const bool by_zeros = type.starts_with("UTF-") || type.starts_with("zero");  // which the header's length has too
    return type.empty() || by_zeros ? "" : fmt::format("this is {}, not safetensors", type.substr(0, type.find(':')));
  }
  return "this is a web page, not safetensors: the download has failed";
}

/// The length of the JSON part. @throws DataError
std::uint64_t header_length(std::string_view start, std::uint64_t file_bytes, const std::string& file) {
  std::uint64_t header_bytes = 0;
  const bool has_length = file_bytes >= 8 && start.size() >= 8;
  if (has_length) std::memcpy(&header_bytes, start.data(), 8);
  const bool fits =
      has_length && header_bytes <= kHeaderBytesMax && header_bytes <= file_bytes - 8 && header_bytes <= start.size() - 8;
  if (fits && header_bytes > 0) return header_bytes;
  if (const std::string other = other_content(start.substr(0, 64)); !other.empty())
    throw DataError("not-safetensors", fmt::format("{}: {}", file, other));
  if (!has_length)
    throw DataError("safetensors-damaged", fmt::format("{}: {} bytes are too few for a safetensors file", file, file_bytes));
  if (header_bytes == 0)
    throw DataError("safetensors-damaged", fmt::format("{}: starts with zero bytes: it was never written whole", file));
  throw DataError("safetensors-damaged", fmt::format("{}: the header claims {} bytes, the file has {}: truncated, or not a "
                                                     "safetensors file",
                                                     file, header_bytes, file_bytes));
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view start, std::uint64_t file_bytes, const std::string& file) {
  const std::uint64_t header_bytes = header_length(start, file_bytes, file);
  const json parsed = parse_json(start.substr(8, header_bytes), file);
  SafetensorsHeader header;
  header.data_offset = 8 + header_bytes;
  for (const auto& [name, value] : parsed.items()) {
    if (name == "__metadata__") {
      if (!value.is_object())
        throw DataError("safetensors-damaged", fmt::format("{}: __metadata__ must be an object of strings", file));
      for (const auto& [key, text] : value.items()) {
        if (!text.is_string())
          throw DataError("safetensors-damaged", fmt::format("{}: __metadata__.{} must be a string", file, key));
        header.metadata[key] = text.get<std::string>();
      }
    } else {
      header.tensors.push_back(parse_entry(name, value, file));
    }
  }
  std::ranges::sort(header.tensors, [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  const std::uint64_t data_bytes = file_bytes - header.data_offset;
  std::uint64_t expected = 0;
  for (const TensorEntry& entry : header.tensors) {
    if (entry.begin != expected) {
      throw DataError("safetensors-damaged",
                      fmt::format("{}: tensor {} starts at byte {}, the one before it ends at {}: overlapping or missing data",
                                  file, entry.name, entry.begin, expected));
    }
    expected = entry.end;
  }
  if (expected != data_bytes) {
    throw DataError("safetensors-damaged",
                    fmt::format("{}: the tensors need {} bytes of data, the file has {}: {}", file, expected, data_bytes,
                                expected > data_bytes ? "it was not copied whole: fetch it again" : "damaged"));
  }
  return header;
}

}  // namespace dmoerm::nn
