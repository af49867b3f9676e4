// Clusters of points by k-means. Of the points only some are in memory at a time. Shapes: N points, D dimensions, K clusters.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "moe/lazy_rows.h"

namespace dmoerm::moe {

/// Lloyd's algorithm: moves every centre to the mean of the points nearest to it, until none moves or 50 times. A centre that no
/// point is nearest to stays where it is.
/// @param centre_KD  where the centres begin
/// @return centres [K, D]
at::Tensor settled_centres(const LazyRows& x_ND, at::Tensor centre_KD);

/// Centres of k-means. Each of five tries begins with centres that are drawn from the points one by one, with a probability in
/// proportion to the squared distance to the nearest centre so far (k-means++), and settles; the try with the smallest sum of
/// squared distances is kept. Deterministic in the seed.
/// @param count  K, at least 1
/// @return centres [K, D], fewer if the points lie in fewer than K places
/// @see Arthur and Vassilvitskii, SODA 2007
at::Tensor cluster_centres(const LazyRows& x_ND, std::int64_t count, std::uint64_t seed);

/// The nearest centre of each point, [N], int64.
at::Tensor nearest_centres(const at::Tensor& x_ND, const at::Tensor& centre_KD);

}  // namespace dmoerm::moe
