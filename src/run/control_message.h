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
  paused,       ///< saved, to go on with other ranks
  stopped,      ///< saved, to go on in a later run
  interrupted,  ///< called out of a collective because another rank of the group failed
};
std::string_view to_string(TaskOutcome outcome);

// --- To the coordinator ---

/// A rank has nothing to do.
struct Idle {
  int rank = 0;
};
/// How far a running task is; from the first rank of its group.
struct Progress {
  std::string task;
  nlohmann::json fields;  ///< Fields of the event "progress" (docs/formats.md), `fraction` among them
};
/// A rank failed alone: the others of its group may be waiting for it in a collective.
struct Broken {
  int tag = 0;
  int rank = 0;
};
/// An external task is left for a later run.
struct Left {
  std::string task;
};
/// A rank was asked to stop by a signal.
struct Stopping {
  int signal = 0;
};
/// A task ended; from the first rank of its group, or from the thread that does external tasks.
struct Ended {
  std::string task;
  int tag = 0;  ///< Number of the assignment; 0 for external tasks
  TaskOutcome outcome = TaskOutcome::done;
  std::string message = {};
  int exit_code = 0;     ///< Exit code that a failure asks for
  bool may_pass = true;  ///< Whether trying again may help after a failure
  int signal = 0;        ///< Signal that stopped the task; 0 if none did
};
using ToCoordinator = std::variant<Idle, Progress, Broken, Left, Stopping, Ended>;

// --- To a rank ---

/// Do a task together with these ranks.
struct RunOrder {
  std::string task;
  std::vector<int> ranks;
  int tag = 0;
};
/// Save the task of this tag at the next step's edge: it goes on with other ranks.
struct PauseOrder {
  int tag = 0;
};
/// Another rank of the task's group failed: leave its collectives.
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
