// Tests the labeller against a real judge in a separate process, whose log says what was asked.
#include "label/labeller.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "label/estimate.h"
#include "label/point_verdicts.h"
#include "label/recall.h"
#include "label_store/reader.h"
#include "label_store/store_lock.h"
#include "preference/group_json.h"
#include "support/captured_log.h"
#include "support/judge_process.h"
#include "support/scratch.h"

namespace dmoerm::label {
namespace {

class LabellerTest : public test::Scratch {
 protected:
  LabellerTest() { write_groups({2, 3, 4}); }

  /// Write groups with the given numbers of responses.
  void write_groups(const std::vector<int>& sizes) {
    std::string text;
    for (std::size_t g = 0; g < sizes.size(); ++g) {
      preference::Group group;
      group.id = fmt::format("g{}", g);
      group.category = "summarization";
      group.split = preference::Split::train;
      group.prompt = {{"user", fmt::format("Summarise article {}.", g)}};
      for (int r = 0; r < sizes[g]; ++r) {
        group.responses.push_back({.text = fmt::format("Summary {} of article {}, at length.", r, g),
                                   .overall = 1.0 * r,
                                   .scores = {{"coherence", 1.0 * r}}});
      }
      group.file = "data";
      group.line = static_cast<std::int64_t>(g) + 1;
      text += preference::to_json_line(group) + "\n";
    }
    groups_ = write("groups.jsonl", text);
  }

  [[nodiscard]] static config::LabelsConfig labels(const test::JudgeProcess& server,
                                                   config::AnswerMode answer = config::AnswerMode::json_schema) {
    return of(server.url(), answer);
  }
  [[nodiscard]] static config::LabelsConfig of(const std::string& url,
                                               config::AnswerMode answer = config::AnswerMode::json_schema) {
    config::LabelsConfig labels;
    config::JudgeConfig judge;
    judge.model = "judge";
    judge.answer = answer;
    judge.price_prompt = 1;
    judge.price_completion = 10;
    config::EndpointConfig endpoint;
    endpoint.url = url;
    judge.endpoints = {endpoint};
    labels.judges = {judge};
    return labels;
  }

  static judge::BatchPolicy quick() {
    judge::BatchPolicy policy;
    policy.poll_min_s = 0.05;
    policy.poll_max_s = 0.2;
    policy.lookup_pause_s = 0.1;
    return policy;
  }

  struct Run {
    LabellingEnd end;
    LabelProgress progress;
    std::vector<std::size_t> done;
    PointVerdicts verdicts;  ///< Verdicts of the first point
    judge::Usage run;
  };

  Run label(const config::LabelsConfig& labels, const std::vector<std::string>& points = {"coherence"},
            const SpendLimits& limits = {}, const std::function<bool()>& stop = {}) {
    GroupFile groups(groups_);
    std::vector<judge::Judge> judges = judge::make_judges(labels, DMOERM_SOURCE "/configs/judge", {});
    judge::connect(judges, directory_ / "batches", quick());
    label_store::LabelStore store = label_store::LabelStore::open(directory_ / "store");
    compare_with_notes(store, judges, labels.useless_max, true);
    std::vector<Target> targets;
    std::vector<std::vector<GroupPairs>> pairs;
    for (const std::string& point : points) {
      targets.push_back({"summarization", point});
      pairs.emplace_back();
      for (std::size_t g = 0; g < groups.entries().size(); ++g) {
        pairs.back().push_back({g, {}});
        for (int a = 0; a < groups.entries()[g].responses; ++a) {
          for (int b = a + 1; b < groups.entries()[g].responses; ++b) pairs.back().back().pairs.emplace_back(a, b);
        }
      }
    }
    Budget budget(store.spent());
    budget.limit_run(limits);
    budget.limit_store(store_limits_);
    Labeller labeller(targets, pairs, groups, judges, store, labels);
    if (rounds_) labeller.go_on_with(watches_);
    Run result;
    Labeller::Watch watch;
    watch.stop = stop;
    watch.point_done = [&](std::size_t target) {
      if (point_done_) point_done_();
      result.done.push_back(target);
    };
    result.end = labeller.run(budget, watch);
    if (rounds_) watches_ = labeller.watches();
    result.progress = labeller.progress();
    result.run = budget.run();
    result.verdicts =
        read_verdicts({targets[0], groups, judges, pairs[0], static_cast<std::int32_t>(labels.samples)}, store, judges, false);
    store.seal();
    return result;
  }

  /// Number of answers with status 200 by body.
  [[nodiscard]] std::map<std::string, int> answers() const {
    std::map<std::string, int> counts;
    std::ifstream log(directory_ / "log");
    for (std::string line; std::getline(log, line);) {
      std::string key, time, status;
      std::istringstream(line) >> key >> time >> status;
      if (status == "200") ++counts[key];
    }
    return counts;
  }
  /// Number of requests that reached the server.
  [[nodiscard]] int seen() const {
    std::ifstream log(directory_ / "log");
    return static_cast<int>(std::count(std::istreambuf_iterator<char>(log), {}, '\n'));
  }
  /// Number of replies of a kind of misbehaviour.
  [[nodiscard]] int misbehaved(const std::string& kind) const {
    int count = 0;
    std::ifstream log(directory_ / "log");
    for (std::string line; std::getline(log, line);) count += line.find(" " + kind) != std::string::npos ? 1 : 0;
    return count;
  }
  [[nodiscard]] std::vector<std::string> options(std::vector<std::string> more = {}) const {
    more.insert(more.end(), {"--log", (directory_ / "log").string()});
    return more;
  }

  /// Number of answers that were paid for, by line of a batch.
  [[nodiscard]] std::map<std::string, int> batch_answers() const {
    std::map<std::string, int> paid;
    std::ifstream log(directory_ / "log");
    for (std::string key, time, status, kind; log >> key >> time >> status >> kind;) {
      if (kind == "batch" && status == "200") ++paid[key];
    }
    return paid;
  }

