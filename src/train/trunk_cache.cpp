#include "train/trunk_cache.h"

#include <ATen/ops/cat.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "data/packed_batch.h"
#include "nn/device.h"
#include "nn/transfer.h"

namespace dmoerm::train {
namespace {

constexpr double kGpuShare = 0.25;

}  // namespace

void TrunkCache::clear() {
  kept_.clear();
  bytes_ = gpu_bytes_ = 0;
  gpu_bytes_max_.reset();
  backbone_ = nullptr;
}

nn::Trunk TrunkCache::of(const nn::Backbone& backbone, const nn::LoraAdapter* adapter, const data::TokenStore& store,
                         std::span<const Portion> portions, std::int64_t tokens_max) {
  if (adapter == nullptr || adapter->first_layer() == 0) return {};
  const std::size_t layer = adapter->first_layer();
  if (backbone_ != &backbone || layer_ != layer) clear();
  backbone_ = &backbone;
  layer_ = layer;
  std::vector<at::Tensor> parts;
  for (const Portion& portion : portions) {
    const data::TokenGroup group = store.group(portion.of->group);
    const at::Tensor x_TD = whole(backbone, layer, store, portion.of->group, tokens_max);
    const auto prefix = static_cast<std::int64_t>(group.prefix.size());
    const bool shared = backbone.packing() == data::PackingRule::causal;
    const std::int64_t before = shared ? 0 : prefix;  // each response may have its own copy of the prefix
    if (shared && prefix > 0) parts.push_back(x_TD.narrow(0, 0, prefix));
    std::vector<std::int64_t> begins;
    std::int64_t begin = prefix - before;
    for (const auto& own : group.responses) {
      begins.push_back(begin);
      begin += before + static_cast<std::int64_t>(own.size());
    }
    for (const std::int32_t r : portion.responses()) {
      const auto i = static_cast<std::size_t>(r);
      parts.push_back(x_TD.narrow(0, begins[i], before + static_cast<std::int64_t>(group.responses[i].size())));
    }
  }
  for (at::Tensor& part : parts) part = part.to(backbone.device(), /*non_blocking=*/true);
  return {layer, at::cat(parts)};
}

at::Tensor TrunkCache::whole(const nn::Backbone& backbone, std::size_t layer, const data::TokenStore& store, std::int64_t index,
                             std::int64_t tokens_max) {
  ++clock_;
  if (const auto found = kept_.find(index); found != kept_.end()) {
    found->second.used = clock_;
    return found->second.x_TD;
  }
  const data::TokenGroup group = store.group(index);
  LabelledGroup all{index, std::vector<std::int32_t>(group.responses.size()), {}};
  std::iota(all.responses.begin(), all.responses.end(), 0);
  std::vector<at::Tensor> passes;
  for (const MicroBatch& portions : cut_micro_batches(store, {&all}, backbone.packing(), tokens_max)) {
    data::PackedBatch batch;
    data::append_group(batch, group, portions.front().responses(), backbone.packing());
    const at::Tensor rows_TD = backbone.trunk(batch, layer);
    const bool repeated = backbone.packing() == data::PackingRule::causal && !passes.empty();
    const std::int64_t again = repeated ? std::ssize(group.prefix) : 0;
    passes.push_back(rows_TD.narrow(0, again, rows_TD.size(0) - again));
  }
  at::Tensor x_TD = passes.size() == 1 ? passes.front() : at::cat(passes);
  keep(index, x_TD);
  return x_TD;
}

void TrunkCache::keep(std::int64_t index, const at::Tensor& x_TD) {
  const bool on_gpu = stays_on_gpu(x_TD), to_host = x_TD.is_cuda() && !on_gpu;
  const std::size_t bytes = to_host ? nn::pinned_bytes(x_TD.nbytes()) : x_TD.nbytes();
  // Training visits the same groups in every epoch, so dropping the oldest would lose each group just before its next visit. Only
  // groups that several epochs have not touched, which belong to another category, make room.
  while (bytes_ + bytes > bytes_max_ && !kept_.empty()) {
    const auto oldest = std::ranges::min_element(kept_, {}, [](const auto& entry) { return entry.second.used; });
    if (clock_ - oldest->second.used < 4 * kept_.size()) return;
    bytes_ -= oldest->second.bytes;
    if (oldest->second.x_TD.is_cuda()) gpu_bytes_ -= oldest->second.bytes;
    kept_.erase(oldest);
  }
  if (bytes_ + bytes > bytes_max_) return;
  bytes_ += bytes;
  if (on_gpu) gpu_bytes_ += bytes;
  // Nobody waits for the copy: it is read where it returns to the GPU, later in the same stream.
  kept_[index] = {to_host ? nn::begin_download(x_TD) : x_TD, clock_, bytes};
}

bool TrunkCache::stays_on_gpu(const at::Tensor& x_TD) {
  if (!x_TD.is_cuda()) return false;
  if (!gpu_bytes_max_) gpu_bytes_max_ = static_cast<std::size_t>(nn::free_gpu_memory_mib(x_TD.device()) * (1 << 20) * kGpuShare);
  return gpu_bytes_ + x_TD.nbytes() <= *gpu_bytes_max_;
}

}  // namespace dmoerm::train
