#include "run/label_rounds.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/log.h"

namespace dmoerm::run {
namespace {

constexpr std::chrono::milliseconds kLookAgain{500};

/// Unlocks the label store at the end of its scope.
struct ClosedAtEnd {
  LabelStage& stage;
  ~ClosedAtEnd() { stage.close(); }
};

/// Open the label store; while another process labels, wait, and say so once. @return false if `stop` ended the wait
bool open_when_free(LabelStage& stage, const std::function<bool()>& stop) {
  for (bool said = false; !stop(); said = true) {
    const std::string in_use = open_if_free(stage);
    if (in_use.empty()) return true;
    if (!said) spdlog::warn("[label] the run waits with its questions: {}", in_use);
    std::this_thread::sleep_for(kLookAgain);
  }
  return false;
}

}  // namespace

std::string open_if_free(LabelStage& stage) {
  try {
    stage.open();
    return "";
  } catch (const ConfigError& e) {
    if (std::string_view(e.code().text()) != "label-store-in-use") throw;
    return e.what();
  }
}

label::LabellingEnd label_in_rounds(LabelStage& stage, const LabelStage::Run& how, TaskBoard& board) {
  const ClosedAtEnd closed_at_end{stage};
  std::set<std::string> left = how.tasks;
  while (!left.empty()) {
    LabelStage::Run now = how;
    now.tasks.clear();
    const auto some_can_start = [&](const std::set<std::string>& done) {
      for (const std::string& task : left) {
        if (std::ranges::all_of(stage.chosen_by(task), [&](const std::string& gaps) { return done.contains(gaps); }))
          now.tasks.insert(task);
      }
      return !now.tasks.empty();
    };
    if (!board.ask(some_can_start)) {
      stage.close();
      if (!board.wait_for(some_can_start, how.stop)) break;
    }
    if (!open_when_free(stage, how.stop)) break;
    const label::LabellingEnd end = stage.run(now);
    if (end.why != label::LabellingEnd::Why::complete) return end;
    for (const std::string& task : now.tasks) left.erase(task);
  }
  return {};
}

}  // namespace dmoerm::run
