#include "eval/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/counted.h"
#include "base/text.h"
#include "eval/benchmark_figures.h"
#include "eval/correlation.h"
#include "eval/expert_figures.h"
#include "eval/model_differences.h"
#include "eval/pair_figures.h"
#include "eval/resampling.h"

namespace dmoerm::eval {
namespace {

using nlohmann::json;

const std::string kOverallLabel(preference::kOverall);

std::vector<std::size_t> every_index(std::size_t count) {
  std::vector<std::size_t> all(count);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

/// The clusters of some items under one label, with what each model orders correctly.
std::vector<Cluster> clusters_of(const Scored& scored, const std::vector<std::size_t>& items, const std::string& label) {
  struct Prompt {
    double pairs = 0;
    std::vector<double> right;
  };
  const std::size_t models = scored.models.size();
  std::map<std::string, std::map<std::string, Prompt>> prompts;  // by cluster and prompt
  for (const std::size_t i : items) {
    const Item& item = scored.data.items[i];
    const std::vector<preference::Preference> pairs = scored.compared_pairs(i, label);
    if (pairs.empty()) continue;
    Prompt& prompt = prompts[item.cluster][item.prompt_key];
    prompt.right.resize(models);
    prompt.pairs += static_cast<double>(pairs.size());
    for (const preference::Preference& p : pairs) {
      for (std::size_t m = 0; m < models; ++m) prompt.right[m] += right_of(scored.models[m].items[i], p).value_or(0);
    }
  }
  std::vector<Cluster> clusters;
  for (const auto& [name, own] : prompts) {
    Cluster cluster{.right = std::vector<double>(models), .shares = std::vector<double>(models), .name = name};
    for (const auto& [key, prompt] : own) {
      cluster.pairs += prompt.pairs;
      cluster.prompts += 1;
      for (std::size_t m = 0; m < models; ++m) {
        cluster.right[m] += prompt.right[m];
        cluster.shares[m] += prompt.right[m] / prompt.pairs;
      }
    }
    clusters.push_back(std::move(cluster));
  }
  return clusters;
}

json accuracy_json(const Scored& scored, const std::vector<Cluster>& clusters, const Accuracies& accuracies) {
  double pairs = 0, prompts = 0;
  for (const Cluster& c : clusters) pairs += c.pairs, prompts += c.prompts;
  json models = json::object();
  for (std::size_t m = 0; m < scored.models.size(); ++m)
    models[scored.models[m].name] = {{"pooled", to_json(accuracies.pooled.interval(m))},
                                     {"by_prompt", to_json(accuracies.by_prompt.interval(m))}};
  return {{"pairs", pairs}, {"prompts", prompts}, {"clusters", clusters.size()}, {"models", models}};
}

/// Adds what any two models differ in on one row.
void add_differences(json& differences, const std::string& row, const std::string& mean, const json& of_models) {
  for (json one : of_models) {
    one["category"] = row;
    one["mean"] = mean;
    differences.push_back(std::move(one));
  }
}

/// Ordered overall pairs of which a model said nothing, so that they are compared for none.
std::int64_t pairs_not_compared(const Scored& scored) {
  std::int64_t pairs = 0;
  for (std::size_t i = 0; i < scored.data.items.size(); ++i)
    pairs += std::ssize(overall_pairs(scored.data.items[i])) - std::ssize(scored.compared_pairs(i, kOverallLabel));
  return pairs;
}

/// Why models cannot be compared on some items.
std::string why_without_pairs(const Data& data, const std::vector<std::size_t>& items) {
  if (std::ranges::any_of(items, [&](std::size_t i) { return !overall_pairs(data.items[i]).empty(); }))
    return "no ordered pair was answered by every judge";
  return fmt::format("the overall labels order no two responses, in {}", counted(std::ssize(items), "prompt"));
}

/// What one item contributes, so that every figure can be computed again without the texts.
json group_json(const Scored& scored, std::size_t index) {
  const Item& item = scored.data.items[index];
  json characters = json::array(), marks = json::array(), labels = json::object(), scores = json::object();
  for (const std::string& text : item.responses) {
    characters.push_back(utf8_characters(text));
    marks.push_back(markdown_marks(text));
  }
  for (const auto& [label, all] : item.pairs) {
    const std::vector<preference::Preference> pairs = scored.compared_pairs(index, label);
    json order = json::array(), right = json::object();
    for (const preference::Preference& p : pairs) order.push_back({p.winner, p.loser});
    for (const ModelScores& model : scored.models) {
      double sum = 0;
      for (const preference::Preference& p : pairs) sum += right_of(model.items[index], p).value_or(0);
      right[model.name] = sum;
    }
    labels[label] = {{"pairs", pairs.size()}, {"order", order}, {"right", right}};
  }
  json group = {{"id", item.id},           {"file", item.file},         {"line", item.line},        {"prompt", item.prompt_key},
                {"cluster", item.cluster}, {"category", item.category}, {"characters", characters}, {"markdown_marks", marks},
                {"labels", labels}};
  if (!item.ties.empty()) group["ties"] = item.ties;
  if (!item.part.empty()) group["part"] = item.part;
  for (const ModelScores& model : scored.models) {
    const ItemScores& own = model.items[index];
    if (!own.scores.empty()) scores[model.name] = own.scores;
    if (own.scores.empty() && !own.preferences.empty()) group["preferences"][model.name] = own.preferences;
    if (own.route)
      group["routes"][model.name] = {
          {"scored_by", own.route->category}, {"likeliest", own.route->likeliest}, {"confidence", own.route->confidence}};
    if (!own.experts.empty()) group["experts"][model.name] = own.experts;
  }
  group["scores"] = scores;
  return group;
}

}  // namespace

json evaluate(const Scored& scored) {
  const Data& data = scored.data;
  json result = {{"schema", 1},
                 {"benchmark", data.benchmark},
                 {"split", data.split},
                 {"seed", scored.options.seed},
                 {"resamples", scored.options.resamples},
                 {"margin", scored.options.margin},
                 {"files", json::array()},
                 {"models", json::array()},
                 {"accuracy", json::object()},
                 {"without_pairs", json::object()},
                 {"differences", json::array()}};
  for (const Data::File& f : data.files)
    result["files"].push_back({{"path", f.path},
                               {"sha256", f.sha256},
                               {"format", f.format},
                               {"groups", f.items},
                               {"other_split", f.other_split},
                               {"left_out", f.left_out}});
  const auto rows = scored.rows();
  const std::vector<std::size_t> every_model = every_index(scored.models.size());
  std::vector<Resampled> pooled;                 // of the categories that have overall pairs
  std::vector<std::vector<Cluster>> categories;  // their clusters
  result["pairs_not_compared"] = pairs_not_compared(scored);
  for (const auto& [row, items] : rows) {
    std::set<std::string> labels;
    for (const std::size_t i : items) {
      for (const auto& [label, pairs] : data.items[i].pairs) labels.insert(label);
    }
    bool has_overall = false;
    for (const std::string& label : labels) {
      if (row == kAll && label != kOverallLabel && rows.size() > 1) continue;  // a point belongs to its category
      const std::vector<Cluster> clusters = clusters_of(scored, items, label);
      if (clusters.empty()) continue;
      Accuracies accuracies =
          resample(clusters, scored.models.size(), scored.options.seed, "eval/" + row + "/" + label, scored.options.resamples);
      result["accuracy"][row][label] = accuracy_json(scored, clusters, accuracies);
      if (label != kOverallLabel) continue;
      has_overall = true;
      add_differences(result["differences"], row, "pooled",
                      model_differences(scored, {accuracies.pooled, clusters, clusters, every_model}));
      if (row == kAll) continue;
      categories.push_back(clusters);
      pooled.push_back(std::move(accuracies.pooled));
    }
    if (row != kAll && !has_overall) result["without_pairs"][row] = why_without_pairs(data, items);
  }
  if (categories.size() > 1) {
    draw_shared_together(categories, pooled, scored.options.seed, "eval/macro");
    std::vector<Stratum> strata;
    for (std::size_t c = 0; c < pooled.size(); ++c)
      strata.push_back({&pooled[c], 1.0 / static_cast<double>(pooled.size()), &categories[c]});
    const Resampled macro = sum_of(strata);
    for (std::size_t m = 0; m < scored.models.size(); ++m)
      result["macro"][scored.models[m].name] = marked_json(macro.interval(m));
    add_differences(result["differences"], kAll, "macro",
                    model_differences(scored, {macro, clusters_of(scored, every_index(data.items.size()), kOverallLabel),
                                               macro.clusters, every_model}));
  }
  for (const ModelScores& model : scored.models) {
    std::int64_t tokens = 0, pairs = 0;
    for (std::size_t i = 0; i < model.items.size(); ++i) {
      tokens += model.items[i].tokens;
      pairs += std::ssize(scored.compared_pairs(i, kOverallLabel));
    }
    json one = source_json(model);
    const bool known = model.tokens_unknown.empty();
    one["tokens"] = known ? json(tokens) : json();
    if (!known) one["tokens_unknown"] = model.tokens_unknown;
    one["tokens_per_1000_pairs"] =
        known && pairs > 0 && tokens > 0 ? json(1000.0 * static_cast<double>(tokens) / static_cast<double>(pairs)) : json();
    if (model.cost) {
      one["cost"] = {{"requests", model.cost->requests},
                     {"tokens", model.cost->tokens},
                     {"money", model.cost->money},
                     {"currency", model.cost->currency}};
      if (model.cost->pairs > 0) one["cost"]["money_per_1000_pairs"] = model.cost->money / (model.cost->pairs / 1000);
    }
    result["models"].push_back(std::move(one));
  }
  add_pair_figures(result, scored);
  add_expert_figures(result, scored);
  if (!data.benchmark.empty()) {
    result["figures"] = benchmark_figures(scored);
    result["notes"] = benchmark_notes(data);
  }
  result["groups"] = json::array();
  for (std::size_t i = 0; i < data.items.size(); ++i) result["groups"].push_back(group_json(scored, i));
  return result;
}

}  // namespace dmoerm::eval
