// Scoring: route the prompt, run the category's experts over the packed responses, aggregate.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mv.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "data/group_layout.h"
#include "moe/bundle.h"
#include "preference/group.h"

namespace dmoerm::moe {
namespace {

/// Responses to one prompt that share its tokens, cut into parts of bounded size.
struct Packed {
  std::vector<std::int64_t> which;  ///< of the responses to the prompt
  data::GroupLayout layout;
  data::TokenGroup group;  ///< points into the layout
  std::vector<std::vector<std::int32_t>> parts;
};

/// Prompt and responses as ids.
struct Texts {
  std::vector<std::int32_t> prompt;
  std::vector<std::vector<std::int32_t>> responses;  ///< of prompt and response together
};

Texts render(const Bundle& bundle, const std::vector<preference::Message>& prompt, const std::vector<std::string>& responses) {
  if (std::ranges::all_of(prompt, [](const preference::Message& m) { return is_blank(m.content); }))
    throw DataError("the prompt is empty");
  if (responses.empty()) throw DataError("there is no response to score");
  Texts texts{bundle.chat_template->render_prompt(prompt), {}};
  for (std::size_t i = 0; i < responses.size(); ++i) {
    if (is_blank(responses[i])) throw DataError(fmt::format("response {} is empty", i));
    texts.responses.push_back(bundle.chat_template->render(prompt, responses[i]));
    if (texts.responses.back().empty()) throw DataError(fmt::format("response {} has no tokens in the model's vocabulary", i));
  }
  return texts;
}

data::LayoutLimits limits_of(const Bundle& bundle) {
  return {bundle.max_length, bundle.min_prompt_tokens, bundle.chat_template->head_tokens()};
}

Packed pack(const Bundle& bundle, const Texts& texts, std::vector<std::int64_t> which) {
  Packed packed;
  std::vector<std::vector<std::int32_t>> ids;
  for (const std::int64_t i : which) ids.push_back(texts.responses[static_cast<std::size_t>(i)]);
  packed.which = std::move(which);
  packed.layout = data::lay_out_group(std::move(ids), static_cast<std::int64_t>(texts.prompt.size()), limits_of(bundle));
  packed.group.prefix = packed.layout.prefix;
  for (const auto& r : packed.layout.responses) packed.group.responses.emplace_back(r);
  packed.parts.emplace_back();
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(packed.which.size()); ++i) {
    std::vector<std::int32_t>& part = packed.parts.back();
    part.push_back(i);
    if (part.size() == 1 || data::packed_tokens(packed.group, part, bundle.base->shares_prefix()) <= bundle.batch_tokens)
      continue;
    part.pop_back();
    packed.parts.push_back({i});
  }
  return packed;
}

/// A response that is too long stands alone with a prompt cut for it: what it is scored beside keeps the whole prompt, and no
/// score depends on the others.
std::vector<Packed> pack_all(const Bundle& bundle, const Texts& texts) {
  std::vector<Packed> packs;
  std::vector<std::int64_t> fitting;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(texts.responses.size()); ++i) {
    if (static_cast<std::int64_t>(texts.responses[static_cast<std::size_t>(i)].size()) <= bundle.max_length) {
      fitting.push_back(i);
    } else {
      packs.push_back(pack(bundle, texts, {i}));
    }
  }
  if (!fitting.empty()) packs.push_back(pack(bundle, texts, std::move(fitting)));
  return packs;
}

/// States of all responses under several experts over one base, [N, K, H], on the CPU. As many experts as batch_tokens holds
/// copies of the texts share a pass: the base's products are taken once for all of them. What lies below their adapted layers is
/// the same for all and computed once.
/// @param experts  adapters over `base`; a null one is the base alone
at::Tensor states_of(const nn::Backbone& base, const std::vector<const nn::Expert*>& experts, const Packed& packed,
                     std::int64_t batch_tokens) {
  const auto k = static_cast<std::int64_t>(experts.size());
  std::size_t frozen = experts.front() == nullptr ? 0 : experts.front()->first_layer();
  for (const nn::Expert* expert : experts) frozen = std::min(frozen, expert == nullptr ? 0 : expert->first_layer());
  at::Tensor states_NKH = at::empty({static_cast<std::int64_t>(packed.group.responses.size()), k, base.spec().width});
  std::int64_t first = 0;
  for (const std::vector<std::int32_t>& part : packed.parts) {
    const auto reads = static_cast<std::int64_t>(part.size());
    data::PackedBatch once;
    data::append_group(once, packed.group, part, base.shares_prefix(), base.reads_last());
    const std::int64_t rows = once.tokens();
    const at::Tensor trunk_TD = frozen > 0 ? base.trunk(once, frozen) : at::Tensor();
    const std::int64_t together = std::clamp<std::int64_t>(batch_tokens / rows, 1, k);
    for (std::int64_t begin = 0; begin < k; begin += together) {
      const std::int64_t count = std::min(together, k - begin);
      data::PackedBatch batch;
      std::vector<nn::ExpertRows> expert_rows;
      for (std::int64_t e = 0; e < count; ++e) {
        data::append_group(batch, packed.group, part, base.shares_prefix(), base.reads_last());
        expert_rows.push_back({experts[static_cast<std::size_t>(begin + e)], e * rows, rows, e * reads, reads, 0});
      }
      const nn::Trunk trunk = frozen > 0 ? nn::Trunk{frozen, trunk_TD.repeat({count, 1})} : nn::Trunk{};
      const at::Tensor states = base.forward(batch, expert_rows, nullptr, trunk).view({count, reads, -1});
      states_NKH.narrow(0, first, reads).narrow(1, begin, count).copy_(states.transpose(0, 1));
    }
    first += reads;
  }
  return states_NKH;
}

