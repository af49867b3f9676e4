#include "evidence/tables.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/text_table.h"
#include "eval/paired_difference.h"
#include "evidence/arm_names.h"
#include "evidence/averages.h"
#include "evidence/best_of_table.h"
#include "evidence/category_arms.h"
#include "evidence/contrasts.h"
#include "evidence/curve_chart.h"
#include "evidence/noise_ceiling.h"

namespace dmoerm::evidence {
namespace {

using nlohmann::json;

constexpr std::size_t kTestedMin = 10;  // prompts of a small category that is shown

std::string value_text(const std::optional<Estimate>& e) { return e ? fmt::format("{:.3f}", e->value) : "-"; }

/// The accuracy of an arm over categories, without an interval.
std::optional<Estimate> accuracy(const std::vector<const CategoryResult*>& categories, const std::string& arm) {
  return macro(categories, arm, "", 1);
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
  const Average average = average_of(results, names);
  const auto categories = those(results, names), averaged = those(results, average.names);
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
    for (const CategoryResult* c : categories) row.push_back(value_text(accuracy({c}, arm.name)));
    if (const auto all = accuracy(averaged, arm.name)) {
      row.push_back(value_text(all));
      const double equal = macro_at_equal_length(averaged, arm.name);
      row.push_back(std::isnan(equal) ? "-" : fmt::format("{:.3f}", equal));
      for (const char* other : {"single", "pooled"})
        row.push_back(arm.name == std::string(other) ? "-" : text_of(macro(averaged, arm.name, other)));
      row.push_back(fmt::format("{:.3f}", seed_spread(averaged, arm.name)));
      figures[arm.name] = json_of(macro(averaged, arm.name, ""));
    } else {
      row.insert(row.end(), {"-", "-", "-", "-", "-"});
    }
    rows.push_back(row);
  }
  return average.note(results) + markdown_table(rows);
}

/// The main categories under a regime that are in its average; nothing if some have no cells. @param notes  gets a line where
/// some are left out
std::vector<const CategoryResult*> averaged_under(const std::string& regime, const std::map<std::string, Results>& results,
                                                  const std::vector<std::string>& names, std::string& notes) {
  const auto at = results.find(regime);
  if (at == results.end() || those(at->second, names).size() != names.size()) return {};
  const Average average = average_of(at->second, names);
  notes += average.note(at->second, fmt::format("Under {}, ", regime));
  return those(at->second, average.names);
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
  std::string notes;
  for (const auto& [order, amount] : amounts) {
    rows.push_back({amount});
    std::size_t panel = 0;
    for (const std::string& noise : noises) {
      CurvePanel& drawn = panels[panel++];
      const std::string regime = fmt::format("{}-{}", amount, noise);
      const auto categories = averaged_under(regime, results, request.main, notes);
      if (categories.empty()) {
        rows.back().push_back("-");
        continue;
      }
      std::vector<std::string> cells;
      drawn.ticks.push_back(amount);
      for (const std::string& arm : arms) {
        const std::optional<Estimate> e = macro(categories, arm, "");
        cells.push_back(value_text(e));
        if (!e) continue;
        drawn.curves[arm == kMethod ? "DMoERM" : arm].push_back({drawn.ticks.size() - 1, e->value, e->low, e->high});
        tables.figures["labels"][regime][arm] = json_of(e);
      }
      rows.back().push_back(fmt::format("{}", fmt::join(cells, " / ")));
    }
  }
  tables.markdown += "## Labels\n\nMacro-average over the main categories.\n\n" + notes + markdown_table(rows) + "\n";
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
    for (const auto& [point, expert] : category.experts) {
      const auto share = [groups = expert.groups](double value) { return groups > 0 ? fmt::format("{:.3f}", value) : "-"; };
      rows.push_back({name, point, fmt::format("{:.0f}", expert.groups), share(expert.own), share(expert.universal),
                      share(expert.length), share(expert.overall), weight_text(category, point)});
    }
    if (const auto arm = category.weights.find(kMethod); arm != category.weights.end()) {
      rows.push_back({name, "(base)", "-", "-", "-", "-", "-", weight_text(category, "(base)")});
      for (const auto& [feature, weights] : arm->second) figures[name][feature] = weights.values;
    }
  }
  if (rows.size() < 2) return "";
  return "## Experts\n\nShare of the point's pairs that are ordered correctly, on tested prompts, and the weight in DMoERM: "
         "rewards have the same spread, and the sizes of a category's weights add up to 1 in each fold. A weight that names "
         "fewer folds is the mean over these: in the others its point has too few pairs, or an earlier version computed them. "
         "Where a regime leaves few prompts their capability labels, the shares are those of the first seed's experts.\n\n" +
         markdown_table(rows) + "\n";
}

