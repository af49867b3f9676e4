#include "moe/aggregator_fit.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/counted.h"
#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"
#include "moe/adam_fit.h"
#include "moe/fit_groups.h"
#include "moe/length_share.h"
#include "moe/pairwise_ridge.h"

namespace dmoerm::moe {
namespace {

constexpr std::int64_t kHidden = 64;           // hidden units of mlp and gate
constexpr std::size_t kPromptsToStop = 5;      // mlp and gate need as many prompts to spare one for stopping
constexpr std::size_t kStopPromptsMost = 400;  // bounds the cost of an evaluation
constexpr std::int64_t kRowsAtOnce = 512;      // bounds the memory of sums over states
constexpr double kScaleShare = 0.1;            // share of the stack's penalty that falls on its size, and not on its direction
constexpr double kSmallest = 1e-6;             // spread of a reward or state that hardly differs
constexpr double kVariancePrice = 0.5;         // of uwo, where no folds can choose it (arXiv 2310.02743)
constexpr double kVariancePrices[] = {0, 0.05, 0.1, 0.2, 0.5, 1, 2};

at::Tensor uniform(at::IntArrayRef shape, double bound, Rng& rng) {
  at::Tensor values = at::zeros(shape);
  float* v = values.data_ptr<float>();
  for (std::int64_t i = 0; i < values.numel(); ++i) v[i] = static_cast<float>((2 * rng.uniform() - 1) * bound);
  return values;
}

/// Strengths of the stack's penalty, from hardly any to the mean itself, where a group counts as 1.
std::vector<double> strengths() {
  std::vector<double> all;
  for (double exponent = -2; exponent <= 4; exponent += 0.5) all.push_back(std::pow(10, exponent));
  return all;
}

struct Moments {
  at::Tensor mean_F, std_F;
};
/// Mean and standard deviation of some rows, flattened. One that hardly differs gets a deviation of 1.
Moments moments(const LazyRows& values, const at::Tensor& rows) {
  at::Tensor sum = at::zeros({values.width()}, at::kDouble), squares = at::zeros({values.width()}, at::kDouble);
  for (std::int64_t begin = 0; begin < rows.numel(); begin += kRowsAtOnce) {
    const std::int64_t count = std::min(kRowsAtOnce, rows.numel() - begin);
    const at::Tensor own = values.read(rows.narrow(0, begin, count)).flatten(1).to(at::kDouble);
    sum += own.sum(0), squares += own.square().sum(0);
  }
  const auto n = static_cast<double>(std::max<std::int64_t>(1, rows.numel()));
  const at::Tensor mean = sum / n, std = (squares / n - mean.square()).clamp_min(0).sqrt();
  return {mean.to(at::kFloat), std.masked_fill(std < kSmallest, 1).to(at::kFloat)};
}

}  // namespace

/// Fits one aggregator on some groups.
class AggregatorFit {
 public:
  AggregatorFit(std::string kind, const ExpertFeatures& features, const std::vector<std::size_t>& some,
                const config::AggregatorConfig& config, std::uint64_t seed, at::Device device)
      : features_(features),
        some_(some),
        config_(config),
        seed_(seed),
        device_(device),
        prompts_(groups_of_prompts(features.groups, some)) {
    a_.kind_ = std::move(kind);
  }

  Aggregator fit(const ExpertFeatures& validation) {
    const std::string& kind = a_.kind_;
    standardise(kind == "stack" || kind == "mlp" || kind == "gate");
    if (kind == "mean") weigh_equally();
    if (kind == "stack") stack(some_);
    if (kind == "mlp") mlp();
    if (kind == "gate") gate();
    if (kind == "paper_mlp") paper_mlp(validation);
    if (kind == "uwo") a_.variance_price = variance_price();
    return std::move(a_);
  }

 private:
  using Member = at::Tensor Aggregator::*;

  void standardise(bool with_base) {
    a_.reads_base_ = with_base && features_.base_N.defined();
    const SomeGroups selected = select_groups(features_.groups, some_);
    const at::Tensor rewards_NR = a_.read_rewards(features_).index_select(0, longs(selected.rows));
    a_.reward_mean_K = rewards_NR.size(0) > 0 ? rewards_NR.mean(0) : at::zeros({rewards_NR.size(1)});
    a_.reward_std_K = spread_within_groups(rewards_NR, selected.groups).clamp_min(kSmallest);
  }

