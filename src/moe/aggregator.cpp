#include "moe/aggregator.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/prelu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "moe/fit_groups.h"
#include "nn/safetensors.h"

namespace dmoerm::moe {
namespace {

constexpr std::int64_t kRowsAtOnce = 4096;  // bounds the memory of a forward pass over many responses
constexpr const char* kVersion = "2";       // 1, without this entry: kinds mean, linear (now stack) and mlp (now paper_mlp)

std::vector<std::int64_t> all_rows(std::int64_t count) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(count));
  std::iota(rows.begin(), rows.end(), std::int64_t{0});
  return rows;
}

/// The group of each of some rows. @param rows  int64
at::Tensor groups_of_rows(const ExpertFeatures& features, const at::Tensor& rows) {
  std::vector<std::int64_t> group(static_cast<std::size_t>(features.rewards_NK.size(0)), 0);
  for (std::size_t g = 0; g < features.groups.size(); ++g) {
    const auto first = group.begin() + features.groups[g].first;
    std::fill(first, first + features.groups[g].count, static_cast<std::int64_t>(g));
  }
  return longs(group).index_select(0, rows);
}

using Slot = std::pair<const char*, at::Tensor Aggregator::*>;
constexpr Slot kSlots[] = {{"reward_mean", &Aggregator::reward_mean_K},
                           {"reward_std", &Aggregator::reward_std_K},
                           {"weight", &Aggregator::weight_K},
                           {"state_mean", &Aggregator::state_mean_F},
                           {"state_std", &Aggregator::state_std_F},
                           {"w1", &Aggregator::w1_HF},
                           {"b1", &Aggregator::b1_H},
                           {"slope", &Aggregator::slope},
                           {"w2", &Aggregator::w2_H},
                           {"b2", &Aggregator::b2},
                           {"prompt_mean", &Aggregator::prompt_mean_H},
                           {"prompt_std", &Aggregator::prompt_std_H},
                           {"gate_w1", &Aggregator::gate_w1},
                           {"gate_b1", &Aggregator::gate_b1},
                           {"gate_w2", &Aggregator::gate_w2},
                           {"gate_b2", &Aggregator::gate_b2},
                           {"log_scale", &Aggregator::log_scale},
                           {"length", &Aggregator::length},
                           {"length_weight", &Aggregator::length_K}};

/// Tensors that a kind needs in its file, by their names in kSlots.
std::vector<std::string> needs(const std::string& kind) {
  std::vector<std::string> names = {"reward_mean", "reward_std"};
  const auto add = [&](std::initializer_list<const char*> more) { names.insert(names.end(), more.begin(), more.end()); };
  if (kind == "mean" || kind == "stack" || kind == "mlp") add({"weight"});
  if (kind == "mlp") add({"state_mean", "state_std"});
  if (kind == "mlp" || kind == "paper_mlp") add({"w1", "b1", "slope", "w2", "b2"});
  if (kind == "gate") add({"prompt_mean", "prompt_std", "gate_w1", "gate_b1", "gate_w2", "gate_b2", "log_scale"});
  return names;
}

}  // namespace

at::Tensor Aggregator::rewards(const ExpertFeatures& features) const {
  return rewards(features, all_rows(features.rewards_NK.size(0)));
}

at::Tensor Aggregator::rewards(const ExpertFeatures& features, const std::vector<std::int64_t>& rows) const {
  const at::Tensor all = longs(rows);
  at::Tensor rewards_N = at::zeros({all.numel()});
  for (std::int64_t begin = 0; begin < all.numel(); begin += kRowsAtOnce) {
    const std::int64_t count = std::min(kRowsAtOnce, all.numel() - begin);
    rewards_N.narrow(0, begin, count).copy_(forward(features, all.narrow(0, begin, count)).detach());
  }
  return rewards_N;
}

at::Tensor Aggregator::read_rewards(const ExpertFeatures& features) const {
  DMOERM_CHECK(!reads_base_ || features.base_N.defined(), "an aggregator that reads the base's reward gets it");
  return reads_base_ ? features.all_rewards() : features.rewards_NK;
}

at::Tensor Aggregator::standardised(const ExpertFeatures& features) const {
  return (read_rewards(features) - reward_mean_K) / reward_std_K;
}

at::Tensor Aggregator::network(const at::Tensor& inputs_NF) const {
  return at::mv(at::prelu(at::addmm(b1_H, inputs_NF, w1_HF.t()), slope), w2_H) + b2;
}

at::Tensor Aggregator::gated_rewards(const ExpertFeatures& features, const at::Tensor& rows) const {
  at::Tensor z_NR = (read_rewards(features).index_select(0, rows) - reward_mean_K) / reward_std_K;
  if (length_K.defined()) {
    const at::Tensor lengths_N = (features.length_N.index_select(0, rows) - length[0]) / length[1];
    z_NR = z_NR - lengths_N.unsqueeze(1) * length_K;
  }
  return z_NR;
}