/// What the arms learn from in a fold; "" if no cell says it.
std::string labels_seen_table(const Results& results, json& figures) {
  std::vector<std::vector<std::string>> rows = {
      {"category", "prompts with overall labels", "overall pairs", "prompts with capability labels", "capability pairs"}};
  for (const auto& [name, category] : results) {
    if (!category.labels) continue;
    const LabelsSeen& seen = *category.labels;
    const auto text = [](double count) { return fmt::format("{:.0f}", count); };
    rows.push_back(
        {name, text(seen.overall_prompts), text(seen.overall_pairs), text(seen.point_prompts), text(seen.point_pairs)});
    figures[name] = {{"overall_prompts", seen.overall_prompts},
                     {"overall_pairs", seen.overall_pairs},
                     {"point_prompts", seen.point_prompts},
                     {"point_pairs", seen.point_pairs}};
  }
  if (rows.size() < 2) return "";
  return "## Labels seen\n\nWhat there is to learn from in a fold, the mean over folds and seeds. *Own* and the ensembles learn "
         "from the overall pairs of their category, *single* from those of all categories; *pooled* and DMoERM also from the "
         "capability pairs of the category, and *single, overall and all points* from all pairs. At most twelve "
         "pairs count of a prompt under one label.\n\n" +
         markdown_table(rows) + "\n";
}

/// Why a category has no DMoERM in some folds. The arm *own* needs two prompts with overall labels, and no expert.
std::string why_no_method(const CategoryResult& category) {
  const auto has = [&](const char* arm, std::int64_t fold) {
    const auto with = category.folds_with.find(arm);
    return with != category.folds_with.end() && with->second.contains(fold);
  };
  std::vector<std::int64_t> without_expert, without_overall;
  for (std::int64_t fold = 0; fold < category.folds; ++fold) {
    if (!has(kMethod, fold)) (has("own", fold) ? without_expert : without_overall).push_back(fold);
  }
  constexpr const char* kNoExpert = "no point has an expert";
  constexpr const char* kNoOverall = "fewer than two prompts have overall labels in training";
  if (without_overall.empty()) return fmt::format("{} there", kNoExpert);
  if (without_expert.empty()) return fmt::format("{} there", kNoOverall);
  return fmt::format("{} in {}, and {} in {}", kNoExpert, folds_text(without_expert), kNoOverall, folds_text(without_overall));
}

/// What was not measured, a line each.
/// @param wanted  all categories that the tables should show
std::string gaps(const TableRequest& request, const std::vector<std::string>& wanted, const Results& results) {
  std::string lines;
  const auto without_cells = left_out(request.folder);
  for (const std::string& name : wanted) {
    if (!results.contains(name) && !without_cells.contains(name))
      lines += fmt::format("- {} has not all its cells under {}: `dmoerm evidence states` and then `cells` compute them.\n", name,
                           request.primary);
  }
  for (const auto& [category, why] : without_cells) lines += fmt::format("- {} is left out: it {}.\n", category, why);
  for (const auto& [name, category] : results) {
    for (const auto& [point, expert] : category.experts) {
      std::vector<std::int64_t> folds, labelled;
      for (const auto& [fold, groups] : expert.too_few) folds.push_back(fold), labelled.push_back(groups);
      if (!folds.empty())
        lines += fmt::format("- {} has no expert of {} in {}: in training {} prompts have pairs of it, and an expert needs {}.\n",
                             name, point, folds_text(folds), fmt::join(labelled, ", "), kPointGroupsMin);
    }
    if (const std::string without = folds_without_method(category); !without.empty())
      lines +=
          fmt::format("- {} has no DMoERM in {}, so none over all its prompts: {}.\n", name, without, why_no_method(category));
  }
  return lines.empty() ? "" : "## Not measured\n\n" + lines + "\n";
}

