// Scoring: route the prompt, run the category's experts over the packed responses, aggregate.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mv.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "data/group_layout.h"
#include "serve/bundle.h"

namespace dmoerm::serve {
namespace {

/// The responses of one prompt as packed batches of bounded size, with a view of their tokens.
struct Packed {
  data::GroupLayout layout;
  std::vector<std::int32_t> prompt;
  std::vector<data::PackedBatch> batches;
};

Packed pack(const Bundle& bundle, const std::vector<pair::Message>& prompt, const std::vector<std::string>& responses) {
  const bool blank_prompt = std::ranges::all_of(
      prompt, [](const pair::Message& m) { return m.content.find_first_not_of(" \t\r\n") == std::string::npos; });
  if (blank_prompt) throw DataError("the prompt is empty");
  if (responses.empty()) throw DataError("there is no response to score");
  std::vector<std::vector<std::int32_t>> ids;
  for (std::size_t i = 0; i < responses.size(); ++i) {
    if (responses[i].find_first_not_of(" \t\r\n") == std::string::npos) throw DataError(fmt::format("response {} is empty", i));
    ids.push_back(bundle.chat_template->render(prompt, responses[i]));
    if (ids.back().empty()) throw DataError(fmt::format("response {} has no tokens in the model's vocabulary", i));
  }
  Packed packed;
  packed.prompt = bundle.chat_template->render_prompt(prompt);
  const data::LayoutLimits limits{bundle.max_length, bundle.min_prompt_tokens, bundle.chat_template->head_tokens()};
  packed.layout = data::lay_out_group(std::move(ids), static_cast<std::int64_t>(packed.prompt.size()), limits);
  packed.prompt = data::cut_prompt(std::move(packed.prompt), packed.layout, limits);

  data::TokenGroup group;
  group.prefix = packed.layout.prefix;
  for (const auto& r : packed.layout.responses) group.responses.emplace_back(r);
  const bool share = bundle.base->shares_prefix();
  std::vector<std::int32_t> chosen;
  const auto flush = [&] {
    if (chosen.empty()) return;
    data::append_group(packed.batches.emplace_back(), group, chosen, share, bundle.base->reads_last());
    chosen.clear();
  };
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(responses.size()); ++i) {
    chosen.push_back(i);
    if (chosen.size() > 1 && data::packed_tokens(group, chosen, share) > bundle.batch_tokens) {
      chosen.pop_back();
      flush();
      chosen.push_back(i);
    }
  }
  flush();
  return packed;
}

/// What lies below the adapted layers of some experts, for each batch; it is the same for all of them.
std::vector<model::Trunk> trunks_of(const model::Backbone& base, std::size_t layers, const Packed& packed) {
  std::vector<model::Trunk> trunks;
  for (const data::PackedBatch& batch : packed.batches)
    trunks.push_back(layers == 0 ? model::Trunk{} : model::Trunk{layers, base.trunk(batch, layers)});
  return trunks;
}

/// States of all responses under one model, [N, H], on the CPU.
at::Tensor states_of(const model::Backbone& base, const model::Expert* adapter, const Packed& packed,
                     const std::vector<model::Trunk>& trunks) {
  at::Tensor states_NH;
  std::int64_t first = 0, total = 0;
  for (const data::PackedBatch& batch : packed.batches) total += static_cast<std::int64_t>(batch.responses.size());
  states_NH = at::empty({total, base.spec().width});
  for (std::size_t b = 0; b < packed.batches.size(); ++b) {
    const data::PackedBatch& batch = packed.batches[b];
    const auto reads = static_cast<std::int64_t>(batch.responses.size());
    const model::ExpertRows rows{adapter, 0, batch.tokens(), 0, reads, 0};
    states_NH.narrow(0, first, reads).copy_(base.forward(batch, {&rows, 1}, nullptr, trunks[b]));
    first += reads;
  }
  return states_NH;
}

const CategoryModel* find_category(const Bundle& bundle, const std::string& name) {
  std::string names;
  for (const CategoryModel& category : bundle.categories) {
    if (category.name == name) return &category;
    names += (names.empty() ? "" : ", ") + category.name;
  }
  throw DataError(fmt::format("category \"{}\" is unknown; the bundle has: {}", name, names));
}

}  // namespace

GroupScore score_group(const Bundle& bundle, const std::vector<pair::Message>& prompt, const std::vector<std::string>& responses,
                       const std::string& category) {
  const Packed packed = pack(bundle, prompt, responses);
  GroupScore result;
  result.route =
      bundle.router.route(model::pool_prompts(*bundle.base, {packed.prompt}, bundle.router.pooling(), bundle.batch_tokens)[0]);
  const CategoryModel* chosen = !category.empty()           ? find_category(bundle, category)
                                : result.route.category < 0 ? nullptr
                                                            : &bundle.categories[static_cast<std::size_t>(result.route.category)];
  result.responses.resize(responses.size());
  const auto n = static_cast<std::int64_t>(responses.size());
  if (chosen == nullptr) {
    const bool adapter = bundle.single.base == bundle.base;
    const at::Tensor rewards = at::mv(states_of(*bundle.single.base, adapter ? bundle.single.expert.get() : nullptr, packed,
                                                trunks_of(*bundle.single.base, 0, packed)),
                                      bundle.single.expert->head_D.cpu());
    for (std::int64_t i = 0; i < n; ++i) result.responses[static_cast<std::size_t>(i)].reward = rewards[i].item<double>();
    return result;
  }
  result.category = chosen->name;
  const auto k = static_cast<std::int64_t>(chosen->experts.size());
  at::Tensor states_NKH = at::empty({n, k, chosen->base->spec().width}), rewards_NK = at::empty({n, k});
  std::size_t frozen = chosen->experts.front()->first_layer();
  for (const auto& expert : chosen->experts) frozen = std::min(frozen, expert->first_layer());
  const auto trunks = trunks_of(*chosen->base, frozen, packed);
  for (std::int64_t e = 0; e < k; ++e) {
    const model::Expert& expert = *chosen->experts[static_cast<std::size_t>(e)];
    const at::Tensor states_NH = states_of(*chosen->base, &expert, packed, trunks);
    states_NKH.select(1, e).copy_(states_NH);
    rewards_NK.select(1, e).copy_(at::mv(states_NH, expert.head_D.cpu()));
  }
  const at::Tensor final_N = chosen->aggregator.forward(states_NKH, rewards_NK);
  const at::Tensor standard_NK = (rewards_NK - chosen->aggregator.reward_mean_K) / chosen->aggregator.reward_std_K;
  for (std::int64_t i = 0; i < n; ++i) {
    Score& score = result.responses[static_cast<std::size_t>(i)];
    score.reward = final_N[i].item<double>();
    for (std::int64_t e = 0; e < k; ++e)
      score.points[chosen->points[static_cast<std::size_t>(e)]] = standard_NK[i][e].item<double>();
  }
  return result;
}

}  // namespace dmoerm::serve
