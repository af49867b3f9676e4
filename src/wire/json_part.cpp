#include "wire/json_part.h"

#include <fmt/format.h>

#include "base/json_problem.h"
#include "base/repeated_keys.h"
#include "base/text.h"
#include "base/utf8.h"
#include "preference/row_fields.h"

namespace dmoerm::wire {

using nlohmann::json;

namespace {

/// Refuses what the parser of JSON lets pass: deep nesting and keys that stand twice.
class Guard {
 public:
  Guard(int depth_max, Family family) : depth_max_(depth_max), family_(family) {}
  bool operator()(int depth, json::parse_event_t event, json& value) {
    if (depth > depth_max_)
      throw RequestError("body-nested-too-deep", 400, family_,
                         fmt::format("the body is nested deeper than {} lists and objects", depth_max_));
    if (keys_.repeats(event, value))
      throw RequestError("key-given-twice", 400, family_,
                         fmt::format("the key {} stands twice in one object", preference::shown(value)));
    return true;
  }

 private:
  int depth_max_;
  Family family_;
  RepeatedKeys keys_;
};

void check_utf8(std::string_view body, Family family) {
  for (std::size_t i = 0; i < body.size();) {
    const std::size_t length = utf8_length(body, i);
    if (const std::string type = length == 0 ? foreign_type(body.substr(0, 4096)) : ""; !type.empty())
      throw RequestError("body-not-utf8", 400, family, fmt::format("the body is {}", type));
    if (length == 0)
      throw RequestError("body-not-utf8", 400, family,
                         fmt::format("byte {} of the body, 0x{:02x}, is not UTF-8", i, static_cast<unsigned char>(body[i])));
    i += length;
  }
}

/// Whether the text at a parser's error is a word that programs write for a number that is none.
bool not_finite(std::string_view body, std::size_t column) {
  for (const std::string_view word : {"NaN", "nan", "Infinity", "Inf", "inf"}) {
    if (column >= 1 && column <= body.size() && body.substr(column - 1).starts_with(word)) return true;
  }
  return false;
}

/// A sentence that may repeat a very long value of the body.
std::string shortened(const std::string& sentence) {
  constexpr std::size_t kMost = 120;
  return sentence.size() <= kMost ? sentence : std::string(utf8_prefix(sentence, kMost)) + "...";
}

}  // namespace

json parse_body(std::string_view body, int depth_max, Family family) {
  check_utf8(body, family);
  if (is_blank(body)) throw RequestError("empty-body", 400, family, "the body is empty; expected a JSON object");
  try {
    return json::parse(body, Guard(depth_max, family));
  } catch (const json::out_of_range& e) {
    throw RequestError("number-not-finite", 400, family, fmt::format("the body is not usable: {}", json_complaint(body, e)));
  } catch (const json::parse_error& e) {
    if (not_finite(body, e.byte))
      throw RequestError("number-not-finite", 400, family, fmt::format("byte {} of the body: expected a finite number", e.byte));
    throw RequestError("body-not-json", 400, family, fmt::format("the body is not JSON: {}", shortened(json_complaint(body, e))));
  }
}

int status_of_unfit(Family family) { return family == Family::fastapi || family == Family::tei ? 422 : 400; }

bool JsonPart::has(const char* key) const {
  if (asked_ != nullptr) asked_->insert(key);
  return value_->is_object() && value_->contains(key) && !value_->at(key).is_null();
}

JsonPart JsonPart::at(const char* key) const {
  if (asked_ != nullptr) asked_->insert(key);
  if (!value_->is_object()) refuse("body-field-wrong-type", fmt::format("an object with the key {}", key));
  const auto found = value_->find(key);
  const std::string path = path_.empty() ? key : path_ + "." + key;
  if (found == value_->end())
    throw RequestError("body-field-missing", status_of_unfit(family_), family_,
                       fmt::format("{}: the key is missing; found {}", path, preference::keys_of(*value_)));
  return {*found, family_, path};
}

std::vector<JsonPart> JsonPart::items() const {
  if (!value_->is_array()) refuse("body-field-wrong-type", "a list");
  std::vector<JsonPart> parts;
  parts.reserve(value_->size());
  for (std::size_t i = 0; i < value_->size(); ++i) parts.push_back(element((*value_)[i], i));
  return parts;
}

std::vector<JsonPart> JsonPart::some_items() const {
  std::vector<JsonPart> parts = items();
  if (parts.empty()) complain("no-texts", "expected at least one text, found an empty list");
  return parts;
}

JsonPart JsonPart::element(const json& value, std::size_t index) const {
  return {value, family_, fmt::format("{}[{}]", path_, index)};
}

const std::string& JsonPart::text() const {
  if (!value_->is_string()) refuse("body-field-wrong-type", "a text");
  return value_->get_ref<const std::string&>();
}

bool JsonPart::boolean() const {
  if (!value_->is_boolean()) refuse("body-field-wrong-type", "true or false");
  return value_->get<bool>();
}

std::int64_t JsonPart::integer(std::int64_t low, std::int64_t high) const {
  const bool fits = value_->is_number_unsigned() ? value_->get<std::uint64_t>() <= static_cast<std::uint64_t>(high)
                                                 : value_->is_number_integer() && value_->get<std::int64_t>() <= high;
  if (!fits || (value_->is_number_integer() && value_->get<std::int64_t>() < low))
    refuse("body-number-out-of-range", fmt::format("a whole number from {} to {}", low, high));
  return value_->get<std::int64_t>();
}

void JsonPart::refuse(ErrorCode code, const std::string& expected) const {
  complain(code, fmt::format("expected {}, found {}", expected, preference::shown(*value_)));
}

void JsonPart::complain(ErrorCode code, const std::string& sentence) const {
  throw RequestError(code, status_of_unfit(family_), family_, fmt::format("{}: {}", where(), sentence));
}

}  // namespace dmoerm::wire
