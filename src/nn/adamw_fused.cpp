#include "nn/adamw_fused.h"

#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>

#include <optional>

namespace dmoerm::nn {

void fused_adamw(const AdamWLists& lists, const AdamWUpdate& update) {
  if (lists.parameters.empty()) return;
  const at::TensorOptions number = lists.parameters.front().options();
  const std::vector<at::Tensor> steps(lists.parameters.size(), at::full({}, static_cast<double>(update.step), number));
  std::optional<at::Tensor> divisor;
  if (update.gradient_scale != 1.0) divisor = at::full({}, 1.0 / update.gradient_scale, number);
  at::_fused_adamw_(lists.parameters, lists.gradients, lists.first, lists.second, {}, steps, update.lr, update.beta1,
                    update.beta2, update.weight_decay, update.eps, /*amsgrad=*/false, /*maximize=*/false, divisor);
}

}  // namespace dmoerm::nn
