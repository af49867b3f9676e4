#include "label/judge_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/counted.h"
#include "base/text.h"
#include "judge/chat_reply.h"

namespace dmoerm::label {
namespace {

constexpr std::size_t kExampleBytes = 300;
constexpr std::int64_t kManyShare = 20;  // replies of which one useless one is many
constexpr std::int64_t kSlackShare = 8;  // tokens beyond the limit that are not spoken of, as a share of it
constexpr double kPriceSlack = 1.1;      // costs beyond those by the prices that are not spoken of
constexpr std::int64_t kNoticed = 8;     // replies after which it is clear what a server leaves out
constexpr std::size_t kModelsMax = 8;    // names of models that are kept
constexpr std::int64_t kNoLimit = 1 << 20;

bool is_verdict(preference::Verdict verdict) {
  return verdict == preference::Verdict::first || verdict == preference::Verdict::second || verdict == preference::Verdict::tie;
}

/// The first bytes of a text without a visible character: "\\0\\0\\n".
std::string escaped(std::string_view text) {
  constexpr std::size_t kShown = 16;
  std::string shown;
  for (const char c : text.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(c);
    shown += c == '\0' ? "\\0" : c == '\n' ? "\\n" : c == ' ' ? " " : fmt::format("\\x{:02x}", byte);
  }
  return fmt::format("\"{}\"{}", shown, text.size() > kShown ? "..." : "");
}

/// Whether a line has nothing but blanks and marks of no width.
bool is_invisible(std::string line) {
  for (const std::string_view mark : {"\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\u2060", "\ufeff", "\u00a0"}) {
    for (std::size_t at = line.find(mark); at != std::string::npos; at = line.find(mark)) line.erase(at, mark.size());
  }
  return is_blank(line);
}

std::string example_of(const std::string& text) {
  if (text.empty()) return "an empty text";
  std::string line = judge::one_line(text, kExampleBytes);
  if (!is_invisible(line)) return line;
  return fmt::format("{} without a visible character: {}", counted(std::ssize(text), "byte"), escaped(text));
}

}  // namespace

ReplyUse use_of(const judge::JudgeReply& reply, preference::Verdict verdict) {
  if (is_verdict(verdict)) return ReplyUse::verdict;
  if (verdict == preference::Verdict::refused) return ReplyUse::refused;
  if (verdict == preference::Verdict::error) return ReplyUse::error;
  if (judge::is_cut_off(reply.finish_reason)) return ReplyUse::cut;
  return is_blank(reply.text) ? ReplyUse::empty : ReplyUse::unreadable;
}

JudgeWatch::JudgeWatch(const config::JudgeConfig& judge, double useless_max, bool soft)
    : judge_(judge),
      useless_max_(useless_max),
      watches_pairs_(useless_max < 1 && !soft),
      recent_(kProbe, useless_max, kStreak),
      recent_pairs_(kPairsProbe, useless_max, kStreak / 2) {}

void PairCounts::add(const Ballot& ballot) {
  const preference::SwapOutcome outcome = outcome_of(ballot);
  ++(outcome <= preference::SwapOutcome::inconsistent ? good : bad);
  if (outcome > preference::SwapOutcome::inconsistent) return;
  if (outcome < preference::SwapOutcome::tie) ++believed;
  if (outcome == preference::SwapOutcome::inconsistent) ++unsettled;
  if (ballot.first_order == ballot.second_order && ballot.first_order == preference::Verdict::first) ++first_twice;
  if (ballot.first_order == ballot.second_order && ballot.first_order == preference::Verdict::second) ++second_twice;
}

PairCounts& PairCounts::operator+=(const PairCounts& more) {
  good += more.good, bad += more.bad;
  first_twice += more.first_twice, second_twice += more.second_twice;
  believed += more.believed, unsettled += more.unsettled;
  return *this;
}

PairCounts& PairCounts::operator-=(const PairCounts& fewer) {
  good -= fewer.good, bad -= fewer.bad;
  first_twice -= fewer.first_twice, second_twice -= fewer.second_twice;
  believed -= fewer.believed, unsettled -= fewer.unsettled;
  return *this;
}

void JudgeWatch::recall(preference::Verdict verdict) {
  ++recalled_;
  ++recalled_uses_[static_cast<std::size_t>(verdict)];
  if (is_verdict(verdict)) ++recalled_useful_;
}

void JudgeWatch::recall_pair(const Ballot& ballot) {
  const preference::SwapOutcome outcome = outcome_of(ballot);
  if (outcome > preference::SwapOutcome::inconsistent) return;
  ++recalled_pairs_;
  if (outcome == preference::SwapOutcome::inconsistent) ++recalled_unsettled_;
}

void JudgeWatch::pair(const Ballot& ballot) {
  asked_pairs_.add(ballot);
  const preference::SwapOutcome outcome = outcome_of(ballot);
  open_pairs_.push_back(outcome == preference::SwapOutcome::unparsable);
  open_ += open_pairs_.back() ? 1 : 0;
  if (open_pairs_.size() > kFormWindow) {
    open_ -= open_pairs_.front() ? 1 : 0;
    open_pairs_.pop_front();
  }
  if (outcome > preference::SwapOutcome::inconsistent) return;
  recent_pairs_.add(outcome == preference::SwapOutcome::inconsistent);
  pairs_.push_back(outcome);
  if (pairs_.size() > kPairsWindow) pairs_.pop_front();
}

void JudgeWatch::recall_form(const Ballot& ballot) {
  ++recalled_forms_;
  if (outcome_of(ballot) == preference::SwapOutcome::unparsable) ++recalled_open_;
  if (outcome_of(ballot) <= preference::SwapOutcome::inconsistent) ++recalled_closed_;
}

bool JudgeWatch::mostly_open() const {
  const std::int64_t pairs = std::ssize(open_pairs_);
  return useless_max_ < 1 && pairs >= kFormProbe && mostly_useless(pairs - open_, pairs);
}

bool JudgeWatch::known_open() const {
  if (useless_max_ >= 1) return false;
  if (recalled_closed_ == 0 && recalled_forms_ >= kPairsProbe && recalled_open_ > 0) return true;
  return recalled_forms_ >= kFormRecalled && mostly_useless(recalled_forms_ - recalled_open_, recalled_forms_);
}

bool JudgeWatch::known_undecided() const {
  return watches_pairs_ && recalled_pairs_ >= kPairsProbe &&
         mostly_useless(recalled_pairs_ - recalled_unsettled_, recalled_pairs_);
}

bool JudgeWatch::undecided() const {
  if (!watches_pairs_ || asked_pairs_.good < kPairsProbe) return false;
  if (recent_pairs_.too_bad()) return true;
  const auto settled = std::ssize(pairs_) - std::ranges::count(pairs_, preference::SwapOutcome::inconsistent);
  const bool none = std::ranges::none_of(pairs_, [](preference::SwapOutcome o) { return o < preference::SwapOutcome::tie; });
  return none || mostly_useless(settled, std::ssize(pairs_));
}

void JudgeWatch::met(preference::Verdict verdict) {
  ++met_;
  if (is_verdict(verdict)) ++met_useful_;
}

bool JudgeWatch::mostly_useless(std::int64_t useful, std::int64_t all) const {
  return static_cast<double>(all - useful) >= useless_max_ * static_cast<double>(all) - 1e-9;
}

bool JudgeWatch::known_useless() const {
  return !otherwise_useless_ && recalled_ >= kKnown && mostly_useless(recalled_useful_, recalled_);
}

std::int64_t JudgeWatch::enough(std::int64_t all) const {
  return static_cast<std::int64_t>(std::floor((1 - useless_max_) * static_cast<double>(all) + 1e-9)) + 1;
}

std::int64_t JudgeWatch::left_in_doubt() const {
  if (useless_max_ >= 1) return kNoLimit;
  std::int64_t left = kNoLimit;
  if (streak_ >= kStreak) left = kProbe - streak_;
  if (recent_.doubtful()) left = std::min(left, recent_.left());
  if (watches_pairs_ && recent_pairs_.doubtful()) left = std::min(left, 2 * recent_pairs_.left());
  return std::max<std::int64_t>(1, left);
}

std::size_t JudgeWatch::in_flight_max() const {
  if (useless_max_ >= 1) return kNoLimit;
  return static_cast<std::size_t>(std::min(std::max(kAtOnce, useful_ / kUsefulOfEach), left_in_doubt()));
}

bool JudgeWatch::may_send() const {
  if (paid_ >= kProbe && in_flight_ >= left_in_doubt()) return false;  // it was good before
  const PairCounts& pairs = asked_pairs_;
  const bool decides = !watches_pairs_ || pairs.believed >= enough(kPairsProbe) || (paid_ >= kProbe && !undecided());
  if (useful_ >= enough(kProbe) && decides) return true;
  const bool useless = known_useless() && useful_ == 0;
  const bool unsettled = (known_undecided() || known_open()) && pairs.good + pairs.bad == 0;
  if (!known_useless() && !known_undecided() && !known_open() && recalled_useful_ >= enough(kProbe)) return true;
  return paid_ + in_flight_ < (useless ? known_probe_ : unsettled ? std::max<std::int64_t>(2, known_probe_) : kProbe);
}

void JudgeWatch::take(const judge::JudgeReply& reply, const label_store::Label& label, int requests, int paid) {
  in_flight_ -= requests;
  const ReplyUse use = use_of(reply, label.verdict);
  const bool answered = reply.status == judge::JudgeReply::ok || reply.status == judge::JudgeReply::refused;
  repeated_ += answered ? reply.billed_tries : 0;
  failed_ += answered ? std::max(0, reply.tries - 1 - reply.throttled_tries - reply.billed_tries) : 0;
  if (answered && reply.billed_tries > 0) repeated_problem_ = reply.billed_problem;
  ++uses_[static_cast<std::size_t>(use)];
  const bool useful = use == ReplyUse::verdict;
  for (int i = 0; i < paid; ++i) {
    const bool counts = useful && i + 1 == paid;  // the tries before the last gave nothing
    window_.push_back(counts);
    window_useful_ += counts ? 1 : 0;
    streak_ = counts ? 0 : streak_ + 1;
    recent_.add(!counts);
    if (window_.size() > kWindow) {
      window_useful_ -= window_.front() ? 1 : 0;
      window_.pop_front();
    }
  }
  paid_ += paid;
  if (useful) {
    ++useful_;
    if (label.first_probability >= 0) ++with_probability_;
  } else {
    if (recalled_uses_[static_cast<std::size_t>(label.verdict)] == 0) otherwise_useless_ = true;
    ++finishes_[reply.finish_reason.empty() ? "none" : reply.finish_reason];
    example_ = use == ReplyUse::error || reply.text.empty() ? reply.detail : reply.text;
    example_ = example_of(example_);
  }
  if (!reply.endpoint.empty()) {
    Address& address = addresses_[reply.endpoint];
    ++address.replies;
    if (useful) ++address.useful;
    if (!useful) address.example = example_;
  }
  if (!reply.model.empty() && served_.models.size() < kModelsMax &&
      std::ranges::find(served_.models, reply.model) == served_.models.end())
    served_.models.push_back(reply.model);
  if (reply.status == judge::JudgeReply::ok) {
    ++answered_;
    if (reply.prompt_tokens < 0 || reply.completion_tokens < 0) ++without_usage_;
    if (reply.too_many_tokens) ++too_many_tokens_;
    if (!reply.odd_cost.empty()) odd_cost_ = reply.odd_cost;
  }
}

void JudgeWatch::exceeded(std::int64_t tokens, std::int64_t allowed) {
  longest_ = std::max(longest_, tokens);
  allowed_ = allowed;
}

void JudgeWatch::exceeded_estimate(std::int64_t tokens, std::int64_t estimate) {
  if (tokens - estimate <= counted_ - estimate_) return;
  counted_ = tokens;
  estimate_ = estimate;
}

bool JudgeWatch::window_useless() const { return paid_ >= kProbe && mostly_useless(window_useful_, std::ssize(window_)); }

std::string JudgeWatch::bad_address(std::int64_t count) const {
  if (useless_max_ >= 1) return "";
  const bool any_good = std::ranges::any_of(
      addresses_, [](const auto& a) { return a.second.replies >= kNoticed && 2 * a.second.useful >= a.second.replies; });
  const auto bad = std::ranges::find_if(
      addresses_, [&](const auto& a) { return a.second.replies >= count && mostly_useless(a.second.useful, a.second.replies); });
  return any_good && bad != addresses_.end() ? bad->first : "";
}

bool JudgeWatch::hopeless() const {
  if (!bad_address(kProbe).empty()) return true;
  if (known_useless() && useful_ == 0 && paid_ >= known_probe_) return true;
  if (window_useless()) return true;
  if (useless_max_ < 1 && (streak_ >= kProbe || recent_.too_bad())) return true;
  const PairCounts& pairs = asked_pairs_;
  if (known_undecided() && pairs.believed == 0 && pairs.good >= (known_probe_ + 1) / 2) return true;
  if (known_open() && pairs.good == 0 && open_ >= (known_probe_ + 1) / 2) return true;
  if (mostly_open()) return true;
  return undecided() || (pairs.good == 0 && pairs.bad >= kPairsProbe);
}

bool JudgeWatch::was_in_vain() const {
  const std::int64_t all = replies() - earlier_.replies + met_;
  if (all > 0 && mostly_useless(useful_ - earlier_.useful + met_useful_, all)) return true;
  PairCounts pairs = asked_pairs_;
  (pairs -= earlier_.pairs) += met_pairs_;
  if (pairs.good == 0) return pairs.bad >= kPairsProbe;
  if (!watches_pairs_ || pairs.good < kPairsAtEnd) return false;
  if (pairs.first_twice + pairs.second_twice == pairs.good) return true;
  if (pairs.good < kPairsProbe) return false;
  return pairs.believed == 0 || mostly_useless(pairs.good - pairs.unsettled, pairs.good);
}

void JudgeWatch::go_on() {
  earlier_ = {replies(), useful_, asked_pairs_};
  met_ = met_useful_ = in_flight_ = 0;
  met_pairs_ = {};
}

std::int64_t JudgeWatch::replies() const {
  std::int64_t sum = 0;
  for (const std::int64_t count : uses_) sum += count;
  return sum;
}

std::string JudgeWatch::counts() const {
  std::string text;
  const auto add = [&](ReplyUse use, const char* words) {
    if (of(use) > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", of(use), words);
  };
  add(ReplyUse::cut, "cut off at max_tokens");
  add(ReplyUse::empty, "empty");
  add(ReplyUse::unreadable, "without a verdict that can be read");
  add(ReplyUse::refused, "refused");
  add(ReplyUse::error, "errors");
  std::string reasons;
  for (const auto& [reason, count] : finishes_) {
    if (reason != "none") reasons += fmt::format("{}{} ({})", reasons.empty() ? "" : ", ", reason, count);
  }
  return text + (reasons.empty() ? "" : "; finish_reason " + reasons);
}

std::string JudgeWatch::open_text() const {
  const std::string known = known_open() ? fmt::format(", as {} of {} stored ones", recalled_open_, recalled_forms_) : "";
  return fmt::format("{} of {} have no verdict that can be read in both orders{}", open_,
                     counted(std::ssize(open_pairs_), "pair"), known);
}

std::string JudgeWatch::useless_text() const {
  const std::int64_t useless = replies() - useful_;
  if (useless == 0) return ", because of stored replies";
  return fmt::format(", and {} of {} are of no use: {}; the last: {}", useless, counted(replies(), "reply", "replies"), counts(),
                     example_);
}

std::string JudgeWatch::advice() const {
  if (useful_ == replies()) return "change the judge's settings, so that what is stored is asked for again";
  std::int64_t failed = 0;
  for (const auto& [reason, count] : finishes_) failed += lower(reason) == "error" || lower(reason) == "failed" ? count : 0;
  if (2 * failed > replies() - useful_)
    return "the server says that the provider of the model failed within its answer: try again later, or ask another one";
  const ReplyUse most = static_cast<ReplyUse>(std::max_element(uses_.begin() + 1, uses_.end()) - uses_.begin());
  const char* other_form = judge_.answer == config::AnswerMode::verdict_line ? "json_schema" : "verdict_line";
  switch (most) {
    case ReplyUse::cut:
      return fmt::format(
          "raise max_tokens of this judge (it is {}); a model that thinks needs some thousands, or switch its thinking off "
          "(extra)",
          judge_.max_tokens);
    case ReplyUse::empty:
      return fmt::format(
          "the server sends no text: perhaps it puts the answer elsewhere, or the model only thinks; switch its thinking off "
          "(extra), or raise max_tokens of this judge (it is {})",
          judge_.max_tokens);
    case ReplyUse::unreadable:
      return fmt::format("set answer: {} for this judge, lower its temperature (it is {}), or ask another model", other_form,
                         judge_.temperature);
    case ReplyUse::refused:
      return "ask another model, or use a template of your own (labels.prompt_file)";
    default:
      return "correct what the server objects to, or ask another model";
  }
}

std::string JudgeWatch::why() const {
  const std::string again =
      "; stored replies without a verdict are asked for again once the judge's address or settings are corrected: if only the "
      "server behind the address has changed, name another labels.store";
  const std::string anyway = useless_max_ < 1 ? "; to go on all the same, set labels.useless_max to 1" : "";
  const std::int64_t useless = replies() - useful_;
  if (const std::string bad = bad_address(kNoticed); !bad.empty()) {
    const Address& address = addresses_.at(bad);
    return fmt::format(
        "{}: {} of {} of its endpoint {} are of no use, unlike those of another endpoint; the last: {}; mend or "
        "remove this endpoint{}{}",
        judge_.model, address.replies - address.useful, counted(address.replies, "reply", "replies"), bad, address.example, again,
        anyway);
  }
  const bool most = replies() > 0 && mostly_useless(useful_, replies());
  if (most || window_useless() || streak_ >= kProbe || recent_.too_bad()) {
    const std::string known =
        known_useless() ? fmt::format(", as {} of {} stored replies to such questions", recalled_ - recalled_useful_, recalled_)
                        : "";
    const std::string latest = most ? ""
                               : recent_.too_bad()
                                   ? fmt::format(", {} of the last {}", recent_.bad(), recent_.seen())
                                   : fmt::format(", {} of the last {}", std::ssize(window_) - window_useful_, window_.size());
    return fmt::format("{}: {} of no use{}{}: {}; the last: {}; {}{}{}", judge_.model,
                       replies() == 1 ? "its reply is" : fmt::format("{} of {} replies are", useless, replies()), known, latest,
                       counts(), example_, advice(), of(ReplyUse::error) == replies() ? "" : again, anyway);
  }
  if (mostly_open() || (known_open() && asked_pairs_.good == 0 && open_ > 0))
    return fmt::format("{}: {}{}; {}{}{}", judge_.model, open_text(), useless_text(), advice(), again, anyway);
  if (met_ > 0 && mostly_useless(useful_ + met_useful_, replies() + met_))
    return fmt::format("{}: {} of the {} stored replies to these questions have no verdict: change the judge's settings{}{}",
                       judge_.model, met_ - met_useful_, met_, again, anyway);
  if (asked_pairs_.good + met_pairs_.good == 0)
    return fmt::format("{}: none of {} has a verdict in both orders{}; {}", judge_.model,
                       counted(asked_pairs_.bad + met_pairs_.bad, "pair"), useless_text(), advice());
  const std::int64_t first_twice = asked_pairs_.first_twice + met_pairs_.first_twice;
  const std::int64_t second_twice = asked_pairs_.second_twice + met_pairs_.second_twice;
  const std::string latest =
      recent_pairs_.too_bad() && asked_pairs_.good > recent_pairs_.seen()
          ? fmt::format(" ({} of the last {} changed with the order)", recent_pairs_.bad(), recent_pairs_.seen())
          : "";
  const std::int64_t good = asked_pairs_.good + met_pairs_.good, believed = asked_pairs_.believed + met_pairs_.believed,
                     ties = good - believed - asked_pairs_.unsettled - met_pairs_.unsettled;
  return fmt::format(
      "{}: of {} pairs with a verdict in both orders {} prefer the same response both times{}, and {} prefer the same place both "
      "times ({} the first shown, {} the second){}: the judge goes by the place and not by the texts, or sees no difference; ask "
      "another model, or use a template of your own (labels.prompt_file); stored verdicts stand while the same is asked: if "
      "another model answers behind the same name now, name another labels.store{}",
      judge_.model, good, believed, ties > 0 ? fmt::format(", {} are ties both times", ties) : "", first_twice + second_twice,
      first_twice, second_twice, latest, anyway);
}

std::string JudgeWatch::summary() const {
  if (useful_ == replies()) return "";
  const std::int64_t useless = replies() - useful_;
  const bool many = useless * kManyShare >= replies();
  return fmt::format("{}: {}, {} with a verdict, {} ({}) without: {}; the last of these: {}{}{}", judge_.model,
                     counted(replies(), "reply", "replies"), useful_, useless, percent_text(useless, replies()), counts(),
                     example_, many ? "; " : "", many ? advice() : "");
}

std::string JudgeWatch::notice(bool last) {
  std::string text;
  const auto add = [&](const std::string& sentence) { text += (text.empty() ? "" : "; ") + sentence; };
  if (judge_.probabilities && !probabilities_said_ && with_probability_ == 0 && useful_ > 0 && (last || useful_ >= kNoticed)) {
    probabilities_said_ = true;
    add(
        fmt::format("probabilities: true has no effect on this server, because none of {} verdicts came with token "
                    "log-probabilities of it; the verdicts are kept without",
                    useful_));
  }
  if (!repeated_said_ && repeated_ > 0 && (last ? repeated_ * 20 >= replies() : repeated_ >= kNoticed)) {
    repeated_said_ = !last;
    add(
        fmt::format("{} for {} {} probably paid for and gave no answer, so that {} repeated; the last: {}; if "
                    "the server is slow, raise request_timeout_s of its endpoint",
                    counted(repeated_, "try", "tries"), counted(replies(), "reply", "replies"), repeated_ == 1 ? "was" : "were",
                    repeated_ == 1 ? "it was" : "they were", judge::one_line(repeated_problem_, kExampleBytes)));
  }
  if (last && failed_ * kManyShare >= replies() && failed_ > 0) {
    add(fmt::format(
        "{} failed at the server before {} came: the budget counts them as requests that cost nothing, because providers "
        "do not charge for them; if yours does, lower tries_max",
        counted(failed_, "try", "tries"), counted(replies(), "reply", "replies")));
  }
  if (!longest_said_ && longest_ > allowed_ + allowed_ / kSlackShare) {  // some servers count the end of a text, too
    longest_said_ = true;
    add(fmt::format(
        "the server does not heed max_tokens, or its count has other tokens too: {} in an answer that may have {}; the "
        "budget reserves the longest answer seen from now on, and only a longer one can go beyond a limit",
        longest_, allowed_));
  }
  if (!estimate_said_ && counted_ > estimate_ + estimate_ / kSlackShare) {
    estimate_said_ = true;
    add(fmt::format(
        "the server counts more tokens in a prompt than estimated: {} where {} were expected, because its tokenizer makes more "
        "of "
        "these texts, or a gateway adds a text of its own; the budget reserves as many more for each request from now on{}",
        counted_, estimate_, judge_.tokenizer.empty() ? " (name the judge's tokenizer for a better count)" : ""));
  }
  if (!prices_said_ && price_ratio_ > kPriceSlack) {
    prices_said_ = true;
    add(fmt::format(
        "the server says that a reply cost {:.3g} times what price_prompt and price_completion make it: correct them; the "
        "budget books what the server says",
        price_ratio_));
  }
  if (const std::string models = notice_of_models(judge_.model, served_); !models.empty()) add(models);
  if (!cost_said_ && !odd_cost_.empty()) {
    cost_said_ = true;
    add(fmt::format("the server states a cost of {} for a reply, which cannot be: the budget books the cost by the prices",
                    odd_cost_));
  }
  if (!usage_said_ && (last ? without_usage_ * kManyShare > answered_ : without_usage_ >= kNoticed)) {
    usage_said_ = true;
    const char* what = too_many_tokens_ == without_usage_ ? "says that it used more tokens than there can be"
                       : too_many_tokens_ == 0            ? "does not say how many tokens it used, or says 0 or far too few"
                                               : "does not say how many tokens it used, or says 0, far too few or too many";
    add(fmt::format("for {} of {} the server {}: the budget books {}", without_usage_, counted(answered_, "reply", "replies"),
                    what,
                    judge_.tokenizer.empty() ? "an estimate, which is rather too high (name the judge's tokenizer for a count)"
                                             : "the tokenizer's count"));
  }
  return text.empty() ? "" : judge_.model + ": " + text;
}

}  // namespace dmoerm::label
