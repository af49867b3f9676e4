// How a running task tells its progress to the coordinator, and how it learns that it shall pause.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dmoerm::train {

/// Each function may be empty.
struct TaskProgress {
  /// Takes the fields of a "progress" event (docs/formats.md). The first rank calls it.
  std::function<void(const nlohmann::json& progress)> report;
  /// Takes what the rank does now, for the message about a rank that falls silent.
  std::function<void(const std::string& what)> doing;
  /// Returns whether to save and pause after this step, because the task shall continue on other ranks. What the first rank
  /// hears counts.
  std::function<bool()> pause_asked;
  /// Takes why the task does not pause although it was asked to. The first rank calls it; until it is asked again, pause_asked
  /// returns false.
  std::function<void(const std::string& why)> pause_refused;
};

}  // namespace dmoerm::train