  std::string groups_;
  SpendLimits store_limits_;
  std::function<void()> point_done_;
  bool rounds_ = false;  ///< Whether the labellings of a test are rounds of one run
  std::vector<JudgeWatch> watches_;
};

constexpr std::size_t kQuestions = 2 * (1 + 3 + 6);

TEST_F(LabellerTest, AsksEachQuestionOnceAndNothingTheSecondTime) {
  const test::JudgeProcess server(directory_, options());
  const Run first = label(labels(server));
  EXPECT_EQ(first.end.exit_code(), 0);
  EXPECT_EQ(first.done, std::vector<std::size_t>{0});
  EXPECT_EQ(answers().size(), kQuestions);
  EXPECT_EQ(first.verdicts.vote.pairs(), 10);
  EXPECT_EQ(first.progress.points[0].both, 10);
  EXPECT_GT(first.run.cost_micros, 0);
  const Run second = label(labels(server));
  EXPECT_EQ(second.progress.points[0].known, static_cast<std::int64_t>(kQuestions));
  EXPECT_EQ(second.verdicts.vote.outcomes, first.verdicts.vote.outcomes);
  EXPECT_EQ(second.run.requests, 0);
  for (const auto& [key, count] : answers()) EXPECT_EQ(count, 1) << key;
}

TEST_F(LabellerTest, AsksOnlyAboutANewRowAndANewPoint) {
  const test::JudgeProcess server(directory_, options());
  label(labels(server));
  write_groups({2, 3, 4, 2});
  EXPECT_EQ(label(labels(server)).run.requests, 2);
  EXPECT_EQ(label(labels(server), {"coherence", "fluency"}).run.requests, static_cast<std::int64_t>(kQuestions) + 2);
}

TEST_F(LabellerTest, StopsAtALimitAndContinuesFromThere) {
  const test::JudgeProcess server(directory_, options());
  const Run first = label(labels(server), {"coherence"}, {.requests = 7, .source = "test"});
  EXPECT_EQ(first.end.why, LabellingEnd::Why::limit);
  EXPECT_STREQ(first.end.code().text(), "labelling-limit-reached");
  EXPECT_EQ(first.end.exit_code(), 3);
  EXPECT_NE(first.end.message.find("test allows 7"), std::string::npos) << first.end.message;
  EXPECT_TRUE(first.done.empty());
  EXPECT_EQ(answers().size(), 7U);
  EXPECT_EQ(label(labels(server)).run.requests, static_cast<std::int64_t>(kQuestions) - 7);
}

TEST_F(LabellerTest, NeverSpendsMoreThanTheLimit) {
  const test::JudgeProcess server(directory_, options());
  const Run run = label(labels(server), {"coherence"}, {.cost_micros = 3000, .source = "test"});
  EXPECT_EQ(run.end.why, LabellingEnd::Why::limit);
  EXPECT_GT(run.run.cost_micros, 1500);
  EXPECT_LE(run.run.cost_micros, 3000);
}

TEST_F(LabellerTest, LimitsHoldWhereTheServerCountsNoTokens) {
  write_groups({9, 9});
  for (const char* kind : {"no_usage", "zero_usage", "small_usage"}) {
    std::filesystem::remove_all(directory_ / "store");
    const test::JudgeProcess server(directory_, options({"--misbehave", fmt::format("{}=1", kind)}));
    test::CapturedLog log;
    const Run run = label(labels(server), {"coherence"}, {.tokens = 10'000, .source = "test"});
    EXPECT_EQ(run.end.exit_code(), 3) << kind;
    EXPECT_GT(run.run.prompt_tokens, 5000) << kind;
    EXPECT_LE(run.run.prompt_tokens + run.run.completion_tokens, 10'000) << kind;
    EXPECT_NE(log.text().find("does not say how many tokens it used"), std::string::npos) << log.text();
  }
}

TEST_F(LabellerTest, ReservesTheLongestAnswerOfAServerThatDoesNotHeedMaxTokens) {
  const test::JudgeProcess server(directory_, options({"--misbehave", "long_usage=1"}));
  config::LabelsConfig config = labels(server);
  config.judges[0].max_tokens = 64;
  config.judges[0].endpoints[0].concurrency_max = 1;
  const test::CapturedLog log;
  const Run run = label(config, {"coherence"}, {.cost_micros = 36'000, .source = "test"});
  EXPECT_EQ(run.end.why, LabellingEnd::Why::limit);
  EXPECT_GT(run.run.cost_micros, 18'000);
  EXPECT_LE(run.run.cost_micros, 36'000) << "each costs more than 9000, and 64 tokens would cost 640";
  EXPECT_TRUE(log.has("900 in an answer that may have 64")) << log.text();
}

TEST_F(LabellerTest, ReservesThePromptsThatTheServerCounts) {
  write_groups({9, 9});  // 144 questions
  const test::JudgeProcess server(directory_, options({"--misbehave", "prompt_usage=1", "--latency-ms", "5"}));
  const test::CapturedLog log;
  const Run run = label(labels(server), {"coherence"}, {.cost_micros = 100'000, .source = "test"});
  EXPECT_EQ(run.end.why, LabellingEnd::Why::limit);
  EXPECT_LE(run.run.cost_micros, 100'000) << "each costs more than 4000 and is estimated at less than 1000";
  EXPECT_GT(run.run.cost_micros, 60'000);
  EXPECT_TRUE(log.has("counts more tokens in a prompt than estimated: 4000 where ")) << log.text();
}

TEST_F(LabellerTest, CountsRequestsInFlightWhenItIsKilledAgainstTheBudget) {
  write_groups({9});
  const test::JudgeProcess server(directory_, options({"--latency-ms", "60000"}));
  const pid_t child = ::fork();
  if (child == 0) {
    label(labels(server));
    ::_exit(0);
  }
  const auto in_flight = [&] {
    const auto note = label_store::StoreLock::read(directory_ / "store");
    return note ? note->in_flight : judge::Usage{};
  };
  for (int tries = 0; tries < 400 && in_flight().requests == 0; ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  const judge::Usage lost = in_flight();
  EXPECT_GE(lost.requests, 1);
  EXPECT_GT(lost.cost_micros, 300 * lost.requests);
  for (int start = 0; start < 2; ++start)
    EXPECT_EQ(label_store::LabelStore::open(directory_ / "store").spent(), lost) << "counted once";
}

TEST_F(LabellerTest, BooksWhatTheServerCountsUnderOtherNames) {
  const test::JudgeProcess server(directory_, options({"--misbehave", "other_usage=1"}));
  const Run run = label(labels(server));
  EXPECT_EQ(run.run.prompt_tokens, 4000 * static_cast<std::int64_t>(kQuestions));
  EXPECT_EQ(run.run.completion_tokens, 500 * static_cast<std::int64_t>(kQuestions));
}

TEST_F(LabellerTest, BooksWhatTheServerSaysThatItCharged) {
  write_groups({9, 9});
  const test::JudgeProcess server(directory_, options({"--misbehave", "cost_usage=1", "--latency-ms", "5"}));
  const test::CapturedLog log;
  const Run run = label(labels(server), {"coherence"}, {.cost_micros = 300'000, .source = "test"});
  EXPECT_EQ(run.end.why, LabellingEnd::Why::limit);
  EXPECT_EQ(run.run.cost_micros, 20'000 * run.run.requests) << "by the prices it is less than a tenth";
  EXPECT_LE(run.run.cost_micros, 300'000);
  EXPECT_TRUE(log.has("times what price_prompt and price_completion make it")) << log.text();
  std::filesystem::remove_all(directory_ / "store");
  config::LabelsConfig euros = labels(server);
  euros.currency = "EUR";
  EXPECT_LT(label(euros, {"coherence"}, {.requests = 15, .source = "test"}).run.cost_micros, 30'000) << "it is not in dollars";
}

TEST_F(LabellerTest, ACostWithoutTheCountOfThePromptTeachesNoPrice) {
  const test::JudgeProcess server(directory_, options({"--misbehave", "cost_alone=1"}));
  const std::int64_t enough = 20'000 * (static_cast<std::int64_t>(kQuestions) + 2);
  const Run run = label(labels(server), {"coherence"}, {.cost_micros = enough, .source = "test"});
  EXPECT_EQ(run.end.why, LabellingEnd::Why::complete) << run.end.message;
}

TEST_F(LabellerTest, CountsEveryRequestThatWasSentAgainstTheirLimit) {
  write_groups({9, 9});
  for (const char* kind : {"half_json", "500", "504", "cut_body"}) {
    SCOPED_TRACE(kind);
    std::filesystem::remove(directory_ / "log");
    std::filesystem::remove_all(directory_ / "store");
    const test::JudgeProcess server(directory_, options({"--misbehave", fmt::format("{}=0.5", kind)}));
    config::LabelsConfig quick = labels(server);
    quick.judges[0].backoff_s = quick.judges[0].backoff_max_s = 0.01;
    const Run first = label(quick, {"coherence"}, {.requests = 20, .source = "test"});
    EXPECT_EQ(first.end.why, LabellingEnd::Why::limit) << first.end.message;
    EXPECT_EQ(first.run.requests, seen());
    EXPECT_LE(seen(), 20);
    EXPECT_GE(seen(), 19);
    EXPECT_EQ(label_store::LabelStore::open(directory_ / "store").spent().requests, seen()) << "also in the store's budget";
  }
}

TEST_F(LabellerTest, TriesOfQuestionsWithoutAnAnswerCountAtTheNextStart) {
  const test::JudgeProcess server(directory_, options({"--misbehave", "502=1"}));
  config::LabelsConfig quick = labels(server);
  quick.judges[0].backoff_s = quick.judges[0].backoff_max_s = 0.05;
  quick.judges[0].endpoints[0].concurrency_max = 2;
  store_limits_ = {.requests = 8, .source = "test"};
  const Run stopped = label(quick, {"coherence"}, {}, [&] { return seen() >= 3; });
  EXPECT_EQ(stopped.end.why, LabellingEnd::Why::stopped) << stopped.end.message;
  EXPECT_EQ(stopped.run.requests, seen());
  EXPECT_EQ(label_store::LabelStore::open(directory_ / "store").spent().requests, seen());
  const Run limited = label(quick);
  EXPECT_EQ(limited.end.exit_code(), 3) << limited.end.message;
  EXPECT_EQ(limited.end.why, LabellingEnd::Why::limit) << limited.end.message;
  EXPECT_NE(limited.end.message.find("requests: 8 sent, test allows 8"), std::string::npos) << limited.end.message;
  EXPECT_EQ(seen(), 8);
  EXPECT_EQ(label(quick).end.why, LabellingEnd::Why::limit);
  EXPECT_EQ(seen(), 8) << "nothing is sent beyond the limit";
  EXPECT_EQ(limited.verdicts.not_asked, 10) << "no question counts as answered";
}

TEST_F(LabellerTest, PaysForNothingOnAFullDisk) {
  std::filesystem::create_directories(directory_ / "store");
  if (::mount("none", (directory_ / "store").c_str(), "tmpfs", 0, "size=300k") != 0)
    GTEST_SKIP() << "skipped: no right to mount a small file system";
  const test::JudgeProcess server(directory_, options());
  for (int start = 0; start < 2; ++start) {
    try {
      label(labels(server));
      ADD_FAILURE() << "expected an error";
    } catch (const IoError& e) {
      EXPECT_NE(std::string(e.what()).find("nothing is asked for"), std::string::npos) << e.what();
    }
  }
  EXPECT_EQ(seen(), 0);
  ::umount2((directory_ / "store").c_str(), MNT_DETACH);
}

TEST_F(LabellerTest, LosesNoAnswerOnADiskThatFillsUp) {
  write_groups(std::vector<int>(8, 9));  // 576 questions
  std::filesystem::create_directories(directory_ / "store");
  if (::mount("none", (directory_ / "store").c_str(), "tmpfs", 0, "size=1m") != 0)
    GTEST_SKIP() << "skipped: no right to mount a small file system";
  const test::JudgeProcess server(directory_, options());
  EXPECT_THROW(label(labels(server)), IoError);
  EXPECT_GT(seen(), 0);
  const int paid = seen();
  ASSERT_EQ(::mount("none", (directory_ / "store").c_str(), "tmpfs", MS_REMOUNT, "size=64m"), 0);
  const Run rest = label(labels(server));
  EXPECT_EQ(rest.end.exit_code(), 0) << rest.end.message;
  EXPECT_EQ(rest.progress.points[0].known, paid) << "all paid answers were stored";
  EXPECT_EQ(seen(), 576);
  ::umount2((directory_ / "store").c_str(), MNT_DETACH);
}

TEST_F(LabellerTest, NamesThePairThatAServerRefuses) {
  write_groups({9});
  const test::JudgeProcess server(directory_, options({"--misbehave", "400=1"}));
  const Run run = label(labels(server));
  EXPECT_EQ(run.end.exit_code(), 2);
  EXPECT_NE(run.end.message.find("of group g0)"), std::string::npos) << run.end.message;
}

TEST_F(LabellerTest, AsksEqualQuestionsOnce) {
  write_groups({2});
  std::ifstream file(groups_);
  std::string line;
  std::getline(file, line);
  groups_ = write("twice.jsonl", line + "\n" + line + "\n");
  const test::JudgeProcess server(directory_, options({"--latency-ms", "100"}));
  const Run run = label(labels(server));
  EXPECT_EQ(run.end.exit_code(), 0);
  EXPECT_EQ(run.done.size(), 1U);
  EXPECT_EQ(run.run.requests, 2);
  EXPECT_EQ(run.verdicts.vote.pairs(), 2);
}

TEST_F(LabellerTest, TheDryRunCountsEqualQuestionsOnce) {
  write_groups({2});
  std::ifstream file(groups_);
  std::string line;
  std::getline(file, line);
  groups_ = write("twice.jsonl", line + "\n" + line + "\n");
  GroupFile groups(groups_);
  const std::vector<judge::Judge> judges = judge::make_judges(of("http://127.0.0.1:9/v1"), DMOERM_SOURCE "/configs/judge", {});
  const label_store::LabelStore store = label_store::LabelStore::open(directory_ / "store");
  const auto points = estimate({{"summarization", "coherence"}}, {{{0, {{0, 1}}}, {1, {{0, 1}}}}}, groups, judges, store,
                               of("http://127.0.0.1:9/v1"));
  EXPECT_EQ(points[0].total, 4);
  EXPECT_EQ(points[0].total - points[0].known, 2);
}

TEST_F(LabellerTest, StopsAtOnceAtARejectedKeyAndStoresNothing) {
  const test::JudgeProcess server(directory_, options({"--require-key", "sk-other"}));
  const Run run = label(labels(server));
  EXPECT_EQ(run.end.why, LabellingEnd::Why::refused);
  EXPECT_STREQ(run.end.code().text(), "labelling-refused");
  EXPECT_EQ(run.end.exit_code(), 2);
  EXPECT_NE(run.end.message.find("401"), std::string::npos) << run.end.message;
  EXPECT_EQ(run.verdicts.not_asked, 10);
  EXPECT_EQ(run.run.requests, 0);
}

TEST_F(LabellerTest, StopsAtAnUnknownModelAndAnExhaustedQuota) {
  {
    const test::JudgeProcess server(directory_, options({"--model", "another"}));
    EXPECT_EQ(label(labels(server)).end.exit_code(), 2);
  }
  const test::JudgeProcess server(directory_, options({"--misbehave", "quota=from:4"}));
  const Run run = label(labels(server));
  EXPECT_EQ(run.end.why, LabellingEnd::Why::quota);
  EXPECT_EQ(run.end.exit_code(), 3);
  EXPECT_GT(run.progress.points[0].answered, 0);
}

TEST_F(LabellerTest, AsksForAVerdictLineIfTheServerSupportsNoSchema) {
  const test::JudgeProcess server(directory_, options({"--no-schema"}));
  const Run run = label(labels(server, config::AnswerMode::automatic));
  EXPECT_EQ(run.end.exit_code(), 0);
  EXPECT_EQ(run.verdicts.vote.judged(), 10);
  EXPECT_EQ(run.done.size(), 1U);
  EXPECT_EQ(answers().size(), kQuestions);
  EXPECT_EQ(label(labels(server, config::AnswerMode::automatic)).run.requests, 0) << "answers in either form are known";
}

TEST_F(LabellerTest, AsksErrorsAgainUnlessRetryErrorsIsOff) {
  {
    const test::JudgeProcess server(directory_, options({"--misbehave", "400=1"}));
    const Run run = label(labels(server));
    EXPECT_EQ(run.end.exit_code(), 2) << "a small run of errors alone is not complete either";
    EXPECT_NE(run.end.message.find("maximum context length is 8 tokens"), std::string::npos) << run.end.message;
    EXPECT_NE(run.end.message.find("lower context_tokens"), std::string::npos) << run.end.message;
    EXPECT_TRUE(run.done.empty());
    EXPECT_EQ(run.verdicts.vote.outcomes[static_cast<std::size_t>(preference::SwapOutcome::error)], 10);
  }
  const test::JudgeProcess server(directory_, options());
  config::LabelsConfig keep = labels(server);
  keep.retry_errors = false;
  EXPECT_EQ(label(keep).run.requests, 0);
  const Run again = label(labels(server));
  EXPECT_EQ(again.run.requests, static_cast<std::int64_t>(kQuestions));
  EXPECT_EQ(again.verdicts.vote.judged(), 10);
}

TEST_F(LabellerTest, CountsRefusalsAndProseAsTheirOwnOutcomes) {
  const test::JudgeProcess server(directory_, options({"--misbehave", "refusal=0.3", "--misbehave", "prose=0.3"}));
  const Run run = label(labels(server));
  EXPECT_EQ(run.end.exit_code(), 0);
  const auto& outcomes = run.verdicts.vote.outcomes;
  EXPECT_EQ(run.verdicts.vote.pairs(), 10);
  EXPECT_GT(outcomes[static_cast<std::size_t>(preference::SwapOutcome::refused)], 0);
  EXPECT_EQ(outcomes[static_cast<std::size_t>(preference::SwapOutcome::error)], 0);
}

TEST_F(LabellerTest, DetectsABiasedJudge) {
  const test::JudgeProcess server(directory_, options({"--misbehave", "bias=1"}));
  const Run run = label(labels(server));
  EXPECT_EQ(run.verdicts.vote.outcomes[static_cast<std::size_t>(preference::SwapOutcome::inconsistent)], 10);
  EXPECT_EQ(run.verdicts.judges[0].first_both, 10);
  EXPECT_EQ(run.progress.points[0].consistent, 0);
}

TEST_F(LabellerTest, PaysAtMost32RepliesOfAJudgeThatGoesByThePlaceAlone) {
  write_groups({9, 9, 9});  // 216 questions
  const test::JudgeProcess server(directory_, options({"--misbehave", "bias=1"}));
  config::LabelsConfig many = labels(server);
  many.judges[0].endpoints[0].concurrency_max = 200;
  const Run run = label(many);
  EXPECT_EQ(run.end.exit_code(), 2);
  EXPECT_NE(run.end.message.find("the same place both times"), std::string::npos) << run.end.message;
  EXPECT_EQ(answers().size(), 32U);
  EXPECT_EQ(label(many).end.exit_code(), 2);
  EXPECT_EQ(answers().size(), 34U) << "one more pair shows that nothing has changed";
  many.useless_max = 1;
  EXPECT_EQ(label(many).end.exit_code(), 0);
}

TEST_F(LabellerTest, CollectsAnswersInFlightAfterASignal) {
  const test::JudgeProcess server(directory_, options({"--latency-ms", "200"}));
  int calls = 0;
  const Run run = label(labels(server), {"coherence"}, {}, [&] { return ++calls > 3; });
  EXPECT_EQ(run.end.why, LabellingEnd::Why::stopped);
  EXPECT_EQ(run.end.exit_code(), 3);
  EXPECT_EQ(static_cast<std::size_t>(run.run.requests), answers().size()) << "all that the judge answered is stored";
  EXPECT_LT(answers().size(), kQuestions);
}

TEST_F(LabellerTest, CountsVotesOfSeveralJudgesAndSamples) {
  const test::JudgeProcess server(directory_, options()), other(directory_, options({"--seed", "4"}));
  config::LabelsConfig both = labels(server);
  both.judges.push_back(labels(other).judges[0]);
  both.judges[1].model = "second";
  for (config::JudgeConfig& judge : both.judges) judge.temperature = 1;
  both.samples = 2;
  const Run run = label(both);
  EXPECT_EQ(run.run.requests, static_cast<std::int64_t>(kQuestions) * 4);
  EXPECT_EQ(run.verdicts.vote.pairs(), 10);
  ASSERT_EQ(run.verdicts.judges.size(), 2U);
  EXPECT_EQ(run.verdicts.judges[0].pairs(), 20);
  EXPECT_EQ(run.verdicts.judges[1].judge, "second");
}

TEST_F(LabellerTest, GetsTheSameLabelsFromABatchAtItsPrice) {
  const test::JudgeProcess server(directory_, options({"--batch-delay-s", "0.3"}));
  const Run online = label(labels(server));
  std::filesystem::remove_all(directory_ / "store");
  std::filesystem::remove(directory_ / "log");
  config::LabelsConfig batch = labels(server);
  batch.judges[0].api = config::JudgeApi::batch;
  const Run run = label(batch);
  EXPECT_EQ(run.end.exit_code(), 0) << run.end.message;
  EXPECT_EQ(run.done.size(), 1U);
  EXPECT_EQ(run.verdicts.vote.outcomes, online.verdicts.vote.outcomes);
  EXPECT_NEAR(static_cast<double>(run.run.cost_micros), 0.5 * static_cast<double>(online.run.cost_micros), kQuestions);
  EXPECT_EQ(label(batch).run.requests, 0);
}

TEST_F(LabellerTest, CollectsTheBatchOfAnEarlierRunAndDoesNotPayAgain) {
  const test::JudgeProcess server(directory_, options({"--batch-delay-s", "1.5"}));
  config::LabelsConfig batch = labels(server);
  batch.judges[0].api = config::JudgeApi::batch;
  const auto begun = std::chrono::steady_clock::now();
  const Run first =
      label(batch, {"coherence"}, {}, [&] { return std::chrono::steady_clock::now() - begun > std::chrono::seconds(1); });
  EXPECT_EQ(first.end.why, LabellingEnd::Why::stopped);
  EXPECT_EQ(first.run.requests, 0);
  const Run second = label(batch, {"coherence"}, {.requests = 1, .source = "under way does not count"});
  EXPECT_EQ(second.end.exit_code(), 0) << second.end.message;
  EXPECT_EQ(second.verdicts.vote.judged(), 10);
  EXPECT_EQ(second.run.requests, static_cast<std::int64_t>(kQuestions));
  const std::map<std::string, int> paid = batch_answers();
  EXPECT_EQ(paid.size(), kQuestions);
  for (const auto& [key, count] : paid) EXPECT_EQ(count, 1) << key;
}

TEST_F(LabellerTest, CountsTheBatchOfAnEarlierRunAgainstTheBudget) {
  const test::JudgeProcess server(directory_, options({"--batch-delay-s", "1.5"}));
  config::LabelsConfig batch = labels(server);
  batch.judges[0].api = config::JudgeApi::batch;
  const SpendLimits limits{.requests = 10, .source = "test"};
  const auto begun = std::chrono::steady_clock::now();
  label(batch, {"coherence"}, limits, [&] { return std::chrono::steady_clock::now() - begun > std::chrono::seconds(1); });
  const Run second = label(batch, {"coherence"}, limits);
  EXPECT_EQ(second.end.why, LabellingEnd::Why::limit);
  EXPECT_EQ(second.run.requests, 10) << "those under way are collected";
  EXPECT_EQ(batch_answers().size(), 10U) << "nothing new was bought beside them";
}

TEST_F(LabellerTest, AsksAgainWhatABatchDidNotAnswer) {
  config::LabelsConfig batch;
  {
    const test::JudgeProcess server(directory_, options({"--batch-delay-s", "0.2", "--misbehave", "batch_expires=1"}));
    batch = labels(server);
    batch.judges[0].api = config::JudgeApi::batch;
    const Run run = label(batch);
    EXPECT_EQ(run.end.why, LabellingEnd::Why::unreachable) << run.end.message;
    EXPECT_TRUE(run.done.empty());
  }
  const test::JudgeProcess server(directory_, options({"--batch-delay-s", "0.2"}));
  batch.judges[0].endpoints[0].url = server.url();
  EXPECT_EQ(label(batch).done.size(), 1U);
  for (const auto& [key, count] : batch_answers()) EXPECT_EQ(count, 1) << key;
}

TEST_F(LabellerTest, StopsAskingAJudgeThatAnswersWithErrorsOnly) {
  write_groups({9});
  const test::JudgeProcess server(directory_, options({"--misbehave", "400=1"}));
  const Run run = label(labels(server));
  EXPECT_EQ(run.end.exit_code(), 2);
  EXPECT_NE(run.end.message.find("32 errors; the last:"), std::string::npos) << run.end.message;
  EXPECT_TRUE(run.done.empty());
}

TEST_F(LabellerTest, PaysAtMost32RepliesOfAJudgeThatGivesNoVerdicts) {
  write_groups({9, 9, 9});  // 216 questions
  const std::map<std::string, std::string> said = {{"cut", "finish_reason length"},
                                                   {"blank", "puts the answer elsewhere"},
                                                   {"prose", "I lean to one of them"},
                                                   {"refusal", "I cannot help with that"},
                                                   {"sse_cut", "stream of server-sent events"}};
  for (const auto& [kind, words] : said) {
    SCOPED_TRACE(kind);
    std::filesystem::remove(directory_ / "log");
    std::filesystem::remove_all(directory_ / "store");
    const test::JudgeProcess server(directory_, options({"--misbehave", kind + "=0.95"}));
    config::LabelsConfig patient = labels(server);
    patient.judges[0].endpoints[0].concurrency_max = 200;
    const Run run = label(patient);
    EXPECT_EQ(run.end.exit_code(), 2);
    EXPECT_NE(run.end.message.find(words), std::string::npos) << run.end.message;
    EXPECT_TRUE(run.done.empty());
    int paid = 0;
    for (const auto& [key, count] : answers()) paid += count;
    EXPECT_LE(paid, 32);
    ASSERT_FALSE(run.progress.notes.empty());
    EXPECT_NE(run.progress.notes[0].find("judge: "), std::string::npos);
  }
}

TEST_F(LabellerTest, PaysAtMost32RepliesOfAJudgeThatTurnsBad) {
  write_groups(std::vector<int>(8, 9));  // 576 questions
  for (const char* kind : {"prose", "cut", "blank", "bias"}) {
    for (const int good : {9, 250}) {
      for (const int samples : good == 9 ? std::vector<int>{1} : std::vector<int>{1, 3}) {
        SCOPED_TRACE(fmt::format("{} after {} with {} samples", kind, good, samples));
        std::filesystem::remove(directory_ / "log");
        std::filesystem::remove_all(directory_ / "store");
        const test::JudgeProcess server(directory_,
                                        options({"--misbehave", fmt::format("{}=from:{}", kind, good), "--latency-ms", "3"}));
        config::LabelsConfig config = labels(server);
        config.samples = samples;
        config.judges[0].temperature = samples > 1 ? 1 : 0;
        const Run run = label(config);
        EXPECT_EQ(run.end.exit_code(), 2);
        EXPECT_NE(run.end.message.find(" of the last "), std::string::npos) << run.end.message;
        EXPECT_LE(misbehaved(kind), 32 + (kind == std::string("bias") ? 8 : 0)) << "pairs under way are half asked when it turns";
        EXPECT_GE(misbehaved(kind), 12);
        const int paid = misbehaved(kind);
        EXPECT_EQ(label(config).end.exit_code(), 2);
        EXPECT_LE(misbehaved(kind) - paid, 2) << "one question, or one pair, shows that nothing has changed";
      }
    }
  }
}

TEST_F(LabellerTest, PaysAtMost32RepliesOverAllRoundsOfAJudgeThatTurnsBad) {
  write_groups({9});  // 72 questions a round
  rounds_ = true;
  for (const char* kind : {"prose", "cut", "blank"}) {
    for (const int good : {50, 60, 71}) {
      SCOPED_TRACE(fmt::format("{} after {}", kind, good));
      std::filesystem::remove(directory_ / "log");
      std::filesystem::remove_all(directory_ / "store");
      watches_.clear();
      const test::JudgeProcess server(directory_,
                                      options({"--misbehave", fmt::format("{}=from:{}", kind, good), "--latency-ms", "3"}));
      const config::LabelsConfig config = labels(server);
      const Run first = label(config);
      EXPECT_EQ(first.end.exit_code(), 0) << first.end.message;
      EXPECT_EQ(first.done.size(), 1U) << "most of its verdicts are there";
      const Run second = label(config, {"relevance"});
      EXPECT_EQ(second.end.exit_code(), 2);
      EXPECT_EQ(second.progress.notes.size(), 1U);
      EXPECT_LE(misbehaved(kind), 32) << second.end.message;
      EXPECT_GE(misbehaved(kind), 12);
    }
  }
}

TEST_F(LabellerTest, PaysAtMost32RepliesOfTheOneOfTwoJudgesThatTurnsBad) {
  write_groups(std::vector<int>(8, 9));
  const test::JudgeProcess good(directory_, {"--latency-ms", "3"}),
      bad(directory_, options({"--misbehave", "prose=from:150", "--latency-ms", "3"}));
  config::LabelsConfig both = labels(good);
  both.judges.push_back(labels(bad).judges[0]);
  both.judges[1].model = "bad";
  both.samples = 2;
  both.judges[0].temperature = both.judges[1].temperature = 1;
  EXPECT_EQ(label(both).end.message.find("bad: "), 0U);
  EXPECT_LE(misbehaved("prose"), 32);
}

TEST_F(LabellerTest, EndsASmallRunThatIsInVainInTheSameWayTwice) {
  write_groups({4});  // 6 pairs
  const test::JudgeProcess server(directory_, options({"--misbehave", "bias=1"}));
  EXPECT_EQ(label(labels(server)).end.exit_code(), 2);
  const std::size_t asked = answers().size();
  const Run again = label(labels(server));
  EXPECT_EQ(again.end.exit_code(), 2);
  EXPECT_NE(again.end.message.find("6 prefer the same place both times"), std::string::npos) << again.end.message;
  EXPECT_TRUE(again.done.empty());
  EXPECT_EQ(answers().size(), asked);
}

TEST_F(LabellerTest, NamesMaxTokensAndKeepsTheFinishReasonOfCutReplies) {
  const test::JudgeProcess server(directory_, options({"--misbehave", "cut=1"}));
  const Run run = label(labels(server));
  EXPECT_EQ(run.end.exit_code(), 2) << "20 questions are fewer than 32";
  EXPECT_NE(run.end.message.find("raise max_tokens of this judge (it is 64)"), std::string::npos) << run.end.message;
  const label_store::LabelReader reader(directory_ / "store");
  EXPECT_NE(reader.read({"", "", true}).label(0, 0).reply.find("[finish_reason: length]"), std::string::npos);
}

TEST_F(LabellerTest, AsksFewQuestionsAgainWhereTheStoredRepliesAreOfNoUse) {
  write_groups({9, 9});  // 144 questions
  config::LabelsConfig config;
  const auto total = [&] {
    int paid = 0;
    for (const auto& [key, count] : answers()) paid += count;
    return paid;
  };
  {
    const test::JudgeProcess server(directory_, options({"--misbehave", "prose=1"}));
    config = labels(server);
    EXPECT_EQ(label(config).end.exit_code(), 2);
    EXPECT_EQ(total(), 32);
    const Run again = label(config);
    EXPECT_EQ(again.end.exit_code(), 2);
    EXPECT_NE(again.end.message.find("32 of 32 stored replies"), std::string::npos) << again.end.message;
    EXPECT_NE(again.end.message.find("stored replies without a verdict are asked for again once"), std::string::npos);
    EXPECT_EQ(total(), 33) << "one more shows that nothing has changed";
    EXPECT_EQ(label(config, {"relevance"}).end.exit_code(), 2);
    EXPECT_EQ(total(), 34) << "nor for another point";
  }
  const test::JudgeProcess server(directory_, options());  // somebody has mended the server
  const Run mended = label(labels(server));
  EXPECT_EQ(mended.end.exit_code(), 0) << mended.end.message;
  EXPECT_EQ(mended.done.size(), 1U);
}

TEST_F(LabellerTest, AJudgeWhoseAddressWasCorrectedIsAskedForWhatTheOldOneLeftOpen) {
  write_groups({5});  // 20 questions
  {
    const test::JudgeProcess wrong(directory_, options({"--misbehave", "prose=1"}));
    EXPECT_EQ(label(labels(wrong)).end.exit_code(), 2);
    EXPECT_EQ(label(labels(wrong)).end.exit_code(), 2);
    EXPECT_EQ(label(labels(wrong)).run.requests, 0) << "at the same address nothing is asked again";
  }
  const test::JudgeProcess right(directory_, options());
  const test::CapturedLog log;
  const Run run = label(labels(right));
  EXPECT_TRUE(log.has("no use; the questions of 20 stored replies without a verdict are asked again")) << log.text();
  EXPECT_EQ(run.end.exit_code(), 0) << run.end.message;
  EXPECT_EQ(run.run.requests, 20);
  EXPECT_EQ(run.verdicts.vote.outcomes[static_cast<std::size_t>(preference::SwapOutcome::unparsable)], 0);
  EXPECT_EQ(label(labels(right)).run.requests, 0) << "what has a verdict now is known";
}

TEST_F(LabellerTest, StopsAJudgeMostOfWhosePairsHaveNoVerdictInBothOrders) {
  write_groups({9, 9, 9, 9, 9});  // 360 questions
  {
    const test::JudgeProcess server(directory_, options({"--misbehave", "cut=0.6"}));
    const Run run = label(labels(server));
    EXPECT_EQ(run.end.exit_code(), 2);
    EXPECT_GE(run.run.requests, 2 * JudgeWatch::kFormProbe);
    EXPECT_LE(run.run.requests, 200);
    for (const char* words : {"have no verdict that can be read in both orders", "raise max_tokens of this judge (it is 64)"})
      EXPECT_NE(run.end.message.find(words), std::string::npos) << run.end.message;
    EXPECT_TRUE(run.done.empty());
  }
  const test::JudgeProcess right(directory_, options());
  const test::CapturedLog log;
  const Run run = label(labels(right));
  EXPECT_TRUE(log.has("without a verdict are asked again")) << log.text();
  EXPECT_EQ(run.end.exit_code(), 0) << run.end.message;
  EXPECT_EQ(run.verdicts.vote.outcomes[static_cast<std::size_t>(preference::SwapOutcome::unparsable)], 0);
}

TEST_F(LabellerTest, AJudgeThatTurnedBadIsAskedAgainAboutWhatItLeftOpenThenAndNotBefore) {
  write_groups({9, 9, 9, 9, 9});  // 360 questions
  const auto refused = static_cast<std::size_t>(preference::Verdict::refused);
  constexpr int kInFlight = 4;
  Run first;
  {
    const test::JudgeProcess server(directory_, options({"--misbehave", "prose=from:250", "refusal=0.1", "--latency-ms", "2"}));
    config::LabelsConfig config = labels(server);
    config.judges[0].endpoints[0].concurrency_max = kInFlight;
    first = label(config);
    EXPECT_EQ(first.end.exit_code(), 2);
  }
  const test::JudgeProcess right(directory_, options());
  const Run run = label(labels(right));
  EXPECT_EQ(run.end.exit_code(), 0) << run.end.message;
  EXPECT_EQ(run.verdicts.vote.outcomes[static_cast<std::size_t>(preference::SwapOutcome::unparsable)], 0);
  const std::int64_t again = first.progress.points[0].answered + run.run.requests - 360;
  EXPECT_LE(again, 32 + kInFlight + first.progress.points[0].verdicts[refused]) << "refusals from when it was of use stand";
  EXPECT_GE(again, 26);
}

TEST_F(LabellerTest, AJudgeOfUseThatMovedIsNotAskedAgain) {
  write_groups({9});
  Run first;
  {
    const test::JudgeProcess server(directory_, options({"--misbehave", "refusal=0.3"}));
    first = label(labels(server));
    EXPECT_GT(first.progress.points[0].verdicts[static_cast<std::size_t>(preference::Verdict::refused)], 0);
  }
  const test::JudgeProcess moved(directory_, options());
  EXPECT_EQ(label(labels(moved)).run.requests, 0);
}

TEST_F(LabellerTest, AJudgeWhoseSettingsWereChangedMayFailAFewTimesBeforeOldRepliesCondemnIt) {
  write_groups({9, 9});
  const test::JudgeProcess server(directory_, options({"--misbehave", "cut=1"}));
  config::LabelsConfig config = labels(server);
  EXPECT_EQ(label(config).run.requests, 32);
  EXPECT_EQ(label(config).run.requests, 1);
  config.judges[0].max_tokens = 80;
  EXPECT_EQ(label(config).run.requests, 8);
  EXPECT_EQ(label(config).run.requests, 1) << "known again";
}

TEST_F(LabellerTest, SoftLabelsLetAJudgePassThatGoesByThePlaceAndNoneWithoutVerdicts) {  // as an audit does
  write_groups({9, 9});                                                                  // 144 questions
  for (const auto& [rule, asked] : {std::pair("bias=1", 144), std::pair("blank=0.95", 32)}) {
    std::filesystem::remove_all(directory_ / "store");
    const test::JudgeProcess server(directory_, options({"--misbehave", rule}));
    config::LabelsConfig config = labels(server);
    config.soft = true;
    EXPECT_EQ(label(config).run.requests, asked) << rule;
  }
}

TEST_F(LabellerTest, GoesOnWithAJudgeThatRefusesManyQuestions) {
  write_groups({9, 9});
  for (const char* way : {"moderated", "moderated_451", "moderated_azure", "moderated_prompt", "guardrail", "declined"}) {
    std::filesystem::remove_all(directory_ / "store");
    const test::JudgeProcess server(directory_, options({"--misbehave", fmt::format("{}=0.5", way)}));
    const Run run = label(labels(server));
    EXPECT_EQ(run.end.exit_code(), 0) << way << ": " << run.end.message;
    EXPECT_EQ(run.done.size(), 1U);
    EXPECT_GT(run.verdicts.vote.outcomes[static_cast<std::size_t>(preference::SwapOutcome::refused)], 0) << way;
    EXPECT_EQ(run.verdicts.vote.outcomes[static_cast<std::size_t>(preference::SwapOutcome::error)], 0) << way;
  }
}

TEST_F(LabellerTest, WatchesEachOfSeveralJudges) {
  write_groups({9, 9});
  const test::JudgeProcess server(directory_, options()),
      mute(directory_, {"--misbehave", "cut=1", "--log", (directory_ / "mute").string()});
  config::LabelsConfig both = labels(server);
  both.judges.push_back(labels(mute).judges[0]);
  both.judges[1].model = "mute";
  const Run run = label(both);
  EXPECT_EQ(run.end.exit_code(), 2);
  EXPECT_EQ(run.end.message.find("mute: "), 0U) << run.end.message;
}

TEST_F(LabellerTest, ProbesWithASmallBatchAndComesBackAfterATemporaryLimit) {
  write_groups({9});  // 72 questions
  config::LabelsConfig batch;
  {
    const test::JudgeProcess server(directory_, options({"--batch-delay-s", "0.2", "--misbehave", "prose=1"}));
    batch = labels(server);
    batch.judges[0].api = config::JudgeApi::batch;
    const Run run = label(batch);
    EXPECT_EQ(run.end.exit_code(), 2);
    EXPECT_EQ(run.run.requests, 32) << "the first batch is small";
  }
  std::filesystem::remove_all(directory_ / "store");
  std::filesystem::remove_all(directory_ / "batches");
  {
    const test::JudgeProcess server(directory_, options({"--batch-delay-s", "0.2", "--misbehave", "batch_full=1"}));
    batch.judges[0].endpoints[0].url = server.url();
    const Run run = label(batch);
    EXPECT_EQ(run.end.exit_code(), 3);
    EXPECT_NE(run.end.message.find("Enqueued token limit reached"), std::string::npos) << run.end.message;
    EXPECT_EQ(run.verdicts.not_asked, 36) << "nothing is stored";
  }
  const test::JudgeProcess server(directory_, options({"--batch-delay-s", "0.2"}));
  batch.judges[0].endpoints[0].url = server.url();
  const Run run = label(batch);
  EXPECT_EQ(run.end.exit_code(), 0) << run.end.message;
  EXPECT_EQ(run.verdicts.vote.judged(), 36);
}

TEST_F(LabellerTest, CountsTriesThatMayHaveBeenChargedWithinTheLimit) {
  const test::JudgeProcess server(directory_, options({"--misbehave", "cut_body=0.6"}));
  const Run run = label(labels(server), {"coherence"}, {.cost_micros = 6000, .source = "test"});
  EXPECT_LE(run.run.cost_micros, 6000);
  EXPECT_GT(run.run.cost_micros, 3000);
  std::filesystem::remove_all(directory_ / "store");
  const auto begun = std::chrono::steady_clock::now();
  const test::JudgeProcess broken(directory_, options({"--misbehave", "cut_body=1"}));
  const Run stopped = label(labels(broken), {"coherence"}, {},
                            [&] { return std::chrono::steady_clock::now() - begun > std::chrono::seconds(1); });
  EXPECT_GT(stopped.run.cost_micros, 0) << "what was cut off may have been paid";
}

TEST_F(LabellerTest, LosesNoAnswerWhenVerdictsCannotBeWritten) {
  const test::JudgeProcess server(directory_, options());
  bool broke = false;
  point_done_ = [&] {
    if (!broke) {
      broke = true;
      throw IoError("no room for verdicts");
    }
  };
  EXPECT_THROW(label(labels(server)), IoError);
  EXPECT_EQ(label(labels(server)).run.requests, 0) << "all answers were stored";
}

TEST_F(LabellerTest, AsksAQuestionThatIsEqualInBothOrdersOnceInAnotherAnswerForm) {
  write_groups({2});
  preference::Group group;
  group.id = "same";
  group.category = "summarization";
  group.split = preference::Split::train;
  group.file = "data";
  group.line = 1;
  group.prompt = {{"user", "Say something."}};
  group.responses.resize(2);
  for (preference::Response& response : group.responses) response.text = "The same words.";
  groups_ = write("same.jsonl", preference::to_json_line(group) + "\n");
  const test::JudgeProcess server(directory_, options({"--no-schema"}));
  const Run run = label(labels(server, config::AnswerMode::automatic));
  EXPECT_EQ(run.end.exit_code(), 0);
  EXPECT_EQ(run.done.size(), 1U);
  EXPECT_EQ(run.run.requests, 1);
}

TEST_F(LabellerTest, FindsAnAnswerInOneAnswerFormDespiteAnErrorInTheOther) {
  {
    const test::JudgeProcess server(directory_, options({"--misbehave", "redirect=1"}));
    label(labels(server, config::AnswerMode::automatic), {"coherence"}, {.requests = 2, .source = "test"});
  }
  const test::JudgeProcess server(directory_, options({"--no-schema"}));
  EXPECT_EQ(label(labels(server, config::AnswerMode::automatic)).verdicts.vote.judged(), 10);
  EXPECT_EQ(label(labels(server, config::AnswerMode::automatic)).run.requests, 0);
}

TEST_F(LabellerTest, TakesTheAnswerLimitFromTheRequestAsSent) {
  const test::JudgeProcess server(directory_, options());
  config::LabelsConfig c = labels(server);
  c.judges[0].extra = R"({"max_tokens": null, "max_completion_tokens": 2000})";
  EXPECT_EQ(judge::make_judges(c, DMOERM_SOURCE "/configs/judge", {})[0].max_cost({}).completion_tokens, 2000);
  c.judges[0].extra = R"({"max_tokens": null})";
  EXPECT_THROW(judge::make_judges(c, DMOERM_SOURCE "/configs/judge", {}), ConfigError);
}

TEST_F(LabellerTest, WritesVerdictsThatReadBackEqual) {
  const test::JudgeProcess server(directory_, options());
  const Run run = label(labels(server));
  write_verdicts(run.verdicts, directory_ / "verdicts.jsonl");
  const std::vector<JudgedGroup> read = read_judged_groups(directory_ / "verdicts.jsonl");
  ASSERT_EQ(read.size(), run.verdicts.groups.size());
  for (std::size_t g = 0; g < read.size(); ++g) {
    EXPECT_EQ(read[g].line, run.verdicts.groups[g].line);
    ASSERT_EQ(read[g].pairs.size(), run.verdicts.groups[g].pairs.size());
    for (std::size_t p = 0; p < read[g].pairs.size(); ++p) {
      EXPECT_EQ(read[g].pairs[p].vote.outcome, run.verdicts.groups[g].pairs[p].vote.outcome);
      EXPECT_EQ(read[g].pairs[p].vote.share, run.verdicts.groups[g].pairs[p].vote.share);
    }
  }
}

TEST_F(LabellerTest, CountsAgreementWithTheDatasOwnLabels) {
  const test::JudgeProcess server(directory_, options());
  const Run run = label(labels(server));
  const auto& outcomes = run.verdicts.vote.outcomes;
  EXPECT_EQ(run.verdicts.vote.point.total, outcomes[0] + outcomes[1]);
  EXPECT_EQ(run.verdicts.vote.point.right, outcomes[1]) << "the data prefers the later response of every pair";
}

}  // namespace
}  // namespace dmoerm::label
