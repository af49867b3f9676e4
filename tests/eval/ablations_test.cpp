// A bundle without one of its parts, against weights and standardised rewards.
#include "eval/ablations.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "eval/reward_scorers.h"
#include "nn/safetensors.h"
#include "support/scratch.h"

namespace dmoerm::eval {
namespace {

using Numbers = std::vector<double>;

/// A category's model as weights, and what its experts and base said about two responses.
struct Planted {
  std::vector<std::string> points;
  Numbers weights, means, stds;       ///< Of the points, and then of the base where it is read
  std::vector<Numbers> rewards = {};  ///< By response
  std::string kind = "stack";

  [[nodiscard]] bool reads_base() const { return weights.size() > points.size(); }
  [[nodiscard]] double part(std::size_t response, std::size_t place) const {
    return weights[place] * (rewards[response][place] - means[place]) / stds[place];
  }
  [[nodiscard]] double sum(std::size_t response) const {
    double all = 0;
    for (std::size_t place = 0; place < weights.size(); ++place) all += part(response, place);
    return all;
  }
};

at::Tensor floats(const Numbers& numbers) { return at::tensor(numbers).to(at::kFloat); }

class AblationsOfAModel : public test::Scratch {
 protected:
  AblationsOfAModel() {
    add("chat", chat_, {1.0, 2.0, 8});
    add("code", code_, {-1.0, 0.5, 8});
    add("story", {{"plot", "fact"}, {1, 1}, {0, 0}, {1, 1}, {}, "uwo"}, {0, 1, 8});
    add("solo", solo_, {0, 1, 8});
  }

  void add(const std::string& name, const Planted& planted, const moe::ScoreStats& stats) {
    const std::filesystem::path file = directory_ / (name + ".safetensors");
    nn::save_safetensors(
        file, {{"reward_mean", floats(planted.means)}, {"reward_std", floats(planted.stds)}, {"weight", floats(planted.weights)}},
        {{"kind", planted.kind},
         {"version", "2"},
         {"reads_base", planted.reads_base() ? "true" : "false"},
         {"validation_accuracy", "0.5"},
         {"best_step", "0"}});
    model_.categories.push_back({name, planted.points, {}, moe::Aggregator::load(file), stats});
  }

  /// Scores as Model gives them where one category scores.
  moe::GroupScore scored(const std::string& name, const Planted& planted) const {
    const auto k = static_cast<std::int64_t>(planted.points.size());
    std::vector<at::Tensor> rows;
    for (const Numbers& row : planted.rewards) rows.push_back(floats(row));
    const at::Tensor all_NR = at::stack(rows);
    moe::ExpertFeatures features{{}, all_NR.narrow(1, 0, k)};
    if (planted.reads_base()) features.base_N = all_NR.select(1, k);
    const moe::Aggregator& aggregator = model_.category(name).aggregator;
    const at::Tensor rewards_N = aggregator.rewards(features), parts_NR = aggregator.contributions(features);
    moe::GroupScore group{.category = name, .route = {}, .responses = {}};
    for (std::int64_t i = 0; i < all_NR.size(0); ++i) {
      moe::Score& score = group.responses.emplace_back();
      score.reward = rewards_N[i].item<double>();
      for (std::int64_t r = 0; parts_NR.defined() && r < parts_NR.size(1); ++r)
        score.contributions.push_back(parts_NR[i][r].item<double>());
    }
    return group;
  }

  static Numbers rewards_of(const moe::GroupScore& group) {
    Numbers rewards;
    for (const moe::Score& score : group.responses) rewards.push_back(score.reward);
    return rewards;
  }

