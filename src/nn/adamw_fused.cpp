#include "nn/adamw_fused.h"

#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>

#include <optional>

namespace dmoerm::nn {

void fused_adamw(const AdamWLists& lists, const AdamWOptions& options, double weight_decay, double lr, std::int64_t step,
                 double gradient_scale) {
  if (lists.parameters.empty()) return;
  const at::TensorOptions number = lists.parameters.front().options();
  const std::vector<at::Tensor> steps(lists.parameters.size(), at::full({}, static_cast<double>(step), number));
  std::optional<at::Tensor> divisor;
  if (gradient_scale != 1.0) divisor = at::full({}, 1.0 / gradient_scale, number);
  at::_fused_adamw_(lists.parameters, lists.gradients, lists.first, lists.second, {}, steps, lr, options.beta1, options.beta2,
                    weight_decay, options.eps, /*amsgrad=*/false, /*maximize=*/false, divisor);
}

}  // namespace dmoerm::nn
