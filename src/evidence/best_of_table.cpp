#include "evidence/best_of_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/text_table.h"
#include "eval/best_of_n.h"
#include "evidence/arm_names.h"
#include "evidence/arm_table.h"
#include "evidence/averages.h"
#include "evidence/curve_chart.h"

namespace dmoerm::evidence {
namespace {

using nlohmann::json;

constexpr std::ptrdiff_t kListsMin = 20;  // of a category that is in the average for n
const std::vector<std::string> kShown = {"single",        "own",          "pooled",       "pooled_weighted", "mean",  kMethod,
                                         "ensemble_mean", "ensemble_wco", "ensemble_uwo", "length",          kGoldArm};
const std::vector<std::string> kDrawn = {"single", "own", "pooled", kMethod};

std::string text_of_arm(const std::string& name) {
  if (name == kGoldArm) return "the gold scores themselves";
  return std::ranges::find(kArms, name, [](const ArmText& arm) { return std::string(arm.name); })->text;
}

/// The best of n by an arm; null if it has none.
const BestOf* best_of(const CategoryResult& category, const std::string& arm, std::int64_t n) {
  const auto found = category.arms.find(arm);
  if (found == category.arms.end() || !found->second.best_of.contains(n)) return nullptr;
  return &found->second.best_of.at(n);
}

std::ptrdiff_t lists_of(const CategoryResult& category, std::int64_t n) {
  const BestOf* const best = best_of(category, kMethod, n);
  return best == nullptr ? 0 : std::ranges::count_if(best->gold, [](double gain) { return !std::isnan(gain); });
}

/// The categories with enough lists of n responses.
struct Lists {
  std::int64_t n = 0;
  std::vector<const CategoryResult*> categories = {};
  std::vector<std::string> names = {};
  std::vector<std::ptrdiff_t> counts = {};
};

std::vector<Lists> lists_by_size(const std::vector<const CategoryResult*>& categories, const std::vector<std::string>& names) {
  std::set<std::int64_t> sizes;
  for (const CategoryResult* category : categories) {
    if (const auto arm = category->arms.find(kMethod); arm != category->arms.end())
      for (const auto& [n, best] : arm->second.best_of) sizes.insert(n);
  }
  std::vector<Lists> all;
  for (const std::int64_t n : sizes) {
    Lists lists{.n = n};
    for (std::size_t c = 0; c < categories.size(); ++c) {
      const std::ptrdiff_t count = lists_of(*categories[c], n);
      if (count < kListsMin) continue;
      lists.categories.push_back(categories[c]), lists.names.push_back(names[c]), lists.counts.push_back(count);
    }
    if (!lists.categories.empty()) all.push_back(std::move(lists));
  }
  return all;
}

/// The mean over categories of one kind of figure of an arm less another; nothing if a category lacks one. @param other  "" for
/// none
std::optional<Estimate> mean_of(const Lists& lists, const std::string& arm, const std::string& other,
                                std::vector<double> BestOf::*kind, int resamples = 10000) {
  std::vector<std::vector<double>> values;
  for (const CategoryResult* category : lists.categories) {
    const BestOf *const a = best_of(*category, arm, lists.n), *const b = best_of(*category, other, lists.n);
    if (a == nullptr || (!other.empty() && b == nullptr)) return std::nullopt;
    std::vector<double>& own = values.emplace_back(a->*kind);
    for (std::size_t g = 0; b != nullptr && g < own.size(); ++g) own[g] -= (b->*kind)[g];
  }
  return macro_of(lists.categories, values, other.empty() ? ValueKind::any : ValueKind::difference, resamples);
}

/// A panel for each category: gold gain of some arms against n.
std::string drawn(const std::vector<Lists>& all) {
  std::vector<std::string> order;
  std::map<std::string, CurvePanel> panels;
  for (const Lists& lists : all) {
    for (std::size_t c = 0; c < lists.categories.size(); ++c) {
      const auto [at, fresh] = panels.try_emplace(lists.names[c]);
      CurvePanel& panel = at->second;
      if (fresh) {
        order.push_back(lists.names[c]);
        panel.title = lists.names[c], panel.ticks = {"1"};
        for (const std::string& arm : kDrawn)
          panel.curves[arm == kMethod ? "DMoERM" : arm] = {{}};  // one random response gains 0
      }
      panel.ticks.push_back(std::to_string(lists.n));
      const Lists own{.n = lists.n, .categories = {lists.categories[c]}};
      for (const std::string& arm : kDrawn) {
        if (const auto gain = mean_of(own, arm, "", &BestOf::gold))
          panel.curves[arm == kMethod ? "DMoERM" : arm].push_back({panel.ticks.size() - 1, gain->value, gain->low, gain->high});
      }
    }
  }
  std::vector<CurvePanel> charts;
  for (const std::string& name : order) charts.push_back(std::move(panels.at(name)));
  return curve_chart(charts, "Best of n: gold score of the pick less the mean of its list, in standard deviations within lists");
}

}  // namespace

BestOfSection best_of_section(const std::vector<const CategoryResult*>& categories, const std::vector<std::string>& names) {
  const std::vector<Lists> all = lists_by_size(categories, names);
  if (all.empty()) return {};
  BestOfSection section;
  std::vector<std::vector<std::string>> gains = {{"arm"}}, less = {{"DMoERM less"}};
  std::string of_sizes;
  for (const Lists& lists : all) {
    gains[0].push_back(fmt::format("n = {}", lists.n)), less[0].push_back(fmt::format("n = {} [95 %]", lists.n));
    std::vector<std::string> counted;
    for (std::size_t c = 0; c < lists.names.size(); ++c)
      counted.push_back(fmt::format("{} ({})", lists.names[c], lists.counts[c]));
    of_sizes += fmt::format("- n = {}: {}\n", lists.n, fmt::join(counted, ", "));
    section.figures[std::to_string(lists.n)] = {{"categories", lists.names}, {"kl", eval::best_of_n_kl(lists.n)}};
  }
  for (const std::string& arm : kShown) {
    std::vector<std::string> row = {text_of_arm(arm)}, difference = {text_of_arm(arm)};
    bool any = false;
    for (const Lists& lists : all) {
      json& figures = section.figures[std::to_string(lists.n)];
      const std::optional<Estimate> gold = mean_of(lists, arm, "", &BestOf::gold), own = mean_of(lists, arm, "", &BestOf::own, 1),
                                    longest = mean_of(lists, arm, "", &BestOf::longest, 1);
      any = any || gold;
      row.push_back(gold ? fmt::format("{:+.3f} / {:+.2f} / {:.2f}", gold->value, own->value, longest->value) : "-");
      if (gold) figures["arms"][arm] = {{"gold", json_of(gold)}, {"own", own->value}, {"longest", longest->value}};
      if (arm == kMethod || arm == kGoldArm) continue;
      const std::optional<Estimate> behind = mean_of(lists, kMethod, arm, &BestOf::gold);
      difference.push_back(text_of(behind));
      if (behind) figures["less"][arm] = json_of(behind);
    }
    if (!any) continue;
    gains.push_back(row);
    if (difference.size() > 1) less.push_back(difference);
  }
  section.markdown = fmt::format(
      "## Best of n\n\nThe mean over all subsets of n responses of a tested prompt: by how much the gold score (the overall "
      "score of "
      "all raters) of the response with the highest reward is above the mean of the prompt's responses / the same of the arm's "
      "own "
      "reward / the share of picks that no other is longer than. Gains are in standard deviations within prompts. Averaged over "
      "the categories in which {} tested prompts have n responses:\n\n{}\n{}\n{}\n",
      kListsMin, of_sizes, markdown_table(gains), markdown_table(less));
  section.svg = drawn(all);
  return section;
}

}  // namespace dmoerm::evidence
