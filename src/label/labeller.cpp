#include "label/labeller.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <exception>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "base/counted.h"
#include "base/error.h"
#include "base/log.h"
#include "label/asked_question.h"
#include "label/judge_watch.h"
#include "label/pair_orders.h"
#include "label/recall.h"
#include "label/reply_label.h"
#include "label/reservations.h"
#include "label/throttling.h"

namespace dmoerm::label {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kPollWait{20};
constexpr std::size_t kPendingMax = 2048;  // most questions without a reply, of all online judges
constexpr int kSlotsPerTurn = 256;         // slots processed before replies are collected again
constexpr int kUnansweredMax = 3;          // batches without an answer to a question after which the run ends

}  // namespace

struct Labeller::Impl {
  Impl(std::vector<Target> targets, std::vector<std::vector<GroupPairs>> pairs_of, GroupFile& groups,
       std::vector<judge::Judge>& judge_list, label_store::LabelStore& label_store, const config::LabelsConfig& labels)
      : pairs(std::move(pairs_of)), judges(judge_list), store(label_store), config(labels), stored_before(label_store.size()) {
    for (std::size_t i = 0; i < targets.size(); ++i) {
      points.emplace_back(targets[i], groups, judges, pairs[i], static_cast<std::int32_t>(config.samples));
      progress.points.push_back({targets[i], points[i].size()});
    }
  }

  // --- asking ---

  const label_store::CachedVerdict* answered_before(std::size_t point, const Slot& slot, const judge::BuiltQuestion& built) {
    return points[point].stored_answer(slot, built, store, config.retry_errors, stored_before > 0);
  }

  /// The next question to ask; nothing if there is none, or none was found in this turn.
  std::optional<Asked> next() {
    for (int i = 0; i < kSlotsPerTurn && (current < points.size() || !again.empty()); ++i) {
      Asked asked;
      if (!again.empty()) {
        static_cast<PointSlot&>(asked) = again.front();
        again.pop_front();
        --progress.points[asked.point].outstanding;
      } else if (const auto slot = points[current].next()) {
        asked.point = current;
        asked.slot = *slot;
      } else {
        progress.points[current].enumerated = true;
        finish(current++);
        continue;
      }
      PointProgress& point = progress.points[asked.point];
      asked.answer_form = judges[asked.slot.judge].answer_form;
      auto built = points[asked.point].build(asked.slot, asked.answer_form);
      const bool too_long = !built;
      const auto* answer = too_long ? nullptr : answered_before(asked.point, asked.slot, *built);
      if (answer != nullptr) meet(asked, answer->verdict);
      if (too_long || answer != nullptr) {
        judge::JudgeBackend* backend = judges[asked.slot.judge].backend.get();
        if (!too_long && backend->under_way(built->question.key)) backend->discard(built->question.key);
        ++(too_long ? point.skipped : point.known);
        finish(asked.point);  // it may have been the point's last question
        continue;
      }
      if (const auto same = by_key.find(built->question.key); same != by_key.end()) {
        in_progress.at(same->second).waiting.push_back({asked.point, asked.slot});
        ++point.outstanding;
        continue;
      }
      asked.built = std::move(*built);
      asked.max_cost = judges[asked.slot.judge].max_cost(asked.built);
      return asked;
    }
    return std::nullopt;
  }

  /// A question has a stored answer.
  void meet(const PointSlot& asked, preference::Verdict verdict) {
    watches[asked.slot.judge].met(verdict);
    const auto pair = orders.add(asked, verdict, true);
    if (pair && pair->stored) watches[asked.slot.judge].met_pair(pair->ballot);
    if (pair && !pair->stored) watches[asked.slot.judge].pair(pair->ballot);
  }

  void send(Asked&& asked) {
    judge::Judge& judge = judges[asked.slot.judge];
    const std::uint64_t ticket = ++tickets;
    by_key[asked.built.question.key] = ticket;
    ++progress.points[asked.point].outstanding;
    const Digest key = asked.built.question.key;
    std::string body = std::move(asked.built.question.body);
    asked.built.question.body.clear();
    const auto tokens = static_cast<std::int32_t>(
        std::min<std::int64_t>(asked.max_cost.prompt_tokens + asked.max_cost.completion_tokens, 1 << 30));
    in_progress.emplace(ticket, std::move(asked));
    watches[in_progress.at(ticket).slot.judge].sent();
    judge.backend->submit(ticket, key, std::move(body), tokens);
  }

