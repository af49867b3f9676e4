#include "comm/tree_sum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"
#include "base/rng.h"
#include "comm/bfloat16.h"
#include "comm/ordered_queue.h"

namespace dmoerm::comm {
namespace {

/// The definition by recursion: the sum of the subtree over [begin, end) of a complete tree. Missing leaves add nothing.
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

struct AddVectors {
  void operator()(std::vector<float>& sum, const std::vector<float>& more) const {
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += more[i];
  }
};
using VectorSum = TreeSum<std::vector<float>, AddVectors>;

TEST(TreeSum, AddsInTheCompleteBinaryTreeForAnyNumberOfLeaves) {
  for (std::size_t count = 1; count <= 33; ++count) {
    const auto leaves = random_leaves(count, 5);
    VectorSum sum{AddVectors{}};
    for (const auto& leaf : leaves) {
      sum.add(leaf);
      EXPECT_LE(sum.held(), static_cast<std::size_t>(std::bit_width(count)));
    }
    EXPECT_TRUE(same_bits(sum.finish().value(), tree(leaves, 0, std::bit_ceil(count)))) << count;
  }
  EXPECT_FALSE(VectorSum{AddVectors{}}.finish().has_value());
}

TEST(TreeSum, DiffersFromAdditionInARow) {
  const auto leaves = random_leaves(7, 200);
  std::vector<float> in_a_row = leaves[0];
  for (std::size_t l = 1; l < leaves.size(); ++l) {
    for (std::size_t i = 0; i < in_a_row.size(); ++i) in_a_row[i] += leaves[l][i];
  }
  EXPECT_FALSE(same_bits(in_a_row, tree(leaves, 0, 8)));  // otherwise the other tests here could not fail
}

TEST(MicroBatchRange, GivesTheSameTreeForAnyNumberOfRanks) {
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
        VectorSum sum{AddVectors{}};
        for (std::int64_t i = range.first; i < range.last; ++i) sum.add(leaves[static_cast<std::size_t>(i)]);
        EXPECT_TRUE(range.first == range.last || std::ssize(parts) == rank) << "ranks without micro batches are the last";
        if (range.first < range.last) parts.push_back(sum.finish().value());
      }
      EXPECT_EQ(covered, count);
      EXPECT_TRUE(same_bits(tree(parts, 0, std::bit_ceil(parts.size())), expected))
          << count << " micro batches over " << size << " ranks";
    }
  }
}

/// In sharded training rank r computes leaf t * R + r in round t.
TEST(RoundRobin, GivesTheSameTreeFromTheSumsOfRounds) {
  for (std::int64_t count = 1; count <= 20; ++count) {
    const auto leaves = random_leaves(static_cast<std::size_t>(count), 3);
    const std::vector<float> expected = tree(leaves, 0, std::bit_ceil(static_cast<std::size_t>(count)));
    for (const std::size_t size : {1U, 2U, 4U, 8U}) {
      VectorSum rounds{AddVectors{}};
      for (std::size_t first = 0; first < leaves.size(); first += size) {
        const std::vector<std::vector<float>> round(
            leaves.begin() + static_cast<std::ptrdiff_t>(first),
            leaves.begin() + static_cast<std::ptrdiff_t>(std::min(leaves.size(), first + size)));
        rounds.add(tree(round, 0, size));
      }
      EXPECT_TRUE(same_bits(rounds.finish().value(), expected)) << count << " micro batches over " << size << " ranks";
    }
  }
}

TEST(ChunksOfBlocks, CutsAtBlocksAndCoversAllElements) {
  EXPECT_EQ(chunks_of_blocks(10, 4, 1), (Bounds{0, 2, 5, 7, 10}));
  EXPECT_EQ(chunks_of_blocks(10, 2, 4), (Bounds{0, 4, 10}));
  EXPECT_EQ(chunks_of_blocks(3, 4, 4), (Bounds{0, 0, 0, 0, 3}));
  EXPECT_EQ(chunks_of_blocks(0, 2, 4), (Bounds{0, 0, 0}));
}

TEST(Bfloat16, RoundsToNearestEvenAndKeepsNanAndInfinity) {
  EXPECT_EQ(from_bfloat16(to_bfloat16(1.0F)), 1.0F);
  EXPECT_EQ(from_bfloat16(to_bfloat16(1.0F + 0x1p-8F)), 1.0F);                      // a tie rounds to even
  EXPECT_EQ(from_bfloat16(to_bfloat16(1.0F + 0x1p-7F + 0x1p-8F)), 1.0F + 0x1p-6F);  // a tie rounds to even
  EXPECT_EQ(from_bfloat16(to_bfloat16(1.0F + 0x1.1p-8F)), 1.0F + 0x1p-7F);
  EXPECT_EQ(from_bfloat16(to_bfloat16(-INFINITY)), -INFINITY);
  EXPECT_TRUE(std::isnan(from_bfloat16(to_bfloat16(std::bit_cast<float>(0x7f800001U)))));
}

TEST(OrderedQueue, CarriesOutJobsInOrderAndPassesErrorsOn) {
  OrderedQueue queue;
  std::vector<int> order;
  auto first = queue.post([&] { order.push_back(1); });
  auto second = queue.post([&] {
    order.push_back(2);
    throw CommError("gone");
  });
  queue.run([&] { order.push_back(3); });
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
  first.get();
  EXPECT_THROW(second.get(), CommError);
}

}  // namespace
}  // namespace dmoerm::comm
