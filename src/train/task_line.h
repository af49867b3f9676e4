// What connects a running task with the coordinator: its progress goes there, a request to make room comes back.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dmoerm::train {

/// Each may be empty.
struct TaskLine {
  std::function<void(const nlohmann::json& progress)>
      report;                                          ///< fields of a "progress" event (docs/formats.md); first rank only
  std::function<void(const std::string& what)> doing;  ///< for the message about a rank that falls silent
  std::function<bool()> pause_asked;                   ///< break off at a step's edge, to go on with other ranks
};

}  // namespace dmoerm::train
