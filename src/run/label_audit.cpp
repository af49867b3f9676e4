#include "run/label_audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/counted.h"
#include "base/text.h"
#include "base/text_table.h"
#include "eval/statistics.h"
#include "label/budget.h"

namespace dmoerm::run {
namespace {

using eval::GroupResult;
using eval::Interval;
using label::AuditCounts;
using label::AuditResult;
using nlohmann::json;
using preference::SwapOutcome;

std::int64_t of(const AuditCounts& counts, SwapOutcome outcome) {
  return counts.verdicts.outcomes[static_cast<std::size_t>(outcome)];
}

std::int64_t unusable(const AuditCounts& counts) {
  return of(counts, SwapOutcome::unparsable) + of(counts, SwapOutcome::refused) + of(counts, SwapOutcome::error);
}

bool is_vote(const AuditCounts& counts) { return counts.verdicts.judge.empty(); }

/// The judges of a point, and the vote if it says something of its own.
std::vector<const AuditCounts*> rows_of(const std::vector<AuditCounts>& judges, const AuditCounts& vote) {
  std::vector<const AuditCounts*> rows;
  for (const AuditCounts& judge : judges) rows.push_back(&judge);
  if (rows.size() > 1 || rows.front()->verdicts.pairs() > vote.verdicts.pairs()) rows.push_back(&vote);
  return rows;
}

/// Agreement with its interval over prompts; nothing without a believed verdict.
std::optional<Interval> interval_of(const AuditCounts& counts, std::uint64_t seed) {
  std::map<std::uint64_t, std::int64_t> numbers;
  std::vector<GroupResult> results;
  for (const label::PromptAgreement& p : counts.prompts) {
    const std::int64_t number = numbers.try_emplace(p.prompt, std::ssize(numbers)).first->second;
    results.push_back({static_cast<double>(p.agreement.right), static_cast<double>(p.agreement.total), number});
  }
  return results.empty() ? std::nullopt : std::optional(bootstrap_accuracy(results, seed));
}

std::vector<std::string> row_of(const std::string& point, const std::string& compared, const AuditCounts& c, std::uint64_t seed) {
  const auto interval = interval_of(c, seed);
  const label::Agreement agreement = c.agreement();
  const std::int64_t judged = c.verdicts.judged(), pairs = c.verdicts.pairs();
  return {point,
          is_vote(c) ? "all (vote)" : c.verdicts.judge,
          compared,
          std::to_string(pairs),
          interval ? to_string(*interval) : "-",
          std::to_string(agreement.total),
          percent_text(of(c, SwapOutcome::inconsistent), judged),
          is_vote(c) ? "-" : percent_text(c.verdicts.first_both, judged),
          is_vote(c) ? "-" : percent_text(c.verdicts.second_both, judged),
          percent_text(of(c, SwapOutcome::tie), pairs),
          percent_text(unusable(c), pairs)};
}

/// The counts of all points together.
AuditResult sum_of(const std::vector<AuditResult>& points) {
  AuditResult sum;
  for (const AuditResult& point : points) {
    if (sum.judges.empty()) {
      for (const AuditCounts& judge : point.judges) sum.judges.emplace_back().verdicts.judge = judge.verdicts.judge;
    }
    for (std::size_t j = 0; j < sum.judges.size(); ++j) sum.judges[j] += point.judges[j];
    sum.vote += point.vote;
  }
  return sum;
}

std::string compared_with(const label::AuditedPairs& about) {
  return about.by_point ? "labels of the point" : "overall preference";
}

std::string name_of(const label::AuditedPairs& about) { return about.target.category + "/" + about.target.point; }

std::int64_t pairs_of(const label::AuditedPairs& about) {
  std::int64_t pairs = 0;
  for (const label::GroupPairs& group : about.pairs) pairs += std::ssize(group.pairs);
  return pairs;
}

/// Sentences about pairs that are not in the table.
std::string notes_of(const Audit& audit) {
  std::string none, text;
  std::int64_t pairs = 0, anyway = 0, not_asked = 0, skipped = 0;
  for (const AuditResult& point : audit.points) {
    if (point.about.pairs.empty()) none += (none.empty() ? "" : ", ") + name_of(point.about);
    pairs += pairs_of(point.about);
    anyway += point.about.asked_anyway;
    not_asked += point.not_asked;
    skipped += point.skipped;
  }
  text += fmt::format("Of {}, labelling asks about {} too, and will not pay for them again.\n", counted(pairs, "pair"), anyway);
  if (!none.empty())
    text += fmt::format("\nWithout a pair, because the data orders none or the audit asks about too few: {}.\n", none);
  if (not_asked > 0) text += fmt::format("\nWithout all answers: {} ({}).\n", counted(not_asked, "pair"), audit.ended);
  if (skipped > 0) text += fmt::format("\nToo long for a judge: {}.\n", counted(skipped, "pair"));
  return text;
}

std::vector<std::string> cost_row(const std::string& name, const judge::Usage& usage, const Audit& audit) {
  return {name, std::to_string(usage.requests), std::to_string(usage.prompt_tokens), std::to_string(usage.completion_tokens),
          label::cost_text(usage, audit.currency, audit.priced)};
}

json usage_json(const judge::Usage& usage) {
  return {{"requests", usage.requests},
          {"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"cost", static_cast<double>(usage.cost_micros) * 1e-6}};
}

json counts_json(const AuditCounts& c, std::uint64_t seed) {
  const label::Agreement agreement = c.agreement();
  const auto interval = interval_of(c, seed);
  json outcomes = json::object();
  for (int i = 0; i < 7; ++i) {
    const auto outcome = static_cast<SwapOutcome>(i);
    outcomes[std::string(preference::to_string(outcome))] = of(c, outcome);
  }
  json result = {{"pairs", c.verdicts.pairs()},
                 {"outcomes", outcomes},
                 {"believed", agreement.total},
                 {"right", agreement.right},
                 {"agreement", interval ? json(interval->value) : json()},
                 {"interval", interval ? json{interval->low, interval->high} : json()},
                 {"unusable", unusable(c)}};
  if (is_vote(c)) return result;
  result["judge"] = c.verdicts.judge;
  result["first_shown_both"] = c.verdicts.first_both;
  result["second_shown_both"] = c.verdicts.second_both;
  return result;
}

json judges_json(const AuditResult& point, std::uint64_t seed) {
  json judges = json::array();
  for (const AuditCounts& judge : point.judges) judges.push_back(counts_json(judge, seed));
  return judges;
}

}  // namespace

judge::Usage most_of(const std::vector<label::PointEstimate>& estimates) {
  judge::Usage sum;
  for (const label::PointEstimate& e : estimates)
    sum += {e.total - e.known - e.skipped, e.prompt_tokens, e.completion_tokens_max, e.cost_max_micros};
  return sum;
}

std::optional<judge::Usage> likely_cost(const judge::Usage& rest_most, const judge::Usage& paid, const judge::Usage& paid_most,
                                        std::int64_t answered) {
  if (answered <= 0 || paid_most.requests == 0) return std::nullopt;
  const double share = std::min(1.0, static_cast<double>(answered) / static_cast<double>(paid_most.requests));
  const auto scaled = [&](std::int64_t rest, std::int64_t of_paid, std::int64_t most) {
    if (most == 0) return std::int64_t{0};
    const double ratio = static_cast<double>(of_paid) / (static_cast<double>(most) * share);
    return static_cast<std::int64_t>(std::llround(static_cast<double>(rest) * ratio));
  };
  return judge::Usage{rest_most.requests, scaled(rest_most.prompt_tokens, paid.prompt_tokens, paid_most.prompt_tokens),
                      scaled(rest_most.completion_tokens, paid.completion_tokens, paid_most.completion_tokens),
                      scaled(rest_most.cost_micros, paid.cost_micros, paid_most.cost_micros)};
}

void raise_to(judge::Usage& most, const judge::Usage& likely) {
  most.prompt_tokens = std::max(most.prompt_tokens, likely.prompt_tokens);
  most.completion_tokens = std::max(most.completion_tokens, likely.completion_tokens);
  most.cost_micros = std::max(most.cost_micros, likely.cost_micros);
}

std::string audit_page(const Audit& audit) {
  std::vector<std::vector<std::string>> rows = {{"point", "judge", "compared with", "answers in both orders", "agreement",
                                                 "believed", "position bias", "first shown twice", "second shown twice", "tie",
                                                 "unusable"}};
  for (const AuditResult& point : audit.points) {
    if (point.about.pairs.empty()) continue;
    for (const AuditCounts* counts : rows_of(point.judges, point.vote))
      rows.push_back(row_of(name_of(point.about), compared_with(point.about), *counts, audit.seed));
  }
  const AuditResult sum = sum_of(audit.points);
  for (const AuditCounts* counts : rows_of(sum.judges, sum.vote)) rows.push_back(row_of("all", "", *counts, audit.seed));
  std::vector<std::vector<std::string>> costs = {{"", "requests", "prompt tokens", "completion tokens", "cost"},
                                                 cost_row("this audit", audit.cost.audit, audit),
                                                 cost_row("the label store so far", audit.cost.store, audit)};
  if (audit.cost.rest_likely)
    costs.push_back(cost_row("the rest of the labelling, if its replies cost as much", *audit.cost.rest_likely, audit));
  costs.push_back(cost_row("the rest of the labelling, at most", audit.cost.rest_most, audit));
  std::string limit;
  const auto micros = static_cast<std::int64_t>(std::llround(audit.cost_max * 1e6));
  const judge::Usage& rest = audit.cost.rest_likely ? *audit.cost.rest_likely : audit.cost.rest_most;
  if (micros > 0 && audit.cost.store.cost_micros + rest.cost_micros > micros)
    limit = fmt::format("\nlabels.budget.cost_max ({}) will end the labelling before all of it is asked.\n",
                        label::money(micros, audit.currency));
  if (limit.empty() && !audit.priced && rest.requests > 0 && rest.cost_micros == 0)
    limit =
        "\nThe cost is known once price_prompt and price_completion of the judges are set (labels.judges, per million tokens).\n";
  return fmt::format(
      "# Audit of the judges\n\nEach pair has an order by human labels of the data, and was asked about in both orders. "
      "*Agreement*: the share of the believed verdicts (the judge preferred the same response both times) that are like the "
      "human label, with its 95 % interval over prompts; 0.5 is chance. *Position bias*: the verdict changed with the order. "
      "*Unusable*: unparsable, refused or an error.\n\n{}\n{}\n## Cost\n\n{}{}",
      markdown_table(rows), notes_of(audit), markdown_table(costs), limit);
}

json audit_json(const Audit& audit) {
  json points = json::array();
  for (const AuditResult& point : audit.points) {
    points.push_back({{"category", point.about.target.category},
                      {"point", point.about.target.point},
                      {"compared_with", point.about.compared_with()},
                      {"pairs", pairs_of(point.about)},
                      {"asked_anyway", point.about.asked_anyway},
                      {"not_asked", point.not_asked},
                      {"skipped", point.skipped},
                      {"judges", judges_json(point, audit.seed)},
                      {"vote", counts_json(point.vote, audit.seed)}});
  }
  const AuditResult sum = sum_of(audit.points);
  json cost = {{"currency", audit.currency},
               {"audit", usage_json(audit.cost.audit)},
               {"store", usage_json(audit.cost.store)},
               {"rest_at_most", usage_json(audit.cost.rest_most)},
               {"rest_likely", audit.cost.rest_likely ? usage_json(*audit.cost.rest_likely) : json()}};
  return {{"points", points},
          {"all", {{"judges", judges_json(sum, audit.seed)}, {"vote", counts_json(sum.vote, audit.seed)}}},
          {"cost", cost},
          {"ended", audit.ended}};
}

}  // namespace dmoerm::run
