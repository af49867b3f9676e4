// What a request is told for which the time does not suffice.
#include "serve/patience.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace dmoerm::serve {
namespace {

struct Told {
  int status = 0;
  std::string code, words;
};
Told told(const HttpAnswer& answer) {
  const auto error = nlohmann::json::parse(answer.body).at("error");
  return {answer.status, error.at("code"), error.at("message")};
}
Told refused(double patience_s, double since_s, Engine::Admission admission) {
  admission.refused = Engine::Refused::deadline;
  admission.retry_after_s = 2;
  return told(not_admitted({wire::Family::own, patience_s, since_s}, admission));
}

TEST(Patience, OfARequestThatTakesLongerAlone) {
  const Told answer = refused(0.5, 0.01, {.queue_s = 0.1, .own_s = 0.8, .done_s = 1.1});
  EXPECT_EQ(answer.status, 504);
  EXPECT_EQ(answer.code, "deadline-too-short");
  EXPECT_EQ(answer.words, "the deadline of 0.5 s does not suffice: the request alone takes about 0.8 s");
}

TEST(Patience, ThatEndedBeforeTheRequestWasRead) {
  const Told answer = refused(0.08, 0.08, {.own_s = 0.05});
  EXPECT_EQ(answer.status, 504);
  EXPECT_EQ(answer.words, "the deadline of 0.08 s does not suffice: it passed before the request was read");
  EXPECT_EQ(refused(0.08, 0.08, {.queue_s = 0.01, .own_s = 0.05, .done_s = 0.07}).words, answer.words);
  EXPECT_EQ(refused(1e-6, 1e-4, {}).words, "the deadline of 1e-06 s does not suffice: it passed before the request was read");
}

TEST(Patience, ThatEndedWhileTheRequestWaitedForOthers) {
  for (const double queue_s : {0.0, 0.5}) {
    const Told answer = refused(30, 29.9, {.queue_s = queue_s, .own_s = 0.05, .done_s = queue_s});
    EXPECT_EQ(answer.status, 429);
    EXPECT_EQ(answer.code, "deadline-passed");
    EXPECT_EQ(answer.words,
              "the request waited for others for most of its deadline of 30 s: try again later, or allow more time");
  }
}

TEST(Patience, ThatTheQueueWouldUseUp) {
  const Told answer = refused(10, 0.25, {.queue_s = 25, .own_s = 0.05, .done_s = 31});
  EXPECT_EQ(answer.status, 429);
  EXPECT_EQ(answer.code, "server-is-busy");
  EXPECT_EQ(
      answer.words,
      "the scores would take about 31 s, 25 s of it in the queue, and 9.5 s of 10 s are left: try again in 2 s, or allow more "
      "time");
}

TEST(Patience, ThatAFullQueueCannotMakeLonger) {
  const Engine::Admission admission{
      .retry_after_s = 18, .refused = Engine::Refused::full, .queue_s = 18, .own_s = 9, .done_s = 27};
  const HttpAnswer never = not_admitted({wire::Family::own, 0.5, 0.01}, admission);
  EXPECT_EQ(told(never).code, "deadline-too-short");
  EXPECT_EQ(never.status, 504);
  EXPECT_TRUE(never.headers.empty());  // no Retry-After
  EXPECT_EQ(not_admitted({wire::Family::tei, 0.5, 0.01}, admission).status, 503);
  EXPECT_EQ(told(not_admitted({wire::Family::own, 30, 0.01}, admission)).code, "server-is-busy");
}

TEST(Patience, LeavesTimeToTellTheClient) {
  EXPECT_DOUBLE_EQ(usable_s(1), 0.95);
  EXPECT_DOUBLE_EQ(usable_s(100), 99.75);
}

}  // namespace
}  // namespace dmoerm::serve
