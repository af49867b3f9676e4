#include "eval/model_differences.h"

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "eval/paired_difference.h"
#include "eval/significance.h"

namespace dmoerm::eval {
namespace {

using nlohmann::json;

constexpr double kRounding = 1e-12;  // clusters that differ by less are equal: their parts were added in another order

/// The clusters' differences of two models.
std::vector<PairedCluster> paired(const std::vector<Cluster>& clusters, std::size_t a, std::size_t b) {
  std::vector<PairedCluster> differences;
  for (const Cluster& c : clusters) {
    if (c.pairs <= 0) continue;
    const double difference = (c.right[a] - c.right[b]) / c.pairs;
    differences.push_back({c.pairs, std::abs(difference) < kRounding ? 0 : difference, c.stratum});
  }
  return differences;
}

json mcnemar_json(const std::vector<PairedCluster>& clusters) {
  std::int64_t a_better = 0, b_better = 0;
  for (const PairedCluster& c : clusters) {
    if (c.difference > 0) ++a_better;
    if (c.difference < 0) ++b_better;
  }
  return {{"a_better", a_better}, {"b_better", b_better}, {"p", mcnemar(a_better, b_better)}};
}

json difference_json(const Scored& scored, const ComparedFigure& figure, std::size_t a, std::size_t b) {
  const std::vector<double> draws = figure.resampled.differences(a, b);
  const std::vector<PairedCluster> clusters = paired(figure.weighted, a, b);
  const PairedDifference found =
      paired_difference(figure.resampled.value[a] - figure.resampled.value[b], clusters, draws, figure.range);
  const double level = level_p(clusters, draws, scored.options.margin);
  json one = to_json(found.interval);
  one.update({{"a", scored.models[a].name},
              {"b", scored.models[b].name},
              {"p", found.p},
              {"interval", found.interval.bounded ? "bounds" : "bootstrap"},
              {"mcnemar", mcnemar_json(paired(figure.clusters, a, b))},
              {"equivalence", {{"margin", scored.options.margin}, {"p", level}, {"level", level < 0.05}}}});
  return one;
}

/// Adds the adjusted p-values beside the others. @param part  of each object: itself, or one of its objects
void adjust(json& objects, const json::json_pointer& part) {
  std::vector<double> p;
  for (const json& one : objects) p.push_back(one.at(part)["p"]);
  const std::vector<double> adjusted = holm(p);
  for (std::size_t i = 0; i < objects.size(); ++i) objects[i].at(part)["p_holm"] = adjusted[i];
}

}  // namespace

json model_differences(const Scored& scored, const ComparedFigure& figure) {
  json differences = json::array();
  for (std::size_t i = 0; i < figure.with_value.size(); ++i) {
    for (std::size_t k = i + 1; k < figure.with_value.size(); ++k) {
      const std::size_t a = figure.with_value[i], b = figure.with_value[k];
      if (are_compared(scored.models[a], scored.models[b])) differences.push_back(difference_json(scored, figure, a, b));
    }
  }
  adjust(differences, json::json_pointer(""));
  adjust(differences, json::json_pointer("/mcnemar"));
  return differences;
}

}  // namespace dmoerm::eval
