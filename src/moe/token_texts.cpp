#include "moe/token_texts.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <map>

#include "data/packed_batch.h"
#include "nn/transfer.h"

namespace dmoerm::moe {

TokenTexts texts_of(const data::TokenGroup& group) {
  TokenTexts texts{{group.prompt.begin(), group.prompt.end()}, {}};
  for (const auto& response : group.responses) {
    std::vector<std::int32_t>& ids = texts.responses.emplace_back(group.prefix.begin(), group.prefix.end());
    ids.insert(ids.end(), response.begin(), response.end());
  }
  return texts;
}

std::vector<std::int32_t> routed_prompt(const std::vector<std::int32_t>& prompt, const ScoringLimits& limits) {
  return data::cut_prompt(prompt, {}, limits.layout);
}

namespace {

/// Tokens with which a response repeats the prompt; at least its last token is its own.
std::int64_t shared_tokens(const std::vector<std::int32_t>& prompt, const std::vector<std::int32_t>& response) {
  const auto most = static_cast<std::ptrdiff_t>(std::min(prompt.size(), response.size() - 1));
  return std::mismatch(prompt.begin(), prompt.begin() + most, response.begin()).first - prompt.begin();
}

}  // namespace

PackedTexts::PackedTexts(const TokenTexts& texts, const nn::Backbone& backbone, const ScoringLimits& limits)
    : backbone_(backbone), limits_(limits) {
  std::map<std::vector<std::int32_t>, std::int64_t> seen;
  std::map<std::int64_t, std::vector<std::int64_t>> fitting;  // by their shared tokens, mostly the whole prompt
  for (std::int64_t i = 0; i < std::ssize(texts.responses); ++i) {
    const std::vector<std::int32_t>& response = texts.responses[static_cast<std::size_t>(i)];
    lengths_.push_back(std::ssize(response));
    first_.push_back(seen.emplace(response, i).first->second);
    if (first_.back() != i) continue;
    const std::int64_t shared = shared_tokens(texts.prompt, response);
    if (lengths_.back() > limits.layout.max_length) {
      add(texts, {i}, shared);
    } else {
      fitting[backbone.packing() == data::PackingRule::causal ? shared : 0].push_back(i);
    }
  }
  for (auto& [shared, which] : fitting) add(texts, std::move(which), shared);
}

void PackedTexts::add(const TokenTexts& texts, std::vector<std::int64_t> which, std::int64_t shared) {
  Pack pack;
  std::vector<std::vector<std::int32_t>> ids;
  for (const std::int64_t i : which) ids.push_back(texts.responses[static_cast<std::size_t>(i)]);
  pack.which = std::move(which);
  pack.layout = data::lay_out_group(std::move(ids), std::ssize(texts.prompt), limits_.layout);
  std::vector<std::int32_t>& prefix = pack.layout.prefix;
  const auto kept = std::clamp<std::int64_t>(shared - pack.layout.prompt_cut, 0, std::ssize(prefix));
  for (auto& response : pack.layout.responses) response.insert(response.begin(), prefix.begin() + kept, prefix.end());
  prefix.resize(static_cast<std::size_t>(kept));
  pack.group.prefix = pack.layout.prefix;
  pack.group.prompt_tokens = std::ssize(texts.prompt) - pack.layout.prompt_cut;
  for (const auto& r : pack.layout.responses) pack.group.responses.emplace_back(r);
  pack.parts.emplace_back();
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(pack.which.size()); ++i) {
    std::vector<std::int32_t>& part = pack.parts.back();
    part.push_back(i);
    if (part.size() == 1 || data::packed_tokens(pack.group, part, backbone_.packing()) <= limits_.batch_tokens) continue;
    part.pop_back();
    pack.parts.push_back({i});
  }
  packs_.push_back(std::move(pack));
}

/// States on their way to the host, so that passes follow each other on a GPU without waiting for what each of them gave.
class PackedTexts::Arrivals {
 public:
  explicit Arrivals(at::Device device) : device_(device) {}

  /// @param states_ARH  of the units' responses, under adapters from number `first_adapter` on
  void add(std::span<const Unit> units, std::int64_t first_adapter, const at::Tensor& states_ARH) {
    passes_.push_back({{units.begin(), units.end()}, first_adapter, nn::begin_download(states_ARH)});
    bytes_ += states_ARH.nbytes();
    if (device_.is_cpu() || bytes_ >= kMost) deliver();
  }
  /// Write what has come where it belongs.
  void deliver() {
    if (passes_.empty()) return;
    nn::finish_downloads(device_);
    for (const Pass& pass : passes_) {
      std::int64_t first = 0;
      for (const Unit& unit : pass.units) {
        const std::int64_t own = unit.states_MKH.size(0);
        unit.states_MKH.narrow(1, pass.first_adapter, pass.states_ARH.size(0))
            .copy_(pass.states_ARH.narrow(1, first, own).transpose(0, 1));
        first += own;
      }
    }
    passes_.clear();
    bytes_ = 0;
  }