  /// Whether the first reply decides the answer form, or how long answers are where that is limited.
  [[nodiscard]] bool awaits_first_reply(std::size_t number) const {
    const bool online = judges[number].config.api == config::JudgeApi::online;
    return !judges[number].answer_form_known || (online && budget->limits_length() && watches[number].replies() == 0);
  }

  /// Send all questions that may be sent now. @return whether there may be more
  bool fill() {
    for (int sent = 0; !ended() && sent < kSlotsPerTurn; ++sent) {
      if (!held) held = next();
      if (!held && current < points.size()) return true;  // this turn has found only answered questions
      if (!held) return flush(), false;
      judge::Judge& judge = judges[held->slot.judge];
      if (judge.backend->full() || (judge.config.api == config::JudgeApi::online && judge::pending_online(judges) >= kPendingMax))
        return false;
      if (awaits_first_reply(held->slot.judge) && judge.backend->pending() > 0) return false;
      if (held->answer_form != judge.answer_form) {  // it was built before that was decided
        ++progress.points[held->point].outstanding;
        again.push_front(*held);
        held.reset();
        continue;
      }
      const auto reserved = reserved_keys.find(held->built.question.key);
      if (judge.backend->under_way(held->built.question.key)) {
        // it is paid for, and reserve_earlier_batches() has reserved its cost
      } else if (!watches[held->slot.judge].may_send()) {
        judge.backend->flush();  // a batch of the first questions shows what the judge's replies are good for
        return false;
      } else if (reserved == reserved_keys.end() && !budget->reserve(held->max_cost)) {
        if (!budget->affordable(held->max_cost))
          end(LabellingEnd::Why::limit, "budget reached: " + budget->shortage(held->max_cost));
        flush();
        return false;
      }
      if (reserved != reserved_keys.end()) reserved_keys.erase(reserved);  // its next try, if there is one, reserves anew
      if (!std::exchange(has_room, true)) store.require_room();
      send(std::move(*held));
      held.reset();
    }
    return !ended();
  }

  void flush() {
    for (judge::Judge& judge : judges) judge.backend->flush();
  }

  // --- collecting ---

  [[nodiscard]] bool ended() const { return result.why != LabellingEnd::Why::complete; }

  /// Send nothing more. At a limit everything sent is within the budget and is waited for, batches too.
  void end(LabellingEnd::Why why, std::string message) {
    if (ended()) return;
    result = {why, std::move(message)};
    double seconds = 0;
    for (judge::Judge& judge : judges) {
      if (why == LabellingEnd::Why::limit) {
        judge.backend->flush();
      } else {
        judge.backend->stop_submitting();
      }
      for (const config::EndpointConfig& e : judge.config.endpoints) seconds = std::max(seconds, e.request_timeout_s);
    }
    if (const std::size_t coming = judge::answers_in_flight(judges); coming > 0)
      spdlog::info("[label] {}; waiting at most {:.0f} s for {} in flight", result.message, seconds,
                   counted(static_cast<std::int64_t>(coming), "answer"));
  }

  /// A question is answered.
  void release(const Asked& asked) {
    by_key.erase(asked.built.question.key);
    for (const PointSlot& waiting : asked.waiting) {
      --progress.points[waiting.point].outstanding;
      finish(waiting.point);
    }
    --progress.points[asked.point].outstanding;
    finish(asked.point);
  }

  /// Ask a question again that came back without an answer, and so the slots that waited for it.
  void put_back(const Asked& asked) {
    again.push_back(asked);
    again.insert(again.end(), asked.waiting.begin(), asked.waiting.end());
  }

  /// Reserve more for each question of a judge whose server counts more tokens than are reserved, in prompts or answers, or
  /// states a higher cost than the prices make it.
  void see_counts(const Asked& asked, const judge::JudgeReply& reply) {
    judge::Judge& judge = judges[asked.slot.judge];
    if (!learn_counts(asked, reply, judge, watches[asked.slot.judge])) return;
    for (auto& [ticket, other] : in_progress) {
      if (other.slot.judge == asked.slot.judge) budget->reserve_paid(raise_cost(other, judge));
    }
    if (held && held->slot.judge == asked.slot.judge) raise_cost(*held, judge);
  }

  /// A question comes back without an answer. What was sent for it counts.
  void leave(const Asked& asked, const judge::JudgeReply& reply) {
    const judge::Usage used = cost_without_answer(judges[asked.slot.judge], asked.built, reply);
    store.book_without_label(used);
    budget->settle(reserved_for(asked), used);
    watches[asked.slot.judge].returned(1 + asked.repeated);
    by_key.erase(asked.built.question.key);
  }

