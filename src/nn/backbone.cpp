#include "nn/backbone.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/where.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <optional>
#include <stdexcept>

#include "base/activity.h"
#include "base/error.h"
#include "nn/attention_flash.h"
#include "nn/decoder_layer.h"
#include "nn/elected_changes.h"
#include "nn/encoder_layer.h"
#include "nn/masked_weights.h"
#include "nn/ops.h"
#include "nn/response_means.h"
#include "nn/transfer.h"

namespace dmoerm::nn {
namespace {

/// Frequencies of the rotary embedding in float32, computed in the same steps as in transformers, because the position multiplies
/// a difference in the last bit.
at::Tensor rope_frequencies(const BackboneSpec& spec) {
  const RopeSpec& rope = spec.rope;
  const auto options = at::TensorOptions().dtype(at::kFloat);
  const at::Tensor exponents = at::arange(0, spec.head_dim, 2, options).div(spec.head_dim);
  const at::Tensor plain = at::pow(rope.theta, exponents).reciprocal();
  if (rope.type == "linear") return plain.div(rope.factor);
  if (rope.type != "llama3") return plain;
  // Long wavelengths are divided by the factor, short ones are kept, and those between are interpolated.
  const auto context = static_cast<double>(rope.original_max_positions);
  const double low = context / rope.low_freq_factor, high = context / rope.high_freq_factor;
  const at::Tensor wavelength = plain.reciprocal().mul(2 * std::numbers::pi);
  const at::Tensor slowed = at::where(wavelength.gt(low), plain.div(rope.factor), plain);
  const at::Tensor share =
      wavelength.reciprocal().mul(context).sub(rope.low_freq_factor).div(rope.high_freq_factor - rope.low_freq_factor);
  const at::Tensor ramp = share.neg().add(1).mul(slowed).div(rope.factor).add(share.mul(slowed));
  return at::where(wavelength.lt(high).logical_or(wavelength.gt(low)), slowed, ramp);
}

/// The plans' offsets for flash kernels, on their way to the device.
class OffsetsUpload {
 public:
  void add(IntegerUpload& upload, const AttentionPlan& plan, std::int64_t queries, std::int64_t keys) {
    offsets_ = flash::offsets_of(plan, queries, keys);
    for (const flash::Offsets* call : {&offsets_.own, &offsets_.prefix}) {
      lists_.push_back(upload.add(call->q));
      lists_.push_back(upload.add(call->k));
    }
  }
  [[nodiscard]] std::array<Sequences, 2> sent(const IntegerUpload& upload) const {
    const auto sequences = [&](const flash::Offsets& call, std::size_t i) -> Sequences {
      return {upload.list(lists_[i]), upload.list(lists_[i + 1]), call.q_longest, call.k_longest};
    };
    return {sequences(offsets_.own, 0), offsets_.prefixed ? sequences(offsets_.prefix, 2) : Sequences{}};
  }

