// The engine: what is computed together, in which order, and what happens to requests that nobody waits for.
#include "serve/engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>
#include <utility>

#include "support/bundle.h"

namespace dmoerm::serve {
namespace {

using Ids = std::vector<std::int32_t>;

/// A scorer that computes nothing: the score of a text is its last token. It can be held up.
class EngineWithoutModel : public testing::Test {
 protected:
  ~EngineWithoutModel() override { open(); }

  std::vector<moe::GroupScore> score(std::span<const moe::ScoreCall> calls) {
    std::unique_lock lock(mutex_);
    batches_.emplace_back();
    for (const moe::ScoreCall& call : calls) batches_.back().push_back(call.texts->prompt);
    texts_.emplace_back();
    for (const moe::ScoreCall& call : calls) texts_.back() += call.texts->responses.size();
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    std::this_thread::sleep_for(std::exchange(delay_, {}));
    std::vector<moe::GroupScore> scores;
    for (const moe::ScoreCall& call : calls) {
      if (call.texts->prompt == Ids{13}) throw std::runtime_error("this prompt cannot be scored");
      moe::GroupScore& group = scores.emplace_back();
      for (const Ids& response : call.texts->responses)
        group.responses.push_back({.reward = static_cast<double>(response.back())});
    }
    return scores;
  }

  Engine& start(EngineOptions options = {}) {
    options.batch_wait_s = 0;
    engine_ =
        std::make_unique<Engine>(options, Engine::OnBatch(), [this](const moe::Bundle&, auto calls) { return score(calls); });
    return *engine_;
  }
  Work work(const Ids& prompt, const Ids& ends) const {
    Work work{bundle_, {prompt, {}}, ""};
    for (const std::int32_t end : ends) {
      work.texts.responses.push_back(prompt);
      work.texts.responses.back().push_back(end);
    }
    return work;
  }
  struct Asked {
    Engine::Admission admission;
    std::future<Outcome> outcome;
  };
  Asked ask(std::vector<Work> works, const std::string& client = "a", double seconds = 60) {
    auto promise = std::make_shared<std::promise<Outcome>>();
    Asked asked{{}, promise->get_future()};
    const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    asked.admission = engine_->submit({std::move(works), client, deadline},
                                      [promise](Outcome outcome) { promise->set_value(std::move(outcome)); });
    return asked;
  }
  /// Occupy the thread that computes.
  Asked hold() {
    {
      const std::lock_guard lock(mutex_);
      open_ = false;
    }
    Asked asked = ask({work({99}, {1})}, "holder");
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !batches_.empty(); });
    return asked;
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  /// The batch in which the last text of a request was scored whose prompts begin with this id.
  std::size_t last_batch_of(std::int32_t id) const {
    std::size_t last = 0;
    for (std::size_t b = 0; b < batches_.size(); ++b) {
      if (std::ranges::any_of(batches_[b], [&](const Ids& prompt) { return prompt.front() == id; })) last = b;
    }
    return last;
  }
  /// A work of five tokens, as three of them need three batches of eight.
  Work five(std::int32_t id, std::int32_t number) const { return work({id, number, 0, 0}, {1}); }
  Asked ask_long(std::int32_t id, const std::string& client) { return ask({five(id, 1), five(id, 2), five(id, 3)}, client); }
  static std::vector<double> rewards(const Outcome& outcome, std::size_t work = 0) {
    std::vector<double> values;
    for (const moe::Score& score : outcome.groups.at(work).responses) values.push_back(score.reward);
    return values;
  }

