#include "train/adamw.h"

#include <ATen/Parallel.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <numbers>

#include "base/error.h"

namespace dmoerm::train {

AdamW::AdamW(const std::vector<at::Tensor>& parameters, const config::TrainConfig& config,
             std::vector<std::vector<Elements>> undecayed)
    : beta1_(config.beta1),
      beta2_(config.beta2),
      eps_(config.eps),
      weight_decay_(config.weight_decay),
      undecayed_(std::move(undecayed)) {
  for (const at::Tensor& p : parameters) {
    first.push_back(at::zeros_like(p));
    second.push_back(at::zeros_like(p));
  }
}

std::vector<AdamW::Stretch> AdamW::stretches(std::size_t buffer, std::int64_t size, double lr) const {
  const double keep = 1.0 - lr * weight_decay_;
  std::vector<Stretch> all;
  std::int64_t at = 0;
  const auto decayed_until = [&](std::int64_t end) {
    if (at < end) all.push_back({{at, end}, keep});
    at = end;
  };
  if (weight_decay_ > 0 && buffer < undecayed_.size()) {
    for (const Elements& elements : undecayed_[buffer]) {
      decayed_until(elements.begin);
      all.push_back({elements, 1.0});
      at = elements.end;
    }
  }
  decayed_until(size);
  return all;
}

void AdamW::step(const std::vector<at::Tensor>& parameters, const std::vector<at::Tensor>& gradients, double lr,
                 std::int64_t step, double gradient_scale) {
  const double correction1 = 1.0 - std::pow(beta1_, static_cast<double>(step)),
               correction2 = 1.0 - std::pow(beta2_, static_cast<double>(step));
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!parameters[i].is_cpu()) {
      const at::Tensor g = gradients[i].mul(gradient_scale);
      for (const Stretch& s : stretches(i, parameters[i].numel(), lr))
        parameters[i].narrow(0, s.elements.begin, s.elements.end - s.elements.begin).mul_(s.keep);
      first[i].lerp_(g, 1.0 - beta1_);
      second[i].mul_(beta2_).addcmul_(g, g, 1.0 - beta2_);
      parameters[i].addcdiv_(first[i], second[i].div(correction2).sqrt_().add_(eps_), -lr / correction1);
      continue;
    }
    DMOERM_CHECK(parameters[i].is_contiguous() && gradients[i].is_contiguous(), "optimizer buffers are flat");
    float *p = parameters[i].data_ptr<float>(), *m = first[i].data_ptr<float>(), *v = second[i].data_ptr<float>();
    const float* g = gradients[i].const_data_ptr<float>();
    const auto b1 = static_cast<float>(beta1_), b2 = static_cast<float>(beta2_), scale = static_cast<float>(gradient_scale),
               eps = static_cast<float>(eps_);
    const auto size = static_cast<float>(lr / correction1), root = static_cast<float>(1.0 / std::sqrt(correction2));
    for (const Stretch& stretch : stretches(i, parameters[i].numel(), lr)) {
      const auto keep = static_cast<float>(stretch.keep);
      at::parallel_for(stretch.elements.begin, stretch.elements.end, 1 << 15, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
        for (std::int64_t j = begin; j < end; ++j) {
          const float gj = g[j] * scale;
          m[j] += (gj - m[j]) * (1.0F - b1);
          v[j] = v[j] * b2 + gj * gj * (1.0F - b2);
          p[j] = p[j] * keep - size * m[j] / (std::sqrt(v[j]) * root + eps);
        }
      });
    }
  }
}

std::vector<double> block_squares(const at::Tensor& gradient) {
  const at::Tensor local = gradient.cpu();
  const float* g = local.const_data_ptr<float>();
  std::vector<double> squares;
  for (std::int64_t begin = 0; begin < local.numel(); begin += kNormBlock) {
    const std::int64_t end = std::min(begin + kNormBlock, local.numel());
    double block = 0;
#pragma omp simd reduction(+ : block)
    for (std::int64_t j = begin; j < end; ++j) block += static_cast<double>(g[j]) * static_cast<double>(g[j]);
    squares.push_back(block);
  }
  return squares;
}

double gradient_norm(const std::vector<at::Tensor>& gradients) {
  double sum = 0;
  for (const at::Tensor& gradient : gradients) {
    for (const double block : block_squares(gradient)) sum += block;
  }
  return std::sqrt(sum);
}

double learning_rate(const config::TrainConfig& config, std::int64_t step, std::int64_t steps_total) {
  if (step < config.warmup_steps) return config.lr * static_cast<double>(step + 1) / static_cast<double>(config.warmup_steps);
  if (config.schedule == config::Schedule::constant) return config.lr;
  const auto span = static_cast<double>(std::max<std::int64_t>(1, steps_total - config.warmup_steps));
  const double done = std::min(1.0, static_cast<double>(step - config.warmup_steps) / span);
  return config.schedule == config::Schedule::linear ? config.lr * (1 - done)
                                                     : config.lr * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

}  // namespace dmoerm::train
