#include "moe/adam_fit.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <map>
#include <string>
#include <tuple>

#include "base/activity.h"
#include "base/error.h"
#include "moe/fit_keeper.h"
#include "nn/adamw.h"

namespace dmoerm::moe {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kKeepEvery{30};

/// What a fit is at the beginning of a step.
struct FitState {
  std::vector<at::Tensor> parameters;  ///< Views of what is fitted
  nn::AdamW optimizer;
  std::vector<at::Tensor> best;  ///< Parameters of the best figure
  FitResult result = {};
  std::pair<double, double> top = {};
  std::int64_t step = 0, waited = 0;
  bool ended = false;

  [[nodiscard]] nn::NamedTensors tensors() const {
    nn::NamedTensors named;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const std::string number = "." + std::to_string(i);
      named.insert(named.end(), {{"parameter" + number, parameters[i]},
                                 {"first" + number, optimizer.first[i]},
                                 {"second" + number, optimizer.second[i]},
                                 {"best" + number, best[i]}});
    }
    const std::vector<double> numbers{result.best,
                                      static_cast<double>(result.best_step),
                                      top.first,
                                      top.second,
                                      static_cast<double>(step),
                                      static_cast<double>(waited),
                                      ended ? 1.0 : 0.0};
    named.emplace_back("numbers", at::tensor(at::ArrayRef<double>(numbers), at::TensorOptions().dtype(at::kDouble)));
    return named;
  }

  /// Take over what tensors() gave. @return false, and nothing is changed, if it belongs to another fit
  bool take(const nn::NamedTensors& named) {
    if (named.size() != 4 * parameters.size() + 1) return false;
    std::map<std::string, at::Tensor> found(named.begin(), named.end());
    const at::Tensor numbers = found["numbers"];
    if (!numbers.defined() || numbers.numel() != 7) return false;
    const std::vector<std::pair<std::string, std::vector<at::Tensor>*>> columns = {
        {"parameter", &parameters}, {"first", &optimizer.first}, {"second", &optimizer.second}, {"best", &best}};
    const auto stored = [&](const std::string& name, std::size_t i) { return found[name + "." + std::to_string(i)]; };
    for (const auto& [name, column] : columns) {
      for (std::size_t i = 0; i < column->size(); ++i) {
        if (!stored(name, i).defined() || stored(name, i).sizes() != (*column)[i].sizes()) return false;
      }
    }
    for (const auto& [name, column] : columns) {
      for (std::size_t i = 0; i < column->size(); ++i) (*column)[i].copy_(stored(name, i));
    }
    const double* n = numbers.const_data_ptr<double>();
    result = {n[0], static_cast<std::int64_t>(n[1])}, top = {n[2], n[3]};
    step = static_cast<std::int64_t>(n[4]), waited = static_cast<std::int64_t>(n[5]), ended = n[6] != 0;
    return true;
  }
};

/// Keeps the states of one fit, if fits are kept.
class Kept {
 public:
  explicit Kept(FitState& state) : state_(state) {
    std::tie(keeper_, name_) = KeptFits::next();
    if (keeper_ == nullptr) return;
    if (const auto before = keeper_->load(name_)) state_.take(*before);
  }
  /// Between two steps: keep the state from time to time, and leave if the keeper wants to.
  void look() {
    if (keeper_ == nullptr) return;
    const bool stop = keeper_->stop();
    if (stop || Clock::now() - kept_ >= kKeepEvery) keep();
    if (stop) throw Stopped("stopped-on-request", fmt::format("a fit was interrupted at step {}", state_.step));
  }
  void end() {
    state_.ended = true;
    if (keeper_ != nullptr) keep();
  }

 private:
  void keep() {
    keeper_->keep(name_, state_.tensors());
    kept_ = Clock::now();
  }
  FitState& state_;
  PartKeeper* keeper_ = nullptr;
  std::string name_;
  Clock::time_point kept_ = Clock::now();
};

}  // namespace

FitResult fit_adamw(std::vector<at::Tensor>& parameters, const FitOptions& options,
                    const std::function<at::Tensor(std::int64_t step)>& loss,
                    const std::function<std::pair<double, double>()>& figure) {
  std::vector<at::Tensor> values, best_values;
  for (at::Tensor& p : parameters) {
    p.requires_grad_(true);
    values.push_back(p.detach());  // shares storage
    best_values.push_back(p.detach().clone());
  }
  const nn::AdamWOptions adamw{.weight_decay = options.weight_decay, .first_moment = nn::FirstMoment::summed};
  FitState state{values, nn::AdamW(values, adamw), best_values};
  Kept kept(state);
  auto& [_, optimizer, best, result, top, step, waited, ended] = state;
  for (; !ended; ++step) {
    kept.look();
    if (step % options.eval_every_steps == 0 || step == options.steps_max) {
      const auto now = options.keep_last ? std::pair(static_cast<double>(step), 0.0) : figure();
      if (step == 0 || now > top) {
        top = now;
        result = {now.first, step};
        waited = 0;
        for (std::size_t i = 0; i < parameters.size(); ++i) best[i].copy_(values[i]);
      } else if (++waited >= options.patience) {
        break;
      }
    }
    if (step == options.steps_max) break;
    for (at::Tensor& p : parameters) p.mutable_grad() = at::Tensor();
    note_activity();
    loss(step).backward();
    std::vector<at::Tensor> gradients;
    double norm = 0;
    for (const at::Tensor& p : parameters) {
      gradients.push_back(p.grad());
      norm += p.grad().defined() ? p.grad().to(at::kDouble).square().sum().item<double>() : 0.0;
    }
    norm = std::sqrt(norm);
    const double clip = options.clip_norm > 0 && norm > options.clip_norm ? options.clip_norm / norm : 1.0;
    optimizer.step(values, gradients, options.lr, step + 1, clip);
  }
  if (!ended) kept.end();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    parameters[i] = parameters[i].detach();
    parameters[i].copy_(best[i]);
  }
  return result;
}

}  // namespace dmoerm::moe
