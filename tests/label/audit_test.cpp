// Tests which pairs an audit draws, and what it counts, with a store that the test fills itself.
#include "label/audit.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "label/targets.h"
#include "preference/group_json.h"
#include "support/scratch.h"

namespace dmoerm::label {
namespace {

using preference::Verdict;

class AuditTest : public test::Scratch {
 protected:
  AuditTest() {
    config_.categories = {{"summarization", {"coherence", "relevance"}, 0.0}};
    config_.labels.judges.resize(1);
    config_.labels.judges[0].model = "judge";
    config_.labels.judges[0].answer = config::AnswerMode::verdict_line;
    targets_ = targets_of(config_);
  }

  static preference::Group group(int number, int responses = 2, preference::Split split = preference::Split::train) {
    preference::Group group;
    group.id = fmt::format("g{}", number);
    group.category = "summarization";
    group.split = split;
    group.prompt = {{"user", fmt::format("Summarise article {}.", number)}};
    for (int r = 0; r < responses; ++r)
      group.responses.push_back({.text = fmt::format("Summary {} of article {}.", r, number), .overall = 1.0 * r, .scores = {}});
    group.file = "data";
    group.line = number + 1;
    return group;
  }

  std::vector<AuditedPairs> draw(const std::vector<preference::Group>& groups, std::int64_t pairs, std::vector<bool> read = {}) {
    std::string text;
    for (const preference::Group& g : groups) text += preference::to_json_line(g) + "\n";
    file_.emplace(write("groups.jsonl", text));
    if (read.empty()) read.assign(groups.size(), true);
    return draw_audit(config_, *file_, targets_, asked_.empty() ? std::vector<std::vector<GroupPairs>>(targets_.size()) : asked_,
                      read, pairs);
  }

  static std::int64_t pairs_of(const AuditedPairs& about) {
    std::int64_t pairs = 0;
    for (const GroupPairs& g : about.pairs) pairs += std::ssize(g.pairs);
    return pairs;
  }

  /// The audit's counts where `answer` says what the judge answers to a question.
  AuditResult audit(const AuditedPairs& about, const std::function<std::optional<Verdict>(const Slot&)>& answer) {
    const std::vector<judge::Judge> judges = judge::make_judges(config_.labels, DMOERM_SOURCE "/configs/judge", {});
    label_store::LabelStore store = label_store::LabelStore::open(directory_ / "store");
    PointQuestions questions(about.target, *file_, judges, about.pairs, static_cast<std::int32_t>(config_.labels.samples));
    while (const auto slot = questions.next()) {
      const auto built = questions.build(*slot, 0);
      const auto verdict = answer(*slot);
      if (!built || !verdict) continue;
      label_store::Label label;
      label.key = built->question.key;
      label.verdict = *verdict;
      store.append(std::vector{label});
    }
    return read_audit(about, *file_, store, judges, config_.labels);
  }

