#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/rng.h"
#include "comm/communicator.h"

namespace dmoerm::comm {
namespace {

/// The definition, by recursion: a subtree over [begin, end) of a complete tree; missing leaves add nothing.
std::vector<float> tree(const std::vector<std::vector<float>>& leaves, std::size_t begin, std::size_t end) {
  if (begin >= leaves.size()) return {};
  if (end - begin == 1) return leaves[begin];
  const std::size_t middle = begin + (end - begin) / 2;
  std::vector<float> left = tree(leaves, begin, middle), right = tree(leaves, middle, end);
  for (std::size_t i = 0; i < right.size(); ++i) left[i] += right[i];
  return left;
}

std::vector<std::vector<float>> random_leaves(std::size_t count, std::size_t width) {
  Rng rng(count * 1000 + width);
  std::vector<std::vector<float>> leaves(count, std::vector<float>(width));
  for (auto& leaf : leaves) {
    for (float& v : leaf) v = static_cast<float>(rng.normal() * std::pow(10.0, rng.uniform() * 6 - 3));
    leaf[0] = -0.0F;
  }
  return leaves;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](float x, float y) {
           return std::bit_cast<std::uint32_t>(x) == std::bit_cast<std::uint32_t>(y);
         });
}

TEST(TreeSum, IsTheCompleteBinaryTreeForAnyNumberOfLeaves) {
  for (std::size_t count = 1; count <= 33; ++count) {
    const auto leaves = random_leaves(count, 5);
    TreeSum sum(5);
    for (const auto& leaf : leaves) sum.add(leaf);
    EXPECT_TRUE(same_bits(sum.finish(), tree(leaves, 0, std::bit_ceil(count)))) << count;
  }
  EXPECT_EQ(TreeSum(2).finish(), (std::vector<float>{0, 0}));
}

TEST(TreeSum, TheOrderOfAdditionMatters) {
  const auto leaves = random_leaves(7, 200);
  std::vector<float> in_a_row = leaves[0];
  for (std::size_t l = 1; l < leaves.size(); ++l) {
    for (std::size_t i = 0; i < in_a_row.size(); ++i) in_a_row[i] += leaves[l][i];
  }
  EXPECT_FALSE(same_bits(in_a_row, tree(leaves, 0, 8)));  // else the tests here could not fail
}

TEST(MicroBatchRange, RanksOfAnySizeTogetherMakeTheSameTree) {
  for (std::int64_t count = 1; count <= 20; ++count) {
    const auto leaves = random_leaves(static_cast<std::size_t>(count), 3);
    const std::vector<float> expected = tree(leaves, 0, std::bit_ceil(static_cast<std::size_t>(count)));
    for (const int size : {1, 2, 4, 8}) {
      std::vector<std::vector<float>> parts;
      std::int64_t covered = 0;
      for (int rank = 0; rank < size; ++rank) {
        const MicroBatchRange range = micro_batch_range(count, rank, size);
        EXPECT_EQ(range.first, covered);
        covered = range.last;
        TreeSum sum(3);
        for (std::int64_t i = range.first; i < range.last; ++i) sum.add(leaves[static_cast<std::size_t>(i)]);
        EXPECT_EQ(rank < range.contributors, range.first < range.last) << count << " over " << size;
        if (rank < range.contributors) parts.push_back(sum.finish());
      }
      EXPECT_EQ(covered, count);
      EXPECT_TRUE(same_bits(tree(parts, 0, std::bit_ceil(parts.size())), expected))
          << count << " micro batches over " << size << " ranks";
    }
  }
}

}  // namespace
}  // namespace dmoerm::comm
