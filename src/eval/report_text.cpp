#include "eval/report_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/counted.h"
#include "base/text_table.h"
#include "eval/benchmark_figures.h"
#include "eval/paired_difference.h"
#include "eval/scored.h"
#include "eval/statistics.h"

namespace dmoerm::eval {
namespace {

using nlohmann::json;
using Rows = std::vector<std::vector<std::string>>;

std::string number(const json& value, const char* form = "{:.3f}") {
  return value.is_number() ? fmt::format(fmt::runtime(form), value.get<double>()) : "-";
}

bool has_bounds(const json& value) { return value.is_object() && value.value("interval", "") == "bounds"; }

std::string interval(const json& value) {
  if (!value.is_object()) return "-";
  return to_string({value.at("value"), value.at("low"), value.at("high")}) + (has_bounds(value) ? kBoundsMark : "");
}

/// Explains the mark of means that have bounds; "" if none of `models` does.
std::string note_of_means(const json& models) {
  return std::ranges::any_of(models, has_bounds)
             ? "\nBounds: resamples say nothing of a category of one cluster, or whose clusters all say the same. Where such "
               "categories weigh much, a mean has Wilson's interval over the clusters with their weights.\n"
             : "";
}

std::vector<std::string> names_of(const json& result) {
  std::vector<std::string> names;
  for (const json& model : result["models"]) names.push_back(model["name"]);
  return names;
}

/// A header row: some titles, then the models.
Rows table_with(std::vector<std::string> titles, const json& result) {
  for (const std::string& name : names_of(result)) titles.push_back(name);
  return {titles};
}

void add_models(std::vector<std::string>& row, const json& result, const json& of_models, auto&& cell) {
  for (const std::string& name : names_of(result)) row.push_back(of_models.contains(name) ? cell(of_models[name]) : "-");
}

std::string accuracy_section(const json& result) {
  Rows rows = table_with({"category", "prompts / clusters / pairs"}, result);
  const std::string overall(preference::kOverall);
  for (const auto& [category, labels] : result["accuracy"].items()) {
    if (!labels.contains(overall)) continue;
    const json& row = labels[overall];
    std::vector<std::string> cells = {category, fmt::format("{} / {} / {}", row["prompts"].get<double>(),
                                                            row["clusters"].get<std::size_t>(), row["pairs"].get<double>())};
    add_models(cells, result, row["models"], [](const json& m) { return interval(m["pooled"]); });
    // "all" comes last, whatever the categories are called
    category == kAll ? rows.push_back(std::move(cells))
                     : (void)rows.insert(rows.end() - (rows.size() > 1 && rows.back()[0] == kAll ? 1 : 0), std::move(cells));
  }
  if (rows.size() == 1) return "No pair has an overall order.\n";
  std::string notes;
  const json without = result.value("without_pairs", json::object());  // results of 0.1 have none of these two
  for (const auto& [category, why] : without.items()) {
    std::vector<std::string> cells = {category};
    cells.resize(rows[0].size(), "-");
    rows.insert(rows.end() - (rows.back()[0] == kAll ? 1 : 0), std::move(cells));
    notes += fmt::format("- {}: {}.\n", category, why.get<std::string>());
  }
  if (const std::int64_t pairs = result.value("pairs_not_compared", std::int64_t{0}); pairs > 0)
    notes += fmt::format("- {}, which a judge did not answer, {} left out for all models.\n", counted(pairs, "ordered pair"),
                         pairs == 1 ? "is" : "are");
  for (const auto& [title, key] : {std::pair{"all, prompts count the same", "by_prompt"}}) {
    const std::string last = result["accuracy"].contains(kAll) ? kAll : result["accuracy"].begin().key();
    if (!result["accuracy"][last].contains(overall)) continue;
    std::vector<std::string> cells = {title, ""};
    add_models(cells, result, result["accuracy"][last][overall]["models"], [&](const json& m) { return interval(m[key]); });
    rows.push_back(std::move(cells));
  }
  std::string of_mean;
  if (result.contains("macro")) {
    std::vector<std::string> cells = {"mean of categories", ""};
    of_mean = note_of_means(result["macro"]);
    add_models(cells, result, result["macro"], interval);
    rows.push_back(std::move(cells));
  }
  return markdown_table(rows) + (notes.empty() ? "" : "\n" + notes) + of_mean;
}

std::string points_section(const json& result) {
  Rows rows = table_with({"category", "point", "pairs"}, result);
  std::vector<std::string> experts;
  const json own_experts = result.value("experts", json::object());
  for (const auto& [model, categories] : own_experts.items()) {
    if (categories.empty()) continue;
    experts.push_back(model);
    rows[0].push_back("expert of " + model);
  }
  for (const auto& [category, labels] : result["accuracy"].items()) {
    for (const auto& [label, row] : labels.items()) {
      if (label == preference::kOverall) continue;
      std::vector<std::string> cells = {category, label, number(row["pairs"], "{:.0f}")};
      add_models(cells, result, row["models"], [](const json& m) { return interval(m["pooled"]); });
      for (const std::string& model : experts) {
        const json own = result["experts"][model].value(category, json::object()).value(label, json());
        cells.push_back(own.is_object() ? fmt::format("{} ({:.0f} pairs)", interval(own), own["pairs"].get<double>()) : "-");
      }
      rows.push_back(std::move(cells));
    }
  }
  return rows.size() == 1 ? ""
                          : "\n## Capability points\n\nEach model's own score on the pairs of a point; an expert's reward where "
                            "its category's model scored.\n\n" +
                                markdown_table(rows);
}

std::string difference_text(const json& d) {
  return fmt::format("{} minus {}: {:+.3f} [{:+.3f}, {:+.3f}]{}", d["a"].get<std::string>(), d["b"].get<std::string>(),
                     d["value"].get<double>(), d["low"].get<double>(), d["high"].get<double>(), has_bounds(d) ? kBoundsMark : "");
}

/// A table of differences. @param titles  of the cells that say what a difference is of
Rows differences_table(std::vector<std::string> titles, const json& result) {
  const std::string level = fmt::format("level within {}", number(result["margin"], "{}"));
  for (const char* title : {"difference", "p (Holm)", "clusters better / worse", "McNemar p (Holm)", level.c_str()})
    titles.push_back(title);
  return {titles};
}

void add_difference(Rows& rows, std::vector<std::string> cells, const json& d) {
  const json &signs = d["mcnemar"], &equivalence = d["equivalence"];
  cells.push_back(difference_text(d));
  cells.push_back(fmt::format("{} ({})", number(d["p"], "{:.4f}"), number(d["p_holm"], "{:.4f}")));
  cells.push_back(fmt::format("{} / {}", signs["a_better"].get<int>(), signs["b_better"].get<int>()));
  cells.push_back(fmt::format("{} ({})", number(signs["p"], "{:.4f}"), number(signs["p_holm"], "{:.4f}")));
  cells.push_back(
      fmt::format("{} (p {})", equivalence["level"].get<bool>() ? "yes" : "not shown", number(equivalence["p"], "{:.4f}")));
  rows.push_back(std::move(cells));
}

/// Whether a model is a bundle without a part that is not there in these clusters.
bool lacks_nothing(const json& result, const json& d) {
  const auto is_ablation = [&](const json& model) { return model["name"] == d["b"] && model.contains("ablation_of"); };
  return std::ranges::any_of(result["models"], is_ablation) && d["mcnemar"]["a_better"] == 0 && d["mcnemar"]["b_better"] == 0;
}

std::string differences_section(const json& result) {
  Rows rows = differences_table({"category", "mean"}, result);
  const std::string first = names_of(result).front();
  bool bounds = false;
  for (const json& d : result["differences"]) {
    if (d["category"] != kAll && (d["a"] != first || lacks_nothing(result, d))) continue;  // eval.json has all of them
    bounds = bounds || has_bounds(d);
    add_difference(rows, {d["category"], d["mean"]}, d);
  }
  return rows.size() == 1 ? ""
                          : "\n## Differences\n\nPaired over the same clusters; p-values are adjusted over all pairs "
                            "of a row; single categories show the first model alone.\n\n" +
                                markdown_table(rows) + (bounds ? kBoundsNote : "");
}

/// The row over all categories, or the only one.
const json& whole(const json& by_row) { return by_row.contains(kAll) ? by_row[kAll] : by_row.begin().value(); }

std::string calibration_section(const json& result) {
  Rows rows = {{"model", "calibration error", "temperature", "error with temperature", "log loss"}};
  for (const auto& [model, own] : whole(result["calibration"]).items()) {
    if (own.contains("note")) {
      rows.push_back({model, own["note"], "-", "-", "-"});
    } else {
      rows.push_back({model, number(own["error"]), number(own["temperature"]), number(own["error_with_temperature"]),
                      number(own["log_loss"])});
    }
  }
  return "\n## Calibration\n\nThe confidence in an answer is the sigmoid of the gap between two scores.\n\n" +
         markdown_table(rows);
}

std::string style_section(const json& result) {
  const json& style = whole(result["style"]);
  if (style.contains("note")) return "";
  Rows rows = {{"model", "prefers the longer", "right where the longer is better", "right where the shorter is better",
                "right at equal length", "correlation with length (within a group)", "with Markdown (within a group)"}};
  for (const auto& [model, own] : style["models"].items()) {
    const json& c = own["correlation"];
    rows.push_back({model, number(own["prefers_the_longer"]), interval(own["where_the_longer_is_better"]),
                    interval(own["where_the_shorter_is_better"]), interval(own["at_equal_length"]),
                    fmt::format("{} ({})", number(c["length"], "{:+.3f}"), number(c["length_within"], "{:+.3f}")),
                    fmt::format("{} ({})", number(c["markdown"], "{:+.3f}"), number(c["markdown_within"], "{:+.3f}"))});
  }
  return fmt::format(
      "\n## Length and Markdown\n\nThe longer response is the better one in {} of the pairs; this is what length alone reaches. "
      "{:.0f} pairs have texts of equal length within 10 %.\n\n{}",
      number(style["longer_is_better"]), style["at_equal_length"]["pairs"].get<double>(), markdown_table(rows));
}

std::string lists_section(const json& result) {
  std::string text;
  Rows rows = table_with({"category", "groups"}, result);
  for (const auto& [category, own] : result["best_of_list"].items()) {
    if (own.contains("note")) continue;
    std::vector<std::string> cells = {category, number(own["groups"], "{:.0f}")};
    add_models(cells, result, own["models"], interval);
    rows.push_back(std::move(cells));
  }
  if (rows.size() > 1)
    text +=
        "\n## Best of the list\n\nShare of the groups of more than two responses in which the model's best response is the best "
        "one, of those with an overall label.\n\n" +
        markdown_table(rows);
  const json& ties = whole(result["ties"]);
  if (ties.contains("note")) return text;
  rows = table_with({"", "pairs"}, result);
  std::vector<std::string> cells = {"a tie has the smaller gap", number(ties["pairs"], "{:.0f}")};
  add_models(cells, result, ties["models"], [](const json& m) { return number(m.value("smaller_gap", json())); });
  rows.push_back(std::move(cells));
  const bool has_preferences =
      std::ranges::any_of(ties["models"], [](const json& model) { return model.contains("called_equal"); });
  for (const auto& [title, key] : {std::pair{"of the ties called equal", "called_equal"},
                                   std::pair{"of the ordered pairs called equal", "ordered_called_equal"},
                                   std::pair{"of both answered as the data say", "three_answers"}}) {
    if (!has_preferences) break;
    rows.push_back({title, ""});
    add_models(rows.back(), result, ties["models"], [&](const json& m) { return number(m.value(key, json())); });
  }
  return text +
         "\n## Ties\n\nProbability that a pair stated to be equal has a smaller gap of scores than an ordered pair; 0.5 is "
         "chance." +
         (has_preferences ? " Of a judge, which gives preferences and no scores, the shares that it calls equal." : "") + "\n\n" +
         markdown_table(rows);
}

std::string routes_section(const json& result) {
  std::string text;
  const json all_routes = result.value("routes", json::object());
  for (const auto& [model, routes] : all_routes.items()) {
    std::vector<std::string> to;
    for (const auto& [from, sent] : routes["sent"].items()) {
      for (const auto& [name, n] : sent.items()) {
        if (std::ranges::find(to, name) == to.end()) to.push_back(name);
      }
    }
    std::ranges::sort(to);
    Rows rows = {{"category \\ scored by"}};
    rows[0].insert(rows[0].end(), to.begin(), to.end());
    for (const auto& [from, sent] : routes["sent"].items()) {
      rows.push_back({from});
      for (const std::string& name : to) rows.back().push_back(fmt::format("{}", sent.value(name, 0)));
    }
    text += fmt::format("\n## Where {} sends prompts\n\n{}", model, markdown_table(rows));
  }
  const json agreements = result.value("agreement", json::object());
  for (const auto& [model, categories] : agreements.items()) {
    Rows rows = {{"category", "experts", "order alike", "pairs"}};
    for (const auto& [category, pairs] : categories.items()) {
      for (const auto& [points, own] : pairs.items())
        rows.push_back({category, points, number(own["alike"]), number(own["pairs"], "{:.0f}")});
    }
    if (rows.size() > 1)
      text += fmt::format(
          "\n## Agreement of {}'s experts\n\nShare of the pairs of responses that two experts order alike; 0.5 means that they "
          "have nothing in common.\n\n{}",
          model, markdown_table(rows));
  }
  return text;
}

std::string figures_section(const json& result) {
  std::string notes;
  const json told = result.value("notes", json::array());
  for (const json& note : told) notes += "\n" + note.get<std::string>() + "\n";
  if (!result.contains("figures") || result["figures"].empty()) return notes;
  Rows rows = table_with({"figure", "groups"}, result);
  std::string of_means;
  for (const json& figure : result["figures"]) {
    if (of_means.empty()) of_means = note_of_means(figure["models"]);
    std::vector<std::string> cells = {figure["name"], number(figure["groups"], "{:.0f}")};
    add_models(cells, result, figure["models"], interval);
    rows.push_back(std::move(cells));
  }
  return fmt::format("\n## Figures of {}\n\n{}{}{}", result["benchmark"].get<std::string>(), markdown_table(rows), of_means,
                     notes);
}

std::string figure_differences_section(const json& result) {
  Rows rows = differences_table({"figure"}, result);
  const std::string first = names_of(result).front();
  bool bounds = false;
  const json figures = result.value("figures", json::array());
  for (const json& figure : figures) {
    const std::string name = figure["name"];
    const json differences = figure.value("differences", json::array());  // earlier results have none
    for (const json& d : differences) {
      if (!name.starts_with(kScore) && d["a"] != first) continue;  // eval.json has all of them
      bounds = bounds || has_bounds(d);
      add_difference(rows, {name}, d);
    }
  }
  return rows.size() == 1
             ? ""
             : fmt::format(
                   "\n## Differences in the figures of {}\n\nPaired over the same clusters, which are drawn once for all models "
                   "and subsets; p-values are adjusted over all pairs of a figure; figures other than scores show the "
                   "first model alone.\n\n{}{}",
                   result["benchmark"].get<std::string>(), markdown_table(rows), bounds ? kBoundsNote : "");
}

/// What asking a judge took: requests, tokens and money.
std::string paid_text(const json& model) {
  if (!model.contains("cost")) return "-";
  const json& cost = model["cost"];
  std::string text =
      fmt::format("{} requests, {} tokens, {:.4f} {}", cost["requests"].get<std::int64_t>(), cost["tokens"].get<std::int64_t>(),
                  cost["money"].get<double>(), cost["currency"].get<std::string>());
  if (cost.contains("money_per_1000_pairs"))
    text += fmt::format(" ({} for 1,000 of the pairs asked now)", number(cost["money_per_1000_pairs"], "{:.4f}"));
  return text;
}

/// The tokens that a model read, or why they are not known.
std::string tokens_text(const json& model) {
  return model.contains("tokens_unknown") ? fmt::format("- ({})", model["tokens_unknown"].get<std::string>())
                                          : number(model["tokens"], "{}");
}

std::string cost_section(const json& result) {
  Rows rows = {{"model", "made from", "tokens", "tokens for 1,000 pairs", "paid now"}};
  for (const json& model : result["models"])
    rows.push_back(
        {model["name"], model["source"], tokens_text(model), number(model["tokens_per_1000_pairs"], "{:.0f}"), paid_text(model)});
  return "\n## Models\n\n" + markdown_table(rows) + notes_text(result["models"]);
}

}  // namespace

std::string report_text(const json& result) {
  std::string files;
  for (const json& f : result["files"])
    files += fmt::format("{}{} ({} groups, {}{} left out)", files.empty() ? "" : ", ", f["path"].get<std::string>(),
                         f["groups"].get<int>(),
                         f["other_split"] == 0 ? "" : fmt::format("{} of another split or none, ", f["other_split"].get<int>()),
                         f["left_out"].get<int>());
  std::string text = fmt::format(
      "# Accuracy\n\n{}; split: {}. Share of pairs that a model orders correctly; equal scores count half. 95 % bootstrap "
      "intervals over clusters "
      "(conversations or documents), {} resamples.\n\n",
      files, result["split"].get<std::string>(), result["resamples"].get<int>());
  return text + accuracy_section(result) + figures_section(result) + points_section(result) + differences_section(result) +
         figure_differences_section(result) + calibration_section(result) + style_section(result) + lists_section(result) +
         routes_section(result) + cost_section(result);
}

}  // namespace dmoerm::eval
