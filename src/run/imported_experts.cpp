#include "run/imported_experts.h"

#include <fmt/format.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "hf/compare_bases.h"
#include "hf/foreign_adapter.h"
#include "hf/import_adapter.h"
#include "moe/bundle_files.h"
#include "run/model_shape.h"
#include "run/point_labels.h"
#include "run/training_task.h"
#include "train/group_scorer.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;

/// One hash over the files that an adapter may have. @param sha256  of a file
std::string digest_of(const fs::path& directory, const std::function<std::string(const fs::path&)>& sha256) {
  std::string parts;
  for (const char* file : {"adapter_config.json", "adapter_model.safetensors", "value_head.safetensors"}) {
    if (fs::exists(directory / file)) parts += fmt::format("{} {}\n", file, sha256(directory / file));
  }
  return sha256_hex(parts);
}

/// Whether a directory may be what a name on a hub or a path of another machine means.
bool may_be(const fs::path& directory, const std::string& name) {
  const auto last = [](const fs::path& path) { return path.has_filename() ? path.filename() : path.parent_path().filename(); };
  std::string in_cache = "models--" + name;  // as the Hub's own cache calls the folder
  if (const std::size_t slash = in_cache.find('/'); slash != std::string::npos) in_cache.replace(slash, 1, "--");
  return last(directory.lexically_normal()) == last(fs::path(name).lexically_normal()) ||
         directory.string().find(in_cache + "/") != std::string::npos;
}

/// The base of an expert that lies in a bundle, whose adapter_config.json names none; nothing elsewhere.
std::optional<fs::path> base_in_bundle(const fs::path& adapter) {
  std::error_code ignored;
  const fs::path category = fs::weakly_canonical(adapter, ignored).parent_path(), root = category.parent_path().parent_path();
  if (!fs::exists(root / moe::kBundleManifest, ignored)) return std::nullopt;
  const nlohmann::json manifest = read_json(root / moe::kBundleManifest);
  for (const nlohmann::json& c : manifest.value("categories", nlohmann::json::array())) {
    if (c.value("name", "") == category.filename().string()) return root / c.value("base", "base");
  }
  return std::nullopt;
}

/// What tells an adapter's base from the backbone; "" if they are the same. @throws DataError, IoError if it cannot be read
std::string difference_of(const fs::path& base, const fs::path& backbone, const nn::BackboneSpec& spec) {
  if (const std::int64_t layers = nn::read_backbone_spec(base).layers; layers != spec.layers)
    return fmt::format("and its head reads the state after {} layers, but the run's heads after {} (backbone.layers)", layers,
                       spec.layers);
  std::error_code ignored;
  if (fs::equivalent(base, backbone, ignored)) return "";
  const std::string tensor = hf::first_difference(base, backbone, spec);
  return tensor.empty() ? "" : fmt::format("whose tensor {} is not that of backbone.dir {}", tensor, backbone.string());
}

/// Compare the model that an adapter adapts with the backbone, as far as it is known.
void check_base(const std::string& expert, const fs::path& adapter, const config::RunConfig& config,
                const nn::BackboneSpec& spec) {
  const std::string name = hf::base_name_of_adapter(adapter), file = (adapter / "adapter_config.json").string();
  const fs::path backbone = config.backbone.dir;
  const auto warn = [&](const std::string& why) {
    spdlog::warn("[expert] {}: {}: {}. If the backbone {} is not the model that it adapts, the expert's rewards are worthless",
                 expert, file, why, backbone.string());
  };
  const std::optional<fs::path> base = name.empty() ? base_in_bundle(adapter) : hf::find_base_of_adapter(adapter);
  if (!base) {
    if (name.empty()) return warn("it does not say which model it adapts");
    if (!may_be(backbone, name)) warn(fmt::format("it adapts {}, and there is no such directory to compare with", name));
    return;
  }
  std::string difference;
  try {
    difference = difference_of(*base, backbone, spec);
  } catch (const Error& e) {
    return warn(fmt::format("it adapts {}, which cannot be compared ({})", base->string(), e.what()));
  }
  if (!difference.empty())
    throw DataError(
        "adapter-of-another-base",
        fmt::format("{}: it adapts {}, {}: an adapter fits only the model that it was trained on; set backbone.dir to that, or "
                    "train the adapter over this one",
                    file, base->string(), difference));
}

