#include "nn/masked_weights.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>

#include <cstdlib>

#include "base/error.h"

namespace dmoerm::nn {
namespace {

constexpr const char* kScaleKey = "mask_scale";
constexpr const char* kPretrainedKey = "mask_pretrained";
constexpr const char* kMaskPrefix = "mask.";
constexpr const char* kModelFile = "model.safetensors";

at::Tensor wide(const at::Tensor& tensor) { return tensor.cpu().to(at::kFloat); }

/// Change of one tensor by fine-tuning.
at::Tensor change(const Weights& pretrained, const Weights& tuned, std::size_t tensor) {
  return wide(tuned.named()[tensor].second) - wide(pretrained.named()[tensor].second);
}

at::Tensor packed(const at::Tensor& places) {
  const at::Tensor flat = places.flatten().to(at::kByte);
  const at::Tensor rows = at::constant_pad_nd(flat, {0, (8 - flat.numel() % 8) % 8}).view({-1, 8});
  at::Tensor bytes = at::zeros_like(rows.select(1, 0));
  for (std::int64_t bit = 0; bit < 8; ++bit) bytes += rows.select(1, bit) * (1 << bit);
  return bytes;
}

/// A tensor's shape in a file must be this one.
void expect_shape(const SafetensorsReader& from, const std::string& name, const std::vector<std::int64_t>& shape) {
  if (from.shape(name) == shape) return;
  throw DataError("tensor-shape-differs", fmt::format("{}: tensor {} has shape {}, the pretrained model requires {}",
                                                      from.file_of(name), name, shape_text(from.shape(name)), shape_text(shape)));
}

}  // namespace

NamedTensors elect(const Weights& pretrained, const std::vector<const Weights*>& tuned) {
  NamedTensors elected;
  for (std::size_t i = 0; i < pretrained.named().size(); ++i) {
    const auto& [name, before] = pretrained.named()[i];
    at::Tensor sum = at::zeros_like(wide(before)), most = at::zeros_like(sum), least = at::zeros_like(sum);
    for (const Weights* one : tuned) {
      const at::Tensor own = change(pretrained, *one, i);
      sum += own;
      most = at::maximum(most, own);
      least = at::maximum(least, own.neg());
    }
    elected.emplace_back(name, at::where(sum.gt(0), most, least.neg()));
  }
  return elected;
}

Mask mask_of(const Weights& pretrained, const NamedTensors& elected, const Weights& tuned) {
  Mask mask;
  double own_sum = 0, kept_sum = 0;
  for (std::size_t i = 0; i < elected.size(); ++i) {
    const at::Tensor own = change(pretrained, tuned, i), agrees = (own * elected[i].second.sign()).gt(0);
    own_sum += own.abs().sum(at::kDouble).item<double>();
    kept_sum += (elected[i].second * agrees).abs().sum(at::kDouble).item<double>();
    mask.bits.emplace_back(elected[i].first, packed(agrees));
  }
  mask.scale = kept_sum > 0 ? own_sum / kept_sum : 0;
  return mask;
}

at::Tensor places_of(const at::Tensor& bits, at::IntArrayRef shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  const at::Tensor shifts = at::arange(8, bits.options());
  return bits.unsqueeze(1).bitwise_right_shift(shifts).bitwise_and(1).flatten().narrow(0, 0, count).view(shape);
}

at::Tensor masked(const at::Tensor& pretrained, const at::Tensor& elected, const at::Tensor& places, double scale) {
  return pretrained.to(at::kFloat) + elected.to(at::kFloat) * places.to(at::kFloat) * scale;
}

void apply(const Mask& mask, const NamedTensors& elected, Weights& pretrained) {
  for (std::size_t i = 0; i < elected.size(); ++i) {
    const at::Tensor& slot = pretrained.named()[i].second;
    slot.copy_(masked(slot.cpu(), elected[i].second, places_of(mask.bits[i].second, slot.sizes()), mask.scale));
  }
}

void save_masked(const std::filesystem::path& directory, const Mask& mask, const BackboneSpec& spec, const ValueHead& head,
                 const std::string& pretrained) {
  NamedTensors tensors;
  for (const auto& [name, bits] : mask.bits) tensors.emplace_back(kMaskPrefix + name, bits);
  StoredHead stored = stored_head(spec, head);
  tensors.insert(tensors.end(), stored.tensors.begin(), stored.tensors.end());
  stored.metadata[kScaleKey] = fmt::format("{}", mask.scale);
  stored.metadata[kPretrainedKey] = pretrained;
  save_safetensors(directory / kModelFile, tensors, std::move(stored.metadata));
}

std::optional<MaskFile> MaskFile::open(const std::filesystem::path& directory) {
  if (!std::filesystem::exists(directory / kModelFile)) return std::nullopt;
  MaskFile file;
  file.reader_ = SafetensorsReader::open(directory / kModelFile);
  const auto& metadata = file.reader_.metadata();
  const auto scale = metadata.find(kScaleKey), place = metadata.find(kPretrainedKey);
  if (scale == metadata.end() || place == metadata.end()) return std::nullopt;
  file.scale_ = std::strtod(scale->second.c_str(), nullptr);
  file.pretrained_ = (directory / place->second).lexically_normal();
  return file;
}

Mask MaskFile::read(const Weights& weights) const {
  Mask mask;
  mask.scale = scale_;
  for (const auto& [name, slot] : weights.named()) {
    expect_shape(reader_, kMaskPrefix + name, {(slot.numel() + 7) / 8});
    mask.bits.emplace_back(name, reader_.load(kMaskPrefix + name));
  }
  return mask;
}

NamedTensors read_elected(const std::filesystem::path& directory, const Weights& pretrained) {
  const auto reader = SafetensorsReader::open(directory / kElectedFile);
  NamedTensors elected;
  for (const auto& [name, slot] : pretrained.named()) {
    expect_shape(reader, name, slot.sizes().vec());
    elected.emplace_back(name, reader.load(name));
  }
  return elected;
}

std::optional<Weights> load_masked(const BackboneSpec& spec, const std::filesystem::path& directory, at::Device device,
                                   at::ScalarType dtype) {
  const std::optional<MaskFile> file = MaskFile::open(directory);
  if (!file) return std::nullopt;
  Weights weights = Weights::load(spec, file->pretrained(), device, dtype);
  apply(file->read(weights), read_elected(file->pretrained(), weights), weights);
  return weights;
}

}  // namespace dmoerm::nn
