#include "run/run_context.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/rng.h"
#include "nn/device.h"
#include "plan/graph_builder.h"

namespace dmoerm::run {
namespace {

constexpr const char* kModelFile = "model.safetensors";

/// Layers below the adapted ones. @throws ConfigError if more are to be adapted than there are
std::int64_t first_adapted(const config::RunConfig& config, const config::TrainConfig& train, std::int64_t layers) {
  if (train.lora_layers > layers)
    throw ConfigError(fmt::format("lora_layers: {} asked for, {} has {} layers", train.lora_layers, config.backbone.dir, layers));
  return train.lora_layers > 0 ? layers - train.lora_layers : 0;
}

/// The same for the same weights, however they are spread over files.
std::string digest_of(const nn::Backbone& backbone, const std::filesystem::path& directory) {
  std::string parts = read_file(directory / "config.json");
  for (const auto& [name, slot] : backbone.weights().named()) {
    const at::Tensor local = slot.cpu().contiguous();
    parts += name + sha256_hex({static_cast<const char*>(local.const_data_ptr()), local.nbytes()});
  }
  return sha256_hex(parts);
}

}  // namespace

ComputedOn check_backbone(const config::RunConfig& config) {
  const at::Device device = nn::pick_device(config.compute.device, "compute.device");
  const auto backbone =
      nn::Backbone::load(config.backbone.dir, device, config.backbone.layers, nn::pick_dtype(config.compute.dtype));
  const nn::BackboneSpec& spec = backbone->spec();
  if (spec.encoder() && config.data.max_length > spec.max_positions) {
    throw ConfigError(fmt::format("data.max_length {} is more than the {} positions of {}: lower it", config.data.max_length,
                                  spec.max_positions, config.backbone.dir));
  }
  for (const config::TrainConfig* train : {&config.base, &config.experts.train}) first_adapted(config, *train, spec.layers);
  return {digest_of(*backbone, config.backbone.dir), device.is_cuda() ? "cuda" : "cpu"};
}

RunContext::RunContext(const config::RunConfig& config, const data::TokenStore& store, RunDirectory directory)
    : config_(config),
      store_(store),
      directory_(std::move(directory)),
      device_(nn::pick_device(config.compute.device, "compute.device")),
      trunks_(static_cast<std::size_t>(config.compute.trunk_cache_mb) << 20) {
  at::set_num_threads(static_cast<int>(config.compute.threads));
}

std::shared_ptr<nn::Backbone> RunContext::read_backbone() const {
  return nn::Backbone::load(config_.backbone.dir, device_, config_.backbone.layers, nn::pick_dtype(config_.compute.dtype));
}

std::shared_ptr<nn::Backbone> RunContext::pretrained() {
  if (!pretrained_) pretrained_ = read_backbone();
  return pretrained_;
}

nn::LoraSpec RunContext::lora_of(const config::TrainConfig& train) {
  const std::int64_t asked = config_.backbone.layers;
  const std::int64_t layers = asked > 0 ? asked : nn::read_backbone_spec(config_.backbone.dir).layers;
  return {train.lora_rank, train.lora_alpha, train.lora_dropout, first_adapted(config_, train, layers)};
}

std::shared_ptr<nn::Backbone> RunContext::trainable_copy() {
  // Read again rather than copied: beside what is trained, nothing is kept that nobody uses.
  if (pretrained_.use_count() == 1) pretrained_.reset();
  return read_backbone();
}

LoadedModel RunContext::fresh_model(const std::string& name) {
  loaded_ = {}, loaded_task_.clear();
  LoadedModel fresh;
  fresh.trains_all = config_.base.trains == "all";
  fresh.backbone = fresh.trains_all ? trainable_copy() : pretrained();
  fresh.expert = std::make_shared<nn::Expert>(fresh.backbone->spec(), lora_of(config_.base), device_);
  if (!fresh.trains_all) fresh.expert->initialise(mix64(config_.seed) ^ stable_hash(name));
  // A small random head: with zeros the adapter would get no gradient until the head has moved.
  Rng rng(config_.seed, "head/" + name);
  std::vector<float> head(static_cast<std::size_t>(fresh.backbone->spec().width));
  for (float& h : head) h = static_cast<float>(0.02 * rng.normal());
  fresh.expert->head_D.copy_(
      at::from_blob(head.data(), {static_cast<std::int64_t>(head.size())}, at::TensorOptions().dtype(at::kFloat)));
  return fresh;
}

LoadedModel RunContext::load_model(const std::string& task) {
  if (loaded_task_ == task) return loaded_;
  loaded_ = {};  // free the old one first
  if (config_.base.trains == "all") trunks_.clear();
  LoadedModel model;
  model.trains_all = config_.base.trains == "all";
  if (model.trains_all) {
    const auto file = directory_.task(task) / kModelFile;
    const auto reader = nn::SafetensorsReader::open(file);
    model.backbone = trainable_copy();
    for (const auto& [name, slot] : model.backbone->weights().named()) slot.copy_(reader.load(name));
    model.expert = std::make_shared<nn::Expert>(model.backbone->spec(), lora_of(config_.base), device_);
    model.expert->head_D.copy_(reader.load("score.weight"));
  } else {
    model.backbone = pretrained();
    model.expert = std::make_shared<nn::Expert>(nn::Expert::load(model.backbone->spec(), directory_.task(task), device_));
  }
  loaded_task_ = task;
  return loaded_ = model;
}

std::vector<std::string> RunContext::save_model(const std::string& task, const LoadedModel& trained) const {
  if (!trained.trains_all) {
    trained.expert->save(directory_.task(task));
    return {"adapter_config.json", "adapter_model.safetensors"};
  }
  nn::NamedTensors tensors = trained.backbone->weights().named();
  tensors.emplace_back("score.weight", trained.expert->head_D);
  std::filesystem::create_directories(directory_.task(task));
  nn::save_safetensors(directory_.task(task) / kModelFile, tensors);
  return {kModelFile};
}

std::string RunContext::expert_task(std::int32_t category_index, std::size_t point) const {
  return plan::expert_set_of(config_, category(category_index), point).text();
}

std::vector<std::shared_ptr<nn::Expert>> RunContext::load_experts(std::int32_t category_index) {
  std::vector<std::shared_ptr<nn::Expert>> experts;
  const config::CategoryConfig& c = category(category_index);
  for (std::size_t p = 0; p < c.points.size(); ++p) {
    experts.push_back(std::make_shared<nn::Expert>(
        nn::Expert::load(pretrained()->spec(), directory_.task(expert_task(category_index, p)) / c.points[p], device_)));
  }
  return experts;
}

moe::ExpertFeatures expert_features(RunContext& context, std::int32_t category, const std::vector<train::LabelledGroup>& groups,
                                    comm::Communicator& group) {
  const LoadedModel base = context.load_model("base/" + context.category(category).name);
  const auto experts = context.load_experts(category);
  moe::ExpertFeatures features;
  for (std::size_t k = 0; k < experts.size(); ++k) {
    const train::GroupRewards scored = train::score_groups(context.store(), context.frozen(base, *experts[k]), groups,
                                                           context.config().compute.micro_batch_tokens, true, group);
    const std::int64_t n = scored.states_ND.size(0), width = scored.states_ND.size(1),
                       count = static_cast<std::int64_t>(experts.size());
    if (k == 0) {
      features.states_NKH = at::empty({n, count, width});
      features.rewards_NK = at::empty({n, count});
      for (std::size_t g = 0; g < groups.size(); ++g) {
        features.groups.push_back(
            {static_cast<std::int64_t>(scored.first[g]), static_cast<std::int64_t>(groups[g].responses.size()), groups[g].pairs});
      }
    }
    features.states_NKH.select(1, static_cast<std::int64_t>(k)).copy_(scored.states_ND);
    for (std::int64_t i = 0; i < n; ++i)
      features.rewards_NK.data_ptr<float>()[i * count + static_cast<std::int64_t>(k)] =
          scored.rewards[static_cast<std::size_t>(i)];
  }
  return features;
}

}  // namespace dmoerm::run
