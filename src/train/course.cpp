#include "train/course.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/log.h"
#include "base/rng.h"
#include "train/score_groups.h"

namespace dmoerm::train {
namespace {

/// A fixed seeded draw of at most `count` groups, in order.
std::vector<LabelledGroup> draw(std::vector<LabelledGroup> groups, std::int64_t count, std::uint64_t seed,
                                const std::string& name) {
  if (count <= 0 || static_cast<std::int64_t>(groups.size()) <= count) return groups;
  std::vector<std::size_t> order(groups.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  Rng(seed, "validation/" + name).shuffle(order);
  order.resize(static_cast<std::size_t>(count));
  std::ranges::sort(order);
  std::vector<LabelledGroup> drawn;
  for (const std::size_t i : order) drawn.push_back(groups[i]);
  return drawn;
}

}  // namespace

Course::Course(Trainee& trainee, const TrainerContext& context)
    : trainee_(trainee),
      validation_(draw(trainee.validation, context.train.eval_groups_max, context.seed, trainee.name)),
      order_(copies_of(context.store, trainee.training), context.seed, trainee.name),
      steps_total_(total_steps(context.train, context.store, trainee.training)),
      gradient_expert_(trainee.backbone->spec(), trainee.expert->lora(), trainee.backbone->device()) {
  if (trainee.trains_all) {
    gradient_weights_ = std::make_unique<model::Weights>(trainee.backbone->spec(), trainee.backbone->device());
    parameters_ = {trainee.backbone->weights().flat, trainee.expert->head_D};
    gradients_ = {gradient_weights_->flat, gradient_expert_.head_D};
  } else {
    parameters_ = {trainee.expert->flat};
    gradients_ = {gradient_expert_.flat};
  }
  for (const at::Tensor& p : parameters_) best_.push_back(p.clone());
  optimizer_ = std::make_unique<AdamW>(parameters_, context.train);
}

std::vector<const LabelledGroup*> Course::groups_of_step(std::int64_t step, std::int64_t count) {
  std::vector<const LabelledGroup*> groups;
  for (std::int64_t i = 0; i < count; ++i) groups.push_back(&trainee_.training[order_.at(step * count + i)]);
  return groups;
}

void Course::update(const TrainerContext& context, std::int64_t step) {
  const double norm = gradient_norm(gradients_);
  if (!std::isfinite(norm)) {
    fail("the gradient is not finite", step);
    return;
  }
  const double clip = context.train.clip_norm > 0 && norm > context.train.clip_norm ? context.train.clip_norm / norm : 1.0;
  optimizer_->step(parameters_, gradients_, learning_rate(context.train, step, steps_total_), step + 1, clip);
  last_norm_ = norm;
}

void Course::fail(const std::string& why, std::int64_t step) {
  failed_step_ = step;
  outcome_.failure = why;
  active_ = false;
}

void Course::evaluate(const TrainerContext& context, std::int64_t step, double train_loss, double seconds) {
  outcome_.steps = step;
  const FrozenModel frozen{trainee_.backbone.get(), adapter(), trainee_.expert->head_D, &context.trunks};
  const PairFigures figures = pair_figures(
      score_groups(context.store, frozen, validation_, context.compute.micro_batch_tokens, false, context.group), validation_);
  const bool first = history_.empty();
  const bool better = first || figures.pairs == 0 || figures.accuracy > outcome_.accuracy ||
                      (figures.accuracy == outcome_.accuracy && figures.loss < outcome_.loss);
  if (better) {
    outcome_.accuracy = figures.accuracy, outcome_.loss = figures.loss, outcome_.best_step = step;
    for (std::size_t i = 0; i < best_.size(); ++i) best_[i].copy_(parameters_[i]);
  }
  // The accuracy of few pairs is a coarse measure: a falling loss shows progress too, and patience starts again.
  waited_ = better || figures.loss < lowest_loss_ ? 0 : waited_ + 1;
  lowest_loss_ = std::min(lowest_loss_, figures.loss);
  history_.push_back({{"task", name()},
                      {"step", step},
                      {"train_loss", train_loss},
                      {"validation_accuracy", figures.accuracy},
                      {"validation_loss", figures.loss},
                      {"lr", learning_rate(context.train, step, steps_total_)},
                      {"gradient_norm", last_norm_},
                      {"seconds", seconds}});
  if (context.group.rank() == 0) {
    spdlog::info("[train] task={} step={}/{} train_loss={:.4f} validation_accuracy={:.4f} validation_loss={:.4f}{}", name(), step,
                 steps_total_, train_loss, figures.accuracy, figures.loss, better ? " best" : "");
  }
  if (step >= steps_total_ || waited_ >= context.train.patience) active_ = false;
}

TrainOutcome Course::finish(std::int64_t tokens, double seconds, double peak_mib) {
  for (std::size_t i = 0; i < best_.size(); ++i) parameters_[i].copy_(best_[i]);
  outcome_.tokens = tokens, outcome_.seconds = seconds, outcome_.peak_mib = peak_mib;
  return outcome_;
}

double Course::flops_per_token() const {
  double weights = 0;
  const auto& layers = trainee_.backbone->weights().layers;
  for (auto i = static_cast<std::size_t>(trainee_.trains_all ? 0 : trainee_.expert->lora().first_layer); i < layers.size(); ++i) {
    for (const at::Tensor* w : {&layers[i].qkv_w, &layers[i].o_w, &layers[i].up_w, &layers[i].down_w})
      weights += static_cast<double>(w->numel());
  }
  return (trainee_.trains_all ? 6 : 4) * weights;
}

void Course::write(Checkpoint& checkpoint, const std::string& prefix) const {
  checkpoint.state["courses"].push_back({{"name", name()},
                                         {"active", active_},
                                         {"accuracy", outcome_.accuracy},
                                         {"loss", outcome_.loss},
                                         {"best_step", outcome_.best_step},
                                         {"steps", outcome_.steps},
                                         {"failure", outcome_.failure},
                                         {"failed_step", failed_step_},
                                         {"waited", waited_},
                                         {"lowest_loss", lowest_loss_},
                                         {"norm", last_norm_},
                                         {"history", history_}});
  for (const auto& [label, tensors] : slots()) {
    for (std::size_t i = 0; i < tensors->size(); ++i)
      checkpoint.tensors.push_back({fmt::format("{}{}.{}", prefix, label, i), (*tensors)[i]});
  }
}

void Course::read(const CheckpointReader& checkpoint, const nlohmann::json& state, const std::string& prefix) {
  active_ = state.at("active"), waited_ = state.at("waited"), lowest_loss_ = state.at("lowest_loss"),
  last_norm_ = state.at("norm"), history_ = state.at("history");
  outcome_.accuracy = state.at("accuracy"), outcome_.loss = state.at("loss"), outcome_.best_step = state.at("best_step");
  outcome_.steps = state.at("steps"), outcome_.failure = state.at("failure"), failed_step_ = state.at("failed_step");
  for (const auto& [label, tensors] : slots()) {
    for (std::size_t i = 0; i < tensors->size(); ++i)
      (*tensors)[i].copy_(checkpoint.load(fmt::format("{}{}.{}", prefix, label, i)));
  }
}

std::vector<std::pair<const char*, const std::vector<at::Tensor>*>> Course::slots() const {
  return {{"parameter", &parameters_}, {"best", &best_}, {"first", &optimizer_->first}, {"second", &optimizer_->second}};
}

}  // namespace dmoerm::train