  void take(judge::JudgeReply&& reply) {
    auto node = in_progress.extract(reply.ticket);
    DMOERM_CHECK(!node.empty(), "a reply to a question that was not asked");
    Asked& asked = node.mapped();
    judge::Judge& judge = judges[asked.slot.judge];
    const bool fatal = judge::ends_all(reply.status);
    if (fatal) end(why_of(reply.status), reply.detail);
    JudgeWatch& replies = watches[asked.slot.judge];
    const bool cancelled = reply.status == judge::JudgeReply::cancelled;
    if (fatal || cancelled || asked.out_of_budget) {
      leave(asked, reply);
      if (!ended() && cancelled && ++unanswered[asked.built.question.key] == kUnansweredMax)
        end(LabellingEnd::Why::unreachable,
            fmt::format("{} batches of {} came back without an answer: {}", kUnansweredMax, judge.config.model, reply.detail));
      if (!ended()) put_back(asked);
      return;
    }
    if (!judge.answer_form_known && refuses_answer_form(reply)) {
      spdlog::warn("[label] judge={} does not support a JSON schema ({}); it is asked for a verdict line instead",
                   judge.config.model, reply.detail);
      leave(asked, reply);
      judge.answer_form = 1;
      judge.answer_form_known = true;
      put_back(asked);
      return;
    }
    const bool answer = reply.status == judge::JudgeReply::ok || reply.status == judge::JudgeReply::refused;
    judge.answer_form_known = judge.answer_form_known || answer;
    if (answer) throttling.answered(progress.throttled, std::chrono::steady_clock::now());
    forget_impossible_counts(reply, asked.built);
    see_counts(asked, reply);
    if (is_about_texts(reply)) reply.detail += fmt::format(" ({})", points[asked.point].pair_name(asked.slot));
    const judge::Usage used = cost_of(judge, asked.built, reply);
    budget->settle(reserved_for(asked), used);
    asked.requests = used.requests;
    batch.push_back(label_of(judge, asked.built.question, asked.answer_form, reply, used));
    replies.take(reply, batch.back(), 1 + asked.repeated, answer ? 1 + reply.billed_tries : std::max(1, reply.billed_tries));
    count_consistency(asked, batch.back().verdict);
    answered.push_back(std::move(asked));
    if (replies.hopeless()) end(LabellingEnd::Why::refused, replies.why());
    if (const std::string notice = replies.notice(false); !notice.empty()) spdlog::warn("[label] {}", notice);
  }

  /// End the run if all replies for a long time are "too many requests": the daily quota is probably used up.
  void check_throttling() {
    if (progress.in_flight + static_cast<std::int64_t>(judge::pending_online(judges)) == 0) return;
    const std::string text = throttling.check(progress.throttled, std::chrono::steady_clock::now());
    if (text.empty() && !throttling.too_long()) return;
    const std::string said = throttling_problems(judges);
    if (!text.empty()) spdlog::warn("[label] {}: asking goes on, more slowly{}", text, said);
    if (throttling.too_long()) end(LabellingEnd::Why::quota, throttling.text() + ": the quota is probably used up" + said);
  }

