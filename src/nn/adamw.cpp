#include "nn/adamw.h"

#include <ATen/Parallel.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "base/error.h"
#include "nn/adamw_fused.h"

namespace dmoerm::nn {

AdamW::AdamW(const std::vector<at::Tensor>& parameters, const AdamWOptions& options, std::vector<std::vector<Elements>> undecayed)
    : options_(options), undecayed_(std::move(undecayed)) {
  for (const at::Tensor& p : parameters) {
    first.push_back(at::zeros_like(p));
    second.push_back(at::zeros_like(p));
  }
}

std::vector<AdamW::Stretch> AdamW::stretches(std::size_t parameter, std::int64_t size, double lr) const {
  const double keep = 1.0 - lr * options_.weight_decay;
  std::vector<Stretch> all;
  std::int64_t at = 0;
  const auto decayed_until = [&](std::int64_t end) {
    if (at < end) all.push_back({{at, end}, keep});
    at = end;
  };
  if (options_.weight_decay > 0 && parameter < undecayed_.size()) {
    for (const Elements& elements : undecayed_[parameter]) {
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
  const Update update{lr, 1.0 - std::pow(options_.beta1, static_cast<double>(step)),
                      1.0 - std::pow(options_.beta2, static_cast<double>(step)), gradient_scale};
  if ((options_.fused || parameters.front().is_cuda()) && options_.first_moment == FirstMoment::interpolated)
    return step_fused(parameters, gradients, update, step);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!gradients[i].defined()) continue;
    DMOERM_CHECK(parameters[i].is_contiguous(), "optimizer parameters are contiguous");
    if (parameters[i].is_cpu() && options_.first_moment == FirstMoment::interpolated) {
      step_in_one_pass(i, parameters[i], gradients[i], update);
    } else {
      step_by_operations(i, parameters[i], gradients[i], update);
    }
  }
}

void AdamW::step_fused(const std::vector<at::Tensor>& parameters, const std::vector<at::Tensor>& gradients, const Update& update,
                       std::int64_t step) {
  AdamWLists decayed, kept;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!gradients[i].defined()) continue;
    for (const Stretch& s : stretches(i, parameters[i].numel(), update.lr)) {
      const auto part = [&](const at::Tensor& whole) {
        return whole.view({-1}).narrow(0, s.elements.begin, s.elements.end - s.elements.begin);
      };
      AdamWLists& lists = s.keep != 1.0 ? decayed : kept;
      lists.parameters.push_back(part(parameters[i]));
      lists.gradients.push_back(part(gradients[i]));
      lists.first.push_back(part(first[i]));
      lists.second.push_back(part(second[i]));
    }
  }
  AdamWUpdate fused{update.lr, options_.beta1, options_.beta2, options_.eps, options_.weight_decay, step, update.gradient_scale};
  fused_adamw(decayed, fused);
  fused.weight_decay = 0;
  fused_adamw(kept, fused);
}

void AdamW::step_in_one_pass(std::size_t i, const at::Tensor& parameter, const at::Tensor& gradient, const Update& update) {
  DMOERM_CHECK(gradient.is_contiguous(), "gradients are contiguous");
  float *p = parameter.data_ptr<float>(), *m = first[i].data_ptr<float>(), *v = second[i].data_ptr<float>();
  const float* g = gradient.const_data_ptr<float>();
  const auto b1 = static_cast<float>(options_.beta1), b2 = static_cast<float>(options_.beta2),
             scale = static_cast<float>(update.gradient_scale), eps = static_cast<float>(options_.eps);
  const auto size = static_cast<float>(update.lr / update.correction1),
             root = static_cast<float>(1.0 / std::sqrt(update.correction2));
  for (const Stretch& stretch : stretches(i, parameter.numel(), update.lr)) {
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

void AdamW::step_by_operations(std::size_t i, const at::Tensor& parameter, const at::Tensor& gradient, const Update& update) {
  const at::Tensor g = gradient.mul(update.gradient_scale), flat = parameter.view({-1});
  for (const Stretch& s : stretches(i, parameter.numel(), update.lr)) {
    if (s.keep != 1.0) flat.narrow(0, s.elements.begin, s.elements.end - s.elements.begin).mul_(s.keep);
  }
  if (options_.first_moment == FirstMoment::interpolated) {
    first[i].lerp_(g, 1.0 - options_.beta1);
  } else {
    first[i].mul_(options_.beta1).add_(g, 1.0 - options_.beta1);
  }
  second[i].mul_(options_.beta2).addcmul_(g, g, 1.0 - options_.beta2);
  parameter.addcdiv_(first[i], second[i].div(update.correction2).sqrt_().add_(options_.eps), -update.lr / update.correction1);
}

}  // namespace dmoerm::nn
