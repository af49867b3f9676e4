// Tests what is said about a judge's replies, without asking one. That a useless judge is not paid for long is tested with a
// server in labeller_test.cpp.
#include "label/judge_watch.h"

#include <gtest/gtest.h>

namespace dmoerm::label {
namespace {

class JudgeWatchTest : public testing::Test {
 protected:
  JudgeWatchTest() { judge_.model = "judge"; }

  /// A good reply after `late` tries that came too late.
  static void answer(JudgeWatch& watch, int late) {
    judge::JudgeReply reply;
    reply.status = judge::JudgeReply::ok;
    reply.text = "Verdict: 1";
    reply.prompt_tokens = 100;
    reply.completion_tokens = 3;
    reply.billed_tries = late;
    if (late > 0) reply.billed_problem = "http://host/v1: no complete reply within 2 s";
    label_store::Label label;
    label.verdict = preference::Verdict::first;
    for (int i = 0; i <= late; ++i) watch.sent();
    watch.take(reply, label, 1 + late, 1 + late);
  }

  config::JudgeConfig judge_;
};

TEST_F(JudgeWatchTest, SaysOnceThatTriesArePaidForAndRepeated) {
  JudgeWatch watch(judge_, 0.8);
  for (int i = 0; i < 7; ++i) answer(watch, 1);
  EXPECT_EQ(watch.notice(false), "") << "seven may be an accident";
  answer(watch, 2);
  const std::string said = watch.notice(false);
  EXPECT_NE(said.find("9 tries for 8 replies were probably paid for"), std::string::npos) << said;
  EXPECT_NE(said.find("no complete reply within 2 s; if the server is slow, raise request_timeout_s"), std::string::npos) << said;
  answer(watch, 1);
  EXPECT_EQ(watch.notice(false), "");
}

TEST_F(JudgeWatchTest, IsSilentAboutAFewRepeatedTriesOfMany) {
  JudgeWatch few(judge_, 0.8), all(judge_, 0.8);
  answer(few, 1);
  for (int i = 0; i < 99; ++i) answer(few, 0);
  EXPECT_EQ(few.notice(true), "");
  answer(all, 1);
  EXPECT_NE(all.notice(true).find("1 tries for 1 replies"), std::string::npos);
}

TEST_F(JudgeWatchTest, TriesThatCameTooLateCountAsPaidInVain) {
  JudgeWatch watch(judge_, 0.8);
  for (int i = 0; i < 6; ++i) answer(watch, 5);  // 36 paid, 6 of use
  EXPECT_TRUE(watch.hopeless());
  EXPECT_FALSE(watch.may_send());
}

TEST_F(JudgeWatchTest, AJudgeThatStopsBeingOfUseIsNotPaidForLong) {
  JudgeWatch watch(judge_, 0.8);
  for (int i = 0; i < 100; ++i) answer(watch, 0);
  judge::JudgeReply cut;
  cut.status = judge::JudgeReply::ok;
  cut.finish_reason = "length";
  label_store::Label unparsable;
  unparsable.verdict = preference::Verdict::unparsable;
  const auto ask = [&] {
    watch.sent();
    watch.take(cut, unparsable, 1, 1);
  };
  for (int i = 0; i < 20; ++i) ask();
  for (int i = 0; i < 12; ++i) {
    EXPECT_TRUE(watch.may_send()) << i;
    watch.sent();
  }
  EXPECT_FALSE(watch.may_send()) << "20 in a row and 12 in flight";
  watch.returned(12);
  for (int i = 0; i < 11; ++i) ask();
  EXPECT_FALSE(watch.hopeless());
  ask();
  EXPECT_TRUE(watch.hopeless());
  EXPECT_NE(watch.why().find("32 of 132 replies are of no use, 32 of the last 128: 32 cut off at max_tokens"), std::string::npos)
      << watch.why();
  answer(watch, 0);
  EXPECT_FALSE(watch.hopeless()) << "one answer in between";
}

/// The watch after `pairs` pairs whose two verdicts are these.
void pairs(JudgeWatch& watch, int count, preference::Verdict in_first_order, preference::Verdict in_second_order) {
  for (int i = 0; i < count; ++i) watch.pair({in_first_order, in_second_order, -1, -1, 1});
}

TEST_F(JudgeWatchTest, AJudgeThatGoesByThePlaceAloneIsOfNoUse) {
  using enum preference::Verdict;
  JudgeWatch watch(judge_, 0.8);
  pairs(watch, 15, first, first);
  EXPECT_FALSE(watch.hopeless());
  pairs(watch, 1, first, first);
  EXPECT_TRUE(watch.hopeless());
  EXPECT_TRUE(watch.was_in_vain());
  EXPECT_NE(watch.why().find("16 prefer the same place both times (16 the first shown, 0 the second)"), std::string::npos)
      << watch.why();
  JudgeWatch soft(judge_, 0.8, true), patient(judge_, 1);
  pairs(soft, 100, first, first);
  pairs(patient, 100, first, first);
  EXPECT_FALSE(soft.hopeless()) << "soft labels train on shares of such pairs";
  EXPECT_FALSE(patient.hopeless()) << "labels.useless_max is 1";
}

TEST_F(JudgeWatchTest, AJudgeThatIsOftenRightInBothOrdersIsOfUse) {
  using enum preference::Verdict;
  JudgeWatch some(judge_, 0.8), ties(judge_, 0.8), none(judge_, 0.8);
  for (int i = 0; i < 40; ++i) {
    pairs(some, 3, first, first);
    pairs(some, 1, first, second);
    pairs(ties, 9, tie, tie);
    pairs(ties, 1, second, first);
    ASSERT_FALSE(some.hopeless()) << "a quarter is believed";
    ASSERT_FALSE(ties.hopeless()) << "few are decided, and few of these depend on the order";
  }
  pairs(none, 16, tie, tie);
  EXPECT_TRUE(none.hopeless()) << "nothing but ties trains nothing";
}

TEST_F(JudgeWatchTest, SmallRunsThatShowNothingButBiasEndSo) {
  using enum preference::Verdict;
  JudgeWatch four(judge_, 0.8), five(judge_, 0.8), ties(judge_, 0.8);
  pairs(four, 4, first, first);
  pairs(five, 5, second, second);
  pairs(ties, 5, tie, tie);
  EXPECT_FALSE(four.was_in_vain()) << "it may be an accident";
  EXPECT_TRUE(five.was_in_vain());
  EXPECT_FALSE(ties.was_in_vain());
}

}  // namespace
}  // namespace dmoerm::label
