// What training produces: a backbone, an adapter if only that was trained, and a value head.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nn/backbone.h"
#include "nn/lora_adapter.h"
#include "nn/value_head.h"

namespace dmoerm::nn {

/// Where RewardModel::load() gets the backbone from.
struct BackboneSource {
  std::function<std::shared_ptr<Backbone>()> shared;  ///< Gives the frozen backbone of all adapters
  std::function<std::shared_ptr<Backbone>()> own;     ///< Gives a copy that one model may overwrite
  /// Over which backbones are kept as masks; null: they are made whole when they are loaded.
  std::shared_ptr<ElectedChanges> changes = nullptr;
};

/// Scores responses: the head reads the state of a response's last token. A model has either an adapter over a frozen backbone
/// that other models share, or a backbone of its own; training changes that and the head. Copies share memory.
class RewardModel {
 public:
  RewardModel() = default;
  /// An adapter over a backbone that others may share. Adapter and head are zeros.
  RewardModel(std::shared_ptr<Backbone> backbone, const LoraSpec& lora);
  /// A backbone of its own. The head is zeros.
  explicit RewardModel(std::shared_ptr<Backbone> backbone);

  /// An expert that starts from this model: a copy of its adapter, or, over a backbone of its own, a new adapter (drawn from
  /// `seed`) with a copy of its head. @param lora  shaped like this model's adapter, if it has one
  [[nodiscard]] RewardModel start_expert(const LoraSpec& lora, std::uint64_t seed) const;

  [[nodiscard]] const Backbone& backbone() const { return *backbone_; }
  [[nodiscard]] const std::shared_ptr<Backbone>& shared_backbone() const { return backbone_; }
  /// Null if the model has a backbone of its own.
  [[nodiscard]] const LoraAdapter* adapter() const { return adapter_ ? &*adapter_ : nullptr; }
  [[nodiscard]] LoraAdapter* adapter() { return adapter_ ? &*adapter_ : nullptr; }
  [[nodiscard]] const ValueHead& head() const { return head_; }
  /// Rewards [R] of final states [R, D].
  [[nodiscard]] at::Tensor rewards(const at::Tensor& states_RD) const { return head_.rewards(states_RD); }

  /// The parameters that training changes, flat, in the order in which a backward pass completes their gradients: the slices of
  /// the backbone's weights and then the head; or one slice, the adapter followed by the head.
  [[nodiscard]] std::vector<at::Tensor> trained_slices() const;
  /// Multiplications and additions of training on one token: two per weight of the matrices that it passes in the forward pass,
  /// as many for the gradient in the states, and as many for the gradient in the weights if they are trained. Excludes
  /// attention's own products.
  [[nodiscard]] double training_flops_per_token() const;

  /// Write an adapter in PEFT's layout for a sequence classifier (adapter_config.json, adapter_model.safetensors), or all weights
  /// and the head as model.safetensors. @return the files, relative to `directory`
  std::vector<std::string> save(const std::filesystem::path& directory) const;
  /// Read what save() wrote, an adapter by PEFT (LoRA on q and v; a missing head is zeros), or a transformers sequence
  /// classifier.
  /// @throws DataError naming the tensor and both shapes, or the setting that is not supported; IoError
  static RewardModel load(const std::filesystem::path& directory, const BackboneSource& source);

 private:
  std::shared_ptr<Backbone> backbone_;
  at::Tensor adapter_and_head_;  ///< The only trained slice of a model with an adapter
  std::optional<LoraAdapter> adapter_;
  ValueHead head_;
};

/// Gradients of one micro batch in a model's trained slices, float32. A backbone's gradients take the memory of two layers, which
/// the layers use in turn: whoever uses a layer's gradient must be done before the backward pass reaches the next layer but one.
class RewardGradients {
 public:
  explicit RewardGradients(const RewardModel& model);
  RewardGradients(const RewardGradients&) = delete;
  RewardGradients& operator=(const RewardGradients&) = delete;

  /// A function that is called with the number and the buffer of a slice of the backbone.
  using OnSlice = std::function<void(std::size_t slice, const at::Tensor& gradient)>;
  /// Makes a backward pass add its gradients here, starting from zero.
  /// @param before_slice  called before the buffer is zeroed
  /// @param after_slice   called after the slice's last gradient
  void connect(BackboneGradients& sinks, const OnSlice& before_slice, const OnSlice& after_slice);
  /// The head's gradient, to which the caller adds.
  [[nodiscard]] at::Tensor& head_D() { return head_D_; }
  /// Gradient of the last trained slice: the adapter with the head, or the head alone.
  [[nodiscard]] const at::Tensor& last_slice() const { return last_; }
  [[nodiscard]] std::size_t bytes() const;

 private:
  at::Tensor last_, head_D_;
  std::optional<LoraAdapter> adapter_;
  std::unique_ptr<Weights> weights_;
};

}  // namespace dmoerm::nn
