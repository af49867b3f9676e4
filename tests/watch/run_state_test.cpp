#include "watch/run_state.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "run_events.h"
#include "watch/screen_text.h"
#include "watch/text_cells.h"

namespace dmoerm::watch {
namespace {

using nlohmann::json;
using namespace test;  // NOLINT

TEST(RunState, MakesTasksReadyWhenTheirInputsAreDone) {
  RunState state;
  state.apply(run_event());
  EXPECT_EQ(task_of(state, "base/chat").status, TaskStatus::ready);
  EXPECT_EQ(task_of(state, "expert/text/logic").status, TaskStatus::waiting);
  EXPECT_EQ(task_of(state, "label/chat/logic").status, TaskStatus::labelling);
  state.apply(start_event(1, "base/text"));
  EXPECT_EQ(task_of(state, "base/text").status, TaskStatus::running);
  state.apply(end_event(2, "base/text", "done"));
  EXPECT_EQ(task_of(state, "expert/text/logic").status, TaskStatus::ready);
  state.apply(end_event(2, "label/chat/logic", "done"));
  EXPECT_EQ(task_of(state, "expert/chat/logic").status, TaskStatus::waiting);  // its base is not done
  state.apply(end_event(3, "base/chat", "done"));
  EXPECT_EQ(task_of(state, "expert/chat/logic").status, TaskStatus::ready);
}

TEST(RunState, LabelsALaterRoundOnceItsInputsAreDone) {
  const auto task = [](const char* id, const char* input, bool elsewhere) {
    return json{{"id", id}, {"inputs", json::array({input})}, {"elsewhere", elsewhere}};
  };
  RunState state;
  state.apply({{"event", "run"},
               {"at", kBegan},
               {"ranks", json::array()},
               {"tasks",
                {{{"id", "label/groups"}, {"done", true}, {"elsewhere", true}},
                 task("label-round-1/chat/tone", "label/groups", true),
                 task("gaps-round-1/chat/tone", "label-round-1/chat/tone", false),
                 task("label/chat/tone", "gaps-round-1/chat/tone", true)}}});
  EXPECT_EQ(task_of(state, "label-round-1/chat/tone").status, TaskStatus::labelling);
  EXPECT_EQ(task_of(state, "label/chat/tone").status, TaskStatus::waiting);
  state.apply(end_event(1, "label-round-1/chat/tone", "done"));
  state.apply(start_event(2, "gaps-round-1/chat/tone"));
  state.apply(end_event(5, "gaps-round-1/chat/tone", "done"));
  EXPECT_EQ(task_of(state, "label/chat/tone").status, TaskStatus::labelling);
  EXPECT_EQ(task_of(state, "label/chat/tone").started, kBegan + 5) << "its pace counts from here";
}

TEST(RunState, SkipsOnlyTheTasksThatNeedAFailedOne) {
  RunState state;
  state.apply(run_event());
  state.apply(start_event(1, "base/text"));
  state.apply(end_event(2, "base/text", "retry", "out of memory"));
  EXPECT_EQ(task_of(state, "base/text").status, TaskStatus::retry);
  EXPECT_EQ(task_of(state, "expert/text/logic").status, TaskStatus::waiting);
  state.apply(start_event(3, "base/text"));
  state.apply(end_event(4, "base/text", "failed", "out of memory"));
  for (const char* skipped : {"expert/text/logic", "expert/text/style", "aggregator/text"})
    EXPECT_EQ(task_of(state, skipped).status, TaskStatus::skipped) << skipped;
  EXPECT_EQ(task_of(state, "base/chat").status, TaskStatus::ready);
  EXPECT_EQ(task_of(state, "base/text").message, "out of memory");
  EXPECT_EQ(task_of(state, "base/text").starts, 2);
}

TEST(RunState, DividesModelFlopsByTheRanksOfTheGroup) {
  RunState state;
  state.set_peak(1e12);
  state.apply(run_event());
  state.apply(start_event(0, "base/chat", {0, 1}));
  EXPECT_TRUE(std::isnan(state.mfu(task_of(state, "base/chat"))));
  state.apply(progress_event(10, "base/chat", 0.1, 10, {0, 1}));
  EXPECT_DOUBLE_EQ(state.mfu(task_of(state, "base/chat")), 0.125);
}

TEST(RunState, CountsOnlyTheNewProgressOfAResumedTask) {
  RunState state;
  state.apply(run_event());
  state.apply(start_event(0, "base/chat"));
  // The 90 s before this start brought it to 0.45, and 10 s more to 0.5.
  state.apply(progress_event(10, "base/chat", 0.5, 100));
  EXPECT_NEAR(state.task_eta(task_of(state, "base/chat"), kBegan + 10), 100, 1e-6);
  EXPECT_NEAR(task_of(state, "base/chat").fraction_before, 0.45, 1e-6);
  // 0.05 of the cost 4 in 10 rank-seconds means 50 s per unit of cost, so that base/text takes 200 s.
  state.apply(start_event(10, "base/text", {1}));
  EXPECT_NEAR(state.task_eta(task_of(state, "base/text"), kBegan + 10), 200, 1e-6);
}

TEST(RunState, MeasuresThePaceAgainWhenRanksJoin) {
  RunState state;
  state.apply(run_event());
  state.apply(start_event(0, "base/chat"));
  state.apply(progress_event(10, "base/chat", 0.1, 10));
  state.apply(progress_event(30, "base/chat", 0.2, 30));  // the pace is now 0.005 per second
  EXPECT_NEAR(state.task_eta(task_of(state, "base/chat"), kBegan + 30), 160, 1e-6);
  EXPECT_NEAR(state.task_eta(task_of(state, "base/chat"), kBegan + 50), 140, 1e-6);  // time passes without an event
  state.apply(progress_event(40, "base/chat", 0.25, 40, {0, 1}));
  state.apply(progress_event(60, "base/chat", 0.55, 60, {0, 1}));  // the pace is now 0.015 per second
  EXPECT_NEAR(state.task_eta(task_of(state, "base/chat"), kBegan + 60), 30, 1e-6);
}

TEST(RunState, EstimatesTheRunByItsLongestChainOrByTheSharedWork) {
  RunState state;
  state.apply(run_event(0, {"router", "label/chat/logic", "base/text", "expert/text/logic", "expert/text/style"}));
  EXPECT_TRUE(std::isnan(state.run_eta(kBegan)));
  state.apply(start_event(0, "aggregator/text"));
  state.apply(end_event(10, "aggregator/text", "done"));  // this means 10 s per unit of cost
  // Base 4, experts 2 + 2 and aggregator 1 are left: 90 s of work, 45 s on two ranks. The longest chain, 4 + 2 + 1, takes 70 s.
  EXPECT_NEAR(state.run_eta(kBegan + 10), 70, 1e-6);
  state.apply(end_event(10, "base/chat", "done"));
  state.apply({{"at", kBegan + 90}, {"event", "finish"}, {"code", 3}});
  EXPECT_EQ(state.run_eta(kBegan + 500), 0);
  EXPECT_EQ(state.elapsed(kBegan + 500), 90);
  EXPECT_EQ(state.exit_code(), 3);
}

TEST(RunState, StopsRunningTasksWhenTheRunFinishes) {
  RunState state;
  state.apply(run_event());
  state.apply(start_event(0, "base/chat"));
  state.apply({{"at", kBegan + 9}, {"event", "finish"}, {"code", 3}});
  EXPECT_EQ(state.count(TaskStatus::stopped), 2);  // the base and the labelling
  EXPECT_EQ(state.count(TaskStatus::running), 0);
}

TEST(RunState, KeepsTheNumbersOfFinishedTasksAtANewStart) {
  RunState state;
  state.apply(run_event());
  state.apply(start_event(0, "base/chat"));
  state.apply(progress_event(10, "base/chat", 0.9, 10));
  state.apply(end_event(11, "base/chat", "done"));
  state.apply(start_event(11, "base/text"));
  state.apply(progress_event(20, "base/text", 0.5, 9));
  state.apply(run_event(100, {"base/chat"}));
  EXPECT_EQ(task_of(state, "base/chat").validation_accuracy, 0.75);
  EXPECT_EQ(task_of(state, "base/chat").starts, 0);
  EXPECT_EQ(task_of(state, "base/text").status, TaskStatus::ready);
  EXPECT_TRUE(std::isnan(task_of(state, "base/text").validation_accuracy));
}

TEST(RunState, IgnoresUnknownAndBrokenEvents) {
  RunState state;
  for (const json& event :
       {json(3), json::object(), json{{"event", 7}}, json{{"event", "new thing"}}, json{{"event", "start"}, {"task", "none"}},
        json{{"event", "run"}, {"tasks", {1, "x", json::object()}}, {"ranks", {json::array()}}}})
    EXPECT_NO_THROW(state.apply(event)) << event;
  state.apply(run_event());
  state.apply(progress_event(1, "base/chat", 0.5, 1));  // not started
  EXPECT_EQ(task_of(state, "base/chat").fraction, 0);
  state.apply(start_event(1, "base/chat"));
  json strange = progress_event(2, "base/chat", 7.5, 1);
  strange["train_loss"] = nullptr, strange["ranks"] = 2, strange["step"] = "many";
  EXPECT_NO_THROW(state.apply(strange));
  EXPECT_EQ(task_of(state, "base/chat").fraction, 1);
  EXPECT_EQ(task_of(state, "base/chat").ranks, std::vector<int>{0});
}

TEST(RunState, ReadsBackTheJsonItWrote) {
  RunState state;
  state.set_peak(2e12);
  state.apply(run_event(0, {"router"}));
  state.apply({{"at", kBegan + 5}, {"event", "rank"}, {"rank", 1}, {"host", "right"}, {"doing", "base/text step 3"}});
  state.apply(
      {{"at", kBegan + 5}, {"event", "label"}, {"task", "label/chat/logic"}, {"labelled", 3}, {"total", 9}, {"cost", 0.5}});
  state.apply(start_event(0, "base/chat", {0, 1}));
  state.apply(progress_event(10, "base/chat", 0.5, 10, {0, 1}));
  state.apply(start_event(10, "base/text", {1}));
  state.apply(end_event(12, "base/text", "failed", "NaN in group \"x\""));
  const RunState again = RunState::from_json(json::parse(state.to_json().dump()));
  EXPECT_EQ(again.to_json(), state.to_json());
  RunState one = state, other = again;
  for (RunState* s : {&one, &other}) s->apply(end_event(20, "base/chat", "done"));
  EXPECT_EQ(one.to_json(), other.to_json());
  EXPECT_THROW(RunState::from_json(json::object()), DataError);
}

TEST(TextCells, RemovesEverythingThatATerminalObeys) {
  EXPECT_EQ(printable("a\033[31mb\nc\x7f\xff\xc3"
                      "!"),
            std::string("a?[31mb?c") + std::string(3, '?') + "!");
  EXPECT_EQ(printable("x\u202Ey \u00e9\u4e2d"), "x?y \u00e9\u4e2d");
  EXPECT_EQ(columns_of("\u00e9\u4e2d\u0301"), 3);
  EXPECT_EQ(cut_to("abcdef", 4), "abc\u2026");
  EXPECT_EQ(cut_to("abcdef", 4, true), "\u2026def");
  EXPECT_EQ(cut_to("\u4e2d\u4e2d\u4e2d", 4), "\u4e2d\u2026");
  EXPECT_EQ(short_number(999.6), "1.00k");
  EXPECT_EQ(clock_text(kUnknown), "-");
  EXPECT_EQ(clock_text(90061), "1d 01:01");
  EXPECT_EQ(ranges_text(std::vector{0, 1, 2, 5, 7, 8}), "0-2,5,7-8");
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

TEST(ScreenText, ShowsEveryTaskIfThereIsRoom) {
  RunState state;
  state.set_peak(1e12);
  state.apply(run_event());
  state.apply(start_event(0, "base/chat"));
  state.apply(progress_event(10, "base/chat", 0.5, 10));
  state.apply({{"at", kBegan + 1}, {"event", "rank"}, {"rank", 1}, {"host", "right"}, {"doing", ""}});
  const std::string text = joined(screen_text(state, {110, 24, kBegan + 20, false, 10}));
  for (const TaskState& task : state.tasks()) EXPECT_NE(text.find(task.id), std::string::npos) << task.id << "\n" << text;
  for (const char* part : {"running", "100/200", "0.5000", "75.0 %", "1.23k", "25.0 %", "0:00:00", "labelling",
                           "rank 1 on right SILENT for 0:00:19", "2 ranks: left 0, right 1"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

TEST(ScreenText, StaysWithinAnyWidthAndHeight) {
  for (const int tasks : {1, 30, 200, 3000}) {
    RunState state = large_run(tasks, 7);
    state.apply(end_event(5, "expert/category_1/point_1", "failed", "bad\nthing"));
    for (const int height : {4, 5, 10, 23, 60}) {
      for (const int width : {10, 40, 79, 200}) {
        const auto lines = screen_text(state, {width, height, kBegan + 9, false, 10});
        EXPECT_LE(lines.size(), static_cast<std::size_t>(height));
        for (const auto& line : lines) EXPECT_LE(columns_of(line), width) << line;
      }
    }
  }
}

TEST(ScreenText, FoldsManyTasksIntoALinePerCategoryButKeepsRunningAndFailedOnes) {
  RunState state = large_run(200, 5);
  state.apply(start_event(2, "expert/category_2/point_7"));
  state.apply(end_event(5, "expert/category_2/point_7", "failed", "NaN"));
  const auto lines = screen_text(state, {100, 20, kBegan + 9, false, 10});
  const std::string text = joined(lines);
  EXPECT_NE(text.find("point_7 "), std::string::npos) << text;
  for (int c = 0; c < 5; ++c) EXPECT_NE(text.find(fmt::format("category_{} others: ", c)), std::string::npos) << text;
  // Every task has its own line or is counted in a folded line.
  int counted = 0;
  for (std::size_t i = 3; i < lines.size(); ++i) {
    const std::size_t fold = lines[i].find(": ");
    if (lines[i].find("others: ") == std::string::npos) {
      ++counted;
      continue;
    }
    std::istringstream words(lines[i].substr(fold + 2));
    for (std::string word; words >> word;) counted += std::atoi(word.c_str());
  }
  EXPECT_EQ(counted, 200) << text;
}

TEST(ScreenText, LeavesOutTheColumnsOfLeastWorthFirst) {
  RunState state;
  state.apply(run_event());
  state.apply(start_event(0, "base/chat"));
  state.apply(progress_event(10, "base/chat", 0.5, 10));
  const auto head = [&](int width) { return screen_text(state, {width, 0, kBegan + 10, false, 10})[2]; };
  EXPECT_EQ(head(100), "task              state        step   loss accuracy tokens/s     ETA ranks");
  EXPECT_EQ(head(70), "task              state        step   loss accuracy tokens/s     ETA");
  EXPECT_EQ(head(45), "task              state        step accuracy");
  EXPECT_EQ(head(10), "task");
}

}  // namespace
}  // namespace dmoerm::watch
