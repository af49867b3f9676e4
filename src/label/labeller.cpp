#include "label/labeller.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/log.h"
#include "label/reply_label.h"
#include "label/vote.h"

namespace dmoerm::label {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kPollWait{20};
constexpr std::size_t kOnTheirWayMax = 2048;  // questions of all judges, those that wait for their turn included
constexpr int kSlotsPerTurn = 256;            // looked at before replies are collected again
constexpr int kHopeless = 32;                 // first replies of a judge that are all errors: stop
constexpr int kUnansweredMax = 3;             // batches that came back without an answer to a question
constexpr double kRefusedS = 600;             // of nothing but "too much": stop

struct KeyHash {
  std::size_t operator()(const Digest& key) const {
    std::size_t value = 0;
    std::memcpy(&value, key.data(), sizeof value);
    return value;
  }
};

/// A question that can be sent, or was.
struct Asked {
  std::size_t point = 0;
  Slot slot;
  std::size_t form = 0;
  judge::BuiltQuestion built;  ///< without its body once it was sent
  judge::Usage most;
  struct Waiting {
    std::size_t point;
    Slot slot;
  };
  int repeated = 0;              ///< tries that may have been paid and were repeated
  std::vector<Waiting> waiting;  ///< the same question of other pairs or points
};

/// A question that comes back to be asked again.
struct Again {
  std::size_t point = 0;
  Slot slot;
};

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

  // --- towards the judges ---

  /// Whether a slot needs no asking. @param built  its question in the form in use
  bool answered_before(std::size_t point, const Slot& slot, const judge::BuiltQuestion& built) {
    const auto holds = [&](const label_store::Known* found) {
      return found != nullptr && !(config.retry_errors && found->verdict == preference::Verdict::error);
    };
    if (holds(store.find(built.question.key))) return true;
    return judges[slot.judge].forms.size() > 1 && stored_before > 0 && holds(points[point].look_up(slot, store).answer);
  }

  /// The next question that has to be asked; nothing if there is none, or none was found in this turn.
  std::optional<Asked> next() {
    for (int i = 0; i < kSlotsPerTurn && (current < points.size() || !again.empty()); ++i) {
      Asked asked;
      if (!again.empty()) {
        asked.point = again.front().point, asked.slot = again.front().slot;
        again.pop_front();
        --progress.points[asked.point].outstanding;
      } else if (const auto slot = points[current].next()) {
        asked.point = current, asked.slot = *slot;
      } else {
        progress.points[current].enumerated = true;
        finish(current++);
        continue;
      }
      PointProgress& point = progress.points[asked.point];
      asked.form = judges[asked.slot.judge].form;
      auto built = points[asked.point].build(asked.slot, asked.form);
      const bool too_long = !built;
      if (too_long || answered_before(asked.point, asked.slot, *built)) {
        judge::Asker* asker = judges[asked.slot.judge].asker.get();
        if (!too_long && asker->under_way(built->question.key)) asker->answered(built->question.key);
        ++(too_long ? point.skipped : point.known);
        finish(asked.point);  // it may have been the last one, asked again in another form
        continue;
      }
      if (const auto same = by_key.find(built->question.key); same != by_key.end()) {
        on_their_way.at(same->second).waiting.push_back({asked.point, asked.slot});
        ++point.outstanding;
        continue;
      }
      asked.built = std::move(*built);
      asked.most = judges[asked.slot.judge].most(asked.built);
      return asked;
    }
    return std::nullopt;
  }

  void send(Asked&& asked) {
    judge::Judge& judge = judges[asked.slot.judge];
    const std::uint64_t ticket = ++tickets;
    by_key[asked.built.question.key] = ticket;
    ++progress.points[asked.point].outstanding;
    const Digest key = asked.built.question.key;
    std::string body = std::move(asked.built.question.body);
    asked.built.question.body.clear();
    const auto tokens =
        static_cast<std::int32_t>(std::min<std::int64_t>(asked.most.prompt_tokens + asked.most.completion_tokens, 1 << 30));
    on_their_way.emplace(ticket, std::move(asked));
    judge.asker->submit(ticket, key, std::move(body), tokens);
  }

