#include "run/stage_features.h"

#include <ATen/ops/cat.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "run/features_file.h"
#include "run/rows_writer.h"
#include "run/task_settings.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;

/// What the files hold besides states and rewards; another word makes them again.
constexpr const char* kContents = "lengths, prompts";
constexpr double kSpreadMin = 1e-6;  // of an expert whose rewards do not differ within a group

/// Groups that experts rate, and the file of what they say.
struct Piece {
  std::string name;       ///< Name of the file without its ending
  std::string what;       ///< Words for it in messages
  train::Part part;       ///< the groups: those of it with an overall preference
  std::int32_t fold = 0;  ///< experts of which fold; 0 = those of all groups of phase 1
};

Piece train_piece(std::int32_t fold) {
  if (fold == 0) return {"train", "the split train", train::Subset::phase3};
  return {
      fmt::format("train-fold-{}", fold), fmt::format("fold {} of the split train", fold), {train::Subset::phase3, fold}, fold};
}

Piece validation_piece(std::int32_t fold) {
  if (fold == 0) return {"validation", "the split validation", train::Subset::validation};
  return {fmt::format("validation-fold-{}", fold), fmt::format("the split validation under the experts of fold {}", fold),
          train::Subset::validation, fold};
}

/// All pieces of a category, those of the same experts together.
std::vector<Piece> pieces_of(const config::RunConfig& config) {
  std::vector<Piece> pieces;
  for (std::int32_t fold = 1; fold <= config.folds; ++fold) {
    pieces.push_back(train_piece(fold));
    pieces.push_back(validation_piece(fold));
  }
  if (config.folds == 0) pieces.push_back(train_piece(0));
  pieces.push_back(validation_piece(0));
  return pieces;
}

/// Labelled groups of the cached features, in their order.
std::vector<train::LabelledGroup> groups_of_piece(const RunContext& context, std::int32_t category, const Piece& piece) {
  return train::labelled_groups(context.store(), category, piece.part, preference::kOverall, context.config());
}

/// The file of a piece.
fs::path file_of(const RunContext& context, std::int32_t category, const Piece& piece) {
  return context.directory().task(plan::TaskId::features(context.category(category).name)) / (piece.name + ".safetensors");
}

/// The features of all folds, each rated by the experts that were trained without it. Models that were trained on other groups
/// have rewards of another level and spread, so those of each fold are mapped to what the final experts say: the linear map by
/// which both have the same mean, and the same spread within groups, on the validation groups, which none was trained on.
moe::ExpertFeatures out_of_fold(const RunContext& context, std::int32_t category, std::vector<train::LabelledGroup>& groups) {
  const std::vector<moe::ExpertFeatures::Group> validation =
      feature_groups_of(context.store(), groups_of_piece(context, category, validation_piece(0)));
  const moe::ExpertFeatures said = read_features(file_of(context, category, validation_piece(0)));
  const std::int64_t experts = said.rewards_NK.size(1);
  const at::Tensor final_NR = said.all_rewards();
  std::vector<moe::LazyRows> states, prompts;
  std::vector<at::Tensor> rewards, lengths;
  for (std::int32_t fold = 1; fold <= context.config().folds; ++fold) {
    const moe::ExpertFeatures rated = read_features(file_of(context, category, train_piece(fold)));
    const at::Tensor own_NR = read_features(file_of(context, category, validation_piece(fold))).all_rewards();
    const at::Tensor scale_R =
        moe::spread_within_groups(final_NR, validation).div(moe::spread_within_groups(own_NR, validation).clamp_min(kSpreadMin));
    states.push_back(rated.states_NKH), lengths.push_back(rated.length_N), prompts.push_back(rated.prompts_GH);
    rewards.push_back(rated.all_rewards().sub(own_NR.mean(0)).mul(scale_R).add(final_NR.mean(0)));
    std::ranges::move(groups_of_piece(context, category, train_piece(fold)), std::back_inserter(groups));
  }
  const at::Tensor all_NR = at::cat(rewards);
  moe::ExpertFeatures features{moe::LazyRows::joined(std::move(states)), all_NR.narrow(1, 0, experts).contiguous()};
  if (said.base_N.defined()) features.base_N = all_NR.select(1, experts).contiguous();
  features.length_N = at::cat(lengths), features.prompts_GH = moe::LazyRows::joined(std::move(prompts));
  return features;
}

}  // namespace

nlohmann::json features_settings(const config::RunConfig& config, const config::CategoryConfig& category) {
  nlohmann::json settings{
      {"category", result_settings(category)}, {"base_reward", config.aggregator.base_reward}, {"contents", kContents}};
  if (config.folds > 0)
    settings["folds"] = config.folds;
  else
    settings["phase1_share"] = config.phase1_share;
  return settings;
}

moe::ExpertFeatures load_features(RunContext& context, std::int32_t category, const std::string& split) {
  std::vector<train::LabelledGroup> groups;
  moe::ExpertFeatures features;
  if (split == "train" && context.config().folds > 0) {
    features = out_of_fold(context, category, groups);
  } else {
    const Piece piece = split == "train" ? train_piece(0) : validation_piece(0);
    features = read_features(file_of(context, category, piece));
    groups = groups_of_piece(context, category, piece);
  }
  features.groups = feature_groups_of(context.store(), groups);
  std::int64_t responses = 0;
  for (const moe::ExpertFeatures::Group& group : features.groups) responses += group.count;
  DMOERM_CHECK(responses == features.rewards_NK.size(0), "cached features belong to these groups");
  return features;
}

void run_features(RunContext& context, const plan::TaskId& task, const TaskIdentity& identity, comm::Communicator& ranks) {
  const std::int32_t category = context.category_index(task);
  std::vector<std::string> files;
  const auto folder = context.directory().task(task);
  TaskParts parts(folder, identity.key());  // how far a piece is, and the names of the pieces that are written
  if (ranks.rank() == 0) remove_unfinished_rows(folder, parts);
  for (const Piece& piece : pieces_of(context.config())) {
    const fs::path file = file_of(context, category, piece);
    const bool written = ranks.rank() == 0 && rows_written(file, parts);
    files.push_back(file.filename().string());
    if (comm::largest_of(ranks, written ? 1 : 0) > 0) continue;
    const RatedGroups rated{category, piece.fold, groups_of_piece(context, category, piece), task.text(), piece.what};
    write_features(context, rated, file, parts, ranks);
  }
  if (ranks.rank() != 0) return;
  context.directory().complete(task, identity, files, nlohmann::json::object());
  TaskParts::remove(folder);
}

}  // namespace dmoerm::run
