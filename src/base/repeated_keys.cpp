#include "base/repeated_keys.h"

namespace dmoerm {

using nlohmann::json;

bool RepeatedKeys::repeats(json::parse_event_t event, const json& value) {
  if (event == json::parse_event_t::object_start) objects_.emplace_back();
  if (event == json::parse_event_t::object_end) objects_.pop_back();
  return event == json::parse_event_t::key && !objects_.back().insert(value.get_ref<const std::string&>()).second;
}

}  // namespace dmoerm
