#include "wire/tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <optional>

#include "base/utf8.h"

namespace dmoerm::wire {
namespace {

/// Bytes of one element of an integer type; 0 for other types.
std::size_t width_of(const std::string& datatype) {
  if (datatype == "INT64" || datatype == "UINT64") return 8;
  if (datatype == "INT32" || datatype == "UINT32") return 4;
  return 0;
}

std::size_t elements_of(const JsonPart& input, std::vector<std::int64_t>& shape, std::size_t elements_max) {
  std::size_t count = 1;
  for (const JsonPart& size : input.at("shape").items()) {
    shape.push_back(size.integer(0, static_cast<std::int64_t>(elements_max)));
    count *= static_cast<std::size_t>(shape.back());
    if (count > elements_max)
      throw RequestError("tensor-too-large", 413, input.family(),
                         fmt::format("{}: the tensor has more than {} elements", input.at("shape").path(), elements_max));
  }
  if (shape.empty()) input.at("shape").complain("tensor-without-dimensions", "expected at least one dimension");
  return count;
}

/// Reads "data", flat or in nested lists.
void read_json(const JsonPart& data, Tensor& tensor, bool texts, std::size_t count) {
  if (data.is_list()) {
    for (const JsonPart& part : data.items()) read_json(part, tensor, texts, count);
  } else if (texts) {
    tensor.texts.push_back(data.text());
  } else {
    tensor.numbers.push_back(data.integer(std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()));
  }
}

template <typename Number>
Number little_endian(std::string_view bytes) {
  Number number;
  std::memcpy(&number, bytes.data(), sizeof number);
  return number;
}

[[noreturn]] void too_short(const JsonPart& input) {
  input.complain("tensor-data-too-short", "the binary data of this tensor end before its last element");
}

void read_binary(std::string_view bytes, const JsonPart& input, Tensor& tensor, std::size_t width, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t size = width > 0 ? width : 4;
    if (bytes.size() < size) too_short(input);
    if (width > 0) {
      tensor.numbers.push_back(width == 8 ? little_endian<std::int64_t>(bytes) : little_endian<std::int32_t>(bytes));
    } else {
      const std::size_t length = little_endian<std::uint32_t>(bytes);
      if (bytes.size() - size < length) too_short(input);
      tensor.texts.emplace_back(bytes.substr(size, length));
      if (!is_utf8(tensor.texts.back())) input.complain("body-not-utf8", fmt::format("element {} is not UTF-8", i));
      bytes.remove_prefix(length);
    }
    bytes.remove_prefix(size);
  }
  if (!bytes.empty())
    input.complain("tensor-data-too-long", fmt::format("{} bytes of binary data follow its last element", bytes.size()));
}

/// The binary data that an input announces, taken from those that are left; nothing if its data stand in the JSON.
std::optional<std::string_view> take_binary(const JsonPart& input, std::string_view& left) {
  if (!input.has("parameters") || !input.at("parameters").has("binary_data_size")) return std::nullopt;
  const JsonPart size = input.at("parameters").at("binary_data_size");
  const auto bytes = static_cast<std::size_t>(size.integer(0, std::numeric_limits<std::int32_t>::max()));
  if (bytes > left.size())
    size.complain("tensor-data-too-short", fmt::format("{} bytes are announced, {} follow the JSON", bytes, left.size()));
  const std::string_view taken = left.substr(0, bytes);
  left.remove_prefix(bytes);
  return taken;
}

/// Bytes of one number of an input, 0 for texts. Refuses a datatype that this input cannot have.
std::size_t width_of(const JsonPart& input, const KnownInput& known) {
  const std::string& datatype = input.at("datatype").text();
  const std::size_t width = width_of(datatype);
  if (known.texts ? datatype != "BYTES" : width == 0)
    input.at("datatype")
        .refuse("tensor-of-wrong-type", fmt::format("{} for the input {}", known.texts ? "BYTES" : "INT64 or INT32", known.name));
  return width;
}

}  // namespace

std::vector<Tensor> tensors_of(const JsonPart& body, std::string_view binary, std::size_t elements_max,
                               std::vector<std::string>& unknown) {
  std::vector<Tensor> tensors;
  for (const JsonPart& input : body.at("inputs").items()) {
    Tensor tensor{input.at("name").text(), {}, {}, {}, input};
    const auto* known = std::ranges::find(kInputs, std::string_view(tensor.name), &KnownInput::name);
    if (known == std::end(kInputs)) {
      (void)take_binary(input, binary);
      unknown.push_back(std::move(tensor.name));
      continue;
    }
    if (std::ranges::find(tensors, tensor.name, &Tensor::name) != tensors.end())
      input.complain("key-given-twice", fmt::format("the input {} comes twice", tensor.name));
    const std::size_t width = width_of(input, *known), count = elements_of(input, tensor.shape, elements_max);
    if (const auto bytes = take_binary(input, binary); bytes) {
      read_binary(*bytes, input, tensor, width, count);
    } else {
      read_json(input.at("data"), tensor, width == 0, count);
    }
    if (const std::size_t found = tensor.texts.size() + tensor.numbers.size(); found != count)
      input.complain("tensor-data-differ-from-shape", fmt::format("the shape has {} elements, the data have {}", count, found));
    tensors.push_back(std::move(tensor));
  }
  if (!binary.empty())
    body.complain("tensor-data-too-long", fmt::format("{} bytes of binary data belong to no input", binary.size()));
  return tensors;
}

}  // namespace dmoerm::wire