/// Regimes that stand in no other table: with noisy or few labels of points, or experts that learn from ties.
std::string other_table(const TableRequest& request, const std::map<std::string, Results>& results, json& figures) {
  const std::vector<std::string> arms = {"single", "own", "pooled", "mean", kMethod};
  std::vector<std::vector<std::string>> rows = {{"regime", "single", "own", "pooled", "mean of experts", "DMoERM"}};
  std::string notes;
  for (const auto& [regime, of_regime] : results) {
    if (noise_of(regime).find('-') == std::string::npos) continue;
    const auto categories = averaged_under(regime, results, request.main, notes);
    if (categories.empty()) continue;
    rows.push_back({regime});
    for (const std::string& arm : arms) {
      const std::optional<Estimate> e = macro(categories, arm, "");
      rows.back().push_back(value_text(e));
      if (e) figures[regime][arm] = json_of(e);
    }
  }
  return rows.size() < 2 ? "" : "## Other labels of the points\n\n" + notes + markdown_table(rows) + "\n";
}

}  // namespace

Tables make_tables(TableRequest request) {
  std::map<std::string, Results> results;
  std::vector<std::string> names = request.main;
  names.insert(names.end(), request.small.begin(), request.small.end());
  for (const std::string& regime : request.regimes) results[regime] = read_cells(request.folder, regime, names, request.folds);
  Tables tables;
  tables.figures = json::object();
  tables.markdown = fmt::format("## Main table: {}\n\n", request.primary);
  for (const auto& [name, why] : left_out(request.folder)) std::erase(request.main, name), std::erase(request.small, name);
  const bool only_small = request.main.empty();
  if (only_small) {
    request.main = std::exchange(request.small, {});
    std::erase_if(request.main, [&](const std::string& name) { return !results[request.primary].contains(name); });
  }
  if (request.main.empty())
    throw DataError("cells-missing", fmt::format("{}: no category has all its cells under {}: run `dmoerm evidence cells`",
                                                 request.folder.string(), request.primary));
  for (const std::string& name : request.main) {
    if (!results[request.primary].contains(name))
      throw DataError("cells-missing", fmt::format("{}: the cells of {} under {} are not all there, or of other settings: run "
                                                   "`dmoerm evidence cells`",
                                                   request.folder.string(), name, request.primary));
  }
  const Average average = average_of(results[request.primary], request.main);
  tables.figures["categories"] = average.names;
  if (only_small)
    tables.markdown += fmt::format(
        "No category that can be tested has the {} prompts that --prompts-min asks of one in the average, so it is over smaller "
        "ones: {}. Few prompts make wide intervals.\n\n",
        request.prompts_min, fmt::join(average.names, ", "));
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
  tables.markdown += labels_seen_table(results[request.primary], tables.figures["labels_seen"]);
  const BestOfSection best_of = best_of_section(those(results[request.primary], average.names), average.names);
  tables.markdown += best_of.markdown, tables.best_of_svg = best_of.svg;
  if (!best_of.figures.is_null()) tables.figures["best_of"] = best_of.figures;
  Results shown = results[request.primary];  // a small category that it lacks stands there under the next regime that has it
  for (const auto& [regime, of_regime] : results) {
    for (const auto& [name, category] : of_regime) {
      if (const auto at = shown.find(name); at == shown.end() || at->second.experts.empty()) shown[name] = category;
    }
  }
  tables.markdown += expert_table(shown, tables.figures["weights"]);

  tables.markdown += gaps(request, names, results[request.primary]);
  tables.markdown += noise_ceiling_section(request.ceilings, tables.figures["noise_ceiling"]);
  tables.markdown += "## Contrasts\n\n" + average.note(results[request.primary]) +
                     contrasts_of_method(those(results[request.primary], average.names), tables.figures) + "\n";
  tables.markdown += contrasts_asked(request.contrasts, results, request.main, tables.figures["contrasts"]);
  if (tables.markdown.find(eval::kBoundsMark) != std::string::npos) tables.markdown += eval::kBoundsNote;
  for (const auto& [name, category] : results[request.primary]) tables.figures["chosen"][name] = category.counts;
  return tables;
}

}  // namespace dmoerm::evidence
