#include "train/trunk_cache.h"

#include <ATen/ops/cat.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "data/packed_batch.h"

namespace dmoerm::train {

void TrunkCache::clear() {
  kept_.clear();
  bytes_ = 0;
  backbone_ = nullptr;
}

nn::Trunk TrunkCache::of(const nn::Backbone& backbone, const nn::LoraAdapter* adapter, const data::TokenStore& store,
                         std::span<const LabelledGroup* const> groups) {
  if (adapter == nullptr || adapter->first_layer() == 0) return {};
  const std::size_t layer = adapter->first_layer();
  if (backbone_ != &backbone || layer_ != layer) clear();
  backbone_ = &backbone;
  layer_ = layer;
  std::vector<at::Tensor> parts;
  for (const LabelledGroup* labelled : groups) {
    const data::TokenGroup group = store.group(labelled->group);
    const at::Tensor x_TD = whole(backbone, layer, group, labelled->group);
    const auto prefix = static_cast<std::int64_t>(group.prefix.size());
    const std::int64_t before = backbone.shares_prefix() ? 0 : prefix;  // each response may have its own copy of the prefix
    if (backbone.shares_prefix() && prefix > 0) parts.push_back(x_TD.narrow(0, 0, prefix));
    std::vector<std::int64_t> begins;
    std::int64_t begin = prefix - before;
    for (const auto& own : group.responses) {
      begins.push_back(begin);
      begin += before + static_cast<std::int64_t>(own.size());
    }
    for (const std::int32_t r : labelled->responses) {
      const auto i = static_cast<std::size_t>(r);
      parts.push_back(x_TD.narrow(0, begins[i], before + static_cast<std::int64_t>(group.responses[i].size())));
    }
  }
  return {layer, at::cat(parts).to(backbone.device())};
}

at::Tensor TrunkCache::whole(const nn::Backbone& backbone, std::size_t layer, const data::TokenGroup& group, std::int64_t index) {
  ++clock_;
  if (const auto found = kept_.find(index); found != kept_.end()) {
    found->second.used = clock_;
    return found->second.x_TD;
  }
  std::vector<std::int32_t> all(group.responses.size());
  std::iota(all.begin(), all.end(), 0);
  data::PackedBatch batch;
  data::append_group(batch, group, all, backbone.shares_prefix(), backbone.reads_last());
  at::Tensor x_TD = backbone.trunk(batch, layer).cpu();
  keep(index, x_TD);
  return x_TD;
}

void TrunkCache::keep(std::int64_t index, const at::Tensor& x_TD) {
  const std::size_t bytes = x_TD.nbytes();
  // Training visits the same groups in every epoch, so dropping the oldest would lose each group just before its next visit. Only
  // groups that several epochs have not touched, which belong to another category, make room.
  while (bytes_ + bytes > bytes_max_ && !kept_.empty()) {
    const auto oldest = std::ranges::min_element(kept_, {}, [](const auto& entry) { return entry.second.used; });
    if (clock_ - oldest->second.used < 4 * kept_.size()) return;
    bytes_ -= oldest->second.x_TD.nbytes();
    kept_.erase(oldest);
  }
  if (bytes_ + bytes > bytes_max_) return;
  bytes_ += bytes;
  kept_[index] = {x_TD, clock_};
}

}  // namespace dmoerm::train