/// Say what is taken over, and what that means.
void tell(const std::string& expert, const std::string& directory, const hf::ImportedAdapter& imported,
          const config::RunConfig& config) {
  const nn::LoraSpec& lora = imported.adapter.lora();
  spdlog::info("[expert] {} is not trained but taken over from {} (rank {}, alpha {:g}, layers from {} on)", expert, directory,
               lora.rank, lora.alpha, lora.first_layer);
  if (imported.bias != 0)
    spdlog::info(
        "[expert] {}: the head's bias {:g} is left out; it adds the same to all rewards and changes nothing that is read of them",
        expert, imported.bias);
  spdlog::info(
      "[expert] {}: nobody knows here what it was trained on, so its rewards are used as they are{}. If it has seen train "
      "groups, "
      "the aggregator trusts it more than new prompts justify",
      expert, config.folds > 0 ? ", in every fold the same" : "");
}

/// A decoder's classifier is read at the last token that is not padding; experts read the last token.
void tell_if_read_elsewhere(const RunContext& context, const std::string& expert,
                            const std::vector<train::LabelledGroup>& groups) {
  const nlohmann::json config = read_json(fs::path(context.config().backbone.dir) / "config.json");
  const auto pad = config.find("pad_token_id");
  if (groups.empty() || pad == config.end() || !pad->is_number_integer()) return;
  const data::TokenGroup group = context.store().group(groups.front().group);
  const auto& response = group.responses.front();
  if (response.empty() || response.back() != pad->get<std::int64_t>()) return;
  spdlog::warn(
      "[expert] {}: texts end with token {}, which is pad_token_id in {}/config.json. transformers reads the token before it, "
      "and "
      "an expert reads it: if the adapter was trained that way, its rewards differ here; look at its validation accuracy",
      expert, response.back(), context.config().backbone.dir);
}

}  // namespace

std::map<std::string, std::string> check_imported_experts(const config::RunConfig& config, HashCache& hashes) {
  std::map<std::string, std::string> digests;
  for (const config::CategoryConfig& category : config.categories) {
    for (const config::ImportedExpertConfig& expert : category.imported_experts) {
      const std::string name = category.name + "/" + expert.point;
      const nn::BackboneSpec spec = spec_of(config);
      tell(name, expert.dir, hf::import_adapter(expert.dir, spec), config);
      check_base(name, expert.dir, config, spec);
      digests[name] = digest_of(expert.dir, [&](const fs::path& file) { return hashes.sha256(file); });
    }
  }
  return digests;
}

nlohmann::json imported_settings(const config::CategoryConfig& category, const plan::TaskId& experts,
                                 const std::map<std::string, std::string>& digests) {
  nlohmann::json imported = nlohmann::json::object();
  for (const std::string& point : experts.points) {
    if (category.imported(point).empty()) continue;
    const auto found = digests.find(category.name + "/" + point);
    imported[point] = found == digests.end() ? "" : found->second;
  }
  return imported.empty() ? nlohmann::json::object() : nlohmann::json{{"imported", imported}};
}

FinishedExpert import_expert(RunContext& context, const plan::TaskId& task, const std::string& point, const std::string& digest,
                             const nn::RewardModel& base, comm::Communicator& ranks) {
  const std::string directory = context.category(context.category_index(task)).imported(point);
  const std::string name = plan::TaskId::expert(task.category, {point}, task.round, task.fold).text();
  if (const std::string now = digest_of(directory, sha256_file); now != digest)
    throw DataError("imported-expert-changed",
                    fmt::format("{}: {} has checksum {} now, and had {} when the run started: start the run again with --update",
                                name, directory, now, digest));
  const config::TrainConfig& train = context.config().experts.train;
  const PointLabels labels(context, plan::TaskId::label(task.category, point, task.round));
  train::Trainee expert{
      name, hf::import_adapter(directory, base.backbone().spec()).over(base.shared_backbone()), {}, labels.measured_on()};
  if (context.progress().doing) context.progress().doing("measures " + name);
  const std::vector<train::LabelledGroup> groups =
      train::drawn_groups(expert.validation, train.eval_groups_max, context.config().seed, "validation/" + name);
  const train::PairFigures figures = train::pair_figures(context.scorer(ranks).rewards(expert.model, groups), groups);
  if (ranks.rank() == 0) {
    tell_if_read_elsewhere(context, name, groups);
    if (figures.pairs == 0)
      spdlog::warn("[expert] task={}: the validation split has no label of this point to measure the imported expert by", name);
    else
      spdlog::info("[expert] task={} is imported: validation_accuracy={:.4f} validation_loss={:.4f}", name, figures.accuracy,
                   figures.loss);
  }
  train::TrainOutcome outcome;
  outcome.accuracy = figures.accuracy;
  outcome.loss = figures.loss;
  nlohmann::json metrics = metrics_of(outcome, expert);
  metrics["imported_from"] = directory;
  return {point, expert.model, std::move(metrics)};
}

}  // namespace dmoerm::run
