#include "config/affects.h"

#include <utility>

namespace dmoerm::config {

std::string describe_affects(Affects affects) {
  std::string text;
  for (const auto& [stage, name] : {std::pair(Affects::groups, "groups"), std::pair(Affects::tokens, "tokens"),
                                    std::pair(Affects::labels, "labels"), std::pair(Affects::result, "result")}) {
    if (share_a_stage(affects, stage)) text += (text.empty() ? "" : ", ") + std::string(name);
  }
  if (text.empty()) return "nothing";
  return by_content(affects) ? text + " (by content)" : text;
}

}  // namespace dmoerm::config
