// The messages between the coordinator and the ranks.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "run/run_summary.h"

namespace dmoerm::run {

enum class TaskOutcome {
  done,
  failed,
  paused,       ///< Saved, to continue on other ranks
  stopped,      ///< Saved, to continue in a later run
  interrupted,  ///< Called out of a collective because another of the task's ranks failed
};
std::string_view to_string(TaskOutcome outcome);

// --- To the coordinator ---

/// A rank has nothing to do.
struct Idle {
  int rank = 0;
};
/// Progress of a running task, sent by the first of its ranks.
struct Progress {
  std::string task;
  nlohmann::json fields;  ///< Fields of the event "progress" (docs/formats.md), `fraction` among them
};
/// A rank failed alone: the task's other ranks may be waiting for it in a collective.
struct Broken {
  int tag = 0;
  int rank = 0;
};
/// A running task does not pause although it was told to, because it could not save its work.
struct PauseRefused {
  std::string task;
};
/// An external task is left for a later run.
struct Left {
  std::string task;
};
/// A rank received a signal to stop.
struct Stopping {
  int signal = 0;
};
/// A task ended. Sent by the first of its ranks, or by the thread that does external tasks.
struct Ended {
  std::string task;
  int tag = 0;  ///< Number of the assignment; 0 for external tasks
  TaskOutcome outcome = TaskOutcome::done;
  std::string message = {};
  int exit_code = 0;     ///< Exit code of a failure
  bool may_pass = true;  ///< Whether trying again may help after a failure
  int signal = 0;        ///< Signal that stopped the task; 0 if none did
};
using ToCoordinator = std::variant<Idle, Progress, Broken, PauseRefused, Left, Stopping, Ended>;

// --- To a rank ---

/// Do a task together with these ranks.
struct RunOrder {
  std::string task;
  std::vector<int> ranks;
  int tag = 0;
};
/// Save the task of this tag after the current step: it continues on other ranks.
struct PauseOrder {
  int tag = 0;
};
/// Another of the task's ranks failed: leave its collectives.
struct BreakOrder {
  int tag = 0;
};
/// Save, and end the run.
struct StopOrder {
  int signal = 0;
};
/// All tasks have ended; nothing follows.
struct QuitOrder {
  RunSummary summary;
};
using ToRank = std::variant<RunOrder, PauseOrder, BreakOrder, StopOrder, QuitOrder>;

/// One JSON object {"kind": ..., fields}.
std::string encode(const ToCoordinator& message);
std::string encode(const ToRank& message);
/// @throws nlohmann::json::exception, std::logic_error for a text that encode() did not make
ToCoordinator decode_to_coordinator(const std::string& text);
ToRank decode_to_rank(const std::string& text);

}  // namespace dmoerm::run
