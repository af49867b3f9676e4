#include "evidence/tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/text_table.h"
#include "eval/significance.h"
#include "evidence/curve_chart.h"

namespace dmoerm::evidence {
namespace {

using nlohmann::json;

constexpr double kEquivalence = 0.02;
constexpr std::size_t kTestedMin = 10;  // prompts of a small category that is shown
constexpr const char* kMethod = "stack";

/// Arms in the order of the tables, and what they are.
struct ArmText {
  const char* name;
  const char* text;
};
constexpr ArmText kArms[] = {
    {"single", "single, overall labels"},
    {"single_of_4", "single over 4 categories"},
    {"single_of_2", "single over 2 categories"},
    {"single_of_1", "single over 1 category, strength of all"},
    {"single_points", "single, overall and all points"},
    {"own", "one per category, overall labels (own)"},
    {"pooled", "one per category, overall and points pooled"},
    {"universal", "one per category, points pooled"},
    {"mean", "mean of experts"},
    {"linear", "experts, ridge to the mean"},
    {"stack", "DMoERM: experts and base, ridge to the mean"},
    {"stack_clusters", "the same with weights for each of four clusters of prompts"},
    {"stack_doubt", "DMoERM with the experts' disagreement as one more reward"},
    {"stack_universal", "experts, base and universal expert, ridge to the universal"},
    {"warm", "head that shrinks to the universal expert"},
    {"residual", "head that shrinks to the pooled model"},
    {"best", "the likeliest of own, pooled, ridge and the two heads"},
    {"equal", "these five, equal weights"},
    {"vote", "these five, by their likelihood"},
    {"ensemble_mean", "ensemble of overall models, mean"},
    {"ensemble_wco", "ensemble, worst of members"},
    {"ensemble_uwo", "ensemble, mean less variance"},
    {"bag", "bag of tokens, overall labels"},
    {"length", "length only"},
};

std::string text_of(const Estimate& e) { return fmt::format("{:+.3f} [{:+.3f}, {:+.3f}]", e.value, e.low, e.high); }
json json_of(const Estimate& e) { return json::array({e.value, e.low, e.high}); }

using Results = std::map<std::string, CategoryResult>;

std::vector<const CategoryResult*> those(const Results& results, const std::vector<std::string>& names) {
  std::vector<const CategoryResult*> found;
  for (const std::string& name : names) {
    if (const auto at = results.find(name); at != results.end()) found.push_back(&at->second);
  }
  return found;
}

bool all_have(const std::vector<const CategoryResult*>& categories, const std::string& arm) {
  return !categories.empty() && std::ranges::all_of(categories, [&](const auto* c) { return c->arms.contains(arm); });
}

/// Standard deviation over seeds of the macro-average.
double seed_spread(const std::vector<const CategoryResult*>& categories, const std::string& arm) {
  std::size_t seeds = SIZE_MAX;
  for (const CategoryResult* c : categories) seeds = std::min(seeds, c->arms.at(arm).seeds.size());
  if (seeds < 2) return 0;
  double sum = 0, squares = 0;
  for (std::size_t s = 0; s < seeds; ++s) {
    double value = 0;
    for (const CategoryResult* c : categories) value += c->arms.at(arm).seeds[s] / static_cast<double>(categories.size());
    sum += value, squares += value * value;
  }
  const auto n = static_cast<double>(seeds);
  return std::sqrt(std::max(0.0, (squares - sum * sum / n) / (n - 1)));
}

std::string table_of_arms(const Results& results, const std::vector<std::string>& names, json& figures) {
  const auto categories = those(results, names);
  std::vector<std::vector<std::string>> rows = {{"arm"}};
  for (const std::string& name : names) {
    if (!results.contains(name)) continue;
    rows[0].push_back(fmt::format("{} ({})", name, results.at(name).ids.size()));
  }
  for (const char* column : {"macro", "macro at equal length", "less single [95 %]", "less pooled [95 %]", "SD of seeds"})
    rows[0].emplace_back(column);
  for (const ArmText& arm : kArms) {
    if (std::ranges::none_of(categories, [&](const auto* c) { return c->arms.contains(arm.name); })) continue;
    std::vector<std::string> row = {arm.text};
    for (const CategoryResult* c : categories)
      row.push_back(c->arms.contains(arm.name) ? fmt::format("{:.3f}", macro({c}, arm.name, "", 1).value) : "-");
    if (all_have(categories, arm.name)) {
      row.push_back(fmt::format("{:.3f}", macro(categories, arm.name, "", 1).value));
      const double equal = macro_at_equal_length(categories, arm.name);
      row.push_back(std::isnan(equal) ? "-" : fmt::format("{:.3f}", equal));
      for (const char* other : {"single", "pooled"})
        row.push_back(
            arm.name == std::string(other) || !all_have(categories, other) ? "-" : text_of(macro(categories, arm.name, other)));
      row.push_back(fmt::format("{:.3f}", seed_spread(categories, arm.name)));
      figures[arm.name] = json_of(macro(categories, arm.name, ""));
    } else {
      row.insert(row.end(), {"-", "-", "-", "-", "-"});
    }
    rows.push_back(row);
  }
  return markdown_table(rows);
}

/// "80-rater" -> 80; "all-rater" -> 0.
std::int64_t prompts_of(const std::string& regime) {
  std::int64_t prompts = 0;
  std::from_chars(regime.data(), regime.data() + regime.size(), prompts);
  return prompts;
}

std::string noise_of(const std::string& regime) { return regime.substr(regime.find('-') + 1); }

/// Table 2 and its figure: accuracy by labelled prompts and noise.
void label_table(const TableRequest& request, const std::map<std::string, Results>& results, Tables& tables) {
  const std::vector<std::string> arms = {"single", "own", "pooled", kMethod};
  std::set<std::string> noises;
  std::set<std::pair<std::int64_t, std::string>> amounts;  // "all" last
  for (const std::string& regime : request.regimes) {
    if (noise_of(regime).find('-') != std::string::npos) continue;
    noises.insert(noise_of(regime));
    const std::int64_t prompts = prompts_of(regime);
    amounts.insert({prompts == 0 ? INT64_MAX : prompts, regime.substr(0, regime.find('-'))});
  }
  std::vector<std::vector<std::string>> rows = {{"labelled prompts"}};
  for (const std::string& noise : noises) rows[0].push_back(fmt::format("{}: single / own / pooled / DMoERM", noise));
  std::vector<CurvePanel> panels;
  for (const std::string& noise : noises) panels.push_back({noise, {}, {}});
  for (const auto& [order, amount] : amounts) {
    rows.push_back({amount});
    std::size_t panel = 0;
    for (const std::string& noise : noises) {
      CurvePanel& drawn = panels[panel++];
      const auto at = results.find(fmt::format("{}-{}", amount, noise));
      const auto categories = at == results.end() ? std::vector<const CategoryResult*>{} : those(at->second, request.main);
      if (categories.size() != request.main.size()) {
        rows.back().push_back("-");
        continue;
      }
      std::vector<std::string> cells;
      drawn.ticks.push_back(amount);
      for (const std::string& arm : arms) {
        if (!all_have(categories, arm)) {
          cells.emplace_back("-");
          continue;
        }
        const Estimate e = macro(categories, arm, "");
        cells.push_back(fmt::format("{:.3f}", e.value));
        drawn.curves[arm == kMethod ? "DMoERM" : arm].push_back({e.value, e.low, e.high});
        tables.figures["labels"][at->first][arm] = json_of(e);
      }
      rows.back().push_back(fmt::format("{}", fmt::join(cells, " / ")));
    }
  }
  tables.markdown += "## Labels\n\nMacro-average over the main categories.\n\n" + markdown_table(rows) + "\n";
  std::erase_if(panels, [](const CurvePanel& panel) { return panel.ticks.size() < 2; });
  tables.curves_svg = curve_chart(panels, "Accuracy by overall-labelled prompts");
}

/// Mean and standard deviation, over seeds and folds, of the weight that DMoERM gives a feature; "-" where cells have none.
std::string weight_text(const CategoryResult& category, const std::string& feature) {
  const auto arm = category.weights.find(kMethod);
  if (arm == category.weights.end() || !arm->second.contains(feature)) return "-";
  const auto& [values, folds] = arm->second.at(feature);
  if (values.empty()) return "-";
  const auto n = static_cast<double>(values.size());
  double mean = 0, squares = 0;
  for (const double w : values) mean += w / n;
  for (const double w : values) squares += (w - mean) * (w - mean);
  return fmt::format("{:+.2f} ({}){}", mean, n > 1 ? fmt::format("{:.2f}", std::sqrt(squares / (n - 1))) : "-",
                     folds < category.folds ? fmt::format(", {} of {} folds", folds, category.folds) : "");
}

/// Table 5: what the experts of the points know, and what they weigh.
std::string expert_table(const Results& results, json& figures) {
  std::vector<std::vector<std::string>> rows = {{"category", "point", "prompts", "its expert", "universal expert",
                                                 "longer is better", "its expert on overall labels",
                                                 "weight (SD over seeds and folds)"}};
  for (const auto& [name, category] : results) {
    for (const auto& [point, expert] : category.experts)
      rows.push_back({name, point, fmt::format("{:.0f}", expert.groups), fmt::format("{:.3f}", expert.own),
                      fmt::format("{:.3f}", expert.universal), fmt::format("{:.3f}", expert.length),
                      fmt::format("{:.3f}", expert.overall), weight_text(category, point)});
    if (const auto arm = category.weights.find(kMethod); arm != category.weights.end()) {
      rows.push_back({name, "(base)", "-", "-", "-", "-", "-", weight_text(category, "(base)")});
      for (const auto& [feature, weights] : arm->second) figures[name][feature] = weights.values;
    }
  }
  if (rows.size() < 2) return "";
  return "## Experts\n\nShare of the point's pairs that are ordered correctly, on tested prompts, and the weight in DMoERM: "
         "rewards have "
         "the same spread, and the sizes of a category's weights add up to 1 in each fold. A weight that names fewer "
         "folds is the mean over these: in the others its point has too few pairs, or an earlier version computed them.\n\n" +
         markdown_table(rows) + "\n";
}

/// Regimes that stand in no other table: with noisy points, or experts that learn from ties.
std::string other_table(const TableRequest& request, const std::map<std::string, Results>& results, json& figures) {
  const std::vector<std::string> arms = {"single", "own", "pooled", "mean", kMethod};
  std::vector<std::vector<std::string>> rows = {{"regime", "single", "own", "pooled", "mean of experts", "DMoERM"}};
  for (const auto& [regime, of_regime] : results) {
    const auto categories = those(of_regime, request.main);
    if (noise_of(regime).find('-') == std::string::npos || categories.size() != request.main.size()) continue;
    rows.push_back({regime});
    for (const std::string& arm : arms) {
      rows.back().push_back(all_have(categories, arm) ? fmt::format("{:.3f}", macro(categories, arm, "", 1).value) : "-");
      if (all_have(categories, arm)) figures[regime][arm] = json_of(macro(categories, arm, ""));
    }
  }
  return rows.size() < 2 ? "" : "## Other labels of the points\n\n" + markdown_table(rows) + "\n";
}

}  // namespace

Tables make_tables(const TableRequest& request) {
  std::map<std::string, Results> results;
  std::vector<std::string> names = request.main;
  names.insert(names.end(), request.small.begin(), request.small.end());
  for (const std::string& regime : request.regimes) results[regime] = read_cells(request.folder, regime, names, request.folds);
  const auto categories = those(results[request.primary], request.main);
  for (const std::string& name : request.main) {
    if (!results[request.primary].contains(name))
      throw DataError("cells-missing", fmt::format("{}: the cells of {} under {} are not all there: run `dmoerm evidence cells`",
                                                   request.folder.string(), name, request.primary));
  }
  Tables tables;
  tables.figures = json::object();
  tables.markdown = fmt::format("## Main table: {}\n\n", request.primary);
  tables.markdown += table_of_arms(results[request.primary], request.main, tables.figures["main"]) + "\n";
  for (const auto& [regime, of_regime] : results) {
    std::vector<std::string> shown = request.small;
    std::erase_if(
        shown, [&](const std::string& name) { return !of_regime.contains(name) || of_regime.at(name).ids.size() < kTestedMin; });
    if (shown.empty() || noise_of(regime) != noise_of(request.primary)) continue;
    tables.markdown += fmt::format("## Small categories: {}\n\n", regime);
    tables.markdown += table_of_arms(of_regime, shown, tables.figures["small"][regime]) + "\n";
  }
  label_table(request, results, tables);
  tables.markdown += other_table(request, results, tables.figures["labels"]);
  Results shown = results[request.primary];  // a small category that it lacks stands there under the next regime that has it
  for (const auto& [regime, of_regime] : results) {
    for (const auto& [name, category] : of_regime) {
      if (const auto at = shown.find(name); at == shown.end() || at->second.experts.empty()) shown[name] = category;
    }
  }
  tables.markdown += expert_table(shown, tables.figures["weights"]);

  std::vector<std::vector<std::string>> rows = {{"DMoERM less", "difference [95 %]", "p", "p (Holm)", "p of 0.02 apart"}};
  const std::vector<std::string> others = {"single", "pooled", "own", "ensemble_mean", "ensemble_wco", "ensemble_uwo"};
  std::vector<double> primary_p;
  for (const char* other : {"single", "pooled"}) primary_p.push_back(p_of_difference(macro(categories, kMethod, other)));
  const std::vector<double> adjusted = eval::holm(primary_p);
  Estimate ensemble;  // the difference to the strongest
  double strongest = -1;
  for (std::size_t i = 0; i < others.size(); ++i) {
    const Estimate difference = macro(categories, kMethod, others[i]);
    rows.push_back({others[i], text_of(difference), fmt::format("{:.2g}", p_of_difference(difference)),
                    i < adjusted.size() ? fmt::format("{:.2g}", adjusted[i]) : "-",
                    fmt::format("{:.2g}", p_of_distance(difference, kEquivalence))});
    tables.figures["minus_" + others[i]] = json_of(difference);
    const double value = macro(categories, others[i], "", 1).value;
    if (others[i].starts_with("ensemble") && value > strongest) strongest = value, ensemble = difference;
  }
  tables.figures["minus_ensemble"] = json_of(ensemble);
  tables.figures["p_holm"] = adjusted;
  tables.figures["p_pooled_apart"] = p_of_distance(macro(categories, kMethod, "pooled"), kEquivalence);
  tables.markdown += "## Contrasts\n\n" + markdown_table(rows) + "\n";
  for (const auto& [name, category] : results[request.primary]) tables.figures["chosen"][name] = category.counts;
  return tables;
}

}  // namespace dmoerm::evidence
