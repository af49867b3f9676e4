#include "evidence/feature_space.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "base/rng.h"

namespace dmoerm::evidence {

ReadingsByGroup by_group(const std::vector<at::Tensor>& readings_ND, const std::vector<Rows>& groups) {
  std::vector<at::Tensor> within, means;
  for (const at::Tensor& reading_ND : readings_ND) {
    at::Tensor own_ND = reading_ND.to(at::kFloat).clone();
    std::vector<at::Tensor> own_means;
    for (const Rows& rows : groups) {
      const at::Tensor group_ND = own_ND.narrow(0, rows.first, rows.count);
      own_means.push_back(group_ND.mean(0));
      group_ND.sub_(own_means.back());
    }
    const double size = std::max(std::sqrt(own_ND.square().sum(1).mean().item<double>()), 1e-12);
    within.push_back(own_ND / size), means.push_back(at::stack(own_means) / size);
  }
  return {at::cat(within, 1), at::cat(means, 1)};
}

at::Tensor components(const at::Tensor& centred_NB, const std::vector<std::vector<Rows>>& parts, std::int64_t count) {
  const std::int64_t b = centred_NB.size(1);
  at::Tensor moment_BB = at::zeros({b, b});
  for (const std::vector<Rows>& part : parts) {
    std::vector<at::Tensor> pieces;
    for (const Rows& rows : part) pieces.push_back(centred_NB.narrow(0, rows.first, rows.count));
    if (pieces.empty()) continue;
    const at::Tensor own_MB = at::cat(pieces);
    moment_BB += at::matmul(own_MB.t(), own_MB) / static_cast<double>(own_MB.size(0) * std::ssize(parts));
  }
  const auto [value_B, vector_BB] = at::linalg_eigh(moment_BB.to(at::kDouble));
  const std::int64_t f = std::min(count, b);
  const double kept = value_B.narrow(0, b - f, f).sum().item<double>();
  return (vector_BB.narrow(1, b - f, f).flip(1) * std::sqrt(static_cast<double>(f) / std::max(kept, 1e-12))).to(at::kFloat);
}

at::Tensor token_bag(const std::vector<std::vector<std::int32_t>>& ids, std::int64_t width) {
  at::Tensor bag = at::zeros({std::ssize(ids), width});
  float* cells = bag.data_ptr<float>();
  for (std::size_t n = 0; n < ids.size(); ++n) {
    for (const std::int32_t id : ids[n]) {
      const std::uint64_t drawn = mix64(static_cast<std::uint64_t>(id));
      cells[static_cast<std::int64_t>(n) * width + static_cast<std::int64_t>((drawn >> 1) % static_cast<std::uint64_t>(width))] +=
          (drawn & 1) != 0 ? 1.0F : -1.0F;
    }
  }
  return bag;
}

}  // namespace dmoerm::evidence
