// Fields of JSON that another process or an older program may have written. A field that is absent or of another type counts as
// not known and is not an error.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace dmoerm::watch {

inline const nlohmann::json* field(const nlohmann::json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

inline double number_field(const nlohmann::json& object, const char* key,
                           double otherwise = std::numeric_limits<double>::quiet_NaN()) {
  const auto* value = field(object, key);
  return value && value->is_number() ? value->get<double>() : otherwise;
}

inline std::int64_t integer_field(const nlohmann::json& object, const char* key, std::int64_t otherwise = -1) {
  const auto* value = field(object, key);
  return value && value->is_number_integer() ? value->get<std::int64_t>() : otherwise;
}

inline std::string text_field(const nlohmann::json& object, const char* key) {
  const auto* value = field(object, key);
  return value && value->is_string() ? value->get<std::string>() : "";
}

inline bool flag_field(const nlohmann::json& object, const char* key) {
  const auto* value = field(object, key);
  return value && value->is_boolean() && value->get<bool>();
}

inline const nlohmann::json& list_field(const nlohmann::json& object, const char* key) {
  static const nlohmann::json kNone = nlohmann::json::array();
  const auto* value = field(object, key);
  return value && value->is_array() ? *value : kNone;
}

}  // namespace dmoerm::watch
