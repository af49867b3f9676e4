#include "evidence/experiment.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>

#include "base/counted.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/stop.h"
#include "evidence/cell_results.h"
#include "evidence/inner_layer.h"

namespace dmoerm::evidence {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t kBagWidth = 128;
constexpr int kCellSchema = 6;  // of the arms and folds: a change of what a cell's figures are must raise it
constexpr std::array<std::size_t, 3> kSomeCategories = {1, 2, 4};  // over which further single models are trained

std::vector<Rows> rows_of(const CategoryData& category) {
  std::vector<Rows> rows;
  for (const moe::ExpertFeatures::Group& group : category.rows) rows.push_back({category.first_row + group.first, group.count});
  return rows;
}

/// Why a category has no cells: "has ..."; "" if it has. @param overall, blocks  of each of its groups
/// @param folds  1 if the test split is tested
std::string cannot_be_tested(const PairLists& overall, const std::vector<std::int64_t>& blocks, std::int64_t folds,
                             const ExperimentSettings& settings) {
  const std::string prompts = counted(std::ssize(blocks), "prompt");
  if (std::ranges::all_of(overall, [](const auto& pairs) { return pairs.empty(); }))
    return fmt::format("has no pair that its overall labels order, in {}", prompts);
  if (folds > 1 && std::set(blocks.begin(), blocks.end()).size() < 2)
    return fmt::format("has {} in one block{} that stay in one fold ({}), so no model can be trained on others", prompts,
                       settings.cluster.empty() ? " of lines" : " of rows",
                       settings.cluster.empty() ? "--block-lines" : "--cluster " + settings.cluster);
  return "";
}

/// @param left_out  categories, at least one, and why
[[noreturn]] void refuse_all(const std::map<std::string, std::string>& left_out) {
  throw DataError("no-category-can-be-tested",
                  fmt::format("no category can be tested: {} {}", left_out.begin()->first, left_out.begin()->second));
}

/// Gold scores and lengths of a category's responses.
ResponseGold responses_of(const data::TokenStore& store, const StoreScores& scores, const CategoryData& category) {
  ResponseGold all;
  double squares = 0, freedom = 0;
  for (std::size_t g = 0; g < category.groups.size(); ++g) {
    std::vector<double> rated;
    for (const double score : scores.of(category.groups[g], preference::kOverall)) {
      all.gold.push_back(score);
      if (!std::isnan(score)) rated.push_back(score);
    }
    for (const auto& response : store.group(category.groups[g]).responses)
      all.lengths.push_back(static_cast<double>(response.size()));
    if (category.overall[g].empty() || rated.size() < 2) continue;
    const double mean = std::reduce(rated.begin(), rated.end()) / static_cast<double>(rated.size());
    for (const double score : rated) squares += (score - mean) * (score - mean);
    freedom += static_cast<double>(rated.size() - 1);
  }
  for (double& score : all.gold) score /= squares > 0 ? std::sqrt(squares / freedom) : 1;
  return all;
}

json group_list(const data::TokenStore& store, const BlockRule& rule, const CategoryData& category,
                const std::vector<std::int64_t>& groups) {
  json list = json::array();
  std::map<std::int64_t, std::size_t> place;
  for (std::size_t g = 0; g < category.groups.size(); ++g) place[category.groups[g]] = g;
  for (const std::int64_t index : groups) {
    const std::size_t g = place.at(index);
    list.push_back({{"id", store.group(index).id},
                    {"cluster", cluster_number(rule, index, category.rows[g].prompt)},
                    {"pairs", category.overall[g].size()}});
  }
  return list;
}

}  // namespace

