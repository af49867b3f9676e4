#include "run/control_message.h"

#include <gtest/gtest.h>

namespace dmoerm::run {
namespace {

TEST(ControlMessage, ArrivesAsItWasSent) {
  EXPECT_EQ(std::get<Idle>(decode_to_coordinator(encode(Idle{3}))).rank, 3);
  const auto progress = std::get<Progress>(decode_to_coordinator(encode(Progress{"base/c", {{"fraction", 0.5}}})));
  EXPECT_EQ(progress.task, "base/c");
  EXPECT_EQ(progress.fields.at("fraction"), 0.5);
  const auto broken = std::get<Broken>(decode_to_coordinator(encode(Broken{7, 2})));
  EXPECT_EQ(broken.tag, 7);
  EXPECT_EQ(broken.rank, 2);
  EXPECT_EQ(std::get<PauseRefused>(decode_to_coordinator(encode(PauseRefused{"base/c"}))).task, "base/c");
  EXPECT_EQ(std::get<Left>(decode_to_coordinator(encode(Left{"label/c/p"}))).task, "label/c/p");
  EXPECT_EQ(std::get<Stopping>(decode_to_coordinator(encode(Stopping{15}))).signal, 15);
  for (const TaskOutcome outcome :
       {TaskOutcome::done, TaskOutcome::failed, TaskOutcome::paused, TaskOutcome::stopped, TaskOutcome::interrupted}) {
    const Ended sent{.task = "x", .tag = 4, .outcome = outcome, .message = "why", .exit_code = 2, .may_pass = false, .signal = 9};
    const auto ended = std::get<Ended>(decode_to_coordinator(encode(sent)));
    EXPECT_EQ(ended.outcome, outcome);
    EXPECT_EQ(ended.task + ended.message, "xwhy");
    EXPECT_EQ(ended.tag * 100 + ended.exit_code * 10 + ended.signal, 429);
    EXPECT_FALSE(ended.may_pass);
  }
  const auto order = std::get<RunOrder>(decode_to_rank(encode(RunOrder{"single", {0, 2}, 5})));
  EXPECT_EQ(order.task, "single");
  EXPECT_EQ(order.ranks, (std::vector<int>{0, 2}));
  EXPECT_EQ(order.tag, 5);
  EXPECT_EQ(std::get<PauseOrder>(decode_to_rank(encode(PauseOrder{6}))).tag, 6);
  EXPECT_EQ(std::get<BreakOrder>(decode_to_rank(encode(BreakOrder{7}))).tag, 7);
  EXPECT_EQ(std::get<StopOrder>(decode_to_rank(encode(StopOrder{15}))).signal, 15);
  const QuitOrder quit{{.done = {"a"}, .failed = {{"b", "why"}}, .skipped = {"c"}, .exit_code = 1, .stopped = true}};
  const RunSummary summary = std::get<QuitOrder>(decode_to_rank(encode(quit))).summary;
  EXPECT_EQ(summary.done, quit.summary.done);
  EXPECT_EQ(summary.failed, quit.summary.failed);
  EXPECT_EQ(summary.skipped, quit.summary.skipped);
  EXPECT_TRUE(summary.exit_code == 1 && summary.stopped && !summary.complete());
}

TEST(ControlMessage, CarriesTextThatIsNotUtf8) {
  const auto ended = std::get<Ended>(decode_to_coordinator(encode(Ended{.task = "x", .message = "bad \xff byte"})));
  EXPECT_NE(ended.message.find("bad "), std::string::npos);
}

TEST(ControlMessage, RefusesAnUnknownKind) {
  EXPECT_THROW(decode_to_rank(R"({"kind":"dance"})"), std::logic_error);
  EXPECT_THROW(decode_to_coordinator(encode(PauseOrder{1})), std::logic_error);
}

}  // namespace
}  // namespace dmoerm::run
