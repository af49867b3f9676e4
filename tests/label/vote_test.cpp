#include "label/vote.h"

#include <gtest/gtest.h>

namespace dmoerm::label {
namespace {

using preference::SwapOutcome;

Ballot ballot(preference::Verdict first, preference::Verdict second, double weight = 1) {
  return {first, second, -1, -1, weight};
}

TEST(CountVotes, FollowsTheSwapRuleForOneBallot) {
  const preference::Verdict all[] = {preference::Verdict::first,      preference::Verdict::second,  preference::Verdict::tie,
                                     preference::Verdict::unparsable, preference::Verdict::refused, preference::Verdict::error};
  for (const preference::Verdict first : all) {
    for (const preference::Verdict second : all) {
      EXPECT_EQ(count_votes({ballot(first, second)}).outcome, preference::check_swap(first, second));
    }
  }
}

TEST(CountVotes, CountsBelievedBallotsOnly) {
  const Ballot a = ballot(preference::Verdict::first, preference::Verdict::second),
               b = ballot(preference::Verdict::second, preference::Verdict::first);
  const Ballot biased = ballot(preference::Verdict::first, preference::Verdict::first),
               failed = ballot(preference::Verdict::error, preference::Verdict::first);
  EXPECT_EQ(count_votes({a, a, b}).outcome, SwapOutcome::first);
  EXPECT_EQ(count_votes({b, biased, biased, failed}).outcome, SwapOutcome::second);
}

TEST(CountVotes, IsInconsistentWhenJudgesContradictEachOtherEqually) {
  EXPECT_EQ(count_votes({ballot(preference::Verdict::first, preference::Verdict::second),
                         ballot(preference::Verdict::second, preference::Verdict::first)})
                .outcome,
            SwapOutcome::inconsistent);
}

TEST(CountVotes, LetsAHeavierJudgeOutvoteTwo) {
  const Ballot heavy = ballot(preference::Verdict::second, preference::Verdict::first, 3),
               light = ballot(preference::Verdict::first, preference::Verdict::second, 1);
  EXPECT_EQ(count_votes({heavy, light, light}).outcome, SwapOutcome::second);
}

TEST(CountVotes, GivesTheMostFrequentFailureWithoutABelievedBallot) {
  const Ballot refused = ballot(preference::Verdict::refused, preference::Verdict::first),
               biased = ballot(preference::Verdict::second, preference::Verdict::second);
  EXPECT_EQ(count_votes({refused, refused, biased}).outcome, SwapOutcome::refused);
  EXPECT_EQ(count_votes({refused, biased}).outcome, SwapOutcome::inconsistent);
  EXPECT_EQ(count_votes({}).outcome, SwapOutcome::error);
}

TEST(CountVotes, CountsBallotsWithBothOrdersInTheShare) {
  EXPECT_FLOAT_EQ(count_votes({ballot(preference::Verdict::first, preference::Verdict::second)}).share, 1);
  EXPECT_FLOAT_EQ(count_votes({ballot(preference::Verdict::second, preference::Verdict::first)}).share, 0);
  EXPECT_FLOAT_EQ(count_votes({ballot(preference::Verdict::first, preference::Verdict::first)}).share, 0.5);
  EXPECT_FLOAT_EQ(count_votes({ballot(preference::Verdict::first, preference::Verdict::tie)}).share, 0.75);
  const Ballot half = ballot(preference::Verdict::first, preference::Verdict::error);  // what the other order said is not known
  EXPECT_FLOAT_EQ(count_votes({half}).share, 0.5);
  EXPECT_FLOAT_EQ(count_votes({half, ballot(preference::Verdict::second, preference::Verdict::first)}).share, 0);
  EXPECT_FLOAT_EQ(count_votes({ballot(preference::Verdict::error, preference::Verdict::refused)}).share, 0.5);
  EXPECT_FLOAT_EQ(count_votes({ballot(preference::Verdict::first, preference::Verdict::second, 3),
                               ballot(preference::Verdict::second, preference::Verdict::first, 1)})
                      .share,
                  0.75);
}

TEST(CountVotes, TreatsWeightsThatDifferByRoundingAsEqual) {
  const auto a = [](double weight) { return ballot(preference::Verdict::first, preference::Verdict::second, weight); };
  const auto b = [](double weight) { return ballot(preference::Verdict::second, preference::Verdict::first, weight); };
  EXPECT_NE(0.1 + 0.2, 0.3);
  EXPECT_EQ(count_votes({a(0.1), a(0.2), b(0.3)}).outcome, SwapOutcome::inconsistent);
  EXPECT_EQ(count_votes({a(0.3), b(0.1), b(0.2)}).outcome, SwapOutcome::inconsistent);
  EXPECT_EQ(count_votes({a(0.1), a(0.2), b(0.301)}).outcome, SwapOutcome::second);
  const Ballot biased = ballot(preference::Verdict::first, preference::Verdict::first, 0.3);
  const Ballot r1 = ballot(preference::Verdict::refused, preference::Verdict::first, 0.1),
               r2 = ballot(preference::Verdict::refused, preference::Verdict::first, 0.2);
  EXPECT_EQ(count_votes({r1, r2, biased}).outcome, SwapOutcome::inconsistent);  // of equally many the first
}

TEST(CountVotes, LetsAPluralityWin) {
  const Ballot a = ballot(preference::Verdict::first, preference::Verdict::second),
               b = ballot(preference::Verdict::second, preference::Verdict::first);
  const Ballot tie = ballot(preference::Verdict::tie, preference::Verdict::tie);
  EXPECT_EQ(count_votes({a, a, a, b, b, tie, tie}).outcome, SwapOutcome::first);
}

TEST(TrainingTarget, ExistsForBelievedOutcomesOrSharesAndNeverForFailures) {
  EXPECT_EQ(training_target({SwapOutcome::first, 0.7F}, false), 1.0F);
  EXPECT_EQ(training_target({SwapOutcome::second, 0.7F}, false), 0.0F);
  for (const SwapOutcome outcome : {SwapOutcome::tie, SwapOutcome::inconsistent}) {
    EXPECT_EQ(training_target({outcome, 0.7F}, false), std::nullopt);
    EXPECT_EQ(training_target({outcome, 0.7F}, true), 0.7F);
    EXPECT_EQ(training_target({outcome, 0.5F}, true), std::nullopt);
  }
  for (const SwapOutcome outcome : {SwapOutcome::unparsable, SwapOutcome::refused, SwapOutcome::error}) {
    for (const bool soft : {false, true}) EXPECT_EQ(training_target({outcome, 0.9F}, soft), std::nullopt);
  }
}

TEST(CountVotes, UsesTokenProbabilitiesInTheShare) {
  Ballot sure = ballot(preference::Verdict::first, preference::Verdict::second);
  sure.first_probability = 0.9F;  // of what was shown first: a with 0.9, then b with 0.3
  sure.second_probability = 0.3F;
  EXPECT_FLOAT_EQ(count_votes({sure}).share, 0.8F);
}

}  // namespace
}  // namespace dmoerm::label
