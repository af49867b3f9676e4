// Tests what is said about a judge's replies, without asking one. That a useless judge is not paid for long is tested with a
// server in labeller_test.cpp.
#include "label/judge_watch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>

#include "base/rng.h"
#include "judge/served_model.h"

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

  /// What a server states that cannot be.
  struct Odd {
    std::string odd_cost = {};
    bool too_many_tokens = false;
    std::string model = {};
  };
  static void answer(JudgeWatch& watch, const Odd& odd) {
    judge::JudgeReply reply;
    reply.status = judge::JudgeReply::ok;
    reply.prompt_tokens = reply.completion_tokens = 9;
    reply.odd_cost = odd.odd_cost;
    reply.model = odd.model;
    reply.too_many_tokens = odd.too_many_tokens;
    if (odd.too_many_tokens) reply.completion_tokens = -1;
    label_store::Label label;
    label.verdict = preference::Verdict::first;
    watch.sent();
    watch.take(reply, label, 1, 1);
  }

  /// Both orders of one pair may be sent, and no more.
  static void send_one_pair(JudgeWatch& watch) {
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(watch.may_send());
      watch.sent();
    }
    EXPECT_FALSE(watch.may_send());
  }

  /// A reply that was cut off at max_tokens.
  static void answer_cut_off(JudgeWatch& watch) {
    judge::JudgeReply cut;
    cut.status = judge::JudgeReply::ok;
    cut.finish_reason = "length";
    label_store::Label unparsable;
    unparsable.verdict = preference::Verdict::unparsable;
    watch.sent();
    watch.take(cut, unparsable, 1, 1);
  }

  config::JudgeConfig judge_;
};

TEST_F(JudgeWatchTest, SaysOnceThatAnotherModelAnswers) {
  judge_.model = "openai/gpt-4o";
  JudgeWatch watch(judge_, 0.8);
  answer(watch, {.model = "gpt-4o-2024-08-06"});
  EXPECT_EQ(watch.notice(false), "");
  answer(watch, {.model = "gpt-4o-mini"});
  EXPECT_NE(watch.notice(false).find("answers as \"gpt-4o-2024-08-06\" and as \"gpt-4o-mini\""), std::string::npos);
  answer(watch, {.model = "gpt-4o"});
  EXPECT_EQ(watch.notice(false), "") << "it was said";
  EXPECT_EQ(watch.models().size(), 3U);

  JudgeWatch later(judge_, 0.8);
  later.served_before({"gpt-4o-2024-08-06"});
  answer(later, {.model = "gpt-4o-2024-11-20"});
  EXPECT_NE(later.notice(true).find("answered an earlier labelling of this run as \"gpt-4o-2024-08-06\""), std::string::npos);

  JudgeWatch other(judge_, 0.8);
  answer(other, {.model = "gpt-4o-mini"});
  EXPECT_NE(other.notice(true).find("the server answers as \"gpt-4o-mini\": if that is another model"), std::string::npos);
  EXPECT_EQ(other.notice(true), "");
}

TEST_F(JudgeWatchTest, KnowsOtherNamesOfAModel) {
  for (const auto& [asked, served] :
       std::vector<std::pair<std::string, std::string>>{{"gpt-4o", "gpt-4o-2024-08-06"},
                                                        {"openai/gpt-4o", "GPT-4o"},
                                                        {"mistral-large-latest", "mistral-large-2411"},
                                                        {"anthropic.claude-3-haiku", "claude-3-haiku-20240307"},
                                                        {"qwen2.5-7b", "/models/Qwen2.5-7B.gguf"},
                                                        {"x:free", "a/x"}})
    EXPECT_TRUE(judge::may_be_same_model(asked, served)) << asked << " " << served;
  for (const auto& [asked, served] : std::vector<std::pair<std::string, std::string>>{
           {"gpt-4o", "gpt-4o-mini"}, {"claude-sonnet-4", "claude-sonnet-3"}, {"judge", "cheap-other-model"}})
    EXPECT_FALSE(judge::may_be_same_model(asked, served)) << asked << " " << served;
}