 private:
  flash::PlanOffsets offsets_;
  std::vector<std::size_t> lists_;
};

void check_batch(const data::PackedBatch& batch, const BackboneSpec& spec) {
  for (const std::int32_t id : batch.ids) {
    if (id < 0 || id >= spec.vocab)
      throw ShapeError(
          "token-outside-vocabulary",
          fmt::format("token id {} is outside the model's vocabulary of {}: tokenizer and weights do not belong together", id,
                      spec.vocab));
  }
  const std::int64_t longest = batch.positions.empty() ? 0 : 1 + *std::ranges::max_element(batch.positions);
  if (spec.encoder() && longest > spec.max_positions) {
    throw ShapeError("text-too-long", fmt::format("a text has {} tokens, the model has {} positions: lower data.max_length",
                                                  longest, spec.max_positions));
  }
  if (spec.sliding_window > 0 && longest > spec.sliding_window) {
    throw ShapeError("text-too-long",
                     fmt::format("a text has {} tokens, more than the model's sliding window of {}: lower data.max_length",
                                 longest, spec.sliding_window));
  }
}

/// A layer's norms and biases in memory of their own, without its matrices.
LayerWeights vectors_of(const LayerWeights& layer) {
  LayerWeights own;
  for (at::Tensor LayerWeights::*const part :
       {&LayerWeights::norm1_w, &LayerWeights::norm1_b, &LayerWeights::qkv_b, &LayerWeights::q_norm_w, &LayerWeights::k_norm_w,
        &LayerWeights::o_b, &LayerWeights::norm2_w, &LayerWeights::norm2_b, &LayerWeights::up_b, &LayerWeights::down_b}) {
    if ((layer.*part).defined()) own.*part = (layer.*part).clone();
  }
  return own;
}

}  // namespace

Backbone::Backbone(const BackboneSpec& spec, Weights weights) : spec_(spec), weights_(std::move(weights)) {
  if (!spec_.encoder()) inverse_frequencies_E = rope_frequencies(spec_).to(device());
}

Backbone::Backbone(const BackboneSpec& spec, std::shared_ptr<const MaskedWeights> masked)
    : Backbone(spec, masked->outside_layers(spec)) {
  masked_ = std::move(masked);
}

std::shared_ptr<Backbone> Backbone::load_as_mask(const std::filesystem::path& directory,
                                                 const std::shared_ptr<ElectedChanges>& changes, HeadReads reads) {
  BackboneSpec spec = read_backbone_spec(directory);
  spec.head_reads = reads;
  std::shared_ptr<const MaskedWeights> masked = MaskedWeights::load(directory, spec, changes);
  return masked == nullptr ? nullptr : std::make_shared<Backbone>(spec, std::move(masked));
}

std::shared_ptr<Backbone> Backbone::load(const std::filesystem::path& directory, at::Device device, std::int64_t layers,
                                         at::ScalarType dtype, std::optional<HeadReads> reads) {
  BackboneSpec spec = read_backbone_spec(directory);
  if (reads) spec.head_reads = *reads;
  if (layers > spec.layers)
    throw ConfigError("too-many-layers", fmt::format("backbone.layers: {} is more than the {} layers of {}", layers, spec.layers,
                                                     directory.string()));
  const std::int64_t layers_of_config = spec.layers;
  if (layers > 0) spec.layers = layers;
  std::optional<Weights> masked = load_masked(spec, directory, device, dtype);
  return std::make_shared<Backbone>(
      spec, masked ? std::move(*masked) : Weights::load(spec, directory, device, dtype, layers_of_config));
}

void Backbone::expect_int8_possible(const std::string& model, at::Device device, at::ScalarType dtype) {
  if (device.is_cpu() && dtype == at::kFloat) return;
  throw ConfigError(
      "int8-not-possible",
      fmt::format("{}: int8 weights are made of float32 weights and multiplied on the CPU, but this model is in {} on "
                  "{}: leave int8 out, or use a model in float32 on the device cpu",
                  model, dtype == at::kFloat ? "float32" : "bfloat16", device.str()));
}

void Backbone::use(BaseWeights weights) {
  if (weights == BaseWeights::int8) expect_int8_possible("the backbone", device(), dtype());
  const auto turn = take_turn();
  if (masked_) weights_.layers = masked_->layers();
  std::vector<Int8Layer> in_int8;
  std::vector<LayerWeights> vectors;
  for (std::size_t i = 0; weights == BaseWeights::int8 && i < weights_.layers.size(); ++i) {
    if (masked_) masked_->make(i);
    in_int8.emplace_back(spec_, weights_.layers[i]);
    if (masked_) vectors.push_back(vectors_of(weights_.layers[i]));  // so that passes need no layer in float32
  }
  if (!vectors.empty()) weights_.layers = std::move(vectors);
  in_int8_ = std::move(in_int8);
}

void Backbone::expect_whole() const {
  if (masked_) throw std::logic_error("a backbone that is kept as a mask has no whole weights to read");
}

const Weights& Backbone::weights() const {
  expect_whole();
  return weights_;
}

Weights& Backbone::weights() {
  expect_whole();
  return weights_;
}

std::unique_lock<std::mutex> Backbone::take_turn() const {
  return masked_ ? masked_->take_turn() : std::unique_lock<std::mutex>();
}

LayerCall Backbone::call_of(const ForwardState& state, std::size_t layer, bool may_end) const {
  if (masked_ && in_int8_.empty()) masked_->make(layer);
  const bool ends_at_reads = may_end && layer + 1 == weights_.layers.size() && spec_.head_reads == HeadReads::last;
  const Int8Layer* in_int8 = in_int8_.empty() ? nullptr : &in_int8_[layer];
  return {spec_, weights_.layers[layer], state.batch, layer, in_int8, ends_at_reads};
}

at::Tensor Backbone::embed(ForwardState& state) const {
  at::Tensor x_TD = masked_ ? masked_->embed_tokens(state.ids_T) : weights_.embed_tokens.index_select(0, state.ids_T);
  if (!spec_.encoder()) return x_TD;
  x_TD.add_(weights_.embed_positions.index_select(0, state.positions_T)).add_(weights_.embed_types.select(0, 0));
  state.embedded_TD = x_TD;
  const Normed normed = layer_norm(x_TD, embed_norm(), spec_.norm_eps);
  state.embed_stats = normed.stats;
  return normed.y_TD;
}

void Backbone::embed_backward(const at::Tensor& dx_TD, const ForwardState& state, Weights& sink) const {
  at::Tensor dx = dx_TD;
  if (spec_.encoder()) {
    dx = layer_norm_backward(dx_TD, state.embedded_TD, embed_norm(), state.embed_stats, {sink.embed_norm_w, sink.embed_norm_b})
             .to(at::kFloat);
    add_rows(sink.embed_positions, state.positions_T, dx);
    sink.embed_types.select(0, 0).add_(dx.sum(0));
  }
  add_rows(sink.embed_tokens, state.ids_T, dx.to(at::kFloat));
}

void Backbone::take_adapters(std::span<const AdapterRows> adapters, ForwardState& state) const {
  state.adapters.assign(adapters.begin(), adapters.end());
  state.narrowed.clear();
  state.narrowed.reserve(adapters.size());  // so that they stay where they are
  for (AdapterRows& rows : state.adapters) {
    if (rows.adapter == nullptr || rows.adapter->flat.scalar_type() == dtype()) continue;
    state.narrowed.push_back(rows.adapter->in(dtype()));
    rows.adapter = &state.narrowed.back();
  }
}

void Backbone::prepare(const data::PackedBatch& batch, ForwardState& state) const {
  check_batch(batch, spec_);
  state.batch.adapters = state.adapters;
  const HeadShape shape{spec_.heads, spec_.kv_heads, spec_.head_dim};
  state.batch.all = plan_all_rows(batch, packing(), shape);
  state.batch.reads = plan_read_rows(batch, packing(), shape);
  IntegerUpload upload;
  const std::size_t ids = upload.add(batch.ids), positions = upload.add(batch.positions), reads = upload.add(batch.read_rows);
  OffsetsUpload all_offsets, reads_offsets;
  ResponseRowsUpload response_rows;
  if (device().is_cuda()) {
    all_offsets.add(upload, state.batch.all, batch.tokens(), batch.tokens());
    reads_offsets.add(upload, state.batch.reads, std::ssize(batch.responses), batch.tokens());
    if (spec_.head_reads == HeadReads::mean) response_rows.add(upload, batch.responses);
  }
  upload.send(device());
  state.ids_T = upload.list(ids).to(at::kLong);
  state.positions_T = upload.list(positions).to(at::kLong);
  state.batch.read_rows_R = upload.list(reads).to(at::kLong);
  if (device().is_cuda()) {
    state.batch.all.sequences = all_offsets.sent(upload);
    state.batch.reads.sequences = reads_offsets.sent(upload);
    if (spec_.head_reads == HeadReads::mean) state.response_rows = response_rows.sent(upload);
  }
  if (spec_.encoder()) return;
  const at::Tensor angles_TE = state.positions_T.to(at::kFloat).unsqueeze(1) * inverse_frequencies_E.unsqueeze(0);
  state.batch.cos_TE = angles_TE.cos();
  state.batch.sin_TE = angles_TE.sin();
}

at::Tensor Backbone::layer_forward(const LayerCall& call, const at::Tensor& x_TD, LayerSaved* saved) {
  note_activity();
  return (call.spec.encoder() ? encoder_forward : decoder_forward)(call, x_TD, saved);
}

at::Tensor Backbone::forward(const data::PackedBatch& batch, std::span<const AdapterRows> adapters, ForwardState* keep,
                             const Trunk& trunk) const {
  ForwardState local;
  ForwardState& state = keep != nullptr ? *keep : local;
  const auto turn = take_turn();
  take_adapters(adapters, state);
  prepare(batch, state);
  state.first_layer = adapters.empty() ? 0 : weights_.layers.size();
  for (const AdapterRows& rows : adapters)
    state.first_layer = std::min(state.first_layer, rows.adapter != nullptr ? rows.adapter->first_layer() : 0);
  if (keep != nullptr) state.layers.resize(weights_.layers.size());
  if (trunk.x_TD.defined() && trunk.layer > state.first_layer)
    throw ShapeError("trunk-above-adapter",
                     fmt::format("a pass that adapts layer {} cannot start at layer {}", state.first_layer, trunk.layer));
  at::Tensor x = trunk.x_TD.defined() ? trunk.x_TD : embed(state);
  for (std::size_t i = trunk.x_TD.defined() ? trunk.layer : 0; i < weights_.layers.size(); ++i) {
    const bool last = i + 1 == weights_.layers.size(), wanted = keep != nullptr && i >= state.first_layer;
    const bool input_only = wanted && state.recompute && !last;  // the backward pass needs the last layer at once
    LayerSaved dropped;  // computed as the backward pass will again, which needs the same bits
    LayerSaved* saved = input_only ? &dropped : wanted ? &state.layers[i] : nullptr;
    const at::Tensor input = x;
    x = layer_forward(call_of(state, i, true), input, saved);
    if (input_only) state.layers[i].x_TD = input;
  }
  state.last = x.to(at::kFloat);
  const at::Tensor states = spec_.encoder() ? state.last : final_norm(state.last, &state.rstd);
  if (spec_.head_reads == HeadReads::last) return states;
  state.responses = batch.responses;
  return device().is_cuda() ? generic::response_means(states, state.response_rows) : cpu::response_means(states, state.responses);
}

at::Tensor Backbone::final_norm(const at::Tensor& x, at::Tensor* rstd) const {
  return rms_norm(x.to(at::kFloat), weights_.final_norm_w.to(at::kFloat), spec_.norm_eps, rstd);
}

at::Tensor Backbone::trunk(const data::PackedBatch& batch, std::size_t layers) const {
  ForwardState state;
  const auto turn = take_turn();
  prepare(batch, state);
  at::Tensor x = embed(state);
  for (std::size_t i = 0; i < layers; ++i) x = layer_forward(call_of(state, i, false), x, nullptr);
  return x;
}

at::Tensor Backbone::hidden(const data::PackedBatch& batch) const {
  const at::Tensor x = trunk(batch, weights_.layers.size());
  return spec_.encoder() ? x.to(at::kFloat) : final_norm(x, nullptr);
}

LayerSaved Backbone::take_saved(ForwardState& state, std::size_t layer) const {
  LayerSaved saved = std::move(state.layers[layer]);
  state.layers[layer] = {};  // frees its memory
  if (state.recompute && layer + 1 < weights_.layers.size()) layer_forward(call_of(state, layer, false), saved.x_TD, &saved);
  return saved;
}

void Backbone::backward(const at::Tensor& grad_RD, ForwardState& keep, const BackboneGradients& gradients) const {
  const auto call = [&](const std::function<void(std::size_t)>& hook, std::size_t slice) {
    if (gradients.weights != nullptr && hook) hook(slice);
  };
  const auto turn = take_turn();
  const at::Tensor none;
  at::Tensor dx = grad_RD;
  if (spec_.head_reads == HeadReads::mean) {
    const std::int64_t rows = keep.ids_T.size(0);
    dx = device().is_cuda() ? generic::response_means_backward(grad_RD, keep.response_rows, rows)
                            : cpu::response_means_backward(grad_RD, keep.responses, rows);
  }
  call(gradients.before_slice, 0);
  if (!spec_.encoder()) {
    dx = rms_norm_backward(dx, keep.last, weights_.final_norm_w.to(at::kFloat), keep.rstd, none,
                           gradients.weights != nullptr ? gradients.weights->final_norm_w : none);
  }
  dx = dx.to(dtype());
  call(gradients.after_slice, 0);
  const auto layer_backward = spec_.encoder() ? encoder_backward : decoder_backward;
  for (std::size_t i = weights_.layers.size(); i-- > keep.first_layer;) {
    call(gradients.before_slice, weights_.slice_of_layer(i));
    const LayerSaved saved = take_saved(keep, i);
    LayerGradients layer;
    layer.weights = gradients.weights != nullptr ? &gradients.weights->layers[i] : nullptr;
    layer.adapters = gradients.adapters;
    layer.input = i > keep.first_layer || gradients.weights != nullptr;
    note_activity();
    dx = layer_backward(call_of(keep, i, true), dx, saved, layer);
    call(gradients.after_slice, weights_.slice_of_layer(i));
  }
  if (gradients.weights == nullptr) return;
  call(gradients.before_slice, weights_.slices() - 1);
  embed_backward(dx, keep, *gradients.weights);
  call(gradients.after_slice, weights_.slices() - 1);
}

}  // namespace dmoerm::nn
