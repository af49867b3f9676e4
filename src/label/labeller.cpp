#include "label/labeller.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <map>
#include <tuple>
#include <unordered_map>

#include "base/error.h"
#include "base/log.h"
#include "label/verdict_parser.h"
#include "label/vote.h"

namespace dmoerm::label {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kPollWait{20};
constexpr std::size_t kOnTheirWayMax = 2048;  // questions of all judges, those that wait for their turn included
constexpr int kSlotsPerTurn = 256;            // looked at before replies are collected again

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
  BuiltQuestion built;  ///< without its body once it was sent
  Spent most;
  std::vector<std::size_t> waiting;  ///< points that have the same question
};

std::int64_t now_ms() {
  return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Whether the server refuses the request because of its answer form.
bool refuses_form(const JudgeReply& reply) {
  const auto says = [&](std::string_view word) { return reply.detail.find(word) != std::string::npos; };
  return reply.status == JudgeReply::error && (says("answered 400") || says("answered 422") || says("answered 501")) &&
         (says("response_format") || says("schema") || says("guided") || says("grammar") || says("structured"));
}

LabelEnd::Why why_of(JudgeReply::Status status) {
  if (status == JudgeReply::quota_exhausted) return LabelEnd::Why::quota;
  return status == JudgeReply::unreachable ? LabelEnd::Why::unreachable : LabelEnd::Why::refused;
}

}  // namespace

int LabelEnd::exit_code() const {
  if (why == Why::complete) return 0;
  return why == Why::refused ? ConfigError("").exit_code() : Stopped("").exit_code();
}

struct Labeller::Impl {
  Impl(std::vector<Target> targets, std::vector<std::vector<GroupPairs>> pairs_of, GroupFile& groups,
       std::vector<Judge>& judge_list, LabelStore& label_store, const config::LabelsConfig& labels)
      : pairs(std::move(pairs_of)), judges(judge_list), store(label_store), config(labels), stored_before(label_store.size()) {
    for (std::size_t i = 0; i < targets.size(); ++i) {
      points.emplace_back(targets[i], groups, judges, pairs[i], static_cast<std::int32_t>(config.samples));
      progress.points.push_back({targets[i], points[i].size()});
    }
    progress.before = store.spent();
  }

  // --- towards the judges ---

  /// Whether a slot needs no asking. @param built  its question in the form in use
  bool answered_before(std::size_t point, const Slot& slot, const BuiltQuestion& built) {
    const auto holds = [&](const Known* found) {
      return found != nullptr && !(config.retry_errors && found->verdict == Verdict::error);
    };
    if (holds(store.find(built.question.key))) return true;
    return judges[slot.judge].forms.size() > 1 && stored_before > 0 && holds(points[point].find(slot, store));
  }