  /// Send what may be sent. @return whether there may be more to send at once
  bool fill() {
    for (int sent = 0; !ended() && sent < kSlotsPerTurn; ++sent) {
      if (!held) held = next();
      if (!held && current < points.size()) return true;  // known ones only, in this turn
      if (!held) {
        flush();
        return false;
      }
      judge::Judge& judge = judges[held->slot.judge];
      if (judge.asker->full() || (judge.config.api == config::JudgeApi::online && online_pending() >= kOnTheirWayMax))
        return false;
      if (!judge.form_known && judge.asker->pending() > 0) return false;  // the first reply decides how the others are asked
      if (held->form != judge.form) {                                     // it was built before that was decided
        ++progress.points[held->point].outstanding;
        again.push_front({held->point, held->slot});
        held.reset();
        continue;
      }
      if (judge.asker->under_way(held->built.question.key)) {
        // paid for already, and set aside by reserve_left_over()
      } else if (!budget->reserve(held->most)) {
        if (!budget->affordable(held->most)) end(LabelEnd::Why::limit, "budget reached: " + budget->shortage(held->most));
        flush();
        return false;
      }
      send(std::move(*held));
      held.reset();
    }
    return !ended();
  }

  void flush() {
    for (judge::Judge& judge : judges) judge.asker->flush();
  }

  /// Questions that wait for the judges asked online.
  [[nodiscard]] std::size_t online_pending() const {
    std::size_t sum = 0;
    for (const judge::Judge& judge : judges) sum += judge.config.api == config::JudgeApi::online ? judge.asker->pending() : 0;
    return sum;
  }

  // --- from the judges ---

  [[nodiscard]] bool ended() const { return result.why != LabelEnd::Why::complete; }

  /// Send nothing new. At a limit what is under way was set aside and is waited for, batches too.
  void end(LabelEnd::Why why, std::string message) {
    if (ended()) return;
    result = {why, std::move(message)};
    std::size_t coming = 0;
    double seconds = 0;
    for (judge::Judge& judge : judges) {
      if (why == LabelEnd::Why::limit) {
        judge.asker->flush();
      } else {
        judge.asker->stop_submitting();
      }
      coming += judge.asker->prompt() ? judge.asker->in_flight() : 0;
      for (const config::EndpointConfig& e : judge.config.endpoints) seconds = std::max(seconds, e.request_timeout_s);
    }
    if (coming > 0)
      spdlog::info("[label] {}; waiting for {} answers that are on their way, at most {:.0f} s", result.message, coming, seconds);
  }

  /// A question leaves the way answered.
  void release(const Asked& asked) {
    by_key.erase(asked.built.question.key);
    for (const Asked::Waiting& waiting : asked.waiting) {
      --progress.points[waiting.point].outstanding;
      finish(waiting.point);
    }
    --progress.points[asked.point].outstanding;
    finish(asked.point);
  }

  /// A question leaves the way without an answer, to be asked again, and those that waited for it.
  void put_back(const Asked& asked) {
    by_key.erase(asked.built.question.key);
    again.push_back({asked.point, asked.slot});
    for (const Asked::Waiting& waiting : asked.waiting) again.push_back({waiting.point, waiting.slot});
  }

  /// What was set aside for a question, and for tries of it that may have been paid.
  void settle(const Asked& asked, const judge::Usage& used) {
    judge::Usage reserved = asked.most;
    for (int i = 0; i < asked.repeated; ++i) reserved += asked.most;
    budget->settle(reserved, used);
  }