at::Tensor Aggregator::gate_weights(const ExpertFeatures& features, const at::Tensor& groups) const {
  const at::Tensor prompts_GH = features.prompts_GH.read(groups).to(gate_w1.device());
  const at::Tensor hidden = at::addmm(gate_b1, (prompts_GH - prompt_mean_H) / prompt_std_H, gate_w1.t()).relu();
  const at::Tensor shares_GR = at::softmax(at::addmm(gate_b2, hidden, gate_w2.t()), 1);
  return (shares_GR * log_scale.exp()).cpu();
}

at::Tensor Aggregator::forward(const ExpertFeatures& features, const at::Tensor& rows) const {
  if (kind_ == "gate") return (gated_rewards(features, rows) * gate_weights(features, groups_of_rows(features, rows))).sum(1);
  const auto states = [&] { return features.states_NKH.read(rows).flatten(1).to(w1_HF.device()); };
  if (kind_ == "paper_mlp") return network(states()).cpu();
  const at::Tensor z_NR = (read_rewards(features).index_select(0, rows) - reward_mean_K) / reward_std_K;
  if (kind_ == "wco") return z_NR.amin(1);
  if (kind_ == "uwo") return z_NR.mean(1) - z_NR.var(1, /*unbiased=*/false) * variance_price;
  const at::Tensor stacked_N = at::mv(z_NR, weight_K);
  return kind_ == "mlp" ? stacked_N + network((states() - state_mean_F) / state_std_F).cpu() : stacked_N;
}

at::Tensor Aggregator::contributions(const ExpertFeatures& features) const {
  if (!adds_up()) return {};
  if (kind_ != "gate") return standardised(features) * weight_K;
  // The weights are computed once for each prompt: those of a row of many could depend on the others in their last bits.
  const at::Tensor rows = longs(all_rows(features.rewards_NK.size(0)));
  const at::Tensor weights_GR = gate_weights(features, longs(all_rows(features.prompts_GH.size(0))));
  return (gated_rewards(features, rows) * weights_GR.index_select(0, groups_of_rows(features, rows))).detach();
}

bool Aggregator::is_sum(const std::string& kind) {
  return kind == "mean" || kind == "stack" || kind == "gate" || kind == "linear";
}

double Aggregator::sensitivity() const {
  if (kind_ == "paper_mlp") return 0;
  if (kind_ == "gate") return (log_scale.exp().cpu() / reward_std_K.min()).item<double>();
  if (kind_ == "wco") return (1 / reward_std_K.min()).item<double>();
  // The slope of a variance grows with the distance of z from its mean; four deviations are far.
  if (kind_ == "uwo") return (1 / reward_std_K.min()).item<double>() * (1 + 8 * variance_price);
  return (weight_K.abs() / reward_std_K).sum().item<double>();
}

void Aggregator::save(const std::filesystem::path& file) const {
  nn::NamedTensors tensors;
  for (const auto& [name, member] : kSlots) {
    if ((this->*member).defined()) tensors.emplace_back(name, this->*member);
  }
  nn::save_safetensors(file, tensors,
                       {{"kind", kind_},
                        {"version", kVersion},
                        {"reads_base", reads_base_ ? "true" : "false"},
                        {"variance_price", fmt::format("{}", variance_price)},
                        {"validation_accuracy", fmt::format("{}", validation_accuracy_)},
                        {"best_step", std::to_string(best_step_)}});
}

Aggregator Aggregator::load(const std::filesystem::path& file) {
  const auto reader = nn::SafetensorsReader::open(file);
  const auto stated = [&](const char* key, const char* otherwise) -> std::string {
    const auto found = reader.metadata().find(key);
    if (found == reader.metadata().end() && otherwise == nullptr)
      throw DataError("not-an-aggregator", fmt::format("{}: metadata {} is missing: not an aggregator", file.string(), key));
    return found == reader.metadata().end() ? otherwise : found->second;
  };
  Aggregator a;
  a.kind_ = stated("kind", nullptr);
  const std::string version = stated("version", "1");
  if (version == "1" && a.kind_ == "linear") a.kind_ = "stack";
  if (version == "1" && a.kind_ == "mlp") a.kind_ = "paper_mlp";
  const auto kind = config::from_word<config::AggregatorKind>(a.kind_);
  if (!kind || *kind == config::AggregatorKind::best || (version != "1" && version != kVersion))
    throw DataError("unknown-aggregator",
                    fmt::format("{}: aggregator kind {} of version {} is unknown", file.string(), a.kind_, version));
  a.validation_accuracy_ = std::strtod(stated("validation_accuracy", nullptr).c_str(), nullptr);
  a.best_step_ = std::strtoll(stated("best_step", nullptr).c_str(), nullptr, 10);
  a.reads_base_ = stated("reads_base", "false") == "true";
  a.variance_price = std::strtod(stated("variance_price", "0").c_str(), nullptr);
  const std::vector<std::string> names = reader.names();
  std::vector<std::string> needed = needs(a.kind_);
  for (const char* name : {"length", "length_weight"}) {  // each is read with the other
    if (std::ranges::find(names, name) != names.end()) needed.insert(needed.end(), {"length", "length_weight"});
  }
  for (const auto& [name, member] : kSlots) {
    const auto in = [slot = std::string(name)](const auto& list) { return std::ranges::find(list, slot) != list.end(); };
    if (in(names) || in(needed)) a.*member = reader.load(name);
  }
  return a;
}

}  // namespace dmoerm::moe
