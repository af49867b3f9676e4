#include "nn/reward_model.h"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "base/error.h"
#include "nn/model_tensors.h"
#include "nn/peft_adapter.h"
#include "nn/safetensors.h"

namespace dmoerm::nn {
namespace {

namespace fs = std::filesystem;
constexpr const char* kModelFile = "model.safetensors";
constexpr const char* kModelHead = "score.weight";
constexpr std::size_t kLayerBuffers = 2;  // one fills while the other is sent

at::TensorOptions floats_on(at::Device device) { return at::TensorOptions().dtype(at::kFloat).device(device); }

at::Tensor zero_adapter_and_head(const BackboneSpec& spec, const LoraSpec& lora, at::Device device) {
  return at::zeros({LoraAdapter::parameters(spec, lora) + spec.width}, floats_on(device));
}

}  // namespace

RewardModel::RewardModel(std::shared_ptr<Backbone> backbone, const LoraSpec& lora)
    : backbone_(std::move(backbone)), adapter_and_head_(zero_adapter_and_head(backbone_->spec(), lora, backbone_->device())) {
  const std::int64_t width = backbone_->spec().width, adapter = adapter_and_head_.numel() - width;
  adapter_.emplace(backbone_->spec(), lora, adapter_and_head_.narrow(0, 0, adapter));
  head_.w_D = adapter_and_head_.narrow(0, adapter, width);
}

RewardModel::RewardModel(std::shared_ptr<Backbone> backbone)
    : backbone_(std::move(backbone)), head_{at::zeros({backbone_->spec().width}, floats_on(backbone_->device()))} {}

RewardModel RewardModel::start_expert(const LoraSpec& lora, std::uint64_t seed) const {
  RewardModel expert(backbone_, lora);
  if (adapter_) {
    expert.adapter_and_head_.copy_(adapter_and_head_);
  } else {
    expert.adapter_->initialise(seed);
    expert.head_.w_D.copy_(head_.w_D);
  }
  return expert;
}

std::vector<at::Tensor> RewardModel::trained_slices() const {
  if (adapter_) return {adapter_and_head_};
  std::vector<at::Tensor> slices;
  const Weights& weights = backbone_->weights();
  for (std::size_t p = 0; p < weights.slices(); ++p) slices.push_back(weights.slice(p));
  slices.push_back(head_.w_D);
  return slices;
}

double RewardModel::training_flops_per_token() const {
  double weights = 0;
  const auto& layers = backbone_->weights().layers;
  for (std::size_t i = adapter_ ? adapter_->first_layer() : 0; i < layers.size(); ++i) {
    for (const at::Tensor* w : {&layers[i].qkv_w, &layers[i].o_w, &layers[i].up_w, &layers[i].down_w})
      weights += static_cast<double>(w->numel());
  }
  return (adapter_ ? 4 : 6) * weights;
}

std::vector<std::string> RewardModel::save(const fs::path& directory) const {
  fs::create_directories(directory);
  if (adapter_) return save_peft_adapter(directory, backbone_->spec(), *adapter_, head_);
  NamedTensors tensors = backbone_->weights().named();
  tensors.emplace_back(kModelHead, head_.w_D);
  save_safetensors(directory / kModelFile, tensors);
  return {kModelFile};
}

RewardModel RewardModel::load(const fs::path& directory, const BackboneSource& source) {
  if (is_peft_adapter(directory)) {
    std::shared_ptr<Backbone> backbone = source.shared();
    RewardModel model(backbone, read_lora_spec(directory, backbone->spec()));
    load_peft_adapter(directory, backbone->spec(), *model.adapter_, model.head_);
    return model;
  }
  if (fs::exists(directory / "config.json")) {
    const std::shared_ptr<Backbone> like = source.shared();
    const HeadReads reads = like->spec().head_reads;
    std::shared_ptr<Backbone> own = source.changes ? Backbone::load_as_mask(directory, source.changes, reads) : nullptr;
    if (own == nullptr) own = Backbone::load(directory, like->device(), 0, like->dtype(), reads);
    RewardModel model(std::move(own));
    load_stored_head(SafetensorsReader::open_model(directory), "", model.backbone_->spec(), model.head_);
    return model;
  }
  if (!fs::exists(directory / kModelFile))
    throw DataError("not-a-reward-model",
                    fmt::format("{}: holds neither adapter_config.json nor config.json nor {}: this is not a reward model",
                                directory.string(), kModelFile));
  const auto reader = SafetensorsReader::open(directory / kModelFile);
  RewardModel model(source.own());
  for (const auto& [name, slot] : model.backbone_->weights().named()) load_weight(reader, name, slot);
  load_weight(reader, kModelHead, model.head_.w_D);
  return model;
}

RewardGradients::RewardGradients(const RewardModel& model) {
  const BackboneSpec& spec = model.backbone().spec();
  const at::Device device = model.backbone().device();
  if (const LoraAdapter* like = model.adapter()) {
    last_ = zero_adapter_and_head(spec, like->lora(), device);
    adapter_.emplace(spec, like->lora(), last_.narrow(0, 0, last_.numel() - spec.width));
  } else {
    last_ = at::zeros({spec.width}, floats_on(device));
    weights_ = std::make_unique<Weights>(spec, device, kLayerBuffers);
  }
  head_D_ = last_.narrow(0, last_.numel() - spec.width, spec.width);
}

void RewardGradients::connect(BackboneGradients& sinks, const OnSlice& before_slice, const OnSlice& after_slice) {
  last_.zero_();
  sinks.adapters.push_back(adapter_ ? &*adapter_ : nullptr);
  if (!weights_) return;
  sinks.weights = weights_.get();
  sinks.before_slice = [this, before_slice](std::size_t slice) {
    at::Tensor buffer = weights_->slice(slice);
    before_slice(slice, buffer);
    buffer.zero_();
  };
  sinks.after_slice = [this, after_slice](std::size_t slice) { after_slice(slice, weights_->slice(slice)); };
}

std::size_t RewardGradients::bytes() const { return last_.nbytes() + (weights_ ? weights_->flat.nbytes() : 0); }

}  // namespace dmoerm::nn
