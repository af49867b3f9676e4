#include "label/label_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/counted.h"
#include "base/text.h"
#include "base/text_table.h"

namespace dmoerm::label {
namespace {

using nlohmann::json;
using preference::SwapOutcome;
using Row = std::vector<std::string>;

std::int64_t of(const VerdictCounts& counts, SwapOutcome outcome) { return counts.outcomes[static_cast<std::size_t>(outcome)]; }

bool is_vote(const VerdictCounts& counts) { return counts.judge.empty(); }

std::string who(const VerdictCounts& counts) { return is_vote(counts) ? "all (vote)" : counts.judge; }

/// Rows of a point: one for each judge, and one for the vote if there are several judges or samples.
std::vector<const VerdictCounts*> rows_of(const PointVerdicts& point) {
  std::vector<const VerdictCounts*> rows;
  for (const VerdictCounts& judge : point.judges) rows.push_back(&judge);
  if (rows.size() > 1 || (rows.size() == 1 && rows.front()->pairs() > point.vote.pairs())) rows.push_back(&point.vote);
  return rows;
}

Row outcome_row(const PointVerdicts& point, const VerdictCounts& c) {
  const std::int64_t pairs = c.pairs(), inconsistent = of(c, SwapOutcome::inconsistent);
  const std::int64_t failed = of(c, SwapOutcome::unparsable) + of(c, SwapOutcome::refused) + of(c, SwapOutcome::error);
  return {point.target.category + "/" + point.target.point,
          who(c),
          std::to_string(pairs),
          percent_text(of(c, SwapOutcome::first) + of(c, SwapOutcome::second), pairs),
          percent_text(of(c, SwapOutcome::tie), pairs),
          percent_text(inconsistent, c.judged()),
          is_vote(c) ? "-" : percent_text(c.first_both, c.judged()),
          is_vote(c) ? "-" : percent_text(c.second_both, c.judged()),
          percent_text(of(c, SwapOutcome::unparsable), pairs),
          percent_text(of(c, SwapOutcome::refused), pairs),
          percent_text(of(c, SwapOutcome::error), pairs),
          percent_text(failed, pairs)};
}

/// "0.012345 USD for 7 requests ..."; without the cost if no price is set. @param priced  whether a judge has one
std::string paid_text(const judge::Usage& spent, const std::string& currency, bool priced) {
  const std::string what = fmt::format("{}, {} prompt tokens and {} completion tokens", counted(spent.requests, "request"),
                                       spent.prompt_tokens, spent.completion_tokens);
  if (!priced && spent.requests > 0 && spent.cost_micros == 0)
    return what + "; no price is set (price_prompt and price_completion of the judges in labels.judges)";
  return fmt::format("{} for {}", money(spent.cost_micros, currency), what);
}

json counts_json(const VerdictCounts& c) {
  json outcomes = json::object();
  for (int i = 0; i < 7; ++i)
    outcomes[std::string(preference::to_string(static_cast<SwapOutcome>(i)))] = c.outcomes[static_cast<std::size_t>(i)];
  const auto agreement = [](const Agreement& a) { return json{{"right", a.right}, {"total", a.total}}; };
  json result = {{"outcomes", outcomes}, {"agreement", {{"point", agreement(c.point)}, {"overall", agreement(c.overall)}}}};
  if (is_vote(c)) return result;
  result.update({{"judge", c.judge},
                 {"template", c.template_name},
                 {"first_shown_both", c.first_both},
                 {"second_shown_both", c.second_both}});
  return result;
}

/// Note on a point without verdicts, so that its empty rows are noticed; "" for other points.
std::string note_of(const PointVerdicts& point) {
  if (point.vote.pairs() > 0) return "";
  const std::string name = point.target.category + "/" + point.target.point;
  if (point.not_asked + point.skipped == 0)
    return fmt::format("**{} has no pairs**: no group of its category in `labels.splits` has two responses.\n\n", name);
  return fmt::format("**{} has no verdicts**: {} of its pairs are not asked yet and {} are too long for a judge.\n\n", name,
                     point.not_asked, point.skipped);
}

}  // namespace

std::string report_page(const std::vector<PointVerdicts>& points, const judge::Usage& spent, const std::string& currency,
                        bool priced, const std::vector<std::string>& replies_without) {
  std::vector<Row> outcomes = {{"point", "judge", "answers in both orders", "believed", "tie", "position bias",
                                "first shown twice", "second shown twice", "unparsable", "refused", "error", "failed"}};
  std::vector<Row> agreement = {
      {"point", "judge", "with labels of the point", "compared", "with the overall preference", "compared"}};
  std::vector<Row> notes = {{"point", "template", "pairs with verdicts", "of these with texts cut", "pairs not asked yet",
                             "pairs skipped as too long"}};
  std::string missing;
  for (const PointVerdicts& point : points) {
    const std::string name = point.target.category + "/" + point.target.point;
    for (const VerdictCounts* counts : rows_of(point)) {
      outcomes.push_back(outcome_row(point, *counts));
      agreement.push_back({name, who(*counts), percent_text(counts->point.right, counts->point.total),
                           std::to_string(counts->point.total), percent_text(counts->overall.right, counts->overall.total),
                           std::to_string(counts->overall.total)});
    }
    notes.push_back({name, point.judges.empty() ? "" : point.judges.front().template_name, std::to_string(point.vote.pairs()),
                     std::to_string(point.cut), std::to_string(point.not_asked), std::to_string(point.skipped)});
    missing += note_of(point);
  }
  const bool any = std::ranges::any_of(points, [](const PointVerdicts& point) {
    return point.vote.pairs() + point.skipped > 0 || std::ranges::any_of(rows_of(point), &VerdictCounts::pairs);
  });
  const std::string tables =
      !any ? ""
           : fmt::format("{}\n## Agreement of the believed verdicts with the data's own labels\n\n{}\n## What was asked\n\n{}\n",
                         markdown_table(outcomes), markdown_table(agreement), markdown_table(notes));
  std::string replies;
  for (const std::string& note : replies_without) replies += "- " + note + "\n";
  if (!replies.empty()) replies = "## Replies without a verdict in the last run\n\n" + replies + "\n";
  return fmt::format(
      "# Labels of the judges\n\nEach pair is asked in both orders. *Believed*: the judge preferred the same response both "
      "times; "
      "experts train on these. *Position bias*: the verdict changed with the order (share of the answers with a verdict in both "
      "orders), split into answers that preferred the first place twice and the second place twice. Each sample of a pair counts "
      "for a judge, each pair for the vote.\n\n{}{}{}Paid so far: {} (everything that the label store has ever paid for).\n",
      missing, tables, replies, paid_text(spent, currency, priced));
}

json report_json(const std::vector<PointVerdicts>& points, const judge::Usage& spent, const std::string& currency) {
  json list = json::array();
  for (const PointVerdicts& point : points) {
    json judges = json::array();
    for (const VerdictCounts& judge : point.judges) judges.push_back(counts_json(judge));
    list.push_back({{"category", point.target.category},
                    {"point", point.target.point},
                    {"judges", judges},
                    {"vote", counts_json(point.vote)},
                    {"not_asked", point.not_asked},
                    {"skipped", point.skipped},
                    {"cut", point.cut}});
  }
  return {{"points", list},
          {"spent",
           {{"requests", spent.requests},
            {"prompt_tokens", spent.prompt_tokens},
            {"completion_tokens", spent.completion_tokens},
            {"cost", static_cast<double>(spent.cost_micros) * 1e-6},
            {"currency", currency}}}};
}

std::string estimate_table(const std::vector<PointEstimate>& estimates, const std::string& currency,
                           const std::string& counted_with, const std::vector<std::string>& without_price) {
  std::vector<Row> rows = {{"point", "requests", "answered already", "to ask", "prompt tokens", "completion tokens at most",
                            "cost at most", "texts cut", "skipped"}};
  PointEstimate all;
  const auto row = [&](const std::string& name, const PointEstimate& e) {
    rows.push_back({name, std::to_string(e.total), std::to_string(e.known), std::to_string(e.total - e.known - e.skipped),
                    std::to_string(e.prompt_tokens), std::to_string(e.completion_tokens_max),
                    cost_text({e.total - e.known - e.skipped, 0, 0, e.cost_max_micros}, currency, without_price.empty()),
                    std::to_string(e.cut), std::to_string(e.skipped)});
  };
  for (const PointEstimate& e : estimates) {
    row(e.target.category + "/" + e.target.point, e);
    all.total += e.total;
    all.known += e.known;
    all.skipped += e.skipped;
    all.cut += e.cut;
    all.prompt_tokens += e.prompt_tokens;
    all.completion_tokens_max += e.completion_tokens_max;
    all.cost_max_micros += e.cost_max_micros;
  }
  row("all", all);
  const std::string prices =
      without_price.empty()
          ? ""
          : fmt::format(
                "\nNo price is set for {}{}: set price_prompt and price_completion of each in labels.judges (per "
                "million tokens) to see the cost.\n",
                fmt::join(without_price, ", "), all.cost_max_micros > 0 ? ", whose requests are left out" : "");
  return fmt::format("{}{}\nTokens are counted with {}. Nothing was sent.\n", markdown_table(rows), prices, counted_with);
}

}  // namespace dmoerm::label
