#include "evidence/contrasts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/text_table.h"
#include "config/nearest.h"
#include "eval/significance.h"
#include "evidence/arm_names.h"
#include "evidence/regime.h"

namespace dmoerm::evidence {
namespace {

using nlohmann::json;

constexpr double kEquivalence = 0.02;

std::string p_text(double p) { return fmt::format("{:.2g}", p); }

/// ", did you mean stack?", if a name resembles one that is known.
std::string meant(const std::string& name, const std::vector<std::string>& known) {
  const auto near = config::nearest(name, known);
  return near ? fmt::format(", did you mean {}?", *near) : "";
}

/// @param text  the contrast as it was given
void expect_known_arm(const std::string& arm, const std::string& text) {
  std::vector<std::string> known;
  for (const ArmText& of_experiment : kArms) known.emplace_back(of_experiment.name);
  if (std::ranges::find(known, arm) == known.end())
    throw ConfigError("unknown-arm", fmt::format("--contrast {}: the experiment has no arm {}{}; there are {}", text, arm,
                                                 meant(arm, known), fmt::join(known, ", ")));
}

[[noreturn]] void refuse_regime(const Contrast& contrast, const std::vector<std::string>& known) {
  throw ConfigError(
      "contrast-of-unknown-regime",
      fmt::format("--contrast {}: the regime {} has no cells of all folds{}; there are those of {}; "
                  "`dmoerm evidence cells --regimes {}` computes them",
                  contrast.name(), contrast.regime, meant(contrast.regime, known), fmt::join(known, ", "), contrast.regime));
}

/// The categories' results of the regime that a contrast names.
const Results& results_of(const Contrast& contrast, const std::map<std::string, Results>& results) {
  std::vector<std::string> known;
  for (const auto& [regime, of_regime] : results) {
    if (regime == contrast.regime && !of_regime.empty()) return of_regime;
    if (!of_regime.empty()) known.push_back(regime);
  }
  refuse_regime(contrast, known);
}

void expect_arms(const Contrast& contrast, const std::vector<const CategoryResult*>& categories) {
  std::set<std::string> known;
  for (const CategoryResult* category : categories) {
    for (const auto& [arm, result] : category->arms) known.insert(arm);
  }
  for (const std::string& arm : {contrast.arm, contrast.other}) {
    if (!known.contains(arm))
      throw ConfigError("unknown-arm", fmt::format("--contrast {}: no category has the arm {} in every fold: there are {}",
                                                   contrast.name(), arm, fmt::join(known, ", ")));
  }
}

}  // namespace

Contrast contrast_from(const std::string& text, const std::string& primary) {
  Contrast contrast{.regime = primary, .arm = {}, .other = {}};
  const std::size_t slash = text.find('/');
  if (slash != std::string::npos) contrast.regime = text.substr(0, slash);
  const std::string arms = slash == std::string::npos ? text : text.substr(slash + 1);
  const std::size_t colon = arms.find(':');
  contrast.arm = arms.substr(0, colon);
  if (colon != std::string::npos) contrast.other = arms.substr(colon + 1);
  if (contrast.regime.empty() || contrast.arm.empty() || contrast.other.empty() || arms.find('/') != std::string::npos ||
      contrast.other.find(':') != std::string::npos)
    throw ConfigError(
        "not-a-contrast",
        fmt::format("--contrast {}: expected two arms, as stack:own, or a regime and two arms, as 20-rater/stack:own", text));
  if (slash != std::string::npos) (void)regime_from(contrast.regime, fmt::format("--contrast {}: the regime", text));
  expect_known_arm(contrast.arm, text);
  expect_known_arm(contrast.other, text);
  return contrast;
}

void expect_regime(const Contrast& contrast, const std::vector<std::string>& regimes) {
  if (std::ranges::find(regimes, contrast.regime) == regimes.end()) refuse_regime(contrast, regimes);
}

std::string contrasts_of_method(const std::vector<const CategoryResult*>& categories, json& figures) {
  std::vector<std::vector<std::string>> rows = {{"DMoERM less", "difference [95 %]", "p", "p (Holm)", "p of 0.02 apart"}};
  std::vector<std::pair<std::string, std::optional<Estimate>>> differences;
  for (const char* other : {"single", "pooled", "own", "ensemble_mean", "ensemble_wco", "ensemble_uwo"})
    differences.emplace_back(other, macro(categories, kMethod, other));
  std::vector<double> primary_p;  // of the two contrasts that were fixed beforehand
  for (std::size_t i = 0; i < 2; ++i)
    if (differences[i].second) primary_p.push_back(p_of_difference(*differences[i].second));
  std::vector<double> adjusted;
  if (primary_p.size() == 2) adjusted = eval::holm(primary_p);
  std::optional<Estimate> strongest, ensemble;  // the strongest ensemble, and the difference to it
  for (std::size_t i = 0; i < differences.size(); ++i) {
    const auto& [other, difference] = differences[i];
    rows.push_back({other, text_of(difference), difference ? p_text(p_of_difference(*difference)) : "-",
                    i < adjusted.size() ? p_text(adjusted[i]) : "-",
                    difference ? p_text(p_of_distance(*difference, kEquivalence)) : "-"});
    figures["minus_" + other] = json_of(difference);
    if (difference && !difference->few.empty()) figures["bounds"].push_back("minus_" + other);
    if (!other.starts_with("ensemble")) continue;
    const auto value = macro(categories, other, "", 1);
    if (value && (!strongest || value->value > strongest->value)) strongest = value, ensemble = difference;
  }
  figures["minus_ensemble"] = json_of(ensemble);
  figures["p_holm"] = adjusted.empty() ? json() : json(adjusted);
  const auto& pooled = differences[1].second;
  figures["p_pooled_apart"] = pooled ? json(p_of_distance(*pooled, kEquivalence)) : json();
  return markdown_table(rows);
}

std::string contrasts_asked(const std::vector<Contrast>& asked, const std::map<std::string, Results>& results,
                            const std::vector<std::string>& names, json& figures) {
  if (asked.empty()) return "";
  std::vector<std::vector<std::string>> rows = {
      {"regime", "arm", "less", "difference [95 %]", "p", "p of 0.02 apart", "categories"}};
  for (const Contrast& contrast : asked) {
    const Results& of_regime = results_of(contrast, results);
    expect_arms(contrast, those(of_regime, names));
    std::vector<std::string> both = having(of_regime, names, {contrast.arm, contrast.other});
    const std::optional<Estimate> difference = macro(those(of_regime, both), contrast.arm, contrast.other);
    if (!difference) both.clear();  // having() gives all of them if none has both arms
    rows.push_back({contrast.regime, contrast.arm, contrast.other, text_of(difference),
                    difference ? p_text(p_of_difference(*difference)) : "-",
                    difference ? p_text(p_of_distance(*difference, kEquivalence)) : "-",
                    both.empty()                  ? "none has both"
                    : both.size() == names.size() ? "all"
                                                  : fmt::format("{}", fmt::join(both, ", "))});
    json& own = figures[contrast.name()] = {{"difference", json_of(difference)}, {"categories", both}};
    if (!difference) continue;
    own["p"] = p_of_difference(*difference), own["p_apart"] = p_of_distance(*difference, kEquivalence);
    own["bounds"] = !difference->few.empty();
  }
  return "## Further contrasts\n\nOne arm less another, over the main categories that have both in every fold. The p-values "
         "are "
         "not adjusted for the number of contrasts.\n\n" +
         markdown_table(rows) + "\n";
}

}  // namespace dmoerm::evidence