 private:
  static constexpr std::size_t kMost = std::size_t{64} << 20;  // bounds the pinned memory
  struct Pass {
    std::vector<Unit> units;
    std::int64_t first_adapter;
    at::Tensor states_ARH;
  };
  at::Device device_;
  std::vector<Pass> passes_;
  std::size_t bytes_ = 0;
};

void PackedTexts::run(std::span<const Unit> units, const std::vector<const nn::LoraAdapter*>& adapters,
                      Arrivals& arrivals) const {
  const auto k = std::ssize(adapters);
  const auto first_layer = [](const nn::LoraAdapter* adapter) { return adapter == nullptr ? 0 : adapter->first_layer(); };
  const std::size_t frozen = first_layer(*std::ranges::min_element(adapters, {}, first_layer));
  data::PackedBatch once;
  for (const Unit& unit : units) data::append_group(once, unit.pack->group, *unit.part, backbone_.packing());
  const std::int64_t rows = once.tokens();
  const auto reads = std::ssize(once.responses);
  const at::Tensor trunk_TD = frozen > 0 ? backbone_.trunk(once, frozen) : at::Tensor();
  const std::int64_t together = std::clamp<std::int64_t>(limits_.batch_tokens / rows, 1, k);
  for (std::int64_t begin = 0; begin < k; begin += together) {
    const std::int64_t count = std::min(together, k - begin);
    data::PackedBatch batch;
    std::vector<nn::AdapterRows> adapter_rows;
    for (std::int64_t a = 0; a < count; ++a) {
      for (const Unit& unit : units) data::append_group(batch, unit.pack->group, *unit.part, backbone_.packing());
      adapter_rows.push_back({adapters[static_cast<std::size_t>(begin + a)], a * rows, rows, a * reads, reads, 0});
    }
    const nn::Trunk trunk = frozen > 0 ? nn::Trunk{frozen, count == 1 ? trunk_TD : trunk_TD.repeat({count, 1})} : nn::Trunk{};
    arrivals.add(units, begin, backbone_.forward(batch, adapter_rows, nullptr, trunk).reshape({count, reads, -1}));
  }
}

at::Tensor PackedTexts::unpacked(const std::vector<at::Tensor>& packs_MKH) const {
  at::Tensor states_NKH = at::empty({std::ssize(lengths_), packs_MKH.front().size(1), backbone_.spec().width});
  for (std::size_t p = 0; p < packs_.size(); ++p) {
    for (std::size_t i = 0; i < packs_[p].which.size(); ++i)
      states_NKH.select(0, packs_[p].which[i]).copy_(packs_MKH[p].select(0, static_cast<std::int64_t>(i)));
  }
  for (std::int64_t i = 0; i < std::ssize(first_); ++i) {
    if (first_[static_cast<std::size_t>(i)] != i)
      states_NKH.select(0, i).copy_(states_NKH.select(0, first_[static_cast<std::size_t>(i)]));
  }
  return states_NKH;
}

at::Tensor PackedTexts::states(const std::vector<const nn::LoraAdapter*>& adapters) const {
  return states({this, 1}, adapters)[0];
}

std::vector<at::Tensor> PackedTexts::states(std::span<const PackedTexts> all,
                                            const std::vector<const nn::LoraAdapter*>& adapters) {
  std::vector<std::vector<at::Tensor>> packs(all.size());
  std::vector<Unit> units;
  std::int64_t tokens = 0;
  Arrivals arrivals(all.front().backbone_.device());
  const auto flush = [&] {
    if (!units.empty()) all.front().run(units, adapters, arrivals);
    units.clear();
    tokens = 0;
  };
  for (std::size_t t = 0; t < all.size(); ++t) {
    const PackedTexts& texts = all[t];
    for (const Pack& pack : texts.packs_) {
      const at::Tensor states_MKH =
          at::empty({std::ssize(pack.group.responses), std::ssize(adapters), texts.backbone_.spec().width});
      packs[t].push_back(states_MKH);
      std::int64_t first = 0;
      for (const std::vector<std::int32_t>& part : pack.parts) {
        const std::int64_t own = data::packed_tokens(pack.group, part, texts.backbone_.packing());
        if (tokens + own > texts.limits_.batch_tokens) flush();
        units.push_back({&pack, &part, states_MKH.narrow(0, first, std::ssize(part))});
        tokens += own;
        first += std::ssize(part);
      }
    }
  }
  flush();
  arrivals.deliver();
  std::vector<at::Tensor> result;
  for (std::size_t t = 0; t < all.size(); ++t) result.push_back(all[t].unpacked(packs[t]));
  return result;
}

std::vector<std::int64_t> PackedTexts::cut_tokens() const {
  std::vector<std::int64_t> cut = lengths_;
  for (const Pack& pack : packs_) {
    for (std::size_t i = 0; i < pack.which.size(); ++i)
      cut[static_cast<std::size_t>(pack.which[i])] -= std::ssize(pack.layout.prefix) + std::ssize(pack.layout.responses[i]);
  }
  for (std::size_t i = 0; i < cut.size(); ++i) cut[i] = cut[static_cast<std::size_t>(first_[i])];
  return cut;
}

}  // namespace dmoerm::moe