  void take(judge::JudgeReply&& reply) {
    auto node = on_their_way.extract(reply.ticket);
    DMOERM_CHECK(!node.empty(), "a reply to a question that was not asked");
    Asked& asked = node.mapped();
    judge::Judge& judge = judges[asked.slot.judge];
    const bool fatal = judge::ends_all(reply.status);
    if (fatal) end(why_of(reply.status), reply.detail);
    if ((fatal || reply.status == judge::JudgeReply::cancelled) && reply.billed_tries == 0) {
      settle(asked, {});
      if (ended()) {
        by_key.erase(asked.built.question.key);
      } else if (++unanswered[asked.built.question.key] < kUnansweredMax) {
        put_back(asked);
      } else {
        end(LabelEnd::Why::unreachable,
            fmt::format("{} batches of {} came back without an answer: {}", kUnansweredMax, judge.config.model, reply.detail));
      }
      return;
    }
    if (!judge.form_known && refuses_form(reply)) {
      spdlog::warn("[label] judge={} takes no JSON schema ({}); it is asked for a verdict line instead", judge.config.model,
                   reply.detail);
      settle(asked, {});
      judge.form = 1, judge.form_known = true;
      put_back(asked);
      return;
    }
    const bool answer = reply.status == judge::JudgeReply::ok || reply.status == judge::JudgeReply::refused;
    if (answer) judge.form_known = true;
    count_errors(asked.slot.judge, answer, reply.detail);
    const judge::Usage used = cost_of(judge, asked.built, reply);
    settle(asked, used);
    batch.push_back(label_of(judge, asked.built.question, asked.form, reply, used));
    answered.push_back(std::move(asked));
  }

  /// A judge that answers with nothing but errors from the start is not asked on.
  void count_errors(std::size_t judge, bool answer, const std::string& detail) {
    if (answer) {
      heard_at = std::chrono::steady_clock::now(), throttled_then = progress.throttled;
      errors[judge] = -1;
      return;
    }
    ++failed;
    if (errors[judge] >= 0 && ++errors[judge] >= kHopeless) {
      end(LabelEnd::Why::refused,
          fmt::format("the first {} replies of {} are errors, the last: {}", kHopeless, judges[judge].config.model, detail));
    }
  }

