// What linear heads read: principal components of the differences between responses of one prompt.
// Shapes: N responses of G groups, B numbers of the readings taken together, F components.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dmoerm::evidence {

/// Rows [first, first + count) of one group.
struct Rows {
  std::int64_t first = 0, count = 0;
};

/// Readings of the same responses side by side, taken apart: the mean of each group, and what is left of its responses. Each
/// reading is divided by the root mean square of what is left, so that none outweighs another.
struct ReadingsByGroup {
  at::Tensor within_NB, mean_GB;  ///< float32
};
ReadingsByGroup by_group(const std::vector<at::Tensor>& readings_ND, const std::vector<Rows>& groups);

/// The largest principal components of some of the rows, as columns [B, F], scaled so that the rows' mean square length is F.
/// Each part counts the same, however many rows it has. @param parts  rows of each category
at::Tensor components(const at::Tensor& centred_NB, const std::vector<std::vector<Rows>>& parts, std::int64_t count);

/// A bag of tokens: counts of each response's tokens in `width` cells, with signs, both chosen by a hash. [N, width]
at::Tensor token_bag(const std::vector<std::vector<std::int32_t>>& ids, std::int64_t width);

}  // namespace dmoerm::evidence