std::map<std::string, std::string> untestable(const config::RunConfig& config, const data::TokenStore& store,
                                              const std::vector<std::vector<std::int64_t>>& groups, bool test,
                                              const ExperimentSettings& settings) {
  const BlockRule rule{settings.block_lines, clusters_of(store, config.data, settings.cluster)};
  std::map<std::string, std::string> left_out;
  bool all = true;
  for (const config::CategoryConfig& category : config.categories) {
    const auto found = std::ranges::find(store.categories(), category.name);
    if (found == store.categories().end()) continue;
    const auto& own = groups[static_cast<std::size_t>(found - store.categories().begin())];
    const std::string why = own.empty() ? "has no prompt with a pair"
                                        : cannot_be_tested(pairs_of(store, own, category, std::string(preference::kOverall)),
                                                           blocks_of(store, own, rule), test ? 1 : kOuterFolds, settings);
    all = all && !why.empty();
    if (!why.empty()) left_out[category.name] = why;
  }
  if (all && !left_out.empty()) refuse_all(left_out);
  return left_out;
}

Experiment::Experiment(const config::RunConfig& config, const data::TokenStore& store, const StoreScores& scores,
                       const StateCache& cache, const std::vector<std::vector<std::int64_t>>& groups,
                       const std::vector<std::vector<std::int64_t>>& tested, const ExperimentSettings& settings)
    : store_(store),
      scores_(scores),
      settings_(settings),
      blocks_{settings.block_lines, clusters_of(store, config.data, settings.cluster)},
      folds_(tested.empty() ? kOuterFolds : 1) {
  std::vector<std::vector<at::Tensor>> readings(settings.readings.size());
  std::vector<std::vector<std::int32_t>> ids;
  for (const config::CategoryConfig& category : config.categories) {
    const auto found = std::ranges::find(store.categories(), category.name);
    if (found == store.categories().end()) continue;
    const auto number = static_cast<std::size_t>(found - store.categories().begin());
    const std::vector<std::int64_t> present = cache.present(groups[number]);
    const std::vector<std::int64_t> apart = tested.empty() ? std::vector<std::int64_t>{} : cache.present(tested[number]);
    const std::size_t asked = groups[number].size() + (tested.empty() ? 0 : tested[number].size());
    if (present.size() + apart.size() < asked)
      without_states_[category.name] =
          fmt::format("has states of {} of {} prompts: run `dmoerm evidence states` with the same settings",
                      present.size() + apart.size(), asked);
    if (present.empty() || (!tested.empty() && apart.empty())) continue;
    std::vector<std::int64_t> both = present;
    both.insert(both.end(), apart.begin(), apart.end());
    CategoryData data = category_of(category, both, apart.size());
    if (const std::string why = cannot_be_tested(data.overall, blocks_of(store, both, blocks_), folds_, settings_);
        !why.empty()) {
      left_out_[category.name] = why;
      continue;
    }
    categories_.push_back(std::move(data));
    for (std::size_t r = 0; r < readings.size(); ++r) {
      readings[r].push_back(cache.load(present, settings.readings[r]));
      if (!apart.empty()) readings[r].push_back(cache.load(apart, settings.readings[r]));
    }
    for (const std::int64_t index : both) {
      for (const auto& response : store.group(index).responses) ids.emplace_back(response.begin(), response.end());
    }
  }
  if (categories_.empty() && !left_out_.empty()) refuse_all(left_out_);
  if (categories_.empty())
    throw DataError(
        "no-states",
        "the folder has no states of these groups: run `dmoerm evidence states` with the same settings, also the same "
        "seed; `cells --seed` makes other folds and draws of the same groups");
  for (const auto& [name, why] : without_states_) {
    if (std::ranges::find(categories_, name, &CategoryData::name) == categories_.end()) left_out_[name] = why;
  }
  // A test split's rows are taken at their word, but documents that are named may have rows in it and elsewhere.
  if (tested.empty() || !settings_.cluster.empty()) note_tested_conversations();
  std::vector<Rows> all;
  for (const CategoryData& category : categories_) std::ranges::copy(rows_of(category), std::back_inserter(all));
  std::vector<at::Tensor> whole;
  for (const auto& parts : readings) whole.push_back(at::cat(parts));
  for (CategoryData& category : categories_) {
    std::vector<at::Tensor> means;
    for (const Rows& rows : rows_of(category)) means.push_back(whole.front().narrow(0, rows.first, rows.count).mean(0));
    category.topic_GD = at::stack(means);
  }
  readings_ = by_group(whole, all);
  bag_NB_ = by_group({token_bag(ids, kBagWidth)}, all).within_NB * std::sqrt(static_cast<double>(kBagWidth));
  basis_ = basis_of(cache.model());
}

