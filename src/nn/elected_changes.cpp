#include "nn/elected_changes.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace dmoerm::nn {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kTokens = 0;      // number of the tokens' embeddings in Weights::named()
constexpr std::int64_t kGrain = 65536;  // places that are worth a thread

/// A spec of the layers alone.
BackboneSpec only_layers(BackboneSpec spec) {
  spec.vocab = spec.max_positions = spec.type_vocab = 0;
  return spec;
}

/// Tensors as the loop below reads them.
struct Places {
  const float *pretrained, *elected;
  const std::uint8_t* bits;
  float scale;
};

/// out = pretrained + elected * place * scale of the places [begin, end), with the bits of masked().
/// @param out  of the first of them
void make_places(const Places& from, std::int64_t begin, std::int64_t end, float* out) {
  constexpr int kByte = 8;
  const auto make = [from](std::int64_t i, std::uint32_t byte, int bit) {
    return from.pretrained[i] + from.elected[i] * static_cast<float>(static_cast<int>(byte >> bit & 1U)) * from.scale;
  };
  const auto make_some = [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) out[i - begin] = make(i, from.bits[i / kByte], static_cast<int>(i % kByte));
  };
  const std::int64_t whole = std::min(end, (begin + kByte - 1) / kByte * kByte), rest = std::max(whole, end / kByte * kByte);
  make_some(begin, whole);
  for (std::int64_t first = whole; first < rest; first += kByte) {
    const std::uint32_t byte = from.bits[first / kByte];
#pragma omp simd
    for (int bit = 0; bit < kByte; ++bit) out[first - begin + bit] = make(first + bit, byte, bit);
  }
  make_some(rest, end);
}

bool loop_takes(const at::Tensor& pretrained, const at::Tensor& elected) {
  const auto takes = [](const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat && x.is_contiguous(); };
  return takes(pretrained) && takes(elected);
}

Places places_from(const at::Tensor& pretrained, const at::Tensor& elected, const at::Tensor& bits, double scale) {
  return {pretrained.const_data_ptr<float>(), elected.const_data_ptr<float>(), bits.const_data_ptr<std::uint8_t>(),
          static_cast<float>(scale)};
}

/// Places of the rows of a matrix of `width` columns, [T, width], uint8.
at::Tensor places_of_rows(const at::Tensor& bits, const at::Tensor& rows_T, std::int64_t width) {
  const at::Tensor places = rows_T.unsqueeze(1) * width + at::arange(width, rows_T.options());
  const at::Tensor bytes = bits.index_select(0, places.bitwise_right_shift(3).flatten()).view(places.sizes());
  return bytes.bitwise_right_shift(places.bitwise_and(7).to(at::kByte)).bitwise_and(1);
}

/// A mask's model must have the pretrained model's tensors.
void expect_same_tensors(const fs::path& directory, const BackboneSpec& spec, const Weights& pretrained) {
  const Weights own(spec, at::kMeta);
  const NamedTensors &here = own.named(), &there = pretrained.named();
  for (std::size_t i = 0; i < std::max(here.size(), there.size()); ++i) {
    const bool both = i < here.size() && i < there.size() && here[i].first == there[i].first;
    if (both && here[i].second.sizes() == there[i].second.sizes()) continue;
    const auto text = [&](const NamedTensors& tensors) {
      return i < tensors.size() ? fmt::format("{} {}", tensors[i].first, shape_text(tensors[i].second.sizes().vec())) : "no more";
    };
    throw DataError("tensor-shape-differs", fmt::format("{}: tensor {} is {} in this model and {} in the pretrained one that its "
                                                        "mask changes: copy the bundle again",
                                                        (directory / "config.json").string(), i, text(here), text(there)));
  }
}

}  // namespace

ElectedChanges::ElectedChanges(fs::path directory, const BackboneSpec& spec, std::shared_ptr<const Weights> pretrained)
    : directory_(std::move(directory)),
      pretrained_(std::move(pretrained)),
      layers_(pretrained_->layers.size()),
      room_(only_layers(spec), pretrained_->flat.device(), 0, pretrained_->flat.scalar_type()),
      held_(layers_.size()) {
  for (auto& [name, change] : read_elected(directory_, *pretrained_)) {
    if (const std::int64_t layer = layer_of(name); layer >= 0)
      layers_[static_cast<std::size_t>(layer)].push_back(elected_.size());
    elected_.push_back(change.to(pretrained_->flat.device()));
  }
}