TEST_F(JudgeWatchTest, SaysThatCountsAreTooLarge) {
  JudgeWatch watch(judge_, 0.8);
  answer(watch, {.too_many_tokens = true});
  EXPECT_NE(watch.notice(true).find("for 1 of 1 reply the server says that it used more tokens than there can be"),
            std::string::npos);
}

TEST_F(JudgeWatchTest, SaysOnceThatAStatedCostCannotBe) {
  JudgeWatch watch(judge_, 0.8);
  answer(watch, {.odd_cost = "-1.0"});
  EXPECT_NE(watch.notice(false).find("states a cost of -1.0 for a reply, which cannot be"), std::string::npos);
  answer(watch, {.odd_cost = "-1.0"});
  EXPECT_EQ(watch.notice(false), "");
}

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
  EXPECT_NE(all.notice(true).find("1 try for 1 reply was probably paid for and gave no answer, so that it was repeated"),
            std::string::npos);
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
  const auto ask = [&] { answer_cut_off(watch); };
  EXPECT_EQ(watch.in_flight_max(), 16U);
  for (int i = 0; i < 20; ++i) ask();
  EXPECT_EQ(watch.in_flight_max(), 6U) << "six more are four fifths of 32";
  for (int i = 0; i < 6; ++i) {
    EXPECT_TRUE(watch.may_send()) << i;
    watch.sent();
  }
  EXPECT_FALSE(watch.may_send());
  EXPECT_TRUE(watch.may_repeat()) << "what is sent already is asked to its end";
  watch.returned(6);
  for (int i = 0; i < 5; ++i) ask();
  EXPECT_FALSE(watch.hopeless());
  EXPECT_EQ(watch.in_flight_max(), 1U);
  ask();
  EXPECT_TRUE(watch.hopeless());
  EXPECT_NE(watch.why().find("26 of 126 replies are of no use, 26 of the last 32: 26 cut off at max_tokens"), std::string::npos)
      << watch.why();
}

TEST_F(JudgeWatchTest, UselessRepliesInARowCountOnInTheNextRound) {
  JudgeWatch watch(judge_, 0.8);
  for (int i = 0; i < 10; ++i) answer(watch, 0);
  const auto ask = [&] { answer_cut_off(watch); };
  for (int i = 0; i < 20; ++i) ask();
  EXPECT_FALSE(watch.hopeless());
  EXPECT_FALSE(watch.was_in_vain());
  watch.sent();  // it ended with a request in flight
  watch.go_on();
  EXPECT_FALSE(watch.some_useless());
  EXPECT_FALSE(watch.was_in_vain()) << "nothing was asked yet";
  EXPECT_NE(watch.summary().find("30 replies, 10 with a verdict"), std::string::npos) << "of both rounds: " << watch.summary();
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(watch.may_send()) << i;
    ask();
  }
  EXPECT_TRUE(watch.some_useless());
  EXPECT_FALSE(watch.hopeless());
  EXPECT_TRUE(watch.was_in_vain()) << "no reply of this round has a verdict";
  ask();
  EXPECT_TRUE(watch.hopeless()) << "26 of the last 32";
}

TEST_F(JudgeWatchTest, MoreRequestsMayBeInFlightTheMoreRepliesWereUseful) {
  JudgeWatch watch(judge_, 0.8), patient(judge_, 1);
  EXPECT_EQ(watch.in_flight_max(), 16U);
  for (int i = 0; i < 1000; ++i) answer(watch, 0);
  EXPECT_EQ(watch.in_flight_max(), 62U);
  EXPECT_GT(patient.in_flight_max(), 4096U) << "labels.useless_max 1 trusts every judge";
}