void Experiment::note_tested_conversations() {
  std::map<std::uint64_t, std::set<std::int64_t>> folds;
  for (const CategoryData& category : categories_) {
    for (std::size_t g = 0; g < category.groups.size(); ++g) {
      if (!category.overall[g].empty()) folds[leak_key(store_, blocks_, category.groups[g])].insert(category.outer[g]);
    }
  }
  for (CategoryData& category : categories_) {
    for (const std::int64_t group : category.groups)
      category.conversation_tested.push_back(folds[leak_key(store_, blocks_, group)]);
  }
}

json Experiment::basis_of(const std::string& model) const {
  json readings = json::array(), categories = json::object();
  for (const Reading& reading : settings_.readings) readings.push_back(reading.name());
  for (const CategoryData& category : categories_) {
    json gaps = {{preference::kOverall, category.config->score_gap_min.of(preference::kOverall)}};
    for (const std::string& point : points_of(*category.config)) gaps[point] = category.config->score_gap_min.of(point);
    categories[category.name] = {{"prompts", category.groups.size()}, {"score_gap_min", gaps}};
  }
  json basis = {{"schema", kCellSchema},
                {"left_out", left_out_},
                {"data", store_.digest()},
                {"model", model},
                {"readings", readings},
                {"categories", categories},
                {"components", settings_.components},
                {"block_lines", settings_.block_lines},
                {"seed", settings_.seed}};
  if (const auto& clusters = blocks_.clusters; !clusters.empty()) {
    const auto* const bytes = reinterpret_cast<const char*>(clusters.data());
    basis["cluster"] = {{"key", settings_.cluster},
                        {"numbered", "over all categories"},
                        {"groups", sha256_hex({bytes, clusters.size() * sizeof(clusters.front())})}};
  }
  return basis;
}

bool Experiment::done(const fs::path& cell) const {
  if (!fs::exists(cell)) return false;
  const json found = read_json(cell);
  return found.value("basis", json()) == basis_ && found.value("seeds", std::int64_t{0}) >= settings_.seeds;
}

void Experiment::write(const fs::path& path, json cell) const {
  cell["basis"] = basis_, cell["seeds"] = settings_.seeds;
  write_json_atomically(path, cell);
}

CategoryData Experiment::category_of(const config::CategoryConfig& config, const std::vector<std::int64_t>& groups,
                                     std::size_t apart) const {
  CategoryData data;
  data.name = config.name, data.config = &config, data.groups = groups;
  if (!categories_.empty()) {
    const CategoryData& before = categories_.back();
    data.first_row = before.first_row + before.row_count, data.first_group = before.first_group + std::ssize(before.groups);
  }
  const std::vector<std::int64_t> blocks = blocks_of(store_, groups, blocks_);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const std::int64_t responses = std::ssize(store_.group(groups[g]).responses);
    data.rows.push_back({data.row_count, responses, {}, blocks[g]});
    data.row_count += responses;
  }
  data.outer = deal(blocks, kOuterFolds, settings_.seed);
  for (std::size_t g = 0; apart > 0 && g < groups.size(); ++g) data.outer[g] = g + apart < groups.size() ? 1 : 0;
  data.inner = deal(blocks, kInnerFolds, settings_.seed + 1);
  data.overall = pairs_of(store_, groups, config, std::string(preference::kOverall));
  data.equal_length = of_equal_length(data.overall, store_, groups);
  data.responses = responses_of(store_, scores_, data);
  for (const std::string& point : points_of(config)) {
    data.points[point] = pairs_of(store_, groups, config, point);
    data.tied_points[point] = pairs_of(store_, groups, config, point, preference::Ties::all);
  }
  return data;
}