  /// A judge that says nothing but "too much" for long has had its day's share.
  void look_for_silence() {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - heard_at).count();
    if (seconds < kRefusedS || progress.throttled <= throttled_then ||
        progress.in_flight + static_cast<std::int64_t>(online_pending()) == 0)
      return;
    end(LabelEnd::Why::quota, fmt::format("no answer but \"too many requests\" for {:.0f} s: a used-up quota?", seconds));
  }

  /// Labels on disk: now they count.
  void acknowledge() {
    if (batch.empty()) return;
    try {
      store.append(batch);
    } catch (const Error&) {  // disk full: what is in flight is still collected, and written if there is room again
      if (!failure) failure = std::current_exception();
      end(LabelEnd::Why::stopped, "the label store cannot be written");
      return;
    }
    if (spdlog::should_log(spdlog::level::debug)) {
      for (const label_store::Label& label : batch) spdlog::debug("[label] stored={}", to_hex(label.key));
    }
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const Asked& asked = answered[i];
      PointProgress& point = progress.points[asked.point];
      ++point.answered;
      for (const Asked::Waiting& waiting : asked.waiting) ++progress.points[waiting.point].known;
      ++point.verdicts[static_cast<std::size_t>(batch[i].verdict)];
      count_consistency(asked, batch[i].verdict);
      release(asked);
    }
    batch.clear();
    answered.clear();
  }

  void count_consistency(const Asked& asked, preference::Verdict verdict) {
    const Slot& s = asked.slot;
    const auto [other, fresh] = one_order.try_emplace({asked.point, s.group, s.a, s.b, s.judge, s.sample}, verdict);
    if (fresh) return;
    Ballot ballot{verdict, other->second};
    if (s.swapped) std::swap(ballot.first_order, ballot.second_order);
    one_order.erase(other);
    const preference::SwapOutcome outcome = outcome_of(ballot);
    PointProgress& point = progress.points[asked.point];
    if (outcome <= preference::SwapOutcome::inconsistent) ++point.both;
    if (outcome < preference::SwapOutcome::inconsistent) ++point.consistent;
  }

  void finish(std::size_t point) {
    if (!progress.points[point].done() || !watch->point_done || result.why == LabelEnd::Why::refused) return;
    try {
      watch->point_done(point);
    } catch (const std::exception&) {  // its verdicts cannot be written: what is in flight is still collected
      if (!failure) failure = std::current_exception();
      end(LabelEnd::Why::stopped, "verdicts cannot be written");
    }
  }

  /// Whether there is something to wait for now that everything ends.
  [[nodiscard]] bool awaited() const {
    return std::ranges::any_of(judges, [&](const judge::Judge& judge) {
      return judge.asker->pending() > 0 && (judge.asker->prompt() || result.why == LabelEnd::Why::limit);
    });
  }

  /// Set aside what batches of earlier runs may cost, before anything new is sent.
  void reserve_left_over() {
    if (std::ranges::none_of(judges, [](const judge::Judge& judge) { return judge.asker->left_over() > 0; })) return;
    for (std::size_t i = 0; i < points.size(); ++i) {
      PointQuestions questions = points[i];
      while (const auto slot = questions.next()) {
        const judge::Judge& judge = judges[slot->judge];
        if (judge.asker->left_over() == 0) continue;
        const auto built = questions.build(*slot, judge.form);
        if (!built || !judge.asker->under_way(built->question.key) || answered_before(i, *slot, *built)) continue;
        if (!counted.insert(built->question.key).second) continue;
        budget->reserve_paid(judge.most(*built));
      }
    }
  }

  void show() {
    progress.run = budget->run();
    progress.in_flight = progress.throttled = 0;
    for (const judge::Judge& judge : judges) {
      progress.in_flight += static_cast<std::int64_t>(judge.asker->in_flight());
      progress.throttled += judge.asker->stats().throttled;
    }
    if (watch->progress) watch->progress(progress);
  }

  void collect(milliseconds wait) {
    const auto share = wait / static_cast<int>(judges.size());
    for (judge::Judge& judge : judges) {
      for (judge::JudgeReply& reply : judge.asker->poll(share)) take(std::move(reply));
    }
  }

  LabelEnd run(Budget& limits, const Watch& watcher) {
    budget = &limits, watch = &watcher;
    errors.assign(judges.size(), 0);
    for (judge::Judge& judge : judges) {
      judge.asker->ask_before_repeating([this](std::uint64_t ticket) {
        Asked& asked = on_their_way.at(ticket);
        const bool may = budget->reserve(asked.most);
        if (may) ++asked.repeated;
        return may;
      });
    }
    reserve_left_over();
    for (;;) {
      if (watch->stop && watch->stop()) {
        if (result.why == LabelEnd::Why::limit) result.why = LabelEnd::Why::complete;  // no waiting for what a limit waits for
        end(LabelEnd::Why::stopped, "stopped by a signal");
      }
      bool more = false;
      try {
        more = fill();
      } catch (const Error&) {  // a text that cannot be asked about: what is in flight is still collected
        if (!failure) failure = std::current_exception();
        end(LabelEnd::Why::refused, "");
      }
      if (!more && !held && again.empty() && on_their_way.empty()) break;
      if (ended() && !awaited()) break;
      collect(more ? milliseconds(0) : kPollWait);
      acknowledge();
      if (batch.empty()) {
        for (judge::Judge& judge : judges) judge.asker->acknowledge();
      }
      show();
      look_for_silence();
    }
    acknowledge();
    show();
    if (failed > 0)
      spdlog::warn("[label] {} questions ended in errors; they are stored as such{}", failed,
                   config.retry_errors ? ", and asked again by the next run" : "");
    if (failure) {
      if (!batch.empty()) spdlog::error("[label] {} answers that were paid for could not be stored", batch.size());
      std::rethrow_exception(failure);
    }
    if (!ended()) {
      for (const PointProgress& point : progress.points)
        DMOERM_CHECK(point.done(), "every question of a complete labelling is answered");
    }
    std::size_t in_batches = 0;
    for (const judge::Judge& judge : judges) in_batches += judge.asker->prompt() ? 0 : judge.asker->in_flight();
    if (ended() && in_batches > 0) result.message += fmt::format("; {} questions are in batches at the provider", in_batches);
    return result;
  }

  std::vector<std::vector<GroupPairs>> pairs;
  std::deque<PointQuestions> points;
  std::vector<judge::Judge>& judges;
  label_store::LabelStore& store;
  const config::LabelsConfig& config;
  const std::size_t stored_before;
  LabelProgress progress;

  std::size_t current = 0;    ///< point whose questions are looked at
  std::optional<Asked> held;  ///< could not be sent yet
  std::deque<Again> again;    ///< to be asked in another form
  std::uint64_t tickets = 0;
  std::unordered_map<std::uint64_t, Asked> on_their_way;
  std::unordered_map<Digest, std::uint64_t, KeyHash> by_key;
  std::vector<label_store::Label> batch;  ///< answers that are not stored yet
  std::vector<Asked> answered;            ///< their questions
  std::map<std::tuple<std::size_t, std::size_t, int, int, std::size_t, std::int32_t>, preference::Verdict>
      one_order;  ///< of pairs whose other order is awaited
  Budget* budget = nullptr;
  const Watch* watch = nullptr;
  LabelEnd result;
  std::exception_ptr failure;
  std::vector<int> errors;  ///< by judge: replies from the first on that were errors; -1 once it has answered
  std::int64_t failed = 0;  ///< questions that ended in errors
  std::chrono::steady_clock::time_point heard_at = std::chrono::steady_clock::now();  ///< of the last answer
  std::int64_t throttled_then = 0;
  std::unordered_map<Digest, int, KeyHash> unanswered;  ///< how often a batch came back without an answer to a question
  std::unordered_set<Digest, KeyHash> counted;          ///< questions of earlier runs' batches that are set aside
};

