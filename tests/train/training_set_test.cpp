#include "train/training_set.h"

#include <gtest/gtest.h>

#include <bit>
#include <numeric>

#include "comm/tree_sum.h"
#include "support/tiny_training.h"

namespace dmoerm::train {
namespace {

class JudgedTies : public TinyTraining {};

TEST_F(JudgedTies, AreAmongTheJudgedAndAmongAll) {
  const std::int64_t index = groups_of(*store_, 0, Subset::train, config_).front();
  const auto [file, line] = store_->source(index);
  using enum preference::SwapOutcome;
  const std::vector<label::JudgedGroup> verdicts = {
      {std::string(file), line, {{0, 1, {tie, 0.5F}}, {1, 2, {inconsistent, 0.5F}}, {2, 0, {refused, 0.5F}}}}};
  const auto pairs = [&](preference::Ties ties) {
    const auto groups = judged_groups(*store_, 0, Subset::train, verdicts, false, config_, ties);
    return groups.empty() ? std::vector<preference::Preference>{} : groups.front().pairs;
  };
  const std::vector<preference::Preference> both = {{0, 1, 0, 0.5F}, {1, 2, 0, 0.5F}};
  EXPECT_TRUE(pairs(preference::Ties::left_out).empty());
  EXPECT_EQ(pairs(preference::Ties::judged), both);
  EXPECT_EQ(pairs(preference::Ties::all), both);
}

class Steps : public TinyTraining {
 protected:
  static constexpr data::PackingRule kRule = data::PackingRule::causal;

  /// The first groups of the training set, again and again.
  [[nodiscard]] std::vector<const LabelledGroup*> groups(std::size_t count) const {
    std::vector<const LabelledGroup*> list;
    for (std::size_t g = 0; g < count; ++g) list.push_back(&trainee_.training[g % trainee_.training.size()]);
    return list;
  }
  [[nodiscard]] std::int64_t tokens(const MicroBatch& batch) const { return tokens_of(*store_, batch, kRule); }
  /// Tokens of the rank with the most, as a share of all.
  [[nodiscard]] double largest_share(const std::vector<MicroBatch>& cut, int ranks) const {
    double most = 0, all = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      const auto [first, last] = comm::micro_batch_range(std::ssize(cut), rank, ranks);
      double own = 0;
      for (std::int64_t n = first; n < last; ++n) own += static_cast<double>(tokens(cut[static_cast<std::size_t>(n)]));
      most = std::max(most, own), all += own;
    }
    return most / all;
  }

  Trainee trainee_ = trainee("x", preference::kOverall);
};

TEST_F(Steps, GiveAllRanksAboutTheSameWork) {
  const std::vector<const LabelledGroup*> step = groups(64);
  const std::int64_t all = std::accumulate(step.begin(), step.end(), std::int64_t{0}, [&](std::int64_t sum, const auto* group) {
    return sum + tokens({{group, 0, group->responses.size()}});
  });
  for (const std::int64_t passes : {2, 3, 4, 5, 9, 17}) {
    const std::int64_t most = all / passes + 1;
    const std::vector<MicroBatch> fewest = cut_micro_batches(*store_, step, kRule, most),
                                  cut = cut_step(*store_, step, kRule, most);
    EXPECT_LE(cut.size(), std::bit_ceil(fewest.size()));
    std::vector<const LabelledGroup*> seen;
    for (const MicroBatch& batch : cut) {
      EXPECT_LE(tokens(batch), most);
      for (const Portion& portion : batch) seen.push_back(portion.of);
    }
    EXPECT_EQ(seen, step) << "each group once, in order";
    EXPECT_LT(largest_share(cut, 2), 0.56) << fewest.size() << " passes at the fewest, now " << cut.size();
    if (cut.size() > 4) {
      EXPECT_LT(largest_share(cut, 4), 0.34) << cut.size();
    }
  }
  const std::int64_t a_ninth = all / 9 + 1;
  EXPECT_GT(largest_share(cut_micro_batches(*store_, step, kRule, a_ninth), 2), 0.75)
      << "the fewest passes are not shared evenly";
}

TEST_F(Steps, OfOnePassAndOfLargeGroupsAreCutAsAnyGroups) {
  const auto places = [](const std::vector<MicroBatch>& cut) {
    std::vector<std::vector<std::pair<std::size_t, std::size_t>>> all;
    for (const MicroBatch& batch : cut) {
      all.emplace_back();
      for (const Portion& portion : batch) all.back().emplace_back(portion.first, portion.count);
    }
    return all;
  };
  const std::vector<const LabelledGroup*> step = groups(5);
  EXPECT_EQ(cut_step(*store_, step, kRule, 100000).size(), 1U);
  EXPECT_EQ(places(cut_step(*store_, step, kRule, 1)), places(cut_micro_batches(*store_, step, kRule, 1)))
      << "a pass for each response";
  EXPECT_TRUE(cut_step(*store_, {}, kRule, 10).empty());
}

}  // namespace
}  // namespace dmoerm::train