ReadingsByGroup Experiment::features(std::int64_t fold) const {
  std::vector<std::vector<Rows>> parts;
  for (const CategoryData& category : categories_) {
    parts.emplace_back();
    const std::vector<Rows> rows = rows_of(category);
    for (std::size_t g = 0; g < rows.size(); ++g) {
      if (category.trains(g, fold)) parts.back().push_back(rows[g]);
    }
  }
  const at::Tensor components_BF = components(readings_.within_NB, parts, settings_.components);
  return {at::matmul(readings_.within_NB, components_BF), at::matmul(readings_.mean_GB, components_BF)};
}

void Experiment::run(const std::vector<Regime>& regimes, const fs::path& folder, const comm::Communicator& ranks) {
  if (ranks.rank() == 0) {
    begin_cells(folder, basis_);
    for (const auto& [category, why] : left_out_) spdlog::warn("[evidence] {} is left out: {}", category, why);
    for (const auto& [category, why] : without_states_) spdlog::warn("[evidence] {} {}", category, why);
  }
  std::int64_t number = 0;
  for (std::int64_t fold = 0; fold < folds_; ++fold) {
    std::optional<ReadingsByGroup> projected;  // made when a cell of this fold is to be done
    const auto space = [&] {
      if (!projected) projected = features(fold);
      return *projected;
    };
    const std::size_t single = categories_.size(), inner = single + 1;  // what comes behind the categories
    for (std::size_t c = 0; c <= (settings_.inner ? inner : single); ++c) {
      if (number++ % ranks.size() != ranks.rank()) continue;
      const std::string name = c == inner ? "the inner layer alone" : c == single ? "all categories" : categories_[c].name;
      std::unique_ptr<CategoryArms> arms;
      for (const Regime& regime : regimes) {
        const fs::path path = c == inner    ? inner_file(folder, regime.name(), fold)
                              : c == single ? single_file(folder, regime.name(), fold)
                                            : cell_file(folder, regime.name(), name, fold);
        if (done(path)) continue;
        if (stop_requested()) throw Stopped("stopped-on-request", "cells were being computed: run the same command to continue");
        fs::create_directories(path.parent_path());
        if (c == inner) {
          inner_cell(regime, fold, space().within_NB, path);
        } else if (c == single) {
          single_cell(regime, fold, space().within_NB, path);
        } else {
          const CategoryData& category = categories_[c];
          if (!arms)
            arms = std::make_unique<CategoryArms>(store_, scores_, category, fold,
                                                  space().within_NB.narrow(0, category.first_row, category.row_count),
                                                  space().mean_GB.narrow(0, category.first_group, std::ssize(category.groups)),
                                                  bag_NB_.narrow(0, category.first_row, category.row_count));
          category_cell(regime, *arms, category, fold, path);
        }
        spdlog::info("[evidence] {} fold {} of {}", regime.name(), fold + 1, name);
      }
    }
  }
}

void Experiment::category_cell(const Regime& regime, CategoryArms& arms, const CategoryData& category, std::int64_t fold,
                               const fs::path& path) const {
  ArmTable table = category.table(fold);
  table.add(kGoldArm, at::tensor(category.responses.gold));
  for (std::int64_t s = 0; s < settings_.seeds; ++s) arms.run(regime, settings_.seed + static_cast<std::uint64_t>(s), table);
  json result = table.to_json();
  result["experts"] = arms.experts(regime, settings_.seed);
  result["labels"] = labels_seen(regime, category, fold);
  result["groups"] = group_list(store_, blocks_, category, category.tested_groups(fold));
  write(path, result);
}

