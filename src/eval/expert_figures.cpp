#include "eval/expert_figures.h"

#include <algorithm>
#include <map>

#include "eval/resampling.h"

namespace dmoerm::eval {
namespace {

using nlohmann::json;

/// Prompts by the category of the data and by where the router sent them.
json routes_of(const Scored& scored, const ModelScores& model) {
  std::map<std::string, std::map<std::string, int>> sent;
  std::map<std::string, int> likeliest_right, seen;
  for (std::size_t i = 0; i < model.items.size(); ++i) {
    const std::optional<RouteTaken>& route = model.items[i].route;
    if (!route) continue;
    const std::string& category = scored.data.items[i].category;
    ++sent[category.empty() ? kNoCategory : category][route->category.empty() ? "(fallback)" : route->category];
    ++seen[category];
    likeliest_right[category] += route->likeliest == category ? 1 : 0;
  }
  json right = json::object();
  for (const std::string& category : model.categories) {
    if (!seen.contains(category)) continue;
    right[category] = {{"groups", seen[category]},
                       {"sent_there", static_cast<double>(sent[category][category]) / seen[category]},
                       {"likeliest_is_right", static_cast<double>(likeliest_right[category]) / seen[category]}};
  }
  return {{"sent", sent}, {"right", right}};
}

int sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }

/// Share of the pairs of responses that two experts order alike, among those in which both see a difference.
json agreement_of(const Scored& scored, const ModelScores& model) {
  struct Count {
    double alike = 0, pairs = 0;
  };
  std::map<std::string, std::map<std::string, Count>> counts;  // by category, by "point / point"
  for (std::size_t i = 0; i < model.items.size(); ++i) {
    const auto& experts = model.items[i].experts;
    const std::optional<RouteTaken>& route = model.items[i].route;
    for (auto a = experts.begin(); a != experts.end(); ++a) {
      for (auto b = std::next(a); b != experts.end(); ++b) {
        Count& count = counts[route ? route->category : scored.data.items[i].category][a->first + " / " + b->first];
        for (std::size_t x = 0; x < a->second.size(); ++x) {
          for (std::size_t y = x + 1; y < a->second.size(); ++y) {
            const int first = sign(a->second[x] - a->second[y]), second = sign(b->second[x] - b->second[y]);
            if (first == 0 || second == 0) continue;
            count.pairs += 1;
            count.alike += first == second ? 1 : 0;
          }
        }
      }
    }
  }
  json result = json::object();
  for (const auto& [category, pairs] : counts) {
    for (const auto& [points, count] : pairs)
      result[category][points] = {{"alike", count.pairs > 0 ? json(count.alike / count.pairs) : json()}, {"pairs", count.pairs}};
  }
  return result;
}

/// How experts order the pairs of their own points, where the category's model scored.
json experts_of(const Scored& scored, const ModelScores& model) {
  std::map<std::string, std::map<std::string, std::map<std::string, Cluster>>> clusters;  // category, point, cluster
  for (std::size_t i = 0; i < model.items.size(); ++i) {
    const Item& item = scored.data.items[i];
    for (const auto& [point, rewards] : model.items[i].experts) {
      const auto pairs = item.pairs.find(point);
      if (pairs == item.pairs.end() || (model.items[i].route && model.items[i].route->category != item.category)) continue;
      Cluster& cluster = clusters[item.category][point][item.cluster];
      cluster.right.resize(1);
      cluster.shares.resize(1);
      cluster.prompts = 1;
      for (const preference::Preference& p : pairs->second) {
        const double gap = rewards[static_cast<std::size_t>(p.winner)] - rewards[static_cast<std::size_t>(p.loser)];
        cluster.pairs += 1;
        cluster.right[0] += gap > 0 ? 1 : gap == 0 ? 0.5 : 0;
      }
    }
  }
  json result = json::object();
  for (const auto& [category, points] : clusters) {
    for (const auto& [point, by_cluster] : points) {
      std::vector<Cluster> all;
      double pairs = 0;
      for (const auto& [name, cluster] : by_cluster) {
        all.push_back(cluster);
        pairs += cluster.pairs;
      }
      const Accuracies own =
          resample(all, 1, scored.options.seed, "eval/experts/" + category + "/" + point, scored.options.resamples);
      result[category][point] = to_json(own.pooled.interval(0));
      result[category][point]["pairs"] = pairs;
    }
  }
  return result;
}

}  // namespace

void add_expert_figures(json& result, const Scored& scored) {
  for (const ModelScores& model : scored.models) {
    const auto has = [&](auto&& what) { return std::ranges::any_of(model.items, what); };
    if (has([](const ItemScores& s) { return s.route.has_value(); })) result["routes"][model.name] = routes_of(scored, model);
    if (!has([](const ItemScores& s) { return !s.experts.empty(); })) continue;
    result["agreement"][model.name] = agreement_of(scored, model);
    result["experts"][model.name] = experts_of(scored, model);
  }
}

}  // namespace dmoerm::eval
