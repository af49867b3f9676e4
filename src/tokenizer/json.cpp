#include "tokenizer/json.h"

#include <fmt/format.h>

#include "base/error.h"
#include "tokenizer/unicode.h"

namespace dmoerm::tokenizer {
namespace {
const nlohmann::json kNull;
constexpr std::size_t kLongestPath = 400;  // a hostile file could nest Sequences without end
}  // namespace

void JsonPart::fail(const std::string& problem) const {
  throw DataError("tokenizer-json-invalid", fmt::format("{}: {}: {}", file_, path_.empty() ? "top level" : path_, problem));
}

void JsonPart::fail_unsupported(std::string_view found, std::string_view supported) const {
  fail(fmt::format("\"{}\" is not supported; supported: {}", found, supported));
}

JsonPart JsonPart::get(const char* key) const {
  if (!value_->is_object()) fail(fmt::format("expected an object with \"{}\", found {}", key, value_->type_name()));
  if (path_.size() > kLongestPath) fail("nested too deeply");
  return {value_->contains(key) ? value_->at(key) : kNull, file_, path_.empty() ? key : fmt::format("{}.{}", path_, key)};
}

JsonPart JsonPart::at(const char* key) const {
  JsonPart part = get(key);
  if (!value_->contains(key)) fail(fmt::format("\"{}\" is missing", key));
  return part;
}

std::vector<JsonPart> JsonPart::items() const {
  if (!value_->is_array()) fail(fmt::format("expected a list, found {}", value_->type_name()));
  std::vector<JsonPart> parts;
  parts.reserve(value_->size());
  for (const auto& item : *value_) parts.emplace_back(item, file_, fmt::format("{}[{}]", path_, parts.size()));
  return parts;
}

const std::string& JsonPart::text() const {
  if (!value_->is_string()) fail(fmt::format("expected a text, found {}", value_->type_name()));
  return value_->get_ref<const std::string&>();
}

bool JsonPart::boolean() const {
  if (!value_->is_boolean()) fail(fmt::format("expected true or false, found {}", value_->type_name()));
  return value_->get<bool>();
}

std::int64_t JsonPart::integer(std::int64_t low, std::int64_t high) const {
  if (!value_->is_number_integer()) fail(fmt::format("expected a whole number, found {}", value_->type_name()));
  const bool huge = value_->is_number_unsigned() && value_->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
  const std::int64_t number = huge ? INT64_MAX : value_->get<std::int64_t>();
  if (number < low || number > high) fail(fmt::format("{} is outside {}..{}", value_->dump(), low, high));
  return number;
}

std::int32_t JsonPart::token_id() const { return static_cast<std::int32_t>(integer(0, (1 << 24) - 1)); }

char32_t JsonPart::character() const {
  const std::string& string = text();
  std::size_t at = 0;
  const char32_t c = string.empty() ? 0 : unicode::next(string, at);
  if (string.empty() || at != string.size()) fail(fmt::format("expected one character, found \"{}\"", string));
  return c;
}

}  // namespace dmoerm::tokenizer