  /// The experts have equal weights, the base has none.
  void weigh_equally() {
    const std::int64_t k = features_.rewards_NK.size(1);
    a_.weight_K = at::zeros({a_.reward_mean_K.size(0)});
    a_.weight_K.narrow(0, 0, k).fill_(1.0 / static_cast<double>(k));
  }

  /// Weights by ridge-logistic regression, drawn to those of the mean; their common size costs a tenth of what their direction
  /// does.
  void stack(const std::vector<std::size_t>& groups) {
    weigh_equally();
    const at::Tensor towards_R = a_.weight_K.to(at::kDouble), unit_R = towards_R / towards_R.norm();
    const RidgePenalty penalty{.towards_F = towards_R,
                               .shape = at::eye(towards_R.size(0), at::kDouble) - at::outer(unit_R, unit_R) * (1 - kScaleShare)};
    const PairDifferences pairs = pair_differences(a_.standardised(features_), features_.groups, groups);
    a_.weight_K = choose_ridge(pairs, penalty, strengths(), 0, seed_).weight_F.to(at::kFloat);
  }

  /// The prompts whose loss says when to stop, and the others. With few prompts none are spared.
  [[nodiscard]] GroupFold fold_to_stop() const {
    if (prompts_.size() < kPromptsToStop) return {some_, {}};
    std::vector<std::vector<std::size_t>> shuffled = prompts_;
    Rng(seed_, "aggregator/stop").shuffle(shuffled);
    return fold_of(shuffled, 0, std::max(kPromptsToStop, shuffled.size() / kStopPromptsMost));
  }

  void network(const at::Tensor& w1_HF, const at::Tensor& w2_H) {
    a_.w1_HF = w1_HF.to(device_), a_.w2_H = w2_H.to(device_);
    a_.b1_H = at::zeros({w1_HF.size(0)}).to(device_), a_.slope = at::full({1}, 0.25).to(device_);
    a_.b2 = at::zeros({1}).to(device_);
  }

  /// A network whose output is zero at the start is added to the stack. While it is fitted the stack is one that has not seen the
  /// prompts that stop it either.
  void mlp() {
    const GroupFold cut = fold_to_stop();
    stack(cut.seen);
    const std::int64_t inputs = features_.states_NKH.width();
    const Moments states = moments(features_.states_NKH, longs(select_groups(features_.groups, cut.seen).rows));
    a_.state_mean_F = states.mean_F.to(device_), a_.state_std_F = states.std_F.to(device_);
    Rng rng(seed_, "aggregator/residual");
    network(uniform({kHidden, inputs}, 1.0 / std::sqrt(static_cast<double>(inputs)), rng), at::zeros({kHidden}));
    step_until_worse({&Aggregator::w1_HF, &Aggregator::b1_H, &Aggregator::slope, &Aggregator::w2_H, &Aggregator::b2}, cut,
                     config_.mlp_lr, config_.mlp_weight_decay);
    stack(some_);
  }

  /// Weights of each prompt, which are equal at the start.
  void gate() {
    DMOERM_CHECK(features_.prompts_GH.defined(), "the gate gets the states of the prompts");
    const GroupFold cut = fold_to_stop();
    take_length_out();
    const std::int64_t rewards = a_.reward_mean_K.size(0), width = features_.prompts_GH.size(1);
    std::vector<std::int64_t> seen(cut.seen.begin(), cut.seen.end());
    const Moments prompts = moments(features_.prompts_GH, longs(seen));
    a_.prompt_mean_H = prompts.mean_F.to(device_), a_.prompt_std_H = prompts.std_F.to(device_);
    Rng rng(seed_, "aggregator/gate");
    a_.gate_w1 = uniform({kHidden, width}, 1.0 / std::sqrt(static_cast<double>(width)), rng).to(device_);
    a_.gate_b1 = at::zeros({kHidden}).to(device_);
    a_.gate_w2 = at::zeros({rewards, kHidden}).to(device_), a_.gate_b2 = at::zeros({rewards}).to(device_);
    a_.log_scale = at::zeros({1}).to(device_);
    const at::Tensor equal_N = a_.rewards(features_);
    const PairDifferences pairs = pair_differences(equal_N.unsqueeze(1), features_.groups, cut.seen);
    const double scale = fit_ridge(pairs, {.towards_F = at::full({1}, 1, at::kDouble)}, 1).item<double>();
    a_.log_scale.fill_(std::log(std::clamp(scale, 0.05, 20.0)));
    step_until_worse(
        {&Aggregator::gate_w1, &Aggregator::gate_b1, &Aggregator::gate_w2, &Aggregator::gate_b2, &Aggregator::log_scale}, cut,
        config_.gate_lr, config_.gate_weight_decay);
  }