  std::shared_ptr<moe::Bundle> bundle_ = std::make_shared<moe::Bundle>();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::vector<Ids>> batches_;  ///< Prompts of each batch
  std::vector<std::size_t> texts_;
  std::chrono::milliseconds delay_{0};  ///< Of the next batch
  bool open_ = true;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineWithoutModel, ComputesEqualPromptsOfDifferentClientsOnceAndGivesEachItsOwn) {
  start();
  Asked held = hold();
  Asked one = ask({work({1, 2}, {7, 8})}, "a"), two = ask({work({5}, {3})}, "b"), three = ask({work({1, 2}, {9})}, "c");
  open();
  EXPECT_EQ(rewards(one.outcome.get()), (std::vector<double>{7, 8}));
  EXPECT_EQ(rewards(two.outcome.get()), (std::vector<double>{3}));
  EXPECT_EQ(rewards(three.outcome.get()), (std::vector<double>{9}));
  ASSERT_EQ(batches_.size(), 2U);
  EXPECT_EQ(batches_[1], (std::vector<Ids>{{1, 2}, {5}}));
  EXPECT_EQ(texts_[1], 4U);
}

TEST_F(EngineWithoutModel, FillsABatchUpToItsTokens) {
  start({.batch_tokens = 8});
  Asked held = hold();
  std::vector<Asked> asked;
  for (std::int32_t i = 0; i < 6; ++i) asked.push_back(ask({work({10 + i, 1}, {i})}, std::to_string(i)));  // three tokens each
  open();
  for (std::int32_t i = 0; i < 6; ++i)
    EXPECT_EQ(rewards(asked[static_cast<std::size_t>(i)].outcome.get()), std::vector<double>{double(i)});
  ASSERT_EQ(batches_.size(), 4U);
  for (std::size_t b = 1; b < 4; ++b) EXPECT_EQ(batches_[b].size(), 2U);
}

TEST_F(EngineWithoutModel, ScoresATextThatIsLongerThanABatchAlone) {
  start({.batch_tokens = 4});
  EXPECT_EQ(rewards(ask({work(Ids(50, 3), {7})}).outcome.get()), std::vector<double>{7});
}

TEST_F(EngineWithoutModel, LetsClientsTakeTurns) {
  start({.batch_tokens = 1});
  Asked held = hold();
  std::vector<Asked> many;
  for (std::int32_t i = 0; i < 20; ++i) many.push_back(ask({work({100 + i}, {1})}, "greedy"));
  Asked modest = ask({work({7}, {1})}, "modest");
  open();
  for (Asked& one : many) (void)one.outcome.get();
  const auto place = std::ranges::find(batches_, std::vector<Ids>{{7}});
  EXPECT_LE(place - batches_.begin(), 2);  // behind the one that was under way, and one of the other client
}

TEST_F(EngineWithoutModel, DividesALongRequestSoThatAShortOneNeedNotWaitForItsEnd) {
  start({.batch_tokens = 4});
  Asked held = hold();
  Asked large = ask({work({1, 2}, {1, 2, 3, 4, 5, 6, 7})}, "large"), small = ask({work({7}, {8})}, "small");
  open();
  EXPECT_EQ(rewards(large.outcome.get()), (std::vector<double>{1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(rewards(small.outcome.get()), std::vector<double>{8});
  ASSERT_EQ(batches_.size(), 6U);  // the one that was held, four of the large one with two texts each, and the small one
  const auto place = std::ranges::find(batches_, std::vector<Ids>{{7}});
  EXPECT_LE(place - batches_.begin(), 2);
}

TEST_F(EngineWithoutModel, FinishesTheOldestOfManyLongRequestsFirstAndHoldsUpNoShortOne) {
  start({.batch_tokens = 4});
  Asked held = hold();
  std::vector<Asked> asked;
  for (std::int32_t i = 0; i < 20; ++i)
    asked.push_back(ask({work({100 + i, 1}, {1, 2, 3, 4, 5, 6})}, std::to_string(100 + i)));  // three batches each
  Asked small = ask({work({7}, {8})}, "small");
  open();
  for (Asked& one : asked) EXPECT_EQ(rewards(one.outcome.get()).size(), 6U);
  (void)small.outcome.get();
  EXPECT_LE(last_batch_of(100), 16U);  // four take turns, and the small one; if all did, it would be 42 or later
  EXPECT_LE(last_batch_of(7), 6U);
  EXPECT_GE(last_batch_of(119), 50U);
}

TEST_F(EngineWithoutModel, FillsABatchWithRequestsOfManyShortTexts) {
  start({.batch_tokens = 64});
  Asked held = hold();
  std::vector<Asked> asked;
  for (std::int32_t client = 0; client < 8; ++client) {
    std::vector<Work> works;
    for (std::int32_t prompt = 0; prompt < 4; ++prompt) works.push_back(work({100 + 4 * client + prompt}, {1}));  // two tokens
    asked.push_back(ask(std::move(works), std::to_string(client)));
  }
  open();
  for (Asked& one : asked) EXPECT_EQ(one.outcome.get().end, End::scored);
  ASSERT_EQ(batches_.size(), 2U);
  EXPECT_EQ(batches_[1].size(), 32U);
}

TEST_F(EngineWithoutModel, GivesTheRoomThatLongRequestsLeaveToThoseThatStandBack) {
  start({.batch_tokens = 8});
  Asked held = hold();
  std::vector<Asked> asked;
  for (std::int32_t id = 100; id < 104; ++id) asked.push_back(ask_long(id, std::to_string(id)));
  asked.push_back(ask({work({104}, {1}), five(104, 1), five(104, 2)}, "104"));  // the fifth that is long; two tokens first
  open();
  for (Asked& one : asked) EXPECT_EQ(one.outcome.get().end, End::scored);
  EXPECT_EQ(batches_[1], (std::vector<Ids>{{100, 1, 0, 0}, {104}}));
}

TEST_F(EngineWithoutModel, FindsAWorkThatFitsBehindOneThatDoesNot) {
  start({.batch_tokens = 8});
  Asked held = hold();
  Asked one = ask({five(1, 1)}), two = ask({five(2, 1)}), three = ask({work({3}, {1})});
  open();
  for (Asked* asked : {&one, &two, &three}) EXPECT_EQ(asked->outcome.get().end, End::scored);
  ASSERT_EQ(batches_.size(), 3U);
  EXPECT_EQ(batches_[1], (std::vector<Ids>{{1, 1, 0, 0}, {3}}));
}

TEST_F(EngineWithoutModel, LetsALongRequestTakeTurnsWithTheManyOfAnotherClient) {
  start({.batch_tokens = 8});
  Asked held = hold();
  std::vector<Asked> asked;
  for (std::int32_t id = 100; id < 112; ++id) asked.push_back(ask_long(id, "greedy"));
  Asked modest = ask_long(7, "modest"), behind = ask({five(8, 1)}, "modest");
  open();
  for (Asked& one : asked) EXPECT_EQ(one.outcome.get().end, End::scored);
  EXPECT_EQ(modest.outcome.get().end, End::scored);
  EXPECT_EQ(behind.outcome.get().end, End::scored);
  ASSERT_EQ(batches_.size(), 41U);  // one work each
  EXPECT_LE(last_batch_of(7), 6U);  // every second one is of this client
  EXPECT_LE(last_batch_of(8), 8U);
}

TEST_F(EngineWithoutModel, LetsAShortRequestPassALongOneOfItsClientThatStandsBack) {
  start({.batch_tokens = 8});
  Asked held = hold();
  std::vector<Asked> asked;
  for (std::int32_t client = 0; client < 4; ++client) asked.push_back(ask_long(100 + client, std::to_string(client)));
  Asked fifth = ask_long(7, "z"), behind = ask({five(8, 1)}, "z");
  open();
  for (Asked& one : asked) EXPECT_EQ(one.outcome.get().end, End::scored);
  EXPECT_EQ(fifth.outcome.get().end, End::scored);
  EXPECT_EQ(behind.outcome.get().end, End::scored);
  EXPECT_LE(last_batch_of(8), 5U);  // each of the other clients has one turn before
  EXPECT_GT(last_batch_of(7), last_batch_of(103));
}

TEST_F(EngineWithoutModel, LetsAFifthClientInWhenARequestOfTheFirstFourIsFinished) {
  start({.batch_tokens = 8});
  Asked held = hold();
  std::vector<Asked> asked;
  for (std::int32_t i = 0; i < 20; ++i) asked.push_back(ask_long(100 + i, std::to_string(i % 4)));
  Asked fifth = ask_long(7, "z");
  open();
  for (Asked& one : asked) EXPECT_EQ(one.outcome.get().end, End::scored);
  EXPECT_EQ(fifth.outcome.get().end, End::scored);
  EXPECT_LE(last_batch_of(7), 26U);  // of 64: the first four, and then every fourth batch or more
}

TEST_F(EngineWithoutModel, RefusesWhatDoesNotFitTheQueueAndSaysWhenToComeBack) {
  start({.queue_tokens_max = 10});
  Asked held = hold();
  Asked first = ask({work({1, 2}, {1, 2, 3})}), second = ask({work({3, 4}, {1, 2, 3})});
  EXPECT_EQ(first.admission.retry_after_s, 0);
  EXPECT_EQ(second.admission.retry_after_s, 0);
  const Asked third = ask({work({5}, {1})});
  EXPECT_GE(third.admission.retry_after_s, 1);
  EXPECT_EQ(third.admission.refused, Engine::Refused::full);
  EXPECT_GE(engine_->retry_after_s(), 1);
  EXPECT_TRUE(engine_->full());
  open();
  EXPECT_EQ(second.outcome.get().end, End::scored);
  EXPECT_EQ(rewards(ask({work(Ids(40, 6), {1})}).outcome.get()), std::vector<double>{1});  // larger than the queue, but alone
}

TEST_F(EngineWithoutModel, RefusesWhatWouldWaitLongerThanItIsLet) {
  start({.batch_tokens = 8, .queue_s_max = 20});
  delay_ = std::chrono::milliseconds(50);  // two tokens: at most 40 a second
  (void)ask({work({1}, {1})}).outcome.get();
  Asked held = hold();
  Asked first = ask({work(Ids(999, 2), {1})}, "a", 1e6);  // taken, as nothing waits before it: 25 s or more
  const Asked second = ask({work({3}, {1})}, "a", 1e6);
  EXPECT_EQ(first.admission.refused, Engine::Refused::no);
  EXPECT_EQ(second.admission.refused, Engine::Refused::full);
  open();
  EXPECT_EQ(first.outcome.get().end, End::scored);
  EXPECT_EQ(ask({work({3}, {1})}, "a", 1e6).outcome.get().end, End::scored);
}

TEST_F(EngineWithoutModel, DropsARequestWhoseDeadlinePassesInTheQueue) {
  start();
  Asked held = hold();
  Asked late = ask({work({1}, {1})}, "a", 0.05), patient = ask({work({2}, {2})}, "a");
  EXPECT_EQ(late.outcome.get().end, End::expired);  // while the engine is busy
  open();
  EXPECT_EQ(patient.outcome.get().end, End::scored);
  for (const auto& batch : batches_) EXPECT_NE(batch.front(), Ids{1});
  const Asked none = ask({work({1}, {1})}, "a", 0);
  EXPECT_GT(none.admission.retry_after_s, 0);
  EXPECT_EQ(none.admission.refused, Engine::Refused::deadline);
  EXPECT_GT(none.admission.own_s, 0);  // it knows its speed by now
}

TEST_F(EngineWithoutModel, RefusesWhatTheQueueWouldHoldUpBeyondItsDeadline) {
  start({.batch_tokens = 8});
  delay_ = std::chrono::milliseconds(50);  // two tokens: at most 40 a second
  (void)ask({work({1}, {1})}).outcome.get();
  Asked held = hold();
  Asked first = ask({work(Ids(999, 2), {1})}, "a", 1e6);
  const Asked hurried = ask({work({3}, {1})}, "a", 10);
  EXPECT_EQ(hurried.admission.refused, Engine::Refused::deadline);
  EXPECT_GE(hurried.admission.queue_s, 25);
  EXPECT_LT(hurried.admission.own_s, hurried.admission.queue_s);
  open();
  EXPECT_EQ(first.outcome.get().end, End::scored);
}

TEST_F(EngineWithoutModel, TakesARequestWhateverItsDeadlineWhereNobodyWaits) {
  start({.batch_tokens = 8});
  delay_ = std::chrono::milliseconds(50);
  (void)ask({work({1}, {1})}).outcome.get();
  Asked alone = ask({work(Ids(999, 2), {1})}, "a", 10);  // 25 s or more at the speed of before
  EXPECT_EQ(alone.admission.refused, Engine::Refused::no);
  EXPECT_EQ(alone.outcome.get().end, End::scored);
}

TEST_F(EngineWithoutModel, DoesNotComputeWhatWasCancelled) {
  start();
  Asked held = hold();
  Asked gone = ask({work({1}, {1}), work({2}, {2})}), stays = ask({work({3}, {3})});
  engine_->cancel(gone.admission.ticket);
  EXPECT_EQ(gone.outcome.get().end, End::cancelled);
  engine_->cancel(held.admission.ticket);  // while it is computed
  EXPECT_EQ(held.outcome.get().end, End::cancelled);
  open();
  EXPECT_EQ(stays.outcome.get().end, End::scored);
  ASSERT_EQ(batches_.size(), 2U);
  EXPECT_EQ(batches_[1], (std::vector<Ids>{{3}}));
  EXPECT_EQ(engine_->state().tokens, 0);
  EXPECT_EQ(engine_->state().requests, 0);
  engine_->cancel(stays.admission.ticket);  // too late: nothing happens
}

TEST_F(EngineWithoutModel, ScoresTheOthersOfABatchInWhichOneFails) {
  start();
  Asked held = hold();
  Asked good = ask({work({1}, {4})}), bad = ask({work({2}, {1}), work({13}, {1})}), also_good = ask({work({3}, {5})});
  open();
  EXPECT_EQ(rewards(good.outcome.get()), std::vector<double>{4});
  const Outcome failed = bad.outcome.get();
  EXPECT_EQ(failed.end, End::failed);
  EXPECT_NE(failed.problem.find("cannot be scored"), std::string::npos);
  EXPECT_EQ(rewards(also_good.outcome.get()), std::vector<double>{5});
}

TEST_F(EngineWithoutModel, AnswersEverybodyWhenItStops) {
  start();
  Asked held = hold();
  Asked waits = ask({work({1}, {1})});
  engine_->stop();
  EXPECT_EQ(waits.outcome.get().end, End::stopped);
  EXPECT_EQ(held.outcome.get().end, End::stopped);
  EXPECT_EQ(ask({work({1}, {1})}).admission.refused, Engine::Refused::stopped);
}

TEST_F(EngineWithoutModel, KeepsBundlesOfAReloadApart) {
  start();
  Asked held = hold();
  Asked before = ask({work({1}, {1})}, "a");
  bundle_ = std::make_shared<moe::Bundle>();
  Asked after = ask({work({1}, {2})}, "b");
  open();
  EXPECT_EQ(rewards(before.outcome.get()), std::vector<double>{1});
  EXPECT_EQ(rewards(after.outcome.get()), std::vector<double>{2});
  EXPECT_EQ(batches_.size(), 3U);  // the same prompt, but never in one batch
}

TEST(EngineWithAModel, GivesTheBitsOfScoreWhateverIsComputedBesides) {
  const auto bundle = test::earlier_bundle();
  std::vector<Work> works;
  std::vector<std::vector<double>> alone;
  for (int p = 0; p < 12; ++p) {
    std::vector<std::string> responses;
    for (int r = 0; r <= p % 4; ++r)
      responses.push_back(std::string(static_cast<std::size_t>(3 + 20 * r), 'a') + " answer " + std::to_string(p));
    Work work{bundle, moe::tokenize(*bundle, {{"user", "Question number " + std::to_string(p / 3)}}, responses),
              p % 5 == 0 ? "chat" : ""};
    alone.emplace_back();
    for (const moe::Score& score : bundle->model.score(work.texts, work.category).responses) alone.back().push_back(score.reward);
    works.push_back(std::move(work));
  }
  for (const std::int64_t batch_tokens : {1, 100, 100000}) {
    Engine engine({.batch_tokens = batch_tokens, .batch_wait_s = 0.02});
    std::vector<std::future<Outcome>> outcomes;
    for (std::size_t w = 0; w < works.size(); ++w) {
      auto promise = std::make_shared<std::promise<Outcome>>();
      outcomes.push_back(promise->get_future());
      engine.submit({{works[w]}, std::to_string(w % 3), Clock::now() + std::chrono::seconds(100)},
                    [promise](Outcome outcome) { promise->set_value(std::move(outcome)); });
    }
    for (std::size_t w = 0; w < works.size(); ++w) {
      const Outcome outcome = outcomes[w].get();
      ASSERT_EQ(outcome.end, End::scored);
      for (std::size_t r = 0; r < alone[w].size(); ++r)
        EXPECT_EQ(outcome.groups[0].responses[r].reward, alone[w][r]) << w << " " << r;
    }
  }
}

}  // namespace
}  // namespace dmoerm::serve
