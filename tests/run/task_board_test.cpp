// Tests that the thread of external tasks hears of tasks that are done, and of the end.
#include "run/task_board.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace dmoerm::run {
namespace {

TEST(TaskBoard, WakesWhoWaitsForATask) {
  TaskBoard board({"a"});
  const auto both = [](const std::set<std::string>& done) { return done.contains("a") && done.contains("b"); };
  EXPECT_FALSE(board.ask(both));
  std::atomic<bool> answer{false};
  std::thread waiting([&] { answer = board.wait_for(both, {}); });
  board.add("c");
  board.add("b");
  waiting.join();
  EXPECT_TRUE(answer);
  EXPECT_TRUE(board.ask(both));
}

TEST(TaskBoard, EndsTheWaitWhenNothingFollowsAndAtAStop) {
  TaskBoard board({});
  const auto never = [](const std::set<std::string>&) { return false; };
  EXPECT_FALSE(board.wait_for(never, [] { return true; }));
  int calls = 0;
  board.if_open([&] { ++calls; });
  std::thread closing([&] { board.close(); });
  EXPECT_FALSE(board.wait_for(never, {}));
  closing.join();
  board.if_open([&] { ++calls; });
  EXPECT_EQ(calls, 1) << "nobody hears what is said after the end";
}

}  // namespace
}  // namespace dmoerm::run