  /// The next question that has to be asked; nothing if there is none, or none was found in this turn.
  std::optional<Asked> next() {
    for (int i = 0; i < kSlotsPerTurn && (current < points.size() || !again.empty()); ++i) {
      Asked asked;
      if (!again.empty()) {
        std::tie(asked.point, asked.slot) = again.front();
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
        Asker* asker = judges[asked.slot.judge].asker.get();
        if (!too_long && asker->under_way(built->question.key)) asker->answered(built->question.key);
        ++(too_long ? point.skipped : point.known);
        finish(asked.point);  // it may have been the last one, asked again in another form
        continue;
      }
      if (const auto same = by_key.find(built->question.key); same != by_key.end()) {
        on_their_way.at(same->second).waiting.push_back(asked.point);
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
    Judge& judge = judges[asked.slot.judge];
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
      Judge& judge = judges[held->slot.judge];
      if (judge.asker->full() || (judge.config.via == "online" && online_pending() >= kOnTheirWayMax)) return false;
      if (!judge.form_known && judge.asker->pending() > 0) return false;  // the first reply decides how the others are asked
      if (held->form != judge.form) {                                     // it was built before that was decided
        ++progress.points[held->point].outstanding;
        again.emplace_front(held->point, held->slot);
        held.reset();
        continue;
      }
      if (judge.asker->under_way(held->built.question.key)) {
        held->most = {};  // paid for already
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
    for (Judge& judge : judges) judge.asker->flush();
  }

  /// Questions that wait for the judges asked online.
  [[nodiscard]] std::size_t online_pending() const {
    std::size_t sum = 0;
    for (const Judge& judge : judges) sum += judge.config.via == "online" ? judge.asker->pending() : 0;
    return sum;
  }

  // --- from the judges ---

  [[nodiscard]] bool ended() const { return result.why != LabelEnd::Why::complete; }

  void end(LabelEnd::Why why, std::string message) {
    if (ended()) return;
    result = {why, std::move(message)};
    for (Judge& judge : judges) judge.asker->stop_submitting();
  }

  /// What a reply cost: as the server counted, else as estimated; tries that may have been paid count at the most they can have
  /// cost.
  static Spent cost_of(const Judge& judge, const Asked& asked, const JudgeReply& reply) {
    const bool answered = reply.status == JudgeReply::ok || reply.status == JudgeReply::refused;
    Spent used{1, 0, 0, 0};
    if (answered) {
      used.prompt_tokens = reply.prompt_tokens >= 0 ? reply.prompt_tokens : asked.most.prompt_tokens;
      used.completion_tokens = reply.completion_tokens >= 0 ? reply.completion_tokens : estimate_tokens(reply.text);
    }
    if (reply.maybe_billed) {
      const int unclear = std::max(1, reply.tries - (answered ? 1 : 0));
      used.prompt_tokens += unclear * asked.most.prompt_tokens;
      used.completion_tokens += unclear * asked.most.completion_tokens;
    }
    used.cost_micros = judge.cost_micros(used.prompt_tokens, used.completion_tokens);
    return used;
  }

  Label label_of(const Judge& judge, const Asked& asked, const JudgeReply& reply, const Spent& used) const {
    const Question& question = asked.built.question;
    const QuestionBuilder& builder = judge.forms[asked.form];
    Label label;
    label.key = question.key, label.pair = question.pair;
    label.category = question.category, label.point = question.point;
    label.judge = question.judge, label.template_name = question.template_name;
    label.swapped = question.swapped, label.sample = question.sample;
    if (reply.status == JudgeReply::ok) {
      label.verdict = parse_verdict(reply.text, builder.parameters().form, builder.judge_template().ties());
      // A reply that was cut off at max_tokens may end in a line that it only quotes.
      const bool cut_off = reply.finish_reason == "length" && builder.parameters().form == AnswerForm::verdict_line;
      if (cut_off) label.verdict = Verdict::unparsable;
      label.reply = reply.text;
      if (judge.config.probabilities) {
        const auto first = first_probability(reply.logprobs, builder.parameters().form, builder.judge_template().ties());
        if (first) label.first_probability = static_cast<float>(*first);
      }
    } else {
      label.verdict = reply.status == JudgeReply::refused ? Verdict::refused : Verdict::error;
      label.reply = reply.status == JudgeReply::refused && !reply.text.empty() ? reply.text : reply.detail;
    }
    label.prompt_tokens = static_cast<std::int32_t>(used.prompt_tokens);
    label.completion_tokens = static_cast<std::int32_t>(used.completion_tokens);
    label.cost_micros = used.cost_micros;
    label.time_ms = now_ms();
    return label;
  }

  /// A question leaves the way: nobody waits for it any more.
  void release(const Asked& asked) {
    by_key.erase(asked.built.question.key);
    for (const std::size_t point : asked.waiting) {
      --progress.points[point].outstanding;
      finish(point);
    }
    --progress.points[asked.point].outstanding;
    finish(asked.point);
  }

  void take(JudgeReply&& reply) {
    auto node = on_their_way.extract(reply.ticket);
    DMOERM_CHECK(!node.empty(), "a reply to a question that was not asked");
    Asked& asked = node.mapped();
    Judge& judge = judges[asked.slot.judge];
    if (reply.status == JudgeReply::cancelled || ends_all(reply.status)) {
      budget->settle(asked.most, {});
      by_key.erase(asked.built.question.key);
      if (ends_all(reply.status)) end(why_of(reply.status), std::move(reply.detail));
      return;
    }
    if (!judge.form_known && refuses_form(reply)) {
      spdlog::warn("[label] judge={} takes no JSON schema ({}); it is asked for a verdict line instead", judge.config.model,
                   reply.detail);
      budget->settle(asked.most, {});
      judge.form = 1, judge.form_known = true;
      by_key.erase(asked.built.question.key);
      again.emplace_back(asked.point, asked.slot);
      return;
    }
    if (reply.status != JudgeReply::error) judge.form_known = true;
    const Spent used = cost_of(judge, asked, reply);
    budget->settle(asked.most, used);
    batch.push_back(label_of(judge, asked, reply, used));
    answered.push_back(std::move(asked));
  }

  /// Labels on disk: now they count.
  void acknowledge() {
    if (batch.empty()) return;
    store.append(batch);
    if (spdlog::should_log(spdlog::level::debug)) {
      for (const Label& label : batch) spdlog::debug("[label] stored={}", to_hex(label.key));
    }
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const Asked& asked = answered[i];
      PointProgress& point = progress.points[asked.point];
      ++point.answered;
      for (const std::size_t other : asked.waiting) ++progress.points[other].known;
      ++point.verdicts[static_cast<std::size_t>(batch[i].verdict)];
      if (asked.built.conversation_cut || asked.built.a_cut || asked.built.b_cut) ++point.cut;
      count_consistency(asked, batch[i].verdict);
      release(asked);
    }
    batch.clear();
    answered.clear();
  }

  void count_consistency(const Asked& asked, Verdict verdict) {
    const Slot& s = asked.slot;
    const auto [other, fresh] = one_order.try_emplace({asked.point, s.group, s.a, s.b, s.judge, s.sample}, verdict);
    if (fresh) return;
    Ballot ballot{verdict, other->second};
    if (s.swapped) std::swap(ballot.first_order, ballot.second_order);
    one_order.erase(other);
    const pair::SwapOutcome outcome = outcome_of(ballot);
    PointProgress& point = progress.points[asked.point];
    if (outcome <= pair::SwapOutcome::inconsistent) ++point.both;
    if (outcome < pair::SwapOutcome::inconsistent) ++point.consistent;
  }

  void finish(std::size_t point) {
    if (progress.points[point].done() && watch->point_done) watch->point_done(point);
  }

  std::size_t pending() const {
    std::size_t sum = 0;
    for (const Judge& judge : judges) sum += judge.asker->pending();
    return sum;
  }

  void show() {
    progress.run = budget->run();
    progress.in_flight = progress.throttled = progress.failed = 0;
    for (const Judge& judge : judges) {
      const ClientStats stats = judge.asker->stats();
      progress.in_flight += static_cast<std::int64_t>(judge.asker->in_flight());
      progress.throttled += stats.throttled;
      progress.failed += stats.failed + stats.not_reached;
    }
    if (watch->progress) watch->progress(progress);
  }

  void collect(milliseconds wait) {
    const auto share = wait / static_cast<int>(judges.size());
    for (Judge& judge : judges) {
      for (JudgeReply& reply : judge.asker->poll(share)) take(std::move(reply));
    }
  }

  LabelEnd run(Budget& limits, const Watch& watcher) {
    budget = &limits, watch = &watcher;
    std::exception_ptr failure;
    for (;;) {
      if (watch->stop && watch->stop()) end(LabelEnd::Why::stopped, "stopped by a signal");
      bool more = false;
      try {
        more = fill();
      } catch (const Error&) {  // a text that cannot be asked about: what is in flight is still collected
        failure = std::current_exception();
        end(LabelEnd::Why::refused, "");
      }
      if (!more && !held && again.empty() && on_their_way.empty()) break;
      if (ended() && pending() == 0) break;
      collect(more ? milliseconds(0) : kPollWait);
      acknowledge();
      for (Judge& judge : judges) judge.asker->acknowledge();
      show();
    }
    show();
    std::size_t in_batches = 0;
    for (const Judge& judge : judges) in_batches += judge.config.via == "batch" ? judge.asker->in_flight() : 0;
    if (ended() && in_batches > 0) result.message += fmt::format("; {} questions are in batches at the provider", in_batches);
    if (failure) std::rethrow_exception(failure);
    return result;
  }

  std::vector<std::vector<GroupPairs>> pairs;
  std::deque<PointQuestions> points;
  std::vector<Judge>& judges;
  LabelStore& store;
  const config::LabelsConfig& config;
  const std::size_t stored_before;
  LabelProgress progress;

  std::size_t current = 0;                         ///< point whose questions are looked at
  std::optional<Asked> held;                       ///< could not be sent yet
  std::deque<std::pair<std::size_t, Slot>> again;  ///< to be asked in another form
  std::uint64_t tickets = 0;
  std::unordered_map<std::uint64_t, Asked> on_their_way;
  std::unordered_map<Digest, std::uint64_t, KeyHash> by_key;
  std::vector<Label> batch;     ///< answers that are not stored yet
  std::vector<Asked> answered;  ///< their questions
  std::map<std::tuple<std::size_t, std::size_t, int, int, std::size_t, std::int32_t>, Verdict>
      one_order;  ///< of pairs whose other order is awaited
  Budget* budget = nullptr;
  const Watch* watch = nullptr;
  LabelEnd result;
};

Labeller::Labeller(std::vector<Target> targets, std::vector<std::vector<GroupPairs>> pairs, GroupFile& groups,
                   std::vector<Judge>& judges, LabelStore& store, const config::LabelsConfig& config)
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
      const Judge& judge = impl_->judges[slot->judge];
      const auto built = questions.build(*slot, judge.form);
      if (!built) {
        ++estimate.skipped;
      } else if (impl_->answered_before(i, *slot, *built)) {
        ++estimate.known;
      } else {
        const Spent most = judge.most(*built);
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
