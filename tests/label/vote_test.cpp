#include "label/vote.h"

#include <gtest/gtest.h>

namespace dmoerm::label {
namespace {

using pair::SwapOutcome;

Ballot ballot(Verdict first, Verdict second, double weight = 1) { return {first, second, -1, -1, weight}; }

TEST(CountVotes, OneBallotFollowsTheSwapRule) {
  const Verdict all[] = {Verdict::first, Verdict::second, Verdict::tie, Verdict::unparsable, Verdict::refused, Verdict::error};
  for (const Verdict first : all) {
    for (const Verdict second : all) {
      EXPECT_EQ(count_votes({ballot(first, second)}).outcome, pair::check_swap(to_string(first), to_string(second)));
    }
  }
}

TEST(CountVotes, TheMajorityOfBelievedBallotsWinsAndOthersHaveNoVoice) {
  const Ballot a = ballot(Verdict::first, Verdict::second), b = ballot(Verdict::second, Verdict::first);
  const Ballot biased = ballot(Verdict::first, Verdict::first), failed = ballot(Verdict::error, Verdict::first);
  EXPECT_EQ(count_votes({a, a, b}).outcome, SwapOutcome::first);
  EXPECT_EQ(count_votes({b, biased, biased, failed}).outcome, SwapOutcome::second);
}

TEST(CountVotes, JudgesThatContradictEachOtherEquallyAreNoTie) {
  EXPECT_EQ(count_votes({ballot(Verdict::first, Verdict::second), ballot(Verdict::second, Verdict::first)}).outcome,
            SwapOutcome::inconsistent);
}

TEST(CountVotes, AWeightierJudgeOutvotesTwo) {
  const Ballot heavy = ballot(Verdict::second, Verdict::first, 3), light = ballot(Verdict::first, Verdict::second, 1);
  EXPECT_EQ(count_votes({heavy, light, light}).outcome, SwapOutcome::second);
}

TEST(CountVotes, WithoutABelievedBallotTheMostFrequentFailureIsTheOutcome) {
  const Ballot refused = ballot(Verdict::refused, Verdict::first), biased = ballot(Verdict::second, Verdict::second);
  EXPECT_EQ(count_votes({refused, refused, biased}).outcome, SwapOutcome::refused);
  EXPECT_EQ(count_votes({refused, biased}).outcome, SwapOutcome::inconsistent);
  EXPECT_EQ(count_votes({}).outcome, SwapOutcome::error);
}

TEST(CountVotes, TheShareCountsEveryReplyWithAVerdict) {
  EXPECT_FLOAT_EQ(count_votes({ballot(Verdict::first, Verdict::second)}).share, 1);
  EXPECT_FLOAT_EQ(count_votes({ballot(Verdict::second, Verdict::first)}).share, 0);
  EXPECT_FLOAT_EQ(count_votes({ballot(Verdict::first, Verdict::first)}).share, 0.5);
  EXPECT_FLOAT_EQ(count_votes({ballot(Verdict::first, Verdict::tie)}).share, 0.75);
  EXPECT_FLOAT_EQ(count_votes({ballot(Verdict::first, Verdict::error)}).share, 1);
  EXPECT_FLOAT_EQ(count_votes({ballot(Verdict::error, Verdict::refused)}).share, 0.5);
  EXPECT_FLOAT_EQ(count_votes({ballot(Verdict::first, Verdict::second, 3), ballot(Verdict::second, Verdict::first, 1)}).share,
                  0.75);
}

TEST(CountVotes, TokenProbabilitiesTakeThePlaceOfVerdictsInTheShare) {
  Ballot sure = ballot(Verdict::first, Verdict::second);
  sure.first_probability = 0.9F, sure.second_probability = 0.3F;  // of what was shown first: a with 0.9, then b with 0.3
  EXPECT_FLOAT_EQ(count_votes({sure}).share, 0.8F);
}

}  // namespace
}  // namespace dmoerm::label
