#include "moe/adam_fit.h"

#include <ATen/ops/zeros_like.h>

#include <cmath>

namespace dmoerm::moe {

FitResult fit_adamw(std::vector<at::Tensor>& parameters, const FitOptions& options,
                    const std::function<at::Tensor(std::int64_t step)>& loss,
                    const std::function<std::pair<double, double>()>& figure) {
  std::vector<at::Tensor> first, second, best;
  for (at::Tensor& p : parameters) {
    p.requires_grad_(true);
    first.push_back(at::zeros_like(p)), second.push_back(at::zeros_like(p)), best.push_back(p.detach().clone());
  }
  FitResult result;
  std::pair<double, double> top;
  std::int64_t waited = 0;
  for (std::int64_t step = 0;; ++step) {
    if (step % options.eval_every_steps == 0 || step == options.steps_max) {
      const auto now = figure();
      if (step == 0 || now > top) {
        top = now;
        result = {now.first, step};
        waited = 0;
        for (std::size_t i = 0; i < parameters.size(); ++i) best[i].copy_(parameters[i].detach());
      } else if (++waited >= options.patience) {
        break;
      }
    }
    if (step == options.steps_max) break;
    for (at::Tensor& p : parameters) p.mutable_grad() = at::Tensor();
    loss(step).backward();
    double norm = 0;
    for (const at::Tensor& p : parameters)
      norm += p.grad().defined() ? p.grad().to(at::kDouble).square().sum().item<double>() : 0.0;
    norm = std::sqrt(norm);
    const double clip = options.clip_norm > 0 && norm > options.clip_norm ? options.clip_norm / norm : 1.0;
    const double correction1 = 1 - std::pow(0.9, step + 1), correction2 = 1 - std::pow(0.999, step + 1);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (!parameters[i].grad().defined()) continue;
      const at::Tensor g = parameters[i].grad().mul(clip);
      at::Tensor p = parameters[i].detach();  // shares storage
      first[i].mul_(0.9).add_(g, 0.1);
      second[i].mul_(0.999).addcmul_(g, g, 0.001);
      p.mul_(1 - options.lr * options.weight_decay);
      p.addcdiv_(first[i], second[i].div(correction2).sqrt_().add_(1e-8), -options.lr / correction1);
    }
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    parameters[i] = parameters[i].detach();
    parameters[i].copy_(best[i]);
  }
  return result;
}

}  // namespace dmoerm::moe
