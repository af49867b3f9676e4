#include "run/prompt_ratings.h"

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <string>

#include "nn/pairwise_loss.h"

namespace dmoerm::run {
namespace {

/// The groups that the bases of a fold rate; 0 = the bases of all groups of phase 1.
std::vector<train::LabelledGroup> rated_groups(const RunContext& context, std::int32_t fold) {
  const config::RunConfig& config = context.config();
  std::vector<train::Part> parts;
  if (fold > 0 || config.folds == 0) parts.emplace_back(train::Subset::phase3, fold);
  if (fold == 0) parts.emplace_back(train::Subset::validation);
  std::vector<train::LabelledGroup> groups;
  for (std::int32_t c = 0; c < std::ssize(config.categories); ++c) {
    for (const train::Part& part : parts)
      std::ranges::move(train::labelled_groups(context.store(), c, part, preference::kOverall, config),
                        std::back_inserter(groups));
  }
  return groups;
}

/// The mean log-likelihood of each group's pairs under one model.
std::vector<double> log_likelihoods(RunContext& context, const plan::TaskId& base,
                                    const std::vector<train::LabelledGroup>& groups, comm::Communicator& ranks) {
  const train::GroupRewards scored = context.scorer(ranks).rewards(context.load_model(base), groups);
  std::vector<double> found;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    std::vector<float> unused(groups[g].responses.size());
    found.push_back(
        -nn::pairwise_loss(std::span(scored.rewards).subspan(scored.first[g], unused.size()), groups[g].pairs, 0.0, unused));
  }
  return found;
}

/// The same, or what an earlier start of the task kept of it. Collective.
std::vector<double> kept_log_likelihoods(RunContext& context, const plan::TaskId& base,
                                         const std::vector<train::LabelledGroup>& groups, TaskParts& parts,
                                         comm::Communicator& ranks) {
  const std::string name = fmt::format("ratings-{}-{}", base.fold, context.category_index(base));
  std::vector<double> found;
  if (const auto kept = ranks.rank() == 0 ? parts.load(name) : std::nullopt) {
    const at::Tensor& values = kept->front().second;
    if (values.numel() == std::ssize(groups))
      found.assign(values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel());
  }
  if (comm::largest_of(ranks, found.empty() ? 0 : 1) > 0) {
    found.resize(groups.size());
    ranks.broadcast(std::as_writable_bytes(std::span(found)), 0);
    return found;
  }
  if (context.progress().doing) context.progress().doing(fmt::format("rates {} prompts by {}", groups.size(), base.text()));
  found = log_likelihoods(context, base, groups, ranks);
  if (ranks.rank() == 0) {
    const auto doubles = at::TensorOptions().dtype(at::kDouble);
    parts.keep(name, {{"log_likelihoods", at::tensor(at::ArrayRef<double>(found), doubles)}});
  }
  return found;
}

}  // namespace

PromptRatings rate_prompts(RunContext& context, TaskParts& parts, comm::Communicator& ranks) {
  const std::vector<config::CategoryConfig>& categories = context.config().categories;
  PromptRatings ratings;
  for (std::int32_t fold = 0; fold <= context.config().folds; ++fold) {
    const std::vector<train::LabelledGroup> groups = rated_groups(context, fold);
    if (groups.empty()) continue;
    for (const config::CategoryConfig& c : categories) {
      const std::vector<double> found = kept_log_likelihoods(context, plan::TaskId::base(c.name, fold), groups, parts, ranks);
      for (std::size_t g = 0; g < groups.size(); ++g) ratings[groups[g].group].push_back(found[g]);
    }
  }
  return ratings;
}

at::Tensor ratings_of(const PromptRatings& ratings, const std::vector<std::int64_t>& groups, std::int64_t categories) {
  at::Tensor found_NC = at::full({std::ssize(groups), categories}, std::nan(""), at::kDouble);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const auto rated = ratings.find(groups[i]);
    for (std::size_t c = 0; rated != ratings.end() && c < rated->second.size(); ++c)
      found_NC[static_cast<std::int64_t>(i)][static_cast<std::int64_t>(c)] = rated->second[c];
  }
  return found_NC;
}

}  // namespace dmoerm::run
