#include "watch/watcher.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "run_events.h"
#include "support/scratch.h"

namespace dmoerm::watch {
namespace {

using nlohmann::json;
using namespace test;  // NOLINT
using WatchedRun = test::Scratch;

config::WatchConfig quiet() {
  config::WatchConfig config;
  config.screen = config::ScreenMode::off, config.every_s = 0.01;
  return config;
}

TEST_F(WatchedRun, WritesEveryEventToStatusAndTimeline) {
  {
    Watcher watcher(quiet(), directory_, 1e12);
    watcher(run_event());
    watcher({{"at", kBegan}, {"event", "rank"}, {"rank", 0}, {"host", "left"}, {"doing", "waiting"}});
    watcher(start_event(1, "base/chat"));
    watcher(progress_event(2, "base/chat", 0.5, 1));
    watcher({{"at", kBegan + 3}, {"event", "finish"}, {"code", 3}});
  }
  auto status = read_status(directory_);
  ASSERT_TRUE(status.has_value());
  EXPECT_TRUE(status->state.finished());
  EXPECT_EQ(status->state.exit_code(), 3);
  EXPECT_EQ(task_of(status->state, "base/chat").step, 100);
  EXPECT_EQ(status->state.ranks().at(0).doing, "waiting");
  std::vector<std::string> told;
  read_timeline(directory_ / "timeline.jsonl", [&](const json& event) { told.push_back(event.at("event")); });
  EXPECT_EQ(told, (std::vector<std::string>{"run", "start", "progress", "finish"}));
}

TEST_F(WatchedRun, KeepsTheNumbersOfTheLastStart) {
  {
    Watcher watcher(quiet(), directory_, 0);
    watcher(run_event());
    watcher(start_event(1, "base/chat"));
    watcher(progress_event(2, "base/chat", 0.5, 1));
    watcher(end_event(3, "base/chat", "done"));
  }
  {
    Watcher watcher(quiet(), directory_, 0);
    watcher(run_event(100, {"base/chat"}));
  }
  const auto status = read_status(directory_);
  EXPECT_EQ(task_of(status->state, "base/chat").validation_accuracy, 0.75);
  EXPECT_EQ(status->state.began(), kBegan + 100);
}

TEST_F(WatchedRun, ContinuesWithAFullDiskAndADamagedStatus) {
  (void)write("status.json", "{torn");
  {
    Watcher watcher(quiet(), directory_, 0);
    watcher(run_event());
  }
  EXPECT_TRUE(read_status(directory_).has_value());
  {
    Watcher watcher(quiet(), directory_ / "absent", 0);
    watcher(run_event());
  }
  EXPECT_FALSE(std::filesystem::exists(directory_ / "absent"));
}

TEST_F(WatchedRun, DropsProgressButNoEndsWhenEventsFloodIn) {
  {
    Watcher watcher(quiet(), directory_, 0);
    watcher(run_event());
    watcher(start_event(1, "base/chat"));
    for (int i = 0; i < 50000; ++i) watcher(progress_event(2 + i * 1e-3, "base/chat", 0.5, 1));
    watcher(end_event(60, "base/chat", "done"));
  }
  EXPECT_EQ(task_of(read_status(directory_)->state, "base/chat").status, TaskStatus::done);
}

}  // namespace
}  // namespace dmoerm::watch
