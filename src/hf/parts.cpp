#include "hf/parts.h"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace dmoerm::hf {

std::vector<Part> parts_of(const moe::Bundle& bundle) {
  std::vector<Part> parts;
  for (const moe::Category& c : bundle.model.categories) {
    const auto standard = [&](Part& part, std::size_t reward) {
      const auto place = static_cast<std::int64_t>(reward);
      part.mean = c.aggregator.reward_mean_K[place].item<double>();
      part.std = c.aggregator.reward_std_K[place].item<double>();
    };
    for (std::size_t p = 0; p < c.points.size(); ++p) {
      Part& part =
          parts.emplace_back(Part{c.name + "/" + c.points[p], "experts/" + c.name + "/" + c.points[p], c.experts[p], &c});
      standard(part, p);
    }
    if (!c.has_base()) continue;
    Part& part = parts.emplace_back(Part{c.name, "overall/" + c.name, c.base, &c});
    if (c.aggregator.reads_base()) standard(part, c.points.size());
  }
  parts.push_back(Part{"single", "single", bundle.model.fallback});
  return parts;
}

std::vector<Part> chosen_parts(const moe::Bundle& bundle, const std::vector<std::string>& names) {
  std::vector<Part> all = parts_of(bundle), chosen;
  if (names.empty()) return all;
  std::vector<std::string> known;
  for (const Part& part : all) known.push_back(part.name);
  for (const std::string& name : names) {
    const auto found = std::ranges::find(all, name, &Part::name);
    if (found == all.end())
      throw ConfigError("unknown-expert", fmt::format("--expert {}: {} has no such model; it has: {}", name,
                                                      bundle.directory.string(), fmt::join(known, ", ")));
    if (std::ranges::find(chosen, name, &Part::name) == chosen.end()) chosen.push_back(*found);
  }
  return chosen;
}

}  // namespace dmoerm::hf
