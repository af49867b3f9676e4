#include "train/trainee_state.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/record_function.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <numeric>

#include "base/error.h"
#include "base/log.h"
#include "nn/transfer.h"
#include "plan/training_steps.h"
#include "train/gradient_norm.h"
#include "train/group_scorer.h"
#include "train/learning_rate.h"
#include "train/trainee.h"

namespace dmoerm::train {
namespace {

std::vector<std::int64_t> widths_of(const std::vector<at::Tensor>& slices) {
  std::vector<std::int64_t> widths;
  for (const at::Tensor& slice : slices) widths.push_back(slice.numel());
  ++widths.back();  // the loss
  return widths;
}

/// The vectors among a slice's parameters, norms and biases, which have no weight decay, as in transformers' Trainer. Matrices
/// have: the embeddings, an adapter and the value head too.
/// @param own  range of this rank's elements, from which the result counts
std::vector<nn::Elements> undecayed_elements(const nn::RewardModel& model, const at::Tensor& slice,
                                             std::pair<std::int64_t, std::int64_t> own) {
  std::vector<nn::Elements> elements;
  if (model.adapter() != nullptr) return elements;
  for (const auto& [name, tensor] : model.backbone().weights().named()) {
    const std::int64_t begin = tensor.storage_offset() - slice.storage_offset(), end = begin + tensor.numel();
    if (tensor.dim() != 1 || !tensor.is_alias_of(slice) || begin < 0 || end > slice.numel()) continue;
    const nn::Elements clipped{std::max(begin, own.first) - own.first, std::min(end, own.second) - own.first};
    if (clipped.begin < clipped.end) elements.push_back(clipped);
  }
  std::ranges::sort(elements, {}, &nn::Elements::begin);
  return elements;
}

/// JSON has no NaN and writes null.
double number(const nlohmann::json& value) { return value.is_null() ? std::nan("") : value.get<double>(); }

}  // namespace

TraineeState::TraineeState(Trainee& trainee, const TrainerContext& context)
    : trainee_(trainee),
      ranks_(context.ranks),
      validation_(drawn_groups(trainee.validation, context.train.eval_groups_max, context.seed, "validation/" + trainee.name)),
      order_(copies_of(context.store, trainee.training), context.seed, trainee.name),
      steps_total_(plan::training_steps(context.train, static_cast<double>(epoch_groups(context.store, trainee.training)))),
      gradients_(trainee.model),
      whole_(trainee.model.trained_slices()),
      sharded_(whole_.size() > 1 && context.train.shard && context.ranks.size() > 1),
      sums_(context.ranks, widths_of(whole_),
            {.shards = sharded_, .overlap = whole_.size() > 1, .device = trainee.model.backbone().device()}) {
  if (context.train.warmup_steps >= steps_total_) {
    throw ConfigError("warmup-takes-all-steps",
                      fmt::format("{}: warmup_steps {} leaves nothing of its {} steps, in which the learning rate must reach lr: "
                                  "lower warmup_steps, or raise epochs_max or steps_max",
                                  trainee.name, context.train.warmup_steps, steps_total_));
  }
  std::vector<std::vector<nn::Elements>> undecayed;
  for (std::size_t p = 0; p < whole_.size(); ++p) {
    parameters_.push_back(own_of(p, whole_[p]).to(at::kFloat));
    best_.push_back(parameters_.back().clone());
    if (context.train.average_decay > 0) average_.push_back(parameters_.back().clone());
    undecayed.push_back(undecayed_elements(trainee.model, whole_[p], own_range(p)));
  }
  const nn::AdamWOptions options{context.train.beta1, context.train.beta2, context.train.eps, context.train.weight_decay};
  optimizer_ = std::make_unique<nn::AdamW>(parameters_, options, std::move(undecayed));
}

std::pair<std::int64_t, std::int64_t> TraineeState::own_range(std::size_t slice) const {
  const std::int64_t all = whole_[slice].numel();
  if (!sharded_) return {0, all};
  const comm::Bounds& bounds = sums_.bounds(slice);
  const auto r = static_cast<std::size_t>(ranks_.rank());
  const auto clip = [&](std::size_t bound) { return std::min(all, static_cast<std::int64_t>(bound)); };
  return {clip(bounds[r]), clip(bounds[r + 1])};
}

at::Tensor TraineeState::own_of(std::size_t slice, const at::Tensor& whole) const {
  if (!sharded_) return whole;
  const auto [begin, end] = own_range(slice);
  return whole.narrow(0, begin, end - begin);
}

std::vector<const LabelledGroup*> TraineeState::groups_of_step(std::int64_t step, std::int64_t count) {
  std::vector<const LabelledGroup*> groups;
  for (std::int64_t i = 0; i < count; ++i) groups.push_back(&trainee_.training[order_.at(step * count + i)]);
  return groups;
}

const nn::LoraAdapter* TraineeState::adapter_of_step() {
  const nn::LoraAdapter* own = trainee_.model.adapter();
  const at::ScalarType dtype = trainee_.model.backbone().dtype();
  if (own == nullptr || own->flat.scalar_type() == dtype) return own;
  if (!narrowed_) narrowed_ = own->in(dtype);
  return &*narrowed_;
}

void TraineeState::begin_micro_batch(nn::BackboneGradients& sinks) {
  gradients_.connect(
      sinks, [this](std::size_t, const at::Tensor& buffer) { sums_.wait_until_unused(buffer); },
      [this](std::size_t slice, const at::Tensor& gradient) { sums_.add(slice, gradient); });
}

void TraineeState::end_micro_batch(double loss) {
  const at::Tensor& last = gradients_.last_slice();
  at::Tensor with_loss = at::empty({last.numel() + 1}, last.options());
  with_loss.narrow(0, 0, last.numel()).copy_(last);
  with_loss.narrow(0, last.numel(), 1).fill_(loss);
  sums_.add(whole_.size() - 1, with_loss);
  sums_.end_micro_batch();
}

double TraineeState::norm_of(std::span<const double> squares, double& loss) const {
  if (!sharded_) return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
  // Every rank gets all ranks' blocks, and the loss, which the last rank holds, and adds them in the order of a single rank.
  std::vector<double> own(squares.begin(), squares.end());
  own.push_back(loss);
  std::vector<std::vector<double>> all;
  for (const auto& bytes : ranks_.all_gather(std::as_bytes(std::span<const double>(own)))) {
    all.emplace_back(bytes.size() / sizeof(double));
    std::memcpy(all.back().data(), bytes.data(), bytes.size());
  }
  loss = all.back().back();
  std::vector<std::size_t> next(all.size());
  double sum = 0;
  for (std::size_t slice = 0; slice < whole_.size(); ++slice) {
    const auto end = [&](std::size_t r) {
      return std::min(whole_[slice].numel(), static_cast<std::int64_t>(sums_.bounds(slice)[r]));
    };
    for (std::size_t r = 0; r < all.size(); ++r) {
      for (std::int64_t at = end(r); at < end(r + 1); at += kNormBlock) sum += all[r][next[r]++];
    }
  }
  return std::sqrt(sum);
}

at::Tensor TraineeState::take_sums() {
  sums_.finish();
  at::Tensor loss;
  for (std::size_t slice = 0; slice < whole_.size(); ++slice) {
    const at::Tensor sum = sums_.take(slice);
    const std::int64_t own = parameters_[slice].numel();
    if (slice + 1 == whole_.size() && sum.numel() > own) loss = sum.narrow(0, own, 1);
    measured_.push_back(sum.narrow(0, 0, own).to(parameters_[slice].device()));
  }
  return loss;
}

std::vector<std::vector<double>> TraineeState::measure(const std::vector<TraineeState*>& trainees) {
  RECORD_FUNCTION("train::optimizer", {});
  std::vector<at::Tensor> gradients, losses;
  for (TraineeState* trainee : trainees) {
    losses.push_back(trainee->take_sums());
    gradients.insert(gradients.end(), trainee->measured_.begin(), trainee->measured_.end());
  }
  std::vector<at::Tensor> parts = {block_squares(gradients)};
  const at::TensorOptions options = parts.front().options();
  for (const at::Tensor& loss : losses)
    parts.push_back(loss.defined() ? loss.to(options.device(), at::kDouble) : at::zeros({1}, options));
  const at::Tensor on_host = nn::download(at::cat(parts));
  const double* squares = on_host.const_data_ptr<double>();
  const double* loss = squares + on_host.numel() - std::ssize(trainees);
  std::vector<std::vector<double>> measured;
  for (const TraineeState* trainee : trainees) {
    std::int64_t blocks = 0;
    for (const at::Tensor& gradient : trainee->measured_) blocks += (gradient.numel() + kNormBlock - 1) / kNormBlock;
    measured.emplace_back(squares, squares + blocks).push_back(*loss++);
    squares += blocks;
  }
  return measured;
}

double TraineeState::update(const TrainerContext& context, std::int64_t step, std::span<const double> measured) {
  RECORD_FUNCTION("train::optimizer", {});
  const std::vector<at::Tensor> gradients = std::move(measured_);
  measured_.clear();
  narrowed_.reset();
  double loss = measured.back();
  const double norm = norm_of(measured.first(measured.size() - 1), loss);
  if (!std::isfinite(norm) || !std::isfinite(loss)) {
    fail("the loss or its gradient is not finite", step);
    return loss;
  }
  const double clip =
      context.train.max_grad_norm > 0 && norm > context.train.max_grad_norm ? context.train.max_grad_norm / norm : 1.0;
  optimizer_->step(parameters_, gradients, learning_rate(context.train, step, steps_total_), step + 1, clip);
  if (!average_.empty()) take_into_average(context.train.average_decay, step + 1);
  publish_parameters();
  last_norm_ = norm;
  return loss;
}

comm::Pending TraineeState::gather(std::size_t slice) const {
  // The gather only moves bytes, so two bfloat16 travel as one float. Chunks end at blocks, and slices at a multiple of two.
  const at::Tensor whole = whole_[slice].view(at::kFloat);
  const std::size_t in_one = sizeof(float) / whole_[slice].element_size();
  comm::Bounds bounds = sums_.bounds(slice);
  for (std::size_t& bound : bounds) bound = std::min(bound, static_cast<std::size_t>(whole_[slice].numel())) / in_one;
  const auto start = [&](const at::Tensor& t) {
    return ranks_.start_all_gather({t.data_ptr<float>(), static_cast<std::size_t>(t.numel())}, bounds);
  };
  if (whole.is_cpu() || ranks_.on_device()) return start(whole);
  const at::Tensor host = whole.cpu();
  start(host).wait();
  whole.copy_(host);
  return {};
}

void TraineeState::publish_parameters() {
  for (std::size_t slice = 0; slice < whole_.size(); ++slice) {
    if (whole_[slice].scalar_type() != at::kFloat) own_of(slice, whole_[slice]).copy_(parameters_[slice]);
  }
  if (!sharded_) return;
  std::vector<comm::Pending> pending;
  for (std::size_t slice = 0; slice < whole_.size(); ++slice) pending.push_back(gather(slice));
  for (comm::Pending& p : pending) p.wait();
}

void TraineeState::fail(const std::string& why, std::int64_t step) {
  failed_step_ = step;
  outcome_.failure = why;
  active_ = false;
}

void TraineeState::take_into_average(double decay, std::int64_t step) {
  // The weight that makes the average one of the steps' weights alone, without those of the start.
  const double newest = (1 - decay) / (1 - std::pow(decay, static_cast<double>(step)));
  for (std::size_t i = 0; i < average_.size(); ++i) average_[i].lerp_(parameters_[i], newest);
}

void TraineeState::exchange_average() {
  for (std::size_t i = 0; i < average_.size(); ++i) {
    const at::Tensor kept = parameters_[i].clone();
    parameters_[i].copy_(average_[i]);
    average_[i].copy_(kept);
  }
}

PairFigures TraineeState::measured_figures(const TrainerContext& context, const std::function<bool(const PairFigures&)>& better) {
  const GroupScorer scorer{context.store, context.compute.micro_batch_tokens, context.trunks, context.ranks};
  const auto judge_and_keep = [&] {
    const PairFigures found = pair_figures(scorer.rewards(trainee_.model, validation_), validation_);
    if (better(found)) {
      for (std::size_t i = 0; i < best_.size(); ++i) best_[i].copy_(parameters_[i]);
    }
    return found;
  };
  if (average_.empty()) return judge_and_keep();
  exchange_average();
  PairFigures figures;
  try {
    publish_parameters();
    figures = judge_and_keep();
  } catch (...) {
    exchange_average();  // what is saved is the state of the step
    throw;
  }
  exchange_average();
  publish_parameters();
  return figures;
}

void TraineeState::evaluate(const TrainerContext& context, std::int64_t step, double train_loss, double seconds) {
  outcome_.steps = step;
  const bool first = history_.empty();
  const bool by_loss = context.train.select_by == config::SelectBy::loss;
  const auto is_better = [&](const PairFigures& figures) {
    const std::pair found{by_loss ? -figures.loss : figures.accuracy, by_loss ? figures.accuracy : -figures.loss},
        best{by_loss ? -outcome_.loss : outcome_.accuracy, by_loss ? outcome_.accuracy : -outcome_.loss};
    return first || figures.pairs == 0 || found > best;
  };
  const PairFigures figures = measured_figures(context, is_better);
  const bool higher = figures.accuracy > highest_accuracy_, better = is_better(figures);
  if (better) {
    outcome_.accuracy = figures.accuracy;
    outcome_.loss = figures.loss;
    outcome_.best_step = step;
  }
  // The accuracy over few pairs is coarse. A falling loss shows progress too and restarts the patience.
  waited_ = better || higher || figures.loss < lowest_loss_ ? 0 : waited_ + 1;
  highest_accuracy_ = std::max(highest_accuracy_, figures.accuracy);
  lowest_loss_ = std::min(lowest_loss_, figures.loss);
  history_.push_back({{"task", name()},
                      {"step", step},
                      {"train_loss", step > 0 ? nlohmann::json(train_loss) : nlohmann::json()},  // null before the first step
                      {"validation_accuracy", figures.accuracy},
                      {"validation_loss", figures.loss},
                      {"lr", learning_rate(context.train, step, steps_total_)},
                      {"gradient_norm", step > 0 ? nlohmann::json(last_norm_) : nlohmann::json()},
                      {"seconds", seconds}});
  if (context.ranks.rank() == 0) {
    spdlog::info("[train] task={} step={}/{}{} validation_accuracy={:.4f} validation_loss={:.4f}{}", name(), step, steps_total_,
                 step > 0 ? fmt::format(" train_loss={:.4f}", train_loss) : "", figures.accuracy, figures.loss,
                 better ? " best" : "");
  }
  if (step >= steps_total_ || waited_ >= context.train.patience) active_ = false;
}

std::int64_t TraineeState::state_bytes() const {
  std::size_t bytes = gradients_.bytes();
  for (std::size_t slice = 0; slice < whole_.size(); ++slice) {
    const bool master = whole_[slice].scalar_type() != at::kFloat;
    const std::size_t copies = (master ? 4 : 3) + (average_.empty() ? 0 : 1);
    bytes += whole_[slice].nbytes() + copies * parameters_[slice].nbytes();
  }
  return static_cast<std::int64_t>(bytes) + sums_.peak_bytes();
}

TrainOutcome TraineeState::finish(std::int64_t tokens, double seconds, double peak_mib) {
  for (std::size_t i = 0; i < best_.size(); ++i) parameters_[i].copy_(best_[i]);
  publish_parameters();
  outcome_.steps_max = steps_total_;
  outcome_.tokens = tokens;
  outcome_.seconds = seconds;
  outcome_.peak_mib = peak_mib;
  return outcome_;
}

void TraineeState::write(Checkpoint& checkpoint, const std::string& prefix) const {
  checkpoint.state["courses"].push_back({{"name", name()},
                                         {"active", active_},
                                         {"accuracy", outcome_.accuracy},
                                         {"loss", outcome_.loss},
                                         {"best_step", outcome_.best_step},
                                         {"steps", outcome_.steps},
                                         {"failure", outcome_.failure},
                                         {"failed_step", failed_step_},
                                         {"resumes_at", resumes_at_},
                                         {"waited", waited_},
                                         {"lowest_loss", lowest_loss_},
                                         {"highest_accuracy", highest_accuracy_},
                                         {"norm", last_norm_},
                                         {"history", history_}});
  for (const auto& [label, tensors] : slots()) {
    for (std::size_t i = 0; i < tensors->size(); ++i) {
      CheckpointTensor entry{fmt::format("{}{}.{}", prefix, label, i), (*tensors)[i]};
      if (sharded_) {
        entry.begin = own_range(i).first;
        entry.total = whole_[i].numel();
      }
      checkpoint.tensors.push_back(std::move(entry));
    }
  }
}

void TraineeState::read(const CheckpointReader& checkpoint, const nlohmann::json& state, const std::string& prefix) {
  active_ = state.at("active");
  waited_ = state.at("waited");
  history_ = state.at("history");
  lowest_loss_ = number(state.at("lowest_loss"));
  last_norm_ = number(state.at("norm"));
  outcome_.accuracy = number(state.at("accuracy"));
  outcome_.loss = number(state.at("loss"));
  highest_accuracy_ = state.value("highest_accuracy", outcome_.accuracy);  // checkpoints of 0.1.0 have none
  outcome_.best_step = state.at("best_step");
  outcome_.steps = state.at("steps");
  outcome_.failure = state.at("failure");
  failed_step_ = state.at("failed_step");
  resumes_at_ = state.value("resumes_at", std::int64_t{0});  // checkpoints of 0.1.0 have none
  for (const auto& [label, tensors] : slots()) {
    for (std::size_t i = 0; i < tensors->size(); ++i) {
      const std::string stored = fmt::format("{}{}.{}", prefix, label, i);
      if (tensors == &parameters_) {
        const at::Tensor values = checkpoint.load(stored);
        whole_[i].copy_(values.view_as(whole_[i]));
        parameters_[i].copy_(own_of(i, values.view({-1})));
      } else {
        const auto [begin, end] = own_range(i);
        (*tensors)[i].copy_(checkpoint.load(stored, begin, end).view_as((*tensors)[i]));
      }
    }
  }
}

std::vector<std::pair<const char*, const std::vector<at::Tensor>*>> TraineeState::slots() const {
  std::vector<std::pair<const char*, const std::vector<at::Tensor>*>> all = {
      {"parameter", &parameters_}, {"best", &best_}, {"first", &optimizer_->first}, {"second", &optimizer_->second}};
  if (!average_.empty()) all.emplace_back("average", &average_);
  return all;
}

}  // namespace dmoerm::train