  const Planted chat_{{"tone", "fact"}, {0.5, -2, 0.25}, {0.1, 0.2, 0.3}, {0.5, 0.25, 2}, {{1, 2, 3}, {-1, 0.5, 4}}};
  const Planted code_{{"fact", "style"}, {1.5, 0.75}, {0, 1}, {2, 1}, {{0.5, 3}, {2, -1}}};
  const Planted solo_{{"tone"}, {0.3}, {0.1}, {0.7}, {{1.1}, {-0.4}}};
  moe::Model model_;
};

TEST_F(AblationsOfAModel, ArePointsInTheirOrderAndTheBase) {
  EXPECT_EQ(Ablations(model_).parts(), (std::vector<std::string>{"tone", "fact", "style", "base"}))
      << "plot is a point of a category alone that is no sum";
  model_.categories[0].points[0] = "base";
  EXPECT_EQ(Ablations(model_).parts(), (std::vector<std::string>{"base", "fact", "style", "tone", "base-reward"}));
  model_.categories.erase(model_.categories.begin());
  EXPECT_EQ(Ablations(model_).parts(), (std::vector<std::string>{"fact", "style", "tone"})) << "nobody reads the base";
}

TEST_F(AblationsOfAModel, LeaveOutWhatAPartAdds) {
  const Ablations ablations(model_);
  const moe::GroupScore group = scored("chat", chat_);
  constexpr std::size_t kPlaces[] = {0, 1, 2};  // of tone, fact and the base in chat
  constexpr std::size_t kParts[] = {0, 1, 3};
  for (std::size_t p = 0; p < 3; ++p) {
    const Numbers without = ablations.scores_without(kParts[p], group);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_NEAR(without[i], chat_.sum(i) - chat_.part(i, kPlaces[p]), 1e-5) << ablations.parts()[kParts[p]] << ", " << i;
      EXPECT_NEAR(without[i], group.responses[i].reward - group.responses[i].contributions[kPlaces[p]], 1e-5);
    }
  }
  EXPECT_EQ(ablations.scores_without(2, group), rewards_of(group)) << "style is no point of chat";
  EXPECT_EQ(ablations.scores_without(3, scored("code", code_)), rewards_of(scored("code", code_))) << "code reads no base";
  moe::GroupScore single = group;
  single.category = "";
  for (moe::Score& score : single.responses) score.contributions.clear();
  for (std::size_t part = 0; part < 4; ++part) EXPECT_EQ(ablations.scores_without(part, single), rewards_of(single));
}

TEST_F(AblationsOfAModel, AreATieWhereNothingIsLeft) {
  const Numbers without = Ablations(model_).scores_without(0, scored("solo", solo_));
  EXPECT_EQ(without[0], without[1]) << "and not what rounding leaves";
}

TEST_F(AblationsOfAModel, KeepACategoryThatIsNoSumAndSayWhich) {
  const Ablations ablations(model_);
  Planted story{{"plot", "fact"}, {1, 1}, {0, 0}, {1, 1}, {{1, 2}, {3, -1}}, "uwo"};
  const moe::GroupScore group = scored("story", story);
  for (std::size_t part = 0; part < 4; ++part) EXPECT_EQ(ablations.scores_without(part, group), rewards_of(group));
  EXPECT_NE(ablations.note().find("out of the rewards of story (uwo), "), std::string::npos) << ablations.note();
  model_.categories.erase(model_.categories.begin() + 2);
  EXPECT_EQ(Ablations(model_).note(), "");
}

TEST_F(AblationsOfAModel, TakeAPartOutOfBothCategoriesThatAreMixed) {
  const double share = 0.3;
  const Ablations ablations(model_);
  const moe::Category &first = model_.categories[0], &second = model_.categories[1];
  moe::GroupScore group = scored("chat", chat_);
  const moe::GroupScore other = scored("code", code_);
  group.route.second = 1, group.route.second_share = share;
  for (std::size_t i = 0; i < 2; ++i) {  // as Model mixes
    moe::Score& score = group.responses[i];
    score.second = share * moe::at_scale_of(first.stats, other.responses[i].reward, second.stats);
    score.reward = (1 - share) * score.reward + *score.second;
    for (double& part : score.contributions) part *= 1 - share;
    for (const double part : other.responses[i].contributions)
      score.second_contributions.push_back(share * first.stats.std / second.stats.std * part);
  }
  const auto mixed = [&](std::size_t i, double less_first, double less_second) {
    return (1 - share) * (chat_.sum(i) - less_first) +
           share * moe::at_scale_of(first.stats, code_.sum(i) - less_second, second.stats);
  };
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(group.responses[i].reward, mixed(i, 0, 0), 1e-5);
    EXPECT_NEAR(ablations.scores_without(0, group)[i], mixed(i, chat_.part(i, 0), 0), 1e-5) << "tone, of the first alone";
    EXPECT_NEAR(ablations.scores_without(1, group)[i], mixed(i, chat_.part(i, 1), code_.part(i, 0)), 1e-5) << "fact, of both";
    EXPECT_NEAR(ablations.scores_without(2, group)[i], mixed(i, 0, code_.part(i, 1)), 1e-5) << "style, of the second alone";
    EXPECT_NEAR(ablations.scores_without(3, group)[i], mixed(i, chat_.part(i, 2), 0), 1e-5) << "the base";
  }
  const Numbers whole = rewards_of(group);
  group.route.second = 2;  // a second category that is no sum: its part stays as it is
  for (std::size_t i = 0; i < 2; ++i)
    EXPECT_NEAR(ablations.scores_without(1, group)[i], whole[i] - group.responses[i].contributions[1], 1e-5);
}

TEST_F(AblationsOfAModel, AreRefusedBeforeABundleWithoutASumIsLoaded) {
  const auto refusal = [&](const std::string& manifest) {
    const std::filesystem::path file = write("dmoerm.json", manifest);
    return test::message_of<ConfigError>([&] { expect_ablations(file.parent_path().string()); });
  };
  const std::string said =
      refusal(R"({"categories": [{"name": "chat", "aggregator": "mlp"}, {"name": "code", "aggregator": "wco"}]})");
  EXPECT_NE(said.find("add: chat (mlp), code (wco). "), std::string::npos) << said;
  for (const char* sum : {"mean", "stack", "gate", "linear"})
    EXPECT_EQ(refusal(R"({"categories": [{"name": "chat", "aggregator": "mlp"}, {"name": "code", "aggregator": ")" +
                      std::string(sum) + R"("}]})"),
              "");
  EXPECT_EQ(refusal(R"({"categories": [{"name": 3}]})"), "") << "load_bundle() says what is wrong";
}

}  // namespace
}  // namespace dmoerm::eval