/// A judge that is asked with as many requests in flight as the watch allows. @return useless replies after the first `good`
/// until it is given up, or until `replies` came
int useless_paid(JudgeWatch& watch, const std::function<bool(int)>& is_useful, int good, int replies) {
  std::deque<bool> in_flight;
  int sent = 0, useless = 0;
  for (int came = 0; came < replies && !watch.hopeless(); ++came) {
    while (watch.may_send() && in_flight.size() < std::min<std::size_t>(64, watch.in_flight_max())) {
      in_flight.push_back(is_useful(sent++));
      watch.sent();
    }
    judge::JudgeReply reply;
    reply.status = judge::JudgeReply::ok;
    reply.text = "some words";
    label_store::Label label;
    label.verdict = in_flight.front() ? preference::Verdict::first : preference::Verdict::unparsable;
    useless += !in_flight.front() && came >= good ? 1 : 0;
    in_flight.pop_front();
    watch.take(reply, label, 1, 1);
  }
  return useless + static_cast<int>(std::ranges::count(in_flight, false));
}

TEST_F(JudgeWatchTest, AJudgeOfWhichFourFifthsBecomeUselessIsPaidForAtMost32) {
  for (const int good : {8, 40, 100, 200}) {
    for (const int each : {5, 6, 10, 1000}) {  // one reply of so many is useful
      JudgeWatch watch(judge_, 0.8);
      EXPECT_LE(useless_paid(
                    watch, [&](int i) { return i < good || i % each == 0; }, good, 10'000),
                32)
          << good << " " << each;
      EXPECT_TRUE(watch.hopeless());
    }
  }
}

TEST_F(JudgeWatchTest, AJudgeThatAlwaysLeftManyQuestionsOpenIsNotTakenForOneThatTurnedBad) {
  for (const double useless : {0.2, 0.5, 0.6}) {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      Rng rng(seed);
      JudgeWatch watch(judge_, 0.8);
      static_cast<void>(useless_paid(
          watch, [&](int) { return rng.uniform() >= useless; }, 0, 20'000));
      EXPECT_FALSE(watch.hopeless()) << useless << " " << seed << " " << watch.replies() << ": " << watch.why();
    }
  }
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
  EXPECT_EQ(watch.why().find("asked for again"), std::string::npos) << "its replies have verdicts\n" << watch.why();
  JudgeWatch level(judge_, 0.8);
  pairs(level, 16, tie, tie);
  EXPECT_NE(level.why().find("0 prefer the same response both times, 16 are ties both times"), std::string::npos) << level.why();
  JudgeWatch soft(judge_, 0.8, true), patient(judge_, 1);
  pairs(soft, 100, first, first);
  pairs(patient, 100, first, first);
  EXPECT_FALSE(soft.hopeless()) << "soft labels train on shares of such pairs";
  EXPECT_FALSE(patient.hopeless()) << "labels.useless_max is 1";
}

TEST_F(JudgeWatchTest, AJudgeThatComesToGoByThePlaceIsAskedAboutFewPairs) {
  using enum preference::Verdict;
  JudgeWatch watch(judge_, 0.8), torn(judge_, 0.8);
  pairs(watch, 100, first, second);
  pairs(watch, 12, first, first);
  EXPECT_EQ(watch.in_flight_max(), 2U);
  EXPECT_FALSE(watch.hopeless());
  pairs(watch, 1, first, first);
  EXPECT_TRUE(watch.hopeless());
  EXPECT_NE(watch.why().find("13 of the last 16 changed with the order"), std::string::npos) << watch.why();
  for (int i = 0; i < 50; ++i) {
    pairs(torn, 1, first, second);
    pairs(torn, 1, second, second);
  }
  pairs(torn, 13, first, first);
  EXPECT_FALSE(torn.hopeless()) << "half of the pairs changed before";
}

TEST_F(JudgeWatchTest, AJudgeWhosePairsHardlyEverHaveBothVerdictsIsNotPaidForLong) {
  using enum preference::Verdict;
  JudgeWatch watch(judge_, 0.8), refusing(judge_, 0.8), failing(judge_, 0.8), half(judge_, 0.8), patient(judge_, 1);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(watch.hopeless(), 5 * i >= JudgeWatch::kFormProbe) << i;
    for (JudgeWatch* w : {&watch, &patient}) {
      pairs(*w, 2, first, unparsable);
      pairs(*w, 2, unparsable, second);
    }
    pairs(refusing, 4, first, refused);
    pairs(failing, 4, first, error);
    pairs(half, 3, first, unparsable);
    for (JudgeWatch* w : {&watch, &patient, &refusing, &failing, &half}) pairs(*w, 1, first, second);
  }
  EXPECT_TRUE(watch.hopeless());
  EXPECT_NE(watch.why().find("64 of 80 pairs have no verdict that can be read in both orders"), std::string::npos) << watch.why();
  EXPECT_NE(watch.why().find("labels.useless_max to 1"), std::string::npos) << watch.why();
  EXPECT_FALSE(half.hopeless());
  EXPECT_FALSE(refusing.hopeless()) << "no setting changes what a judge refuses";
  EXPECT_FALSE(failing.hopeless()) << "errors are asked again";
  EXPECT_FALSE(patient.hopeless()) << "labels.useless_max is 1";
}

TEST_F(JudgeWatchTest, StoredPairsWithoutVerdictsLetANewRunTryOnePair) {
  using enum preference::Verdict;
  JudgeWatch watch(judge_, 0.8), better(judge_, 0.8), changed(judge_, 0.8);
  for (JudgeWatch* w : {&watch, &better, &changed}) {
    for (int i = 0; i < 60; ++i) w->recall_form({first, i % 6 == 0 ? second : unparsable, -1, -1, 1});
    for (int i = 0; i < 32; ++i) w->recall(i % 2 == 0 ? first : unparsable);
  }
  changed.changed();
  EXPECT_FALSE(watch.hopeless());
  send_one_pair(watch);
  pairs(watch, 1, first, unparsable);
  EXPECT_TRUE(watch.hopeless());
  EXPECT_NE(watch.why().find("as 50 of 60 stored ones"), std::string::npos) << watch.why();
  pairs(better, 1, first, second);
  pairs(better, 1, first, unparsable);
  EXPECT_FALSE(better.hopeless());
  pairs(changed, 3, first, unparsable);
  EXPECT_FALSE(changed.hopeless()) << "some may still fail";
  pairs(changed, 1, first, unparsable);
  EXPECT_TRUE(changed.hopeless());
}

TEST_F(JudgeWatchTest, AFewStoredPairsOfWhichNoneHasVerdictsLetANewRunTryOnePair) {
  using enum preference::Verdict;
  JudgeWatch watch(judge_, 0.8), better(judge_, 0.8);
  for (int i = 0; i < 16; ++i) {
    watch.recall_form({i % 2 == 0 ? first : unparsable, unparsable, -1, -1, 1});
    better.recall_form({i % 2 == 0 ? first : unparsable, i == 0 ? second : unparsable, -1, -1, 1});
  }
  EXPECT_FALSE(better.known_open());
  send_one_pair(watch);
  pairs(watch, 1, first, unparsable);
  EXPECT_TRUE(watch.hopeless());
  EXPECT_NE(watch.why().find("as 16 of 16 stored ones"), std::string::npos) << watch.why();
}

TEST_F(JudgeWatchTest, NamesTheOneAddressWhoseRepliesAreOfNoUse) {
  JudgeWatch watch(judge_, 0.8);
  judge::JudgeReply reply;
  reply.status = judge::JudgeReply::ok;
  label_store::Label label;
  for (int i = 0; i < 32; ++i) {
    EXPECT_FALSE(watch.hopeless()) << i;
    for (const bool good : {true, false}) {
      reply.endpoint = good ? "http://good/v1" : "http://bad/v1";
      reply.text = good ? "Verdict: 1" : "garbage";
      label.verdict = good ? preference::Verdict::first : preference::Verdict::unparsable;
      watch.sent();
      watch.take(reply, label, 1, 1);
    }
  }
  EXPECT_TRUE(watch.hopeless());
  EXPECT_NE(watch.why().find("32 of 32 replies of its endpoint http://bad/v1 are of no use"), std::string::npos) << watch.why();
  EXPECT_NE(watch.why().find("the last: garbage; mend or remove this endpoint"), std::string::npos) << watch.why();
}

TEST_F(JudgeWatchTest, CountsNoRepliesOfNoUseWhereThereAreNone) {
  using enum preference::Verdict;
  JudgeWatch watch(judge_, 0.8);
  for (int i = 0; i < 16; ++i) watch.recall_form({first, unparsable, -1, -1, 1});
  answer(watch, 0);  // the other order is stored, without a verdict
  pairs(watch, 1, first, unparsable);
  ASSERT_TRUE(watch.hopeless());
  EXPECT_EQ(watch.why().find("0 of 1"), std::string::npos) << watch.why();
  EXPECT_EQ(watch.why().find("the last: ;"), std::string::npos) << watch.why();
}

TEST_F(JudgeWatchTest, SaysOnceThatAnswersAreLongerThanAllowed) {
  JudgeWatch watch(judge_, 0.8), nearly(judge_, 0.8);
  nearly.exceeded(65, 64);
  EXPECT_EQ(nearly.notice(true), "") << "with the end of the text";
  watch.exceeded(900, 64);
  EXPECT_NE(watch.notice(false).find("900 in an answer that may have 64"), std::string::npos);
  watch.exceeded(901, 64);
  EXPECT_EQ(watch.notice(true), "");
}

TEST_F(JudgeWatchTest, SaysOnceThatTheServerCountsMoreInPromptsThanEstimated) {
  JudgeWatch watch(judge_, 0.8), nearly(judge_, 0.8);
  nearly.exceeded_estimate(610, 600);
  EXPECT_EQ(nearly.notice(true), "") << "an estimate";
  watch.exceeded_estimate(4000, 600);
  watch.exceeded_estimate(900, 600);
  EXPECT_NE(watch.notice(false).find("4000 where 600 were expected"), std::string::npos);
  watch.exceeded_estimate(5000, 600);
  EXPECT_EQ(watch.notice(true), "");
}

TEST_F(JudgeWatchTest, SaysAtTheEndThatManyTriesFailedAtNoCost) {
  JudgeWatch watch(judge_, 0.8), good(judge_, 0.8);
  judge::JudgeReply reply;
  reply.status = judge::JudgeReply::ok;
  label_store::Label label;
  label.verdict = preference::Verdict::first;
  reply.prompt_tokens = reply.completion_tokens = 9;
  for (int i = 0; i < 10; ++i) {
    reply.tries = 4;  // one of them was refused as one too many, and one is booked
    reply.throttled_tries = reply.billed_tries = 1;
    watch.sent();
    watch.take(reply, label, 1, 1);
    reply.tries = 2;
    reply.billed_tries = 0;
    good.sent();
    good.take(reply, label, 1, 1);
  }
  EXPECT_NE(watch.notice(true).find("10 tries failed at the server before 10 replies came"), std::string::npos);
  EXPECT_EQ(good.notice(true), "");
}

/// The watch takes `count` replies without a verdict.
void useless(JudgeWatch& watch, int count, const std::string& text, const std::string& finish_reason) {
  judge::JudgeReply reply;
  reply.status = judge::JudgeReply::ok;
  reply.text = text;
  reply.finish_reason = finish_reason;
  label_store::Label label;
  label.verdict = preference::Verdict::unparsable;
  for (int i = 0; i < count; ++i) {
    watch.sent();
    watch.take(reply, label, 1, 1);
  }
}

TEST_F(JudgeWatchTest, TheSummaryNamesTheShareAndTheSettingOnlyWhereManyRepliesAreOfNoUse) {
  judge_.max_tokens = 64;
  JudgeWatch many(judge_, 0.8), few(judge_, 0.8);
  for (int i = 0; i < 3; ++i) answer(many, 0);
  useless(many, 7, "Let me th", "length");
  EXPECT_EQ(
      many.summary(),
      "judge: 10 replies, 3 with a verdict, 7 (70.0 %) without: 7 cut off at max_tokens; finish_reason length (7); the last of "
      "these: Let me th; raise max_tokens of this judge (it is 64); a model that thinks needs some thousands, or switch its "
      "thinking off (extra)");
  for (int i = 0; i < 99; ++i) answer(few, 0);
  useless(few, 1, "Let me th", "length");
  EXPECT_NE(few.summary().find("1 (1.0 %) without"), std::string::npos) << few.summary();
  EXPECT_EQ(few.summary().find("raise max_tokens"), std::string::npos) << few.summary();
}

TEST_F(JudgeWatchTest, ShowsRepliesThatCannotBeSeen) {
  for (const auto& [text, shown] : std::initializer_list<std::pair<std::string, std::string>>{
           {std::string(3, '\0'), "3 bytes without a visible character: \"\\0\\0\\0\""},
           {"\n \n", "3 bytes without a visible character: \"\\n \\n\""},
           {"\u200b", "3 bytes without a visible character: \"\\xe2\\x80\\x8b\""},
           {"", "an empty text"}}) {
    JudgeWatch watch(judge_, 0.8);
    useless(watch, 1, text, "stop");
    EXPECT_NE(watch.summary().find("the last of these: " + shown), std::string::npos) << watch.summary();
  }
}

TEST_F(JudgeWatchTest, AFailureOfTheProviderIsNotBlamedOnASetting) {
  JudgeWatch watch(judge_, 0.8);
  useless(watch, 32, "Let me", "error");
  EXPECT_TRUE(watch.hopeless());
  EXPECT_NE(watch.why().find("the provider of the model failed"), std::string::npos) << watch.why();
  EXPECT_EQ(watch.why().find("lower its temperature"), std::string::npos) << watch.why();
}

TEST_F(JudgeWatchTest, SaysOnceThatTheServerDoesNotCountTokens) {
  JudgeWatch watch(judge_, 0.8);
  useless(watch, 7, "Let me", "stop");
  for (int i = 0; i < 7; ++i) answer(watch, 0);
  EXPECT_EQ(watch.notice(false), "");
  useless(watch, 1, "Let me", "stop");
  EXPECT_NE(
      watch.notice(false).find("for 8 of 15 replies the server does not say how many tokens it used, or says 0 or far too few"),
      std::string::npos);
  EXPECT_EQ(watch.notice(true), "");
}

TEST_F(JudgeWatchTest, AStoredReplyOfNoUseInAnotherWayDoesNotCondemn) {
  const auto recalled = [&](preference::Verdict verdict) {
    JudgeWatch watch(judge_, 0.8);
    for (int i = 0; i < 32; ++i) watch.recall(verdict);
    EXPECT_TRUE(watch.may_send());
    watch.sent();
    EXPECT_FALSE(watch.may_send()) << "one shows whether anything has changed";
    label_store::Label label;
    label.verdict = preference::Verdict::unparsable;
    watch.take({}, label, 1, 1);
    return watch.hopeless();
  };
  EXPECT_TRUE(recalled(preference::Verdict::unparsable));
  EXPECT_FALSE(recalled(preference::Verdict::refused));
}

TEST_F(JudgeWatchTest, AChangedJudgeMayFailAFewTimesBeforeStoredRepliesCondemnIt) {
  JudgeWatch watch(judge_, 0.8);
  for (int i = 0; i < 32; ++i) watch.recall(preference::Verdict::unparsable);
  watch.changed();
  label_store::Label label;
  label.verdict = preference::Verdict::unparsable;
  int sent = 0;
  for (; !watch.hopeless(); ++sent) {
    ASSERT_TRUE(watch.may_send());
    watch.sent();
    watch.take({}, label, 1, 1);
  }
  EXPECT_EQ(sent, JudgeWatch::kStreak);
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
