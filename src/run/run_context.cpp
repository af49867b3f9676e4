#include "run/run_context.h"

#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "nn/device.h"
#include "plan/graph_builder.h"
#include "run/model_shape.h"
#include "tokenizer/tokenizer.h"

namespace dmoerm::run {
namespace {

/// Number of layers below the adapted ones. @throws ConfigError if lora_layers is more than the backbone has
std::int64_t first_adapted(const config::RunConfig& config, const config::TrainConfig& train, std::int64_t layers) {
  if (train.lora_layers > layers)
    throw ConfigError("too-many-lora-layers", fmt::format("lora_layers: {} is more than the {} layers of {}", train.lora_layers,
                                                          layers, config.backbone.dir));
  return train.lora_layers > 0 ? layers - train.lora_layers : 0;
}

/// Digest of config.json and the weights, independent of how they are spread over files.
std::string digest_of(const nn::Backbone& backbone, const std::filesystem::path& directory) {
  std::string parts = read_file(directory / "config.json");
  for (const auto& [name, slot] : backbone.weights().named()) {
    const at::Tensor local = slot.cpu().contiguous();
    parts += name + sha256_hex({static_cast<const char*>(local.const_data_ptr()), local.nbytes()});
  }
  return sha256_hex(parts);
}

/// Refuse a tokenizer that knows tokens for which the model has no embedding.
void check_tokenizer(const std::string& directory, const nn::BackboneSpec& spec) {
  const std::filesystem::path file = std::filesystem::path(directory) / "tokenizer.json";
  const std::int64_t tokens = tokenizer::Tokenizer::load(file).vocab_size();
  if (tokens <= spec.vocab) return;
  throw DataError("tokenizer-larger-than-model",
                  fmt::format("{}: has token ids up to {}, that is {} tokens, but the model has embeddings for {} (vocab_size in "
                              "config.json): use the tokenizer of this model, or add rows with resize_token_embeddings() in "
                              "transformers",
                              file.string(), tokens - 1, tokens, spec.vocab));
}

/// The same, computed again only if a file of the directory or a setting has changed.
std::string kept_digest(const config::RunConfig& config, const nn::Backbone& backbone, HashCache& hashes) {
  const std::string name = fmt::format("backbone {} layers {} {}", std::filesystem::absolute(config.backbone.dir).string(),
                                       config.backbone.layers, config::word(config.compute.dtype));
  return find_or_compute(hashes, shared_hashes_file(), name, model_files(config.backbone.dir),
                         [&] { return digest_of(backbone, config.backbone.dir); });
}

std::shared_ptr<nn::Backbone> load_backbone(const config::RunConfig& config, at::Device device) {
  const bool mean = config.head.reads == config::Pooling::mean;
  return nn::Backbone::load(config.backbone.dir, device, config.backbone.layers,
                            nn::pick_dtype(config::word(config.compute.dtype)), mean ? nn::HeadReads::mean : nn::HeadReads::last);
}

}  // namespace

ComputedOn check_backbone(const config::RunConfig& config, HashCache& hashes) {
  const at::Device device = nn::pick_device(config::word(config.compute.device), "compute.device");
  nn::warn_if_slow(device, nn::pick_dtype(config::word(config.compute.dtype)), "[run] compute.dtype");
  const auto backbone = load_backbone(config, at::kCPU);  // a GPU's memory is for the tasks
  const nn::BackboneSpec& spec = backbone->spec();
  check_tokenizer(config.backbone.dir, spec);
  if (spec.encoder() && config.data.max_length > spec.max_positions) {
    throw ConfigError("max-length-exceeds-positions",
                      fmt::format("data.max_length {} is more than the {} positions of {}: lower it", config.data.max_length,
                                  spec.max_positions, config.backbone.dir));
  }
  if (!spec.encoder() && config.data.max_length > spec.max_positions)
    spdlog::warn(
        "[run] data.max_length {} is more than the {} positions (max_position_embeddings) that {} was made for: what it computes "
        "beyond them it has never learnt; lower data.max_length",
        config.data.max_length, spec.max_positions, config.backbone.dir);
  for (const config::TrainConfig* train : {static_cast<const config::TrainConfig*>(&config.base), &config.experts.train})
    first_adapted(config, *train, spec.layers);
  if (config.experts.base_weights == config::BaseWeights::int8)
    nn::Backbone::expect_int8_possible("experts.base_weights", device, backbone->dtype());
  return {kept_digest(config, *backbone, hashes), device.is_cuda() ? "cuda" : "cpu"};
}

RunContext::RunContext(const config::RunConfig& config, const data::TokenStore& store, RunDirectory directory)
    : config_(config),
      store_(store),
      directory_(std::move(directory)),
      device_(nn::pick_device(config::word(config.compute.device), "compute.device")),
      trunks_(static_cast<std::size_t>(config.compute.trunk_cache_mb) << 20) {
  at::set_num_threads(static_cast<int>(config.compute.threads));
}

std::shared_ptr<nn::Backbone> RunContext::read_backbone() const { return load_backbone(config_, device_); }

std::shared_ptr<nn::Backbone> RunContext::pretrained() {
  if (!pretrained_) pretrained_ = read_backbone();
  return pretrained_;
}

nn::LoraSpec RunContext::lora_of(const config::TrainConfig& train) {
  const std::int64_t asked = config_.backbone.layers;
  const std::int64_t layers = asked > 0 ? asked : nn::read_backbone_spec(config_.backbone.dir).layers;
  return {train.lora_rank, train.lora_alpha, train.lora_dropout, first_adapted(config_, train, layers)};
}

nn::BackboneSource RunContext::backbones() {
  return {[this] { return pretrained(); },
          [this] {
            trunks_.clear();  // the next backbone may get the old one's address
            // Reads the files again instead of keeping an untrained copy in memory.
            if (pretrained_.use_count() == 1) pretrained_.reset();
            return read_backbone();
          }};
}

void RunContext::release_models() {
  loaded_ = {};
  loaded_task_.reset();
  assembled_.reset();
}

nn::RewardModel RunContext::fresh_model(const plan::TaskId& task) {
  const std::string name = task.text();
  release_models();
  nn::RewardModel fresh;
  if (config_.base.tuning == config::Tuning::full) {
    fresh = nn::RewardModel(backbones().own());
  } else {
    fresh = nn::RewardModel(pretrained(), lora_of(config_.base));
    fresh.adapter()->initialise(mix64(config_.seed) ^ stable_hash(name));
  }
  at::Tensor w_D = fresh.head().w_D;
  if (config_.head.start == config::HeadStart::ridge) {
    w_D.zero_();
    return fresh;
  }
  // A small random head, because a zero head would give the adapter no gradient in the first step.
  Rng rng(config_.seed, "head/" + name);
  std::vector<float> head(static_cast<std::size_t>(fresh.backbone().spec().width));
  for (float& h : head) h = static_cast<float>(0.02 * rng.normal());
  w_D.copy_(at::from_blob(head.data(), {std::ssize(head)}, at::TensorOptions().dtype(at::kFloat)));
  return fresh;
}

nn::RewardModel RunContext::start_model(const plan::TaskId& task) {
  const std::optional<plan::TaskId> start = plan::starts_from(config_, task);
  if (!start) return fresh_model(task.without_fold());
  release_models();  // the one that load_model() keeps is never trained
  return nn::RewardModel::load(directory_.task(*start), backbones());
}

nn::RewardModel RunContext::load_model(const plan::TaskId& task) {
  if (loaded_task_ == task) return loaded_;
  release_models();  // frees the old model first
  loaded_ = nn::RewardModel::load(directory_.task(task), backbones());
  loaded_task_ = task;
  return loaded_;
}

nn::RewardModel RunContext::load_beside(const plan::TaskId& task) {
  return nn::RewardModel::load(directory_.task(task), {[this] { return pretrained(); }, {}});
}

moe::ModelFiles RunContext::model_files(const std::vector<std::string>& categories) const {
  moe::ModelFiles files;
  files.router = directory_.task(plan::TaskId::router());
  for (std::size_t i = 0; i < config_.categories.size(); ++i) {
    const config::CategoryConfig& c = config_.categories[i];
    if (std::ranges::find(categories, c.name) == categories.end()) continue;
    const nlohmann::json metrics = directory_.metrics(plan::TaskId::aggregator(c.name));
    const std::string chosen = metrics.at("chosen");
    moe::ModelFiles::CategoryFiles category{
        .name = c.name,
        .points = c.points,
        .base = directory_.task(plan::TaskId::base(c.name)),
        .base_reward = {},
        .experts = {},
        .aggregator = directory_.task(plan::TaskId::aggregator(c.name)) / (chosen + ".safetensors"),
        .stats = moe::stats_of(metrics.at(chosen).at("score"))};
    if (config_.aggregator.base_reward) category.base_reward = category.base;
    for (std::size_t p = 0; p < c.points.size(); ++p)
      category.experts.push_back(directory_.task(expert_task(static_cast<std::int32_t>(i), p)) / c.points[p]);
    files.categories.push_back(std::move(category));
  }
  return files;
}

std::shared_ptr<const moe::Model> RunContext::assemble_model(const std::vector<std::string>& categories) {
  return assemble(categories, model_files(categories));
}

std::shared_ptr<const moe::Model> RunContext::assemble_model() {
  std::vector<std::string> names;
  for (const config::CategoryConfig& c : config_.categories) names.push_back(c.name);
  moe::ModelFiles files = model_files(names);
  files.fallback = directory_.task(plan::TaskId::single());
  files.fallback_stats = moe::stats_of(directory_.metrics(plan::TaskId::single()).at("score"));
  names.emplace_back("fallback");
  return assemble(names, files);
}

std::shared_ptr<const moe::Model> RunContext::assemble(const std::vector<std::string>& parts, const moe::ModelFiles& files) {
  if (assembled_ && assembled_parts_ == parts) return assembled_;
  release_models();
  const moe::ScoringLimits limits{{config_.data.max_length, config_.data.min_prompt_tokens, store_.head_tokens()},
                                  config_.compute.micro_batch_tokens};
  assembled_ = std::make_shared<const moe::Model>(moe::assemble(files, backbones(), limits));
  assembled_parts_ = parts;
  return assembled_;
}

std::int32_t RunContext::category_index(const plan::TaskId& task) const {
  if (task.category.empty()) return -1;
  const auto found = std::ranges::find(config_.categories, task.category, &config::CategoryConfig::name);
  return static_cast<std::int32_t>(found - config_.categories.begin());
}

plan::TaskId RunContext::expert_task(std::int32_t category_index, std::size_t point, std::int32_t fold) const {
  plan::TaskId task = plan::expert_set_of(config_, category(category_index), point);
  task.fold = fold;
  return task;
}

std::vector<nn::RewardModel> RunContext::load_experts(std::int32_t category_index, std::int32_t fold) {
  std::vector<nn::RewardModel> experts;
  const config::CategoryConfig& c = category(category_index);
  const std::shared_ptr<nn::Backbone> base = load_model(plan::TaskId::base(c.name, fold)).shared_backbone();
  for (std::size_t p = 0; p < c.points.size(); ++p) {
    experts.push_back(
        nn::RewardModel::load(directory_.task(expert_task(category_index, p, fold)) / c.points[p], {[&] { return base; }, {}}));
  }
  return experts;
}

std::vector<moe::ExpertFeatures::Group> feature_groups_of(const data::TokenStore& store,
                                                          const std::vector<train::LabelledGroup>& groups) {
  const std::vector<std::int64_t> prompts = train::prompt_numbers(store, groups);
  std::vector<moe::ExpertFeatures::Group> features;
  std::int64_t first = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    features.push_back({first, std::ssize(groups[g].responses), groups[g].pairs, prompts[g]});
    first += features.back().count;
  }
  return features;
}

}  // namespace dmoerm::run
