#include "preference/fast_json.h"

#include <simdjson.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

namespace dmoerm::preference {
namespace {

using nlohmann::json;
namespace dom = simdjson::dom;

constexpr std::size_t kLongest = std::size_t{1} << 20;  // of a text: a parser keeps several times that in each thread

/// Copy a value. @return whether it has no repeated key and fits into the depth
bool copy(const dom::element& from, int depth_left, json& to) {
  if (depth_left == 0) return false;
  switch (from.type()) {
    case dom::element_type::OBJECT: {
      to = json::object();
      auto& members = to.get_ref<json::object_t&>();
      for (const auto& [key, value] : dom::object(from)) {
        const auto [place, fresh] = members.try_emplace(std::string(key));
        if (!fresh || !copy(value, depth_left - 1, place->second)) return false;
      }
      return true;
    }
    case dom::element_type::ARRAY: {
      to = json::array();
      auto& elements = to.get_ref<json::array_t&>();
      for (const dom::element& value : dom::array(from)) {
        if (!copy(value, depth_left - 1, elements.emplace_back())) return false;
      }
      return true;
    }
    case dom::element_type::STRING:
      to = std::string(std::string_view(from));
      return true;
    case dom::element_type::INT64: {
      const std::int64_t number = from;
      to = number < 0 ? json(number) : json(static_cast<std::uint64_t>(number));
      return true;
    }
    case dom::element_type::UINT64:
      to = std::uint64_t(from);
      return true;
    case dom::element_type::DOUBLE:
      to = double(from);
      return true;
    case dom::element_type::BOOL:
      to = bool(from);
      return true;
    case dom::element_type::NULL_VALUE:
      to = nullptr;
      return true;
  }
  return false;
}

}  // namespace

std::optional<json> fast_json(const std::string& text, int depth_max) {
  thread_local dom::parser parser(kLongest);
  dom::element document;
  if (parser.parse(text).get(document) != simdjson::SUCCESS) return std::nullopt;
  json value;
  if (!copy(document, depth_max, value)) return std::nullopt;
  return value;
}

}  // namespace dmoerm::preference