json Experiment::labels_seen(const Regime& regime, const CategoryData& category, std::int64_t fold) const {
  const auto mean_over_seeds = [&](bool drawn, const auto& labelled) {
    const std::int64_t seeds = drawn ? settings_.seeds : 1;  // all seeds see the same of what is not drawn
    double prompts = 0, pairs = 0;
    for (std::int64_t s = 0; s < seeds; ++s) {
      std::set<std::int64_t> seen;
      for (const LabelledGroups& of_label : labelled(settings_.seed + static_cast<std::uint64_t>(s))) {
        for (const auto& group : of_label.groups) seen.insert(group.first), pairs += static_cast<double>(group.pairs.size());
      }
      prompts += static_cast<double>(seen.size());
    }
    return json{{"prompts", prompts / static_cast<double>(seeds)}, {"pairs", pairs / static_cast<double>(seeds)}};
  };
  return {{"overall", mean_over_seeds(regime.draws_overall(),
                                      [&](std::uint64_t seed) {
                                        return std::vector{labelled_overall(store_, scores_, category, fold, regime, seed)};
                                      })},
          {"points", mean_over_seeds(regime.draws_points(), [&](std::uint64_t seed) {
             std::vector<LabelledGroups> points;
             for (auto& [name, labelled] : labelled_points(store_, scores_, category, fold, regime, seed))
               points.push_back(std::move(labelled));
             return points;
           })}};
}

void Experiment::single_cell(const Regime& regime, std::int64_t fold, const at::Tensor& x_NF, const fs::path& path) const {
  std::vector<ArmTable> tables = tables_of_all(fold);
  const at::Tensor x64_NF = x_NF.to(at::kDouble);
  for (std::int64_t s = 0; s < settings_.seeds; ++s) {
    const std::uint64_t seed = settings_.seed + static_cast<std::uint64_t>(s);
    std::vector<LabelledGroups> own;
    LabelledGroups overall, heap;
    for (const CategoryData& category : categories_) {
      own.push_back(category.among_all(labelled_overall(store_, scores_, category, fold, regime, seed)));
      overall.append(own.back());
      heap.append(own.back());
      for (auto& [name, labelled] : labelled_points(store_, scores_, category, fold, regime, seed))
        heap.append(category.among_all(std::move(labelled)));
    }
    const auto add = [&](const std::string& arm, const at::Tensor& head_F, std::size_t c) {
      const CategoryData& category = categories_[c];
      tables[c].add(arm, at::mv(x64_NF.narrow(0, category.first_row, category.row_count), head_F));
    };
    const Heads single = fit_heads(x_NF, overall, head_strengths());
    const at::Tensor with_points_F = fit_heads(x_NF, heap, head_strengths(), &overall).all_F;
    for (std::size_t c = 0; c < tables.size(); ++c) {
      add("single", single.all_F, c);
      add("single_points", with_points_F, c);
      for (const std::size_t many : kSomeCategories) {  // the category and those after it
        if (many >= categories_.size()) continue;
        LabelledGroups some;
        for (std::size_t i = 0; i < many; ++i) some.append(own[(c + i) % own.size()]);
        add(fmt::format("single_of_{}", many), fit_heads(x_NF, some, head_strengths()).all_F, c);
      }
    }
  }
  write_of_all(path, tables);
}

void Experiment::inner_cell(const Regime& regime, std::int64_t fold, const at::Tensor& x_NF, const fs::path& path) const {
  std::vector<ArmTable> tables = tables_of_all(fold);
  InnerLayer layer(store_, scores_, categories_, fold, x_NF);
  for (std::int64_t s = 0; s < settings_.seeds; ++s) layer.run(regime, settings_.seed + static_cast<std::uint64_t>(s), tables);
  write_of_all(path, tables);
}

std::vector<ArmTable> Experiment::tables_of_all(std::int64_t fold) const {
  std::vector<ArmTable> tables;
  for (const CategoryData& category : categories_) tables.push_back(category.table(fold));
  return tables;
}

void Experiment::write_of_all(const fs::path& path, const std::vector<ArmTable>& tables) const {
  json result = json::object();
  for (std::size_t c = 0; c < tables.size(); ++c) result["categories"][categories_[c].name] = tables[c].to_json();
  write(path, result);
}

}  // namespace dmoerm::evidence