  /// Store the answers; only then do they count.
  void acknowledge() {
    if (batch.empty()) return;
    try {
      store.append(with_earlier_tries(batch, answered));
    } catch (const Error&) {  // e.g. disk full: answers in flight are still collected, and stored if there is room again
      if (!failure) failure = std::current_exception();
      end(LabellingEnd::Why::stopped, "the label store cannot be written");
      return;
    }
    if (spdlog::should_log(spdlog::level::debug)) {
      for (const label_store::Label& label : batch) spdlog::debug("[label] stored={}", to_hex(label.key));
    }
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const Asked& asked = answered[i];
      PointProgress& point = progress.points[asked.point];
      ++point.answered;
      for (const PointSlot& waiting : asked.waiting) ++progress.points[waiting.point].known;
      ++point.verdicts[static_cast<std::size_t>(batch[i].verdict)];
      release(asked);
    }
    batch.clear();
    answered.clear();
    keep_room();
  }

  /// Ask no more once the disk has hardly room for the answers in flight: they are paid for.
  void keep_room() {
    if (ended() || !store.nearly_full(static_cast<std::int64_t>(judge::answers_in_flight(judges)))) return;
    failure = std::make_exception_ptr(IoError(
        "disk-full", fmt::format("{}: hardly any space is left there, so nothing more is asked for; all answers so far are "
                                 "stored: free some space and run again",
                                 store.directory().string())));
    end(LabellingEnd::Why::stopped, "the label store's disk is nearly full");
  }

  void count_consistency(const Asked& asked, preference::Verdict verdict) {
    const auto pair = orders.add(asked, verdict, false);
    if (!pair) return;
    const preference::SwapOutcome outcome = outcome_of(pair->ballot);
    JudgeWatch& replies = watches[asked.slot.judge];
    replies.pair(pair->ballot);
    PointProgress& point = progress.points[asked.point];
    if (outcome <= preference::SwapOutcome::inconsistent) ++point.both;
    if (outcome < preference::SwapOutcome::inconsistent) ++point.consistent;
  }

  void finish(std::size_t point) {
    if (!progress.points[point].done() || !watch->point_done || result.why == LabellingEnd::Why::refused) return;
    if (std::ranges::any_of(watches, &JudgeWatch::was_in_vain)) {  // a point without verdicts is not done
      doubtful.insert(point);
      return;
    }
    doubtful.erase(point);
    try {
      watch->point_done(point);
    } catch (const std::exception&) {  // its verdicts cannot be written: answers in flight are still collected
      if (!failure) failure = std::current_exception();
      end(LabellingEnd::Why::stopped, "verdicts cannot be written");
    }
  }

  /// Whether the run, which is ending, must wait for replies.
  [[nodiscard]] bool awaited() const {
    return std::ranges::any_of(judges, [&](const judge::Judge& judge) {
      return judge.backend->pending() > 0 && (judge.backend->answers_soon() || result.why == LabellingEnd::Why::limit);
    });
  }

  void recall_all() {
    for (std::size_t i = 0; stored_before > 0 && !goes_on && i < judges.size(); ++i) recall(store, judges[i], watches[i]);
  }

  /// At the end, say what became of the replies, and end as refused if they were of no use.
  void conclude() {
    for (JudgeWatch& replies : watches) {
      if (const std::string notice = replies.notice(true); !notice.empty()) spdlog::warn("[label] {}", notice);
      if (const std::string summary = replies.summary(); !summary.empty()) {
        if (replies.some_useless()) spdlog::warn("[label] {}", summary);
        progress.notes.push_back(summary);
      }
      const bool enough = result.why == LabellingEnd::Why::complete || result.why == LabellingEnd::Why::limit;
      if (enough && !failure && replies.was_in_vain()) result = {LabellingEnd::Why::refused, replies.why()};
    }
    for (const std::size_t point : std::set<std::size_t>(doubtful)) finish(point);
  }

  /// Reserve the cost of questions in batches of earlier runs, before anything new is sent.
  void reserve_earlier_batches() {
    if (std::ranges::none_of(judges, [](const judge::Judge& judge) { return judge.backend->pending_from_earlier_runs() > 0; }))
      return;
    for (std::size_t i = 0; i < points.size(); ++i) {
      PointQuestions questions = points[i];
      while (const auto slot = questions.next()) {
        const judge::Judge& judge = judges[slot->judge];
        if (judge.backend->pending_from_earlier_runs() == 0) continue;
        const auto built = questions.build(*slot, judge.answer_form);
        if (!built || !judge.backend->under_way(built->question.key) || answered_before(i, *slot, *built)) continue;
        if (!reserved_keys.insert(built->question.key).second) continue;
        budget->reserve_paid(judge.max_cost(*built));
      }
    }
  }

  void show() {
    progress.run = budget->run();
    progress.in_flight = progress.throttled = 0;
    for (const judge::Judge& judge : judges) {
      progress.in_flight += static_cast<std::int64_t>(judge.backend->in_flight());
      progress.throttled += judge.backend->stats().throttled;
    }
    store.note_in_flight(most_in_flight(in_progress, answered, judges));
    if (watch->progress) watch->progress(progress);
  }

  void use_free_places() {
    for (std::size_t i = 0; i < judges.size(); ++i) judges[i].backend->send(watches[i].in_flight_max());
  }

  void collect(milliseconds wait) {
    const auto share = wait / static_cast<int>(judges.size());
    for (judge::Judge& judge : judges) {
      for (judge::JudgeReply& reply : judge.backend->poll(share)) take(std::move(reply));
    }
    use_free_places();  // before the answers are stored, which takes a while
  }

  LabellingEnd run(Budget& limits, const Watch& watcher) {
    budget = &limits;
    watch = &watcher;
    for (judge::Judge& judge : judges) {
      if (!goes_on) watches.emplace_back(judge.config, config.useless_max, config.soft).served_before(judge.served_before);
      judge.backend->ask_before_repeating([this](std::uint64_t ticket, bool charged) {
        Asked& asked = in_progress.at(ticket);
        return reserve_again(asked, charged, watches[asked.slot.judge], *budget);
      });
    }
    use_free_places();
    reserve_earlier_batches();
    for (;;) {
      if (watch->stop && watch->stop()) {
        if (result.why == LabellingEnd::Why::limit)
          result.why = LabellingEnd::Why::complete;  // a signal does not wait for batches
        end(LabellingEnd::Why::stopped, "stopped by a signal");
      }
      bool more = false;
      try {
        if (!std::exchange(recalled, true)) recall_all();
        more = fill();
      } catch (const Error&) {  // a text that cannot be asked about: answers in flight are still collected
        if (!failure) failure = std::current_exception();
        end(LabellingEnd::Why::refused, "");
      }
      if (!more && !held && again.empty() && in_progress.empty()) break;
      if (ended() && !awaited()) break;
      collect(more ? milliseconds(0) : kPollWait);
      acknowledge();
      if (batch.empty()) {
        for (judge::Judge& judge : judges) judge.backend->acknowledge();
      }
      show();
      check_throttling();
    }
    acknowledge();
    show();
    conclude();
    if (failure) {
      if (!batch.empty()) spdlog::error("[label] {} paid answers could not be stored", batch.size());
      std::rethrow_exception(failure);
    }
    DMOERM_CHECK(ended() || std::ranges::all_of(progress.points, &PointProgress::done),
                 "every question of a complete labelling is answered");
    std::size_t in_batches = 0;
    for (const judge::Judge& judge : judges) in_batches += judge.backend->answers_soon() ? 0 : judge.backend->in_flight();
    if (ended() && in_batches > 0)
      result.message +=
          "; " + counted(static_cast<std::int64_t>(in_batches), "question is", "questions are") + " in batches at the provider";
    return result;
  }

  std::vector<std::vector<GroupPairs>> pairs;
  std::deque<PointQuestions> points;
  std::vector<judge::Judge>& judges;
  label_store::LabelStore& store;
  const config::LabelsConfig& config;
  const std::size_t stored_before;
  LabelProgress progress;

  std::size_t current = 0;      ///< Point whose questions are enumerated
  std::optional<Asked> held;    ///< Question that could not be sent yet
  std::deque<PointSlot> again;  ///< Questions to ask again
  std::uint64_t tickets = 0;
  std::unordered_map<std::uint64_t, Asked> in_progress;
  std::unordered_map<Digest, std::uint64_t, KeyHash> by_key;
  std::vector<label_store::Label> batch;  ///< Answers that are not stored yet
  std::vector<Asked> answered;            ///< Their questions
  PairOrders orders;
  Budget* budget = nullptr;
  const Watch* watch = nullptr;
  LabellingEnd result;
  std::exception_ptr failure;
  std::vector<JudgeWatch> watches;  ///< By judge
  bool goes_on = false;             ///< Whether they are those of an earlier labelling of this run
  std::set<std::size_t> doubtful;   ///< Answered points, while most replies of a judge are of no use
  bool recalled = false, has_room = false;
  Throttling throttling{std::chrono::steady_clock::now()};
  std::unordered_map<Digest, int, KeyHash> unanswered;  ///< Batches that came back without an answer, by question
  std::unordered_set<Digest, KeyHash> reserved_keys;    ///< Questions in earlier batches whose cost is reserved
};

Labeller::Labeller(std::vector<Target> targets, std::vector<std::vector<GroupPairs>> pairs, GroupFile& groups,
                   std::vector<judge::Judge>& judges, label_store::LabelStore& store, const config::LabelsConfig& config)
    : impl_(std::make_unique<Impl>(std::move(targets), std::move(pairs), groups, judges, store, config)) {}
Labeller::~Labeller() = default;

LabellingEnd Labeller::run(Budget& budget, const Watch& watch) { return impl_->run(budget, watch); }
const LabelProgress& Labeller::progress() const { return impl_->progress; }

void Labeller::go_on_with(std::vector<JudgeWatch> watches) {
  for (JudgeWatch& watch : watches) watch.go_on();
  impl_->watches = std::move(watches);
  impl_->goes_on = !impl_->watches.empty();
}
const std::vector<JudgeWatch>& Labeller::watches() const { return impl_->watches; }

}  // namespace dmoerm::label