/// states_of() all packs, in the order of the responses.
at::Tensor states_of(const nn::Backbone& base, const std::vector<const nn::Expert*>& experts, const std::vector<Packed>& packs,
                     std::int64_t batch_tokens) {
  std::size_t n = 0;
  for (const Packed& packed : packs) n += packed.which.size();
  at::Tensor states_NKH = at::empty({static_cast<std::int64_t>(n), static_cast<std::int64_t>(experts.size()), base.spec().width});
  for (const Packed& packed : packs) {
    const at::Tensor own_MKH = states_of(base, experts, packed, batch_tokens);
    for (std::size_t i = 0; i < packed.which.size(); ++i)
      states_NKH.select(0, packed.which[i]).copy_(own_MKH.select(0, static_cast<std::int64_t>(i)));
  }
  return states_NKH;
}

}  // namespace

const CategoryModel& find_category(const Bundle& bundle, const std::string& name) {
  std::string names;
  for (const CategoryModel& category : bundle.categories) {
    if (category.name == name) return category;
    names += (names.empty() ? "" : ", ") + category.name;
  }
  throw DataError(fmt::format("category \"{}\" is unknown; the bundle has: {}", name, names));
}

GroupScore score_group(const Bundle& bundle, const std::vector<preference::Message>& prompt,
                       const std::vector<std::string>& responses, const std::string& category) {
  const Texts texts = render(bundle, prompt, responses);
  const std::vector<Packed> packs = pack_all(bundle, texts);
  GroupScore result;
  result.route = bundle.router.route(moe::pool_prompts(*bundle.base, {data::cut_prompt(texts.prompt, {}, limits_of(bundle))},
                                                       bundle.router.pooling(), bundle.batch_tokens)[0]);
  const CategoryModel* chosen = !category.empty()           ? &find_category(bundle, category)
                                : result.route.category < 0 ? nullptr
                                                            : &bundle.categories[static_cast<std::size_t>(result.route.category)];
  result.responses.resize(responses.size());
  for (const Packed& packed : packs) {
    for (std::size_t i = 0; i < packed.which.size(); ++i) {
      const auto at = static_cast<std::size_t>(packed.which[i]);
      const std::size_t kept = packed.layout.prefix.size() + packed.layout.responses[i].size();
      result.responses[at].cut_tokens = static_cast<std::int64_t>(texts.responses[at].size() - kept);
    }
  }
  const auto n = static_cast<std::int64_t>(responses.size());
  if (chosen == nullptr) {
    const bool adapter = bundle.single.base == bundle.base;
    const at::Tensor states_NH =
        states_of(*bundle.single.base, {adapter ? bundle.single.expert.get() : nullptr}, packs, bundle.batch_tokens).select(1, 0);
    const at::Tensor rewards = at::mv(states_NH, bundle.single.expert->head_D.cpu());
    for (std::int64_t i = 0; i < n; ++i) result.responses[static_cast<std::size_t>(i)].reward = rewards[i].item<double>();
    return result;
  }
  result.category = chosen->name;
  const auto k = static_cast<std::int64_t>(chosen->experts.size());
  std::vector<const nn::Expert*> experts;
  for (const auto& expert : chosen->experts) experts.push_back(expert.get());
  const at::Tensor states_NKH = states_of(*chosen->base, experts, packs, bundle.batch_tokens), rewards_NK = at::empty({n, k});
  for (std::int64_t e = 0; e < k; ++e)
    rewards_NK.select(1, e).copy_(at::mv(states_NKH.select(1, e), experts[static_cast<std::size_t>(e)]->head_D.cpu()));
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

}  // namespace dmoerm::moe
