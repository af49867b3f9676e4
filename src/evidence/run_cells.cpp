#include "evidence/run_cells.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "evidence/arm_table.h"
#include "evidence/cell_results.h"

namespace dmoerm::evidence {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

/// Names of a run's models, and the arms that they are.
constexpr std::pair<const char*, const char*> kModels[] = {{"dmoerm", "dmoerm"}, {"oracle_route", "oracle_route"},
                                                           {"category", "own"},  {"pooled", "pooled"},
                                                           {"mean", "mean"},     {"base", "base"},
                                                           {"stack", "stack"},   {"gate", "gate"},
                                                           {"mlp", "mlp"},       {"paper_mlp", "paper_mlp"}};

/// The tested prompts of a run, with overall pairs.
std::vector<json> tested_groups(const json& scores) {
  std::vector<json> tested;
  for (const json& group : scores.at("groups")) {
    if (group.at("pairs").contains("overall") && !group["pairs"]["overall"].empty()) tested.push_back(group);
  }
  return tested;
}

ArmTable empty_table(const std::vector<json>& tested) {
  ArmTable::Groups all, equal;
  std::int64_t row = 0;
  for (const json& group : tested) {
    const auto lengths = group.at("lengths").get<std::vector<double>>();
    moe::ExpertFeatures::Group own{row, std::ssize(lengths), {}, -1}, alike = own;
    for (const json& pair : group.at("pairs").at("overall")) {
      const preference::Preference p{pair.at(0), pair.at(1)};
      own.pairs.push_back(p);
      if (equally_long(lengths[static_cast<std::size_t>(p.winner)], lengths[static_cast<std::size_t>(p.loser)]))
        alike.pairs.push_back(p);
    }
    all.push_back(std::move(own)), equal.push_back(std::move(alike));
    row += std::ssize(lengths);
  }
  return {std::move(all), std::move(equal)};
}

/// Rewards of all responses of the tested prompts by one model; undefined if the run has no such model.
at::Tensor rewards_of(const std::vector<json>& tested, const char* model) {
  std::vector<float> rewards;
  for (const json& group : tested) {
    if (!group.at("scores").contains(model)) return {};
    for (const json& reward : group["scores"][model]) rewards.push_back(reward.get<float>());
  }
  return at::tensor(rewards);
}

}  // namespace

json tested_blocks(const std::vector<DrawnCategory>& categories, const data::TokenStore& store) {
  json blocks = json::object();
  for (const DrawnCategory& category : categories) {
    for (std::size_t g = 0; g < category.groups.size(); ++g) {
      if (category.split[g] == preference::Split::test)
        blocks[category.name][std::string(store.group(category.groups[g]).id)] = category.block[g];
    }
  }
  return blocks;
}

void write_run_cells(const json& draws, const std::map<std::string, std::vector<RunOfCategory>>& runs, const fs::path& folder) {
  const std::string regime = draws.at("regime");
  json basis = {{"draws", draws}}, singles = json::object();
  for (const auto& [category, of_runs] : runs) {
    for (const RunOfCategory& run : of_runs) basis["runs"][category].push_back(sha256_file(run.scores));
  }
  begin_cells(folder, basis);
  fs::create_directories(folder / regime);
  for (const auto& [category, of_runs] : runs) {
    const json& blocks = draws.at("blocks").at(category);
    std::vector<json> first;
    std::optional<ArmTable> table, single;
    for (const RunOfCategory& run : of_runs) {
      const std::vector<json> tested = tested_groups(read_json(run.scores));
      if (!table) first = tested, table = empty_table(tested), single = empty_table(tested);
      const auto ids = [](const std::vector<json>& groups) {
        std::vector<std::string> list;
        for (const json& group : groups) list.push_back(group.at("id"));
        return list;
      };
      for (const std::string& id : ids(tested)) {
        if (!blocks.contains(id))
          throw DataError("runs-of-other-prompts",
                          fmt::format("{}: the run was tested on the prompt {} of {}, which the draws do not test: name runs "
                                      "whose data `dmoerm evidence data` wrote into this folder",
                                      run.scores.string(), id, category));
      }
      if (ids(tested) != ids(first))
        throw DataError(
            "runs-of-other-prompts",
            fmt::format("{}: the run was tested on {} prompts of {}, and {} on {} or on others: name runs of one set of "
                        "draws",
                        run.scores.string(), tested.size(), category, of_runs.front().scores.string(), first.size()));
      for (const auto& [model, arm] : kModels) {
        const at::Tensor rewards_N = rewards_of(tested, model);
        if (rewards_N.defined() != rewards_of(first, model).defined())
          throw DataError(
              "runs-of-other-prompts",
              fmt::format("{} and {}: one has scores of the model {}, the other has not: run both with the same settings "
                          "(baselines, pooled_baseline), and evaluate both with one version of the program, which `dmoerm run` "
                          "does again",
                          of_runs.front().scores.string(), run.scores.string(), model));
        if (rewards_N.defined()) table->add(arm, rewards_N);
      }
      if (const at::Tensor rewards_N = rewards_of(tested, "single"); rewards_N.defined()) single->add("single", rewards_N);
      table->count("aggregator", run.aggregator);
    }
    json cell = table->to_json();
    for (const json& group : first)
      cell["groups"].push_back({{"id", group.at("id")},
                                {"cluster", blocks.at(group["id"].get<std::string>())},
                                {"pairs", group["pairs"]["overall"].size()}});
    cell["basis"] = basis;
    write_json_atomically(cell_file(folder, regime, category, 0), cell);
    singles["categories"][category] = single->to_json();
  }
  singles["basis"] = basis;
  write_json_atomically(single_file(folder, regime, 0), singles);
}

}  // namespace dmoerm::evidence
