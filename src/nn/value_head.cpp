#include "nn/value_head.h"

#include <ATen/ops/eye.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <cstdlib>

#include "base/error.h"
#include "nn/model_tensors.h"
#include "nn/weights.h"

namespace dmoerm::nn {
namespace {

constexpr const char* kScaleKey = "head_scale";
constexpr double kPoolerScale = 4096;  // a power of two, so that no bit of the head is lost
constexpr const char* kBias = "classifier.bias";

}  // namespace

at::Tensor ValueHead::rewards(const at::Tensor& states_RD) const { return at::mv(states_RD, w_D); }

std::string head_name(const BackboneSpec& spec) { return spec.encoder() ? "classifier.weight" : "score.weight"; }

StoredHead stored_head(const BackboneSpec& spec, const ValueHead& head) {
  const at::Tensor w_1D = head.w_D.view({1, -1});
  if (!spec.encoder()) return {{{head_name(spec), w_1D}}, {}};
  return {{{head_name(spec), w_1D.mul(kPoolerScale)}, {kBias, at::zeros({1})}}, {{kScaleKey, fmt::format("{}", kPoolerScale)}}};
}

NamedTensors pooler_tensors(const BackboneSpec& spec, at::ScalarType dtype) {
  if (!spec.encoder()) return {};
  const std::string name = head_model_prefix(spec) + "pooler.dense.";
  return {{name + "weight", at::eye(spec.width).div(kPoolerScale).to(dtype)}, {name + "bias", at::zeros({spec.width}, dtype)}};
}

bool is_stored_head(const SafetensorsReader& reader) { return reader.metadata().contains(kScaleKey); }

void load_stored_head(const SafetensorsReader& reader, const std::string& prefix, const BackboneSpec& spec, ValueHead& head) {
  const at::Tensor w_1D = head.w_D.view({1, -1});
  load_weight(reader, prefix + head_name(spec), w_1D);
  if (const auto scale = reader.metadata().find(kScaleKey); scale != reader.metadata().end())
    w_1D.div_(std::strtod(scale->second.c_str(), nullptr));
  if (!spec.encoder() || !reader.has(prefix + kBias)) return;
  const at::Tensor bias = at::zeros({1});
  load_weight(reader, prefix + kBias, bias);
  if (bias.item<double>() != 0) {
    throw DataError("head-has-bias", fmt::format("{}: {}{} is {}; dmoerm's heads have none, only 0 is read",
                                                 reader.file_of(prefix + kBias), prefix, kBias, bias.item<double>()));
  }
}

}  // namespace dmoerm::nn