  void take_length_out() {
    if (!features_.length_N.defined()) return;
    const SomeGroups selected = select_groups(features_.groups, some_);
    const at::Tensor rows = longs(selected.rows), lengths_N = features_.length_N.index_select(0, rows);
    const double spread = spread_within_groups(lengths_N.unsqueeze(1), selected.groups).item<double>();
    if (lengths_N.numel() == 0 || spread < kSmallest) return;
    a_.length = at::tensor({lengths_N.mean().item<float>(), static_cast<float>(spread)});
    const at::Tensor standard_N = ((lengths_N - a_.length[0]) / a_.length[1]).contiguous(),
                     z_RN = a_.standardised(features_).index_select(0, rows).t().contiguous();
    const auto count = static_cast<std::size_t>(standard_N.numel());
    a_.length_K = at::zeros({z_RN.size(0)});
    for (std::int64_t r = 0; r < z_RN.size(0); ++r)
      a_.length_K[r] =
          length_share({z_RN[r].const_data_ptr<float>(), count}, {standard_N.const_data_ptr<float>(), count}, selected.groups);
  }

  void paper_mlp(const ExpertFeatures& validation) {
    const std::int64_t k = features_.states_NKH.size(1), h = features_.states_NKH.size(2);
    Rng rng(seed_, "aggregator");
    const at::Tensor w1_HF = uniform({h, k * h}, 1.0 / std::sqrt(static_cast<double>(k * h)), rng);
    network(w1_HF, uniform({h}, 1.0 / std::sqrt(static_cast<double>(h)), rng));
    std::vector<std::size_t> judging;
    for (std::size_t g = 0; g < validation.groups.size(); ++g) {
      if (!validation.groups[g].pairs.empty()) judging.push_back(g);
    }
    FitOptions options = options_of(config_.lr, config_.weight_decay);
    if (judging.empty()) {
      options.steps_max = std::max<std::int64_t>(1, config_.steps_max / 10);
      options.keep_last = true;
      spdlog::warn("[aggregator] no validation pairs: paper_mlp is trained for {} without early stopping",
                   counted(options.steps_max, "step"));
    }
    const PairRows pairs = pair_rows(validation.groups, judging);
    const auto figure = [&]() -> std::pair<double, double> {
      const at::Tensor rewards_N = a_.rewards(validation);
      return {pair_accuracy(rewards_N, validation.groups),
              -pair_loss(rewards_N.index_select(0, pairs.rows), pairs).item<double>()};
    };
    const FitResult result = step({&Aggregator::w1_HF, &Aggregator::b1_H, &Aggregator::slope, &Aggregator::w2_H, &Aggregator::b2},
                                  some_, options, "mlp", figure);
    a_.validation_accuracy_ = judging.empty() ? 0.5 : result.best, a_.best_step_ = result.best_step;
  }

  [[nodiscard]] FitOptions options_of(double lr, double weight_decay) const {
    return {lr, weight_decay, config_.max_grad_norm, config_.steps_max, config_.eval_every_steps, config_.patience};
  }

  void step_until_worse(const std::vector<Member>& members, const GroupFold& cut, double lr, double weight_decay) {
    if (cut.unseen.empty()) return;
    const PairRows pairs = pair_rows(features_.groups, cut.unseen);
    const SomeGroups judging = select_groups(features_.groups, cut.unseen);
    const auto figure = [&]() -> std::pair<double, double> {
      const at::Tensor rewards_N = a_.forward(features_, pairs.rows).detach();
      return {-pair_loss(rewards_N, pairs).item<double>(), 0};
    };
    const FitResult result =
        step(members, cut.seen, options_of(lr, weight_decay), a_.kind_ == "mlp" ? "residual" : "gate", figure);
    a_.best_step_ = result.best_step;
    a_.validation_accuracy_ = pair_accuracy(a_.rewards(features_, judging.rows), judging.groups);
  }