Labeller::Labeller(std::vector<Target> targets, std::vector<std::vector<GroupPairs>> pairs, GroupFile& groups,
                   std::vector<judge::Judge>& judges, label_store::LabelStore& store, const config::LabelsConfig& config)
    : impl_(std::make_unique<Impl>(std::move(targets), std::move(pairs), groups, judges, store, config)) {}
Labeller::~Labeller() = default;

std::vector<PointEstimate> Labeller::estimate() {
  std::vector<PointEstimate> estimates;
  for (std::size_t i = 0; i < impl_->points.size(); ++i) {
    PointQuestions& questions = impl_->points[i];
    PointEstimate estimate;
    estimate.target = questions.target();
    while (const auto slot = questions.next()) {
      ++estimate.total;
      const judge::Judge& judge = impl_->judges[slot->judge];
      const auto built = questions.build(*slot, judge.form);
      if (!built) {
        ++estimate.skipped;
      } else if (impl_->answered_before(i, *slot, *built)) {
        ++estimate.known;
      } else {
        const judge::Usage most = judge.most(*built);
        estimate.prompt_tokens += most.prompt_tokens;
        estimate.completion_tokens_max += most.completion_tokens;
        estimate.cost_max_micros += most.cost_micros;
        if (built->conversation_cut || built->a_cut || built->b_cut) ++estimate.cut;
      }
    }
    estimates.push_back(std::move(estimate));
  }
  return estimates;
}

LabelEnd Labeller::run(Budget& budget, const Watch& watch) { return impl_->run(budget, watch); }
const LabelProgress& Labeller::progress() const { return impl_->progress; }

}  // namespace dmoerm::label