std::shared_ptr<ElectedChanges> ElectedChanges::load(const fs::path& directory, const BackboneSpec& spec,
                                                     std::shared_ptr<const Weights> pretrained) {
  if (!fs::exists(directory / kElectedFile)) return nullptr;
  return std::shared_ptr<ElectedChanges>(new ElectedChanges(directory, spec, std::move(pretrained)));
}

MaskedWeights::MaskedWeights(std::shared_ptr<ElectedChanges> shared, Mask mask)
    : shared_(std::move(shared)), mask_(std::move(mask)) {
  for (auto& [name, bits] : mask_.bits) bits = bits.to(shared_->pretrained_->flat.device());
  const auto turn = take_turn();
  number_ = ++shared_->masks_;
}

std::shared_ptr<const MaskedWeights> MaskedWeights::load(const fs::path& directory, const BackboneSpec& spec,
                                                         std::shared_ptr<ElectedChanges> shared) {
  const std::optional<MaskFile> file = MaskFile::open(directory);
  std::error_code absent;
  if (!file || !fs::equivalent(file->pretrained(), shared->directory_, absent)) return nullptr;
  expect_same_tensors(directory, spec, *shared->pretrained_);
  Mask mask = file->read(*shared->pretrained_);
  return std::shared_ptr<const MaskedWeights>(new MaskedWeights(std::move(shared), std::move(mask)));
}

void MaskedWeights::write(std::size_t tensor, const at::Tensor& out) const {
  const at::Tensor &before = pretrained(tensor), &change = shared_->elected_[tensor], &bits = mask_.bits[tensor].second;
  if (!loop_takes(before, change)) {
    out.copy_(masked(before, change, places_of(bits, before.sizes()), mask_.scale));
    return;
  }
  const Places from = places_from(before, change, bits, mask_.scale);
  float* whole = out.data_ptr<float>();
  at::parallel_for(0, before.numel(), kGrain,
                   [&](std::int64_t begin, std::int64_t end) { make_places(from, begin, end, whole + begin); });
}

void MaskedWeights::make(std::size_t layer) const {
  if (shared_->held_[layer] == number_) return;
  shared_->held_[layer] = 0;  // in case that it cannot be made
  for (const std::size_t tensor : shared_->layers_[layer]) write(tensor, shared_->room_.named()[tensor].second);
  shared_->held_[layer] = number_;
}

at::Tensor MaskedWeights::embed_tokens(const at::Tensor& ids_T) const {
  const at::Tensor &before = pretrained(kTokens), &change = shared_->elected_[kTokens], &bits = mask_.bits[kTokens].second;
  const std::int64_t width = before.size(1);
  if (!loop_takes(before, change)) {
    const at::Tensor places_TD = places_of_rows(bits, ids_T, width);
    return masked(before.index_select(0, ids_T), change.index_select(0, ids_T), places_TD, mask_.scale).to(before.scalar_type());
  }
  const Places from = places_from(before, change, bits, mask_.scale);
  at::Tensor rows_TD = at::empty({ids_T.size(0), width}, before.options());
  const auto* ids = ids_T.const_data_ptr<std::int64_t>();
  float* out = rows_TD.data_ptr<float>();
  at::parallel_for(0, ids_T.size(0), std::max<std::int64_t>(1, kGrain / width), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t t = first; t < last; ++t) make_places(from, ids[t] * width, (ids[t] + 1) * width, out + t * width);
  });
  return rows_TD;
}

Weights MaskedWeights::outside_layers(const BackboneSpec& spec) const {
  BackboneSpec outside = spec;
  outside.vocab = outside.layers = 0;
  const NamedTensors& all = shared_->pretrained_->named();
  Weights own(outside, shared_->pretrained_->flat.device(), 0, shared_->pretrained_->flat.scalar_type());
  for (const auto& entry : own.named()) {
    if (entry.second.numel() == 0) continue;  // the tokens' embeddings
    const auto found = std::ranges::find(all, entry.first, &NamedTensors::value_type::first);
    write(static_cast<std::size_t>(found - all.begin()), entry.second);
  }
  own.layers = layers();
  return own;
}

}  // namespace dmoerm::nn
