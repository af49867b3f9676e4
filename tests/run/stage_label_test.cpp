// Tests the stage that labels, with a judge in a process of its own.
#include "run/stage_label.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/error.h"
#include "support/judge_process.h"
#include "support/scratch.h"
#include "synth/synth.h"

namespace dmoerm::run {
namespace {

class LabelStageTest : public test::Scratch {
 protected:
  LabelStageTest() {
    ::setenv("DMOERM_JUDGE_DIR", DMOERM_SOURCE "/configs/judge", 1);
    synth::SynthOptions options;
    options.groups = 40;
    options.categories = 2;
    config_.data.inputs.push_back(
        {write("rows.jsonl", synth::synthesize(options).jsonl), "auto", "", config::InputSplit::own, 1.0});
    config_.backbone.dir = directory_.string();
    config_.categories.resize(1);
    config_.categories[0].name = "customer_support";
    config_.categories[0].points = {"empathy", "next_step", "professional"};
    config_.labels.store = (directory_ / "labels").string();
  }

  void ask(const test::JudgeProcess& server) {
    config::JudgeConfig judge;
    judge.model = "judge";
    judge.endpoints.emplace_back().url = server.url();
    config_.labels.judges = {judge};
  }
  static LabelStage::Run only(const std::string& task) {
    LabelStage::Run run;
    run.tasks = {task};
    run.stop = [] { return false; };
    return run;
  }
  /// Number of lines in the judge's log with a kind of misbehaviour.
  [[nodiscard]] int misbehaved(const std::string& kind) const {
    int count = 0;
    std::ifstream log(directory_ / "log");
    for (std::string line; std::getline(log, line);) count += line.ends_with(" " + kind) ? 1 : 0;
    return count;
  }