  config::RunConfig config_;
  std::vector<Target> targets_;
  std::optional<GroupFile> file_;
  std::vector<std::vector<GroupPairs>> asked_;
};

TEST_F(AuditTest, SpreadsItsPairsOverPointsAndPrompts) {
  std::vector<preference::Group> groups;
  for (int g = 0; g < 10; ++g) groups.push_back(group(g, 4));
  const auto about = draw(groups, 24);
  ASSERT_EQ(about.size(), 2U);
  for (const AuditedPairs& point : about) {
    EXPECT_EQ(pairs_of(point), 12);
    EXPECT_EQ(point.pairs.size(), 10U) << "every prompt gives one pair before any gives two";
  }
  EXPECT_EQ(pairs_of(draw(groups, 1)[0]), 1);
  EXPECT_EQ(pairs_of(draw(groups, 1000)[0]), 60) << "there are no more";
}

TEST_F(AuditTest, ALargerAuditHasThePairsOfASmallerOneAndOtherSeedsOthers) {
  std::vector<preference::Group> groups;
  for (int g = 0; g < 30; ++g) groups.push_back(group(g, 3));
  const auto named = [](const std::vector<AuditedPairs>& about) {
    std::set<std::tuple<std::size_t, int, int>> pairs;
    for (const GroupPairs& g : about[0].pairs) {
      for (const auto& [a, b] : g.pairs) pairs.insert({g.group, a, b});
    }
    return pairs;
  };
  const auto few = named(draw(groups, 20)), many = named(draw(groups, 40));
  EXPECT_TRUE(std::ranges::includes(many, few));
  config_.seed = 5;
  EXPECT_NE(named(draw(groups, 20)), few);
}

TEST_F(AuditTest, TakesNoPairThatTrainingDoesNotReadOrThatIsATest) {
  const std::vector<preference::Group> groups = {group(0), group(1), group(2, 2, preference::Split::test),
                                                 group(3, 2, preference::Split::validation)};
  config_.labels.splits = {config::Split::train, config::Split::validation, config::Split::test};
  const auto about = draw(groups, 100, {true, false, true, true});
  std::set<std::size_t> numbers;
  for (const GroupPairs& g : about[0].pairs) numbers.insert(g.group);
  EXPECT_EQ(numbers, (std::set<std::size_t>{0, 3}));
}

TEST_F(AuditTest, ComparesWithLabelsOfThePointIfTheDataHasThem) {
  preference::Group labelled = group(0);
  labelled.responses[0].scores["coherence"] = 5, labelled.responses[1].scores["coherence"] = 1;
  const auto about = draw({labelled, group(1)}, 100);
  EXPECT_TRUE(about[0].by_point);
  EXPECT_EQ(about[0].compared_with(), "coherence");
  EXPECT_EQ(pairs_of(about[0]), 1) << "the other group has no label of the point";
  EXPECT_FALSE(about[1].by_point);
  EXPECT_EQ(about[1].compared_with(), "overall");
  EXPECT_EQ(pairs_of(about[1]), 2);
  // The human label of the point says a, the overall score b: the judge says a.
  const auto says_a = [](const Slot& slot) { return slot.swapped ? Verdict::second : Verdict::first; };
  EXPECT_EQ(audit(about[0], says_a).judges[0].agreement().right, 1);
  EXPECT_EQ(audit(about[1], says_a).judges[0].agreement().right, 0);
}

TEST_F(AuditTest, CountsNeitherTiesNorRecordedVerdictsNorSmallGapsAsHumanLabels) {
  preference::Group tied = group(0), recorded = group(1), close = group(2), stated = group(3);
  tied.responses[1].overall = tied.responses[0].overall;
  for (preference::Response& r : recorded.responses) r.overall = preference::kMissing;
  for (preference::Response& r : stated.responses) r.overall = preference::kMissing;
  recorded.verdicts.push_back({"overall", 0, 1, Verdict::first, Verdict::second});
  close.responses[1].overall = 0.4;
  stated.pairs.push_back({"overall", 1, 0});
  targets_[0].overall_gap_min = targets_[1].overall_gap_min = 0.5;
  const auto about = draw({tied, recorded, close, stated}, 100);
  ASSERT_EQ(pairs_of(about[0]), 1);
  EXPECT_EQ(about[0].pairs[0].group, 3U);
}

TEST_F(AuditTest, TakesPairsThatAreAskedAnywayFirstUnlessTheyAreTheHardest) {
  std::vector<preference::Group> groups;
  for (int g = 0; g < 8; ++g) groups.push_back(group(g, 3));
  asked_ = {{{2, {{0, 2}}}, {6, {{1, 2}}}}, {}};
  auto about = draw(groups, 4);
  EXPECT_EQ(about[0].asked_anyway, 2);
  EXPECT_EQ(about[1].asked_anyway, 0);
  config_.labels.pairs.choose = config::PairChoice::uncertain;
  about = draw(groups, 4);
  EXPECT_LT(about[0].asked_anyway, 2) << "the hardest pairs would make a judge look worse than it is";
}

TEST_F(AuditTest, CountsAgreementBiasTiesAndUselessReplies) {
  std::vector<preference::Group> groups;
  for (int g = 0; g < 20; ++g) groups.push_back(group(g));
  targets_.resize(1);
  const auto about = draw(groups, 100);
  ASSERT_EQ(pairs_of(about[0]), 20);
  // Response 1 is better by the human label. Of 20 pairs: 10 right, 2 wrong, 3 always the first, 1 always the second, 2 ties,
  // 1 unparsable, 1 refused.
  const AuditResult found = audit(about[0], [](const Slot& slot) {
    const bool b_is_first = slot.swapped;
    if (slot.group < 10) return std::optional(b_is_first ? Verdict::first : Verdict::second);
    if (slot.group < 12) return std::optional(b_is_first ? Verdict::second : Verdict::first);
    if (slot.group < 15) return std::optional(Verdict::first);
    if (slot.group < 16) return std::optional(Verdict::second);
    if (slot.group < 18) return std::optional(Verdict::tie);
    return std::optional(slot.group < 19 ? Verdict::unparsable : Verdict::refused);
  });
  const AuditCounts& judge = found.judges[0];
  EXPECT_EQ(judge.agreement().right, 10);
  EXPECT_EQ(judge.agreement().total, 12);
  EXPECT_EQ(judge.prompts.size(), 12U);
  EXPECT_EQ(judge.verdicts.pairs(), 20);
  EXPECT_EQ(judge.verdicts.judged(), 18);
  EXPECT_EQ(judge.verdicts.first_both, 3);
  EXPECT_EQ(judge.verdicts.second_both, 1);
  EXPECT_EQ(judge.verdicts.outcomes[static_cast<std::size_t>(preference::SwapOutcome::inconsistent)], 4);
  EXPECT_EQ(judge.verdicts.outcomes[static_cast<std::size_t>(preference::SwapOutcome::tie)], 2);
  EXPECT_EQ(found.vote.agreement().total, 12);
  EXPECT_EQ(found.not_asked, 0);
  const AuditResult unasked = audit(draw({group(90), group(91)}, 2)[0], [](const Slot&) { return std::nullopt; });
  EXPECT_EQ(unasked.not_asked, 2);
  EXPECT_EQ(unasked.judges[0].verdicts.pairs(), 0);
}

}  // namespace
}  // namespace dmoerm::label