  /// Steps on those of some groups that have pairs.
  FitResult step(const std::vector<Member>& members, const std::vector<std::size_t>& groups, const FitOptions& options,
                 const std::string& stream, const std::function<std::pair<double, double>()>& figure) {
    std::vector<std::size_t> usable;
    for (const std::size_t g : groups) {
      if (!features_.groups[g].pairs.empty()) usable.push_back(g);
    }
    if (usable.empty()) return {};
    const std::size_t batch = std::min(static_cast<std::size_t>(config_.groups_per_step), usable.size());
    std::vector<std::size_t> order;
    std::size_t pass = 0;  // the number of the pass that `order` belongs to
    const auto loss = [&](std::int64_t number) {
      std::vector<std::size_t> chosen;
      for (std::size_t at = static_cast<std::size_t>(number) * batch; chosen.size() < batch; ++at) {
        if (order.empty() || at / usable.size() != pass) {
          pass = at / usable.size();
          order = usable;
          Rng(seed_, "aggregator/order/" + stream, pass).shuffle(order);
        }
        chosen.push_back(order[at % usable.size()]);
      }
      const PairRows pairs = pair_rows(features_.groups, chosen);
      return pair_loss(a_.forward(features_, pairs.rows), pairs);
    };
    std::vector<at::Tensor> parameters;
    for (const Member member : members) parameters.push_back(a_.*member);
    const FitResult result = fit_adamw(parameters, options, loss, figure);
    for (std::size_t i = 0; i < members.size(); ++i) a_.*members[i] = parameters[i];
    return result;
  }

  /// The price that orders most pairs of prompts held out; of equal ones the smallest.
  [[nodiscard]] double variance_price() const {
    const std::size_t folds = std::min(kFolds, prompts_.size());
    if (folds < 2) return kVariancePrice;
    std::vector<std::vector<std::size_t>> shuffled = prompts_;
    Rng(seed_, "aggregator/price").shuffle(shuffled);
    std::vector<double> right(std::size(kVariancePrices), 0);
    for (std::size_t fold = 0; fold < folds; ++fold) {
      const auto [seen, unseen] = fold_of(shuffled, fold, folds);
      AggregatorFit part("uwo", features_, seen, config_, seed_, device_);
      part.standardise(false);
      const SomeGroups rest = select_groups(features_.groups, unseen);
      double pairs = 0;
      for (const ExpertFeatures::Group& group : rest.groups) pairs += static_cast<double>(group.pairs.size());
      for (std::size_t i = 0; i < right.size(); ++i) {
        part.a_.variance_price = kVariancePrices[i];
        right[i] += pairs * pair_accuracy(part.a_.rewards(features_, rest.rows), rest.groups);
      }
    }
    return kVariancePrices[std::ranges::max_element(right) - right.begin()];
  }

  const ExpertFeatures& features_;
  const std::vector<std::size_t>& some_;
  const config::AggregatorConfig& config_;
  std::uint64_t seed_;
  at::Device device_;
  std::vector<std::vector<std::size_t>> prompts_;  ///< Groups with pairs of each prompt
  Aggregator a_;
};

Aggregator mean_aggregator(const ExpertFeatures& train) { return fit_aggregator("mean", train, {}, {}, 0); }

Aggregator fit_aggregator(const std::string& kind, const ExpertFeatures& train, const ExpertFeatures& validation,
                          const config::AggregatorConfig& config, std::uint64_t seed, at::Device device) {
  return fit_aggregator(kind, train, numbers_below(train.groups.size()), validation, config, seed, device);
}

Aggregator fit_aggregator(const std::string& kind, const ExpertFeatures& train, const std::vector<std::size_t>& some,
                          const ExpertFeatures& validation, const config::AggregatorConfig& config, std::uint64_t seed,
                          at::Device device) {
  const auto known = config::from_word<config::AggregatorKind>(kind);
  if (!known || *known == config::AggregatorKind::best)
    throw ConfigError("unknown-aggregator", fmt::format("aggregator.kind {} is unknown ({})", kind,
                                                        fmt::join(config::words<config::AggregatorKind>(), ", ")));
  return AggregatorFit(kind, train, some, config, seed, device).fit(validation);
}

}  // namespace dmoerm::moe
