#include "moe/clusters.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <set>

namespace dmoerm::moe {
namespace {

/// 30 points around each of four corners.
at::Tensor corners(double spread) {
  at::manual_seed(3);
  at::Tensor x_ND = at::randn({120, 2}) * spread;
  for (std::int64_t i = 0; i < 120; ++i) {
    x_ND[i][0] += i % 2 == 0 ? 10 : -10;
    x_ND[i][1] += i % 4 < 2 ? 10 : -10;
  }
  return x_ND;
}

double sum_of_squares(const at::Tensor& x_ND, const at::Tensor& centre_KD) {
  return (x_ND - centre_KD.index_select(0, nearest_centres(x_ND, centre_KD))).square().sum().item<double>();
}

TEST(Clusters, AreThoseOfSeparatedPoints) {
  const at::Tensor x_ND = corners(1), centre_KD = cluster_centres(x_ND, 4, 17), own_N = nearest_centres(x_ND, centre_KD);
  std::set<std::int64_t> found;
  for (std::int64_t i = 0; i < 4; ++i) found.insert(own_N[i].item<std::int64_t>());
  EXPECT_EQ(found.size(), 4U);
  for (std::int64_t i = 4; i < 120; ++i) EXPECT_EQ(own_N[i].item<std::int64_t>(), own_N[i % 4].item<std::int64_t>()) << i;
}

TEST(Clusters, AreTheSameForTheSameSeed) {
  const at::Tensor x_ND = corners(12);
  EXPECT_TRUE(cluster_centres(x_ND, 5, 1).equal(cluster_centres(x_ND, 5, 1)));
  EXPECT_FALSE(cluster_centres(x_ND, 5, 1).equal(cluster_centres(x_ND, 5, 2)));
}

TEST(Clusters, SettleWhereTheSumOfSquaresIsSmaller) {
  const at::Tensor x_ND = corners(12), start_KD = x_ND.narrow(0, 0, 6), centre_KD = settled_centres(x_ND, start_KD);
  EXPECT_LT(sum_of_squares(x_ND, centre_KD), sum_of_squares(x_ND, start_KD));
  EXPECT_LE(sum_of_squares(x_ND, cluster_centres(x_ND, 6, 4)), 1.2 * sum_of_squares(x_ND, centre_KD));
  for (std::int64_t k = 0; k < 6; ++k) {  // each is the mean of its points
    const at::Tensor own = nearest_centres(x_ND, centre_KD).eq(k).nonzero().squeeze(1);
    EXPECT_TRUE(at::allclose(x_ND.index_select(0, own).mean(0), centre_KD[k], 1e-4, 1e-4)) << k;
  }
  const at::Tensor turned_KD = settled_centres(x_ND.flip(0), start_KD);
  EXPECT_TRUE(at::allclose(turned_KD, centre_KD, 1e-4, 1e-4)) << "the order of the points does not count";
}

TEST(Clusters, AreAsManyAsThereArePlaces) {
  const at::Tensor same_ND = at::ones({7, 3});
  EXPECT_EQ(cluster_centres(same_ND, 4, 1).size(0), 1);
  EXPECT_EQ(cluster_centres(at::cat({same_ND, same_ND * 2}), 4, 1).size(0), 2);
}

}  // namespace
}  // namespace dmoerm::moe
