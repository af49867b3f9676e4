#include "train/training_set.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace dmoerm::train