  config::RunConfig config_;
};

TEST_F(LabelStageTest, PaysAtMost32RepliesOverAllRoundsOfAJudgeThatTurnsBad) {
  int questions = 0;
  {
    const test::JudgeProcess server(directory_, {});
    ask(server);
    LabelStage stage(config_, RunDirectory(directory_ / "whole"), {});
    LabelStage::Run run = only("label/customer_support/empathy");
    run.progress = [&](const label::LabelProgress& progress, const auto&) {
      questions = static_cast<int>(progress.points.front().total);
    };
    ASSERT_EQ(stage.run(run).why, label::LabellingEnd::Why::complete);
    ASSERT_GT(questions, 60);
  }
  std::filesystem::remove_all(directory_ / "labels");
  // The judge turns bad 20 questions before the first call ends, as at the end of a round.
  const test::JudgeProcess server(
      directory_, {"--misbehave", fmt::format("prose=from:{}", questions - 20), "--log", (directory_ / "log").string()});
  ask(server);
  LabelStage stage(config_, RunDirectory(directory_ / "run"), {});
  EXPECT_EQ(stage.run(only("label/customer_support/empathy")).why, label::LabellingEnd::Why::complete);
  stage.close();
  EXPECT_EQ(misbehaved("prose"), 20);
  const label::LabellingEnd end = stage.run(only("label/customer_support/next_step"));
  EXPECT_EQ(end.why, label::LabellingEnd::Why::refused);
  EXPECT_LE(misbehaved("prose"), 32) << end.message;
  const std::filesystem::path report = directory_ / "run" / "label" / "report.md";
  std::ifstream file(report);
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  EXPECT_NE(page.find("without a verdict that can be read"), std::string::npos) << page;
}

TEST_F(LabelStageTest, AsksOnlyWhatMeasuresAnImportedExpert) {
  const test::JudgeProcess server(directory_, {});
  ask(server);
  const auto questions = [&](const std::string& folder) {
    std::int64_t total = 0;
    LabelStage stage(config_, RunDirectory(directory_ / folder), {});
    LabelStage::Run run = only("label/customer_support/empathy");
    run.progress = [&](const label::LabelProgress& progress, const auto&) {
      total = static_cast<std::int64_t>(progress.points.front().total);
    };
    EXPECT_EQ(stage.run(run).why, label::LabellingEnd::Why::complete);
    return total;
  };
  const std::int64_t all = questions("trained");
  config_.categories[0].imported_experts = {{"empathy", "adapters/empathy"}};
  const std::int64_t measured = questions("imported");
  EXPECT_GT(measured, 0) << "the validation split";
  EXPECT_LT(measured, all / 2) << "and not the train split, from which nothing is learnt";
  config_.pooled_baseline = true;
  EXPECT_EQ(questions("pooled"), all) << "a model that learns from all points does";
}

TEST_F(LabelStageTest, NeedsToWriteToTheStoreOnlyIfSomethingIsToBeAsked) {
  const test::JudgeProcess server(directory_, {"--log", (directory_ / "log").string()});
  ask(server);
  const auto requests = [&] {
    std::ifstream log(directory_ / "log");
    return std::count(std::istreambuf_iterator<char>(log), {}, '\n');
  };
  ASSERT_EQ(LabelStage(config_, RunDirectory(directory_ / "run"), {}).run(only("label/customer_support/empathy")).exit_code(), 0);
  const auto paid = requests();
  ASSERT_GT(paid, 60);
  const std::string table = LabelStage(config_, RunDirectory(directory_ / "run"), {}).estimate();
  std::filesystem::remove(directory_ / "labels" / "LOCK");
  std::filesystem::create_directory(directory_ / "labels" / "LOCK");  // not even root can open it for writing
  EXPECT_EQ(LabelStage(config_, RunDirectory(directory_ / "run"), {}).estimate(), table);
  LabelStage finished(config_, RunDirectory(directory_ / "again"), {});
  EXPECT_EQ(finished.run(only("label/customer_support/empathy")).exit_code(), 0);
  EXPECT_TRUE(std::filesystem::exists(directory_ / "again" / "label" / "report.md"));
  LabelStage more(config_, RunDirectory(directory_ / "again"), {});
  EXPECT_THROW(more.run(only("label/customer_support/next_step")), IoError);
  EXPECT_EQ(requests(), paid);
}

TEST_F(LabelStageTest, ReplacesNoVerdictsWhoseAnswersAreInAnotherStore) {
  const test::JudgeProcess server(directory_, {"--log", (directory_ / "log").string()});
  ask(server);
  const auto content = [&](const std::filesystem::path& file) {
    std::ifstream stream(file);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  };
  const std::filesystem::path folder = directory_ / "run" / "label", other = directory_ / "other";
  const std::filesystem::path verdicts = folder / "customer_support" / "empathy" / "verdicts.jsonl";
  const auto label = [&](const std::string& point) {
    return LabelStage(config_, RunDirectory(directory_ / "run"), {}).run(only("label/customer_support/" + point));
  };
  ASSERT_EQ(label("empathy").exit_code(), 0);
  const std::string paid = content(directory_ / "log"), made = content(verdicts), report = content(folder / "report.md");
  ASSERT_GT(made.size(), 0U);
  config_.labels.store = other.string();
  for (const char* point : {"empathy", "next_step"}) {  // of the second the report is the same page
    const std::string said = test::message_of<ConfigError>([&] { label(point); });
    EXPECT_NE(said.find(other.string() + ": this label store lacks an answer about responses "), std::string::npos) << said;
    EXPECT_NE(said.find("from the label store " + (directory_ / "labels").string()), std::string::npos) << said;
    EXPECT_NE(said.find("to pay for them again, remove " + folder.string() + " first"), std::string::npos) << said;
  }
  EXPECT_EQ(content(directory_ / "log"), paid);
  EXPECT_EQ(content(verdicts), made);
  EXPECT_EQ(content(folder / "report.md"), report);
  EXPECT_FALSE(std::filesystem::exists(other));
  std::filesystem::remove(folder / "report.json");  // as after an earlier version, which did not write the store's place
  EXPECT_NE(test::message_of<ConfigError>([&] { label("empathy"); }), "");
  std::filesystem::copy(directory_ / "labels", other, std::filesystem::copy_options::recursive);
  EXPECT_EQ(label("empathy").exit_code(), 0) << "a copy has the answers";
  EXPECT_EQ(content(directory_ / "log"), paid);
  EXPECT_EQ(content(verdicts), made);
  std::filesystem::remove_all(other);
  EXPECT_EQ(label("empathy").exit_code(), 0) << "a store that has lost answers is asked to get them again";
  EXPECT_GT(content(directory_ / "log").size(), paid.size());
}

TEST_F(LabelStageTest, ReplacesNoVerdictsThatARunWasTrainedOn) {
  const test::JudgeProcess server(directory_, {});
  ask(server);
  const std::filesystem::path verdicts = directory_ / "run" / "label" / "customer_support" / "empathy" / "verdicts.jsonl";
  const RunDirectory directory(directory_ / "run");
  const auto label = [&](bool update) {
    LabelStage stage(config_, directory, {"customer_support/empathy"});
    stage.expect_same_settings(update);
    return stage.run(only("label/customer_support/empathy")).exit_code();
  };
  const auto content = [&] {
    std::ifstream file(verdicts);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  config_.labels.pairs.pairs_max = 5;
  ASSERT_EQ(label(false), 0);
  const std::string few = content();
  config_.labels.pairs.pairs_max = 10;
  EXPECT_EQ(label(false), 0) << "nothing was trained on the first look";
  const std::string more = content();
  ASSERT_GT(more.size(), few.size());
  directory.complete(plan::TaskId::base("customer_support"), {}, {}, {});
  EXPECT_EQ(label(false), 0) << "the same settings";
  config_.labels.pairs.pairs_max = 5;
  const std::string said = test::message_of<ConfigError>([&] { label(false); });
  EXPECT_NE(said.find("pairs_max: 10 -> 5 (label/customer_support/empathy)"), std::string::npos) << said;
  EXPECT_NE(said.find("Run with --update"), std::string::npos) << said;
  EXPECT_EQ(content(), more);
  EXPECT_EQ(label(true), 0);
  EXPECT_EQ(content(), few);
}

}  // namespace
}  // namespace dmoerm::run
