#include "report/accuracies.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/counted.h"

namespace dmoerm::report {
namespace {

using eval::GroupResult;
using eval::Interval;
using nlohmann::json;

constexpr std::size_t kFewPrompts = 100;

std::vector<GroupResult> groups_of(const json& right, const json& results, std::int64_t first_prompt) {
  const json& pairs = results.at("pairs");
  std::vector<GroupResult> groups;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto prompt = prompt_of(results, i);
    groups.push_back({right.at(i), pairs.at(i), first_prompt + prompt});
  }
  return groups;
}

void add_category(Accuracies& found, const std::string& category, const json& results, std::int64_t& prompts) {
  std::map<std::string, std::vector<GroupResult>> own;
  std::int64_t last = prompts;
  for (const ModelName& model : kModels) {
    const json& right = results.at("right");
    if (!right.contains(model.key)) continue;
    own[model.key] = groups_of(right[model.key], results, prompts);
    for (const GroupResult& g : own[model.key]) last = std::max(last, g.prompt + 1);
  }
  prompts = last;
  for (const auto& [model, groups] : own) {
    auto& all = found.of[kAllRow][model];
    all.insert(all.end(), groups.begin(), groups.end());
  }
  for (const json& route : results.value("routes", json::array())) {
    ++found.routed;
    found.to_single += route.at("category") == "" ? 1 : 0;
  }
  found.rows.push_back(category);
  found.of[category] = std::move(own);
}

/// A sentence about the mixture and one rival on one row.
std::string comparison(const Accuracies& a, const std::string& row, const char* rival, const char* name) {
  const auto lead = a.lead(row, rival);
  if (!lead) return "";
  const char* verdict = lead->low > 0 ? "ahead of" : lead->high < 0 ? "behind" : "not shown to differ from";
  return fmt::format("It is {} {}: {} (95 % interval {}).", verdict, name, points_text(lead->value), points_range(*lead));
}

}  // namespace

std::string share_text(double share) { return fmt::format("{:.1f} %", 100 * share); }
std::string points_text(double difference) { return fmt::format("{:+.1f} points", 100 * difference); }
std::int64_t prompt_of(const json& results, std::size_t i) {
  return results.contains("prompts") ? results["prompts"].at(i).get<std::int64_t>() : static_cast<std::int64_t>(i);
}

std::string interval_text(const std::optional<eval::Interval>& interval) {
  return interval ? fmt::format("{:.1f} [{:.1f}, {:.1f}]", 100 * interval->value, 100 * interval->low, 100 * interval->high)
                  : "-";
}

std::string points_range(const Interval& interval) {
  return fmt::format("{:+.1f} to {:+.1f} points{}", 100 * interval.low, 100 * interval.high,
                     interval.bounded ? ", exact bounds because few prompts tell the two apart" : "");
}

bool Accuracies::has(const std::string& row, const std::string& model) const {
  const auto found = of.find(row);
  if (found == of.end() || !found->second.contains(model)) return false;
  return std::ranges::any_of(found->second.at(model), [](const GroupResult& g) { return g.pairs > 0; });
}

std::optional<Interval> Accuracies::accuracy(const std::string& row, const std::string& model) const {
  if (!has(row, model)) return std::nullopt;
  return eval::bootstrap_accuracy(of.at(row).at(model), kSeed);
}

std::optional<Interval> Accuracies::lead(const std::string& row, const std::string& model) const {
  if (!has(row, model) || !has(row, kMixture)) return std::nullopt;
  const auto& mixture = of.at(row).at(kMixture);
  const auto& rival = of.at(row).at(model);
  if (mixture.size() != rival.size()) return std::nullopt;  // a model that some categories lack
  return eval::bootstrap_difference(mixture, rival, kSeed);
}

std::size_t Accuracies::prompts(const std::string& row) const {
  return has(row, kMixture) ? eval::by_prompt(of.at(row).at(kMixture)).size() : 0;
}

double Accuracies::pairs(const std::string& row) const {
  double pairs = 0;
  if (has(row, kMixture)) {
    for (const GroupResult& g : of.at(row).at(kMixture)) pairs += g.pairs;
  }
  return pairs;
}

