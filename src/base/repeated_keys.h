// Finds the keys of JSON objects that stand twice: a parser keeps the last of their values and says nothing.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_set>
#include <vector>

namespace dmoerm {

/// Watches a parser of JSON, which tells it of each event (nlohmann's callback).
class RepeatedKeys {
 public:
  /// Whether the event is a key that its object has already.
  bool repeats(nlohmann::json::parse_event_t event, const nlohmann::json& value);

 private:
  std::vector<std::unordered_set<std::string>> objects_;  ///< keys of the objects around the place of the parser
};

}  // namespace dmoerm
