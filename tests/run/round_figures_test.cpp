// Tests what a round of labelling is said to have added.
#include "run/round_figures.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/expect.h"
#include "support/scratch.h"

namespace dmoerm::run {
namespace {

using preference::SwapOutcome;

class RoundFigures : public test::Scratch {};

label::JudgedPair judged(int a, int b, SwapOutcome outcome) {
  label::JudgedPair pair{a, b, {}};
  pair.vote.outcome = outcome;
  return pair;
}

TEST_F(RoundFigures, CompareNewBelievedVerdictsWithTheExpertsThatChoseThem) {
  const auto before = write("before.jsonl", R"({"file":"f","line":1,"pairs":[[0,1,"first",1.0]]})"
                                            "\n");
  const auto gaps = write("rewards.jsonl", R"({"file":"f","line":1,"rewards":{"tone":[0.5,0.1,0.4]}})"
                                           "\n");
  label::PointVerdicts verdicts;
  verdicts.target = {"chat", "tone"};
  verdicts.groups = {
      {"f", 1, {judged(0, 1, SwapOutcome::first), judged(0, 2, SwapOutcome::first), judged(1, 2, SwapOutcome::first)}},
      {"f", 2, {judged(0, 1, SwapOutcome::tie), judged(0, 2, SwapOutcome::second)}}};
  EXPECT_EQ(round_figures(verdicts, before, gaps),
            (nlohmann::json{{"new_pairs", 4}, {"new_believed", 3}, {"compared", 2}, {"experts_agree", 1}}))
      << "(0,1) was asked before; the expert prefers 0 to 2 and 2 to 1; the second group, of validation, has no gaps";
}

TEST_F(RoundFigures, RefuseADamagedFileOfGaps) {
  const auto before = write("before.jsonl", "");
  const auto gaps = write("rewards.jsonl", R"({"file":"f","line":1,"rewards":{"wit":[0.5,0.1]}})"
                                           "\n");
  label::PointVerdicts verdicts;
  verdicts.target = {"chat", "tone"};
  EXPECT_NE(test::message_of<DataError>([&] { (void)round_figures(verdicts, before, gaps); }).find("rewards.jsonl:1: "),
            std::string::npos);
}

}  // namespace
}  // namespace dmoerm::run
