#include "moe/lazy_rows.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "moe/expert_features.h"
#include "support/scratch.h"

namespace dmoerm::moe {
namespace {

at::Tensor rows_of(const std::vector<std::int64_t>& rows) { return at::tensor(at::ArrayRef<std::int64_t>(rows), at::kLong); }

class LazyRowsOfFiles : public test::Scratch {
 protected:
  /// A tensor that lies in a file of its own.
  LazyRows stored(const std::string& name, const at::Tensor& values) const {
    nn::save_safetensors(directory_ / name, {{"values", values}});
    return LazyRows::of_file(nn::SafetensorsReader::open(directory_ / name), "values");
  }
};

TEST_F(LazyRowsOfFiles, AreThoseOfTheTensorInMemory) {
  at::manual_seed(1);
  const at::Tensor first = at::randn({4, 2, 3}), none = at::empty({0, 2, 3}), last = at::randn({5, 2, 3}),
                   all = at::cat({first, none, last});
  const LazyRows joined = LazyRows::joined({stored("first", first), stored("none", none), last});
  EXPECT_EQ(joined.size(0), 9);
  EXPECT_EQ(joined.width(), 6);
  for (const std::vector<std::int64_t>& some :
       std::vector<std::vector<std::int64_t>>{{0, 1, 2, 3, 4, 5, 6, 7, 8}, {8, 0, 4, 3, 3, 5}, {4}, {}}) {
    const at::Tensor rows = rows_of(some);
    EXPECT_TRUE(joined.read(rows).equal(all.index_select(0, rows))) << some.size();
    EXPECT_TRUE(LazyRows(all).read(rows).equal(all.index_select(0, rows))) << some.size();
  }
}

TEST(LazyRows, AreReadOnlyWhereTheyAreAskedFor) {
  const at::Tensor all = at::arange(10).view({5, 2});
  std::int64_t reads = 0;
  const LazyRows counted(all.sizes().vec(), [&](const at::Tensor& rows) {
    ++reads;
    return all.index_select(0, rows);
  });
  ExpertFeatures features{counted, at::zeros({5, 2})};
  const ExpertFeatures some = features.responses(2, 3);
  EXPECT_EQ(some.states_NKH.size(0), 3);
  EXPECT_EQ(some.states_NKH.width(), 2);
  EXPECT_EQ(reads, 0);
  EXPECT_TRUE(some.states_NKH.read(rows_of({2, 0})).equal(all.index_select(0, rows_of({4, 2}))));
  EXPECT_EQ(reads, 1);
  features.states_NKH = {};
  EXPECT_FALSE(features.responses(2, 3).states_NKH.defined());
}

TEST(LazyRows, AreReadInPartsThatFollowEachOther) {
  const at::Tensor all = at::arange(2 * (kRowsTogether + 5)).view({-1, 2});
  std::vector<std::int64_t> firsts;
  std::vector<at::Tensor> parts;
  const auto keep = [&](const at::Tensor& part, std::int64_t first) { firsts.push_back(first), parts.push_back(part); };
  LazyRows(all).mapped([](const at::Tensor& part) { return part * 2; }).in_parts(keep);
  EXPECT_EQ(firsts, (std::vector<std::int64_t>{0, kRowsTogether}));
  EXPECT_TRUE(at::cat(parts).equal(all * 2));
  parts.clear();
  LazyRows(all).in_parts(rows_of({7, 0, 7}), keep);
  EXPECT_TRUE(at::cat(parts).equal(all.index_select(0, rows_of({7, 0, 7}))));
  EXPECT_TRUE(LazyRows(all).row(3).equal(all[3]));
  parts.clear();
  LazyRows().in_parts(keep);
  LazyRows().mapped([](const at::Tensor& part) { return part; }).in_parts(keep);
  LazyRows(at::empty({0, 2})).in_parts(keep);
  EXPECT_TRUE(parts.empty());
}

TEST(LazyRows, AreUndefinedWithoutATensor) {
  EXPECT_FALSE(LazyRows().defined());
  EXPECT_FALSE(LazyRows(at::Tensor()).defined());
  EXPECT_TRUE(LazyRows(at::empty({0, 3})).defined());
  EXPECT_EQ(LazyRows(at::empty({0, 3})).width(), 3);
}

}  // namespace
}  // namespace dmoerm::moe