Accuracies accuracies_of(const Run& run) {
  Accuracies found;
  std::int64_t prompts = 0;
  for (const std::string& category : run.categories) {
    const Part& results = run.results.at(category);
    if (!results.there()) {
      found.problems.push_back(fmt::format("{}: {}", category, results.missing));
      if (results.damaged) found.damaged.push_back(category);
      continue;
    }
    try {
      add_category(found, category, results.value, prompts);
    } catch (const json::exception&) {
      found.problems.push_back(fmt::format("{}: results.json does not have the form that `run` writes.", category));
      found.damaged.push_back(category);
    }
  }
  if (found.rows.size() > 1) found.rows.emplace_back(kAllRow);
  return found;
}

Headline headline_of(const Run& run, const Accuracies& accuracies) {
  Headline headline;
  const std::string unfinished = run.unfinished();
  if (!unfinished.empty()) headline.further.push_back("The run is not complete: " + unfinished + ".");
  const std::string row = accuracies.empty() ? "" : accuracies.rows.back();
  const auto lead = accuracies.lead(row, "single");
  if (!lead) {
    headline.sentence =
        accuracies.damaged.empty()
            ? "Nothing can be said yet: the test prompts have not been scored by both the mixture and the single model."
            : fmt::format("Nothing can be said: the results of {} cannot be read.", fmt::join(accuracies.damaged, ", "));
    return headline;
  }
  const Interval mixture = *accuracies.accuracy(row, kMixture), single = *accuracies.accuracy(row, "single");
  const std::string shares = fmt::format("{} of {} pairs in the right order against {}", share_text(mixture.value),
                                         accuracies.pairs(row), share_text(single.value));
  const std::string interval = fmt::format("95 % interval of the difference {}", points_range(*lead));
  if (lead->low > 0) {
    headline.verdict = Verdict::better;
    headline.sentence =
        fmt::format("The mixture is better than the single model, and chance does not explain it: {} ({}).", shares, interval);
  } else if (lead->high < 0) {
    headline.verdict = Verdict::worse;
    headline.sentence =
        fmt::format("The mixture is worse than the single model, and chance does not explain it: {} ({}).", shares, interval);
  } else {
    headline.verdict = Verdict::open;
    headline.sentence = fmt::format("It is not certain that the mixture and the single model differ: {} ({}, which includes 0).",
                                    shares, interval);
  }
  if (2 * accuracies.to_single > accuracies.routed)
    headline.further.push_back(fmt::format(
        "{} of {} test prompts went to the single model, so the two are mostly one model here: see the router's confidence.",
        accuracies.to_single, accuracies.routed));
  for (const auto& [rival, name] : {std::pair{"category", "one model per category"},
                                    {"pooled", "one model per category on all labels"},
                                    {"mean", "the plain mean of its experts"}}) {
    if (std::string sentence = comparison(accuracies, row, rival, name); !sentence.empty()) headline.further.push_back(sentence);
  }
  std::string worse;
  for (const std::string& category : accuracies.rows) {
    if (category == row) continue;
    if (const auto own = accuracies.lead(category, "single"); own && own->high < 0)
      worse += (worse.empty() ? "" : ", ") + category;
  }
  if (!worse.empty()) headline.further.push_back("In these categories it is behind the single model: " + worse + ".");
  const std::size_t prompts = accuracies.prompts(row);
  if (prompts < kFewPrompts)
    headline.further.push_back(fmt::format("Only {} measured this, so the intervals are wide.",
                                           counted(static_cast<std::int64_t>(prompts), "test prompt")));
  if (!accuracies.damaged.empty())
    headline.further.push_back(
        fmt::format("The results of {} cannot be read and are not part of these figures.", fmt::join(accuracies.damaged, ", ")));
  if (const auto others = std::ssize(accuracies.problems) - std::ssize(accuracies.damaged); others > 0)
    headline.further.push_back(
        fmt::format("{} not evaluated and not part of these figures.", counted(others, "category is", "categories are")));
  return headline;
}

}  // namespace dmoerm::report
