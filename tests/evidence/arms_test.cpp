// The arms of the experiment on categories that want opposite things, compared with what plain loops make of the same labels.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "base/files.h"
#include "base/rng.h"
#include "comm/single_process.h"
#include "data/ingest.h"
#include "evidence/cell_results.h"
#include "evidence/experiment.h"
#include "evidence/inner_layer.h"
#include "evidence/plain_heads.h"
#include "moe/aggregator_fit.h"
#include "support/thread_group.h"
#include "support/tiny_backbone.h"
#include "support/word_renderer.h"

namespace dmoerm::evidence {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using plain::PlainHeads;
using plain::PlainStack;
using plain::Table;
using plain::Vector;
using Groups = std::vector<moe::ExpertFeatures::Group>;

constexpr int kTaught = 24, kTested = 60, kAnswers = 5;  // prompts of a category, and responses of each
constexpr int kPairs = kAnswers * (kAnswers - 1) / 2;    // of a prompt under each label
constexpr std::int64_t kWidth = 16, kWords = 96;
constexpr std::uint64_t kSeed = 17;

/// A response has two qualities, a and b, which agree on half the pairs of each prompt. Of all labels this is the order, with
/// noise: chat wants a, code wants little of it, notes wants b. In code the shorter response is always the better one; elsewhere
/// lengths say nothing.
struct Prompt {
  std::string category, id;
  std::vector<int> a, b, words;
  std::map<std::string, std::vector<int>> rank;  ///< By label, from 0
};

std::vector<int> ranks_of(const std::vector<double>& values) {
  std::vector<int> ranks;
  for (const double value : values)
    ranks.push_back(static_cast<int>(std::ranges::count_if(values, [&](double other) { return other < value; })));
  return ranks;
}

std::vector<int> shuffled(Rng& rng) {
  std::vector<int> order(kAnswers);
  std::iota(order.begin(), order.end(), 0);
  rng.shuffle(order);
  return order;
}

int agreeing(const std::vector<int>& a, const std::vector<int>& b) {
  int count = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) count += (a[i] < a[j]) == (b[i] < b[j]) ? 1 : 0;
  }
  return count;
}

Prompt prompt_of(const std::string& category, int number) {
  Rng rng(5, "arms/" + category, static_cast<std::uint64_t>(number));
  Prompt prompt{category, fmt::format("{}-{}", category, number), shuffled(rng), shuffled(rng), {}, {}};
  while (2 * agreeing(prompt.a, prompt.b) != kPairs) prompt.b = shuffled(rng);
  const auto noisy = [&](const std::vector<int>& quality, double sign, double noise) {
    std::vector<double> values;
    for (const int value : quality) values.push_back(sign * value + noise * rng.normal());
    return ranks_of(values);
  };
  prompt.rank["overall"] = noisy(category == "notes" ? prompt.b : prompt.a, category == "code" ? -1 : 1, 0.8);
  prompt.rank["calm"] = noisy(prompt.b, 1, 0.5);
  if (category != "notes") prompt.rank["polite"] = noisy(prompt.a, 1, 0.5);
  prompt.words = shuffled(rng);
  for (int r = 0; category == "code" && r < kAnswers; ++r)
    prompt.words[static_cast<std::size_t>(r)] = kAnswers - 1 - prompt.rank["overall"][static_cast<std::size_t>(r)];
  return prompt;
}

/// A response of 14 words and more, in an order that says nothing.
std::string text_of(const Prompt& prompt, std::size_t response) {
  Rng rng(6, prompt.id, response);
  std::vector<std::string> words(static_cast<std::size_t>(prompt.a[response]), "alpha");
  words.insert(words.end(), static_cast<std::size_t>(prompt.b[response]), "beta");
  while (std::ssize(words) < 14 + prompt.words[response])
    words.emplace_back(std::array{"one", "two", "three", "four"}[static_cast<std::size_t>(rng.below(4))]);
  rng.shuffle(words);
  return fmt::format("{}", fmt::join(words, " "));
}

json row_of(const Prompt& prompt, bool turned, bool tested) {
  json row = {{"id", prompt.id},
              {"category", prompt.category},
              {"split", tested ? "test" : "train"},
              {"prompt", "ask " + prompt.id},
              {"responses", json::array()}};
  for (std::size_t r = 0; r < kAnswers; ++r) {
    json response = {{"text", text_of(prompt, r)}, {"scores", json::object()}};
    for (const auto& [label, ranks] : prompt.rank) {
      const int score = turned ? kAnswers - 1 - ranks[r] : ranks[r];
      (label == "overall" ? response["overall"] : response["scores"][label]) = score;
    }
    row["responses"].push_back(response);
  }
  return row;
}

/// The data with the labels of some prompts turned round, and the cells of one fold.
class OpposedCategories {
 public:
  using Turned = std::function<bool(const std::string&)>;
  /// @param states  folder of the states, which do not depend on labels
  OpposedCategories(const fs::path& folder, const fs::path& states, const Turned& turned) : folder_(folder) {
    fs::create_directories(folder);
    config_.categories = {{.name = "chat", .points = {"polite", "calm"}, .score_gap_min = 1},
                          {.name = "code", .points = {"polite", "calm"}, .score_gap_min = 1},
                          {.name = "notes", .points = {"calm"}, .score_gap_min = 1}};
    std::string text;
    for (const config::CategoryConfig& category : config_.categories) {
      for (int i = 0; i < kTaught + kTested; ++i) {
        const Prompt prompt = prompt_of(category.name, i);
        text += row_of(prompt, turned(prompt.id), i >= kTaught).dump() + "\n";
        prompts_[prompt.id] = prompt;
      }
    }
    write_file_atomically(folder / "rows.jsonl", text);
    data::IngestRequest request;
    request.data.inputs.push_back({(folder / "rows.jsonl").string(), "auto", "", config::InputSplit::own, 1.0});
    config_.data = request.data;
    request.categories = config_.categories;
    request.renderer = test::word_renderer(kWords);
    request.output = folder / "store.h5";
    data::ingest(request);
    store_ = std::make_unique<data::TokenStore>(data::TokenStore::open(request.output));
    scores_ = std::make_unique<StoreScores>(request.output);
    cache_ = std::make_unique<StateCache>(states, *store_, std::vector<std::int64_t>{0}, "model");
    taught_ = choose_groups(*store_, {}), tested_ = choose_groups(*store_, {.test = true});
    const std::unique_ptr<comm::World> world = comm::make_single_world();
    for (const auto& groups : {taught_, tested_}) cache_->fill(*backbone(), groups, 2048, world->all());
  }
  static std::shared_ptr<nn::Backbone> backbone() {
    nn::BackboneSpec spec = test::tiny_spec(kWords);
    spec.width = kWidth, spec.heads = 2, spec.kv_heads = 1, spec.head_dim = 8;
    return test::random_backbone(spec);
  }
  /// Tokens that each of two ranks computes for the states of all training prompts of chat and of two of code.
  [[nodiscard]] std::vector<std::int64_t> tokens_by_rank(const fs::path& states) const {
    const StateCache cache(states, *store_, {0}, "model");
    test::ThreadMeeting meeting(2);
    std::vector<std::int64_t> tokens;
    for (const int rank : {0, 1})
      tokens.push_back(cache.fill(*backbone(), {taught_[0], {taught_[1].begin(), taught_[1].begin() + 2}}, 2048,
                                  test::ThreadCommunicator(meeting, rank)));
    return tokens;
  }
  /// Models that learn from all training prompts and are tested on the test split, or on folds of the training prompts.
  [[nodiscard]] std::unique_ptr<Experiment> experiment(bool test_split) const {
    return std::make_unique<Experiment>(
        config_, *store_, *scores_, *cache_, taught_, test_split ? tested_ : std::vector<std::vector<std::int64_t>>{},
        ExperimentSettings{.readings = {{0, true}}, .components = kWidth, .seeds = 1, .inner = true});
  }
  /// One cell of an experiment. @param place  among those of the fold: a category, then the single models, then the inner layer
  void compute(Experiment& experiment, int fold, int place) const {
    const int cells = static_cast<int>(experiment.categories().size()) + 2;
    test::ThreadMeeting meeting(cells * static_cast<int>(kOuterFolds));
    experiment.run({regime_from("all-none")}, folder_, test::ThreadCommunicator(meeting, fold * cells + place));
  }
  /// The cells of chat, of code, of the single models and of the inner layer in an outer fold of the training prompts.
  [[nodiscard]] std::vector<json> cells(int fold) const {
    const std::unique_ptr<Experiment> all = experiment(/*test_split=*/false);
    for (const int place : {0, 1, 3, 4}) compute(*all, fold, place);
    return {read_json(cell_file(folder_, "all-none", "chat", fold)), read_json(cell_file(folder_, "all-none", "code", fold)),
            read_json(single_file(folder_, "all-none", fold)), read_json(inner_file(folder_, "all-none", fold))};
  }
  [[nodiscard]] const Prompt& prompt(std::int64_t group) const { return prompts_.at(std::string(store_->group(group).id)); }
  [[nodiscard]] bool is_tested(std::int64_t group) const { return store_->group(group).split == preference::Split::test; }
  /// Mean states of all responses of all categories, in the order of the experiment with the test split.
  [[nodiscard]] at::Tensor states() const {
    std::vector<at::Tensor> parts;
    for (std::size_t c = 0; c < taught_.size(); ++c) {
      parts.push_back(cache_->load(taught_[c], {0, true}));
      parts.push_back(cache_->load(tested_[c], {0, true}));
    }
    return at::cat(parts);
  }
  [[nodiscard]] const data::TokenStore& store() const { return *store_; }
  [[nodiscard]] const StoreScores& scores() const { return *scores_; }
  [[nodiscard]] const fs::path& folder() const { return folder_; }

 private:
  fs::path folder_;
  config::RunConfig config_;
  std::map<std::string, Prompt> prompts_;
  std::unique_ptr<data::TokenStore> store_;
  std::unique_ptr<StoreScores> scores_;
  std::unique_ptr<StateCache> cache_;
  std::vector<std::vector<std::int64_t>> taught_, tested_;
};

Table table_of(const at::Tensor& x_NF) {
  const at::Tensor x64_NF = x_NF.to(at::kDouble).contiguous();
  const double* cells = x64_NF.const_data_ptr<double>();
  Table rows;
  for (std::int64_t n = 0; n < x64_NF.size(0); ++n, cells += x64_NF.size(1)) rows.emplace_back(cells, cells + x64_NF.size(1));
  return rows;
}

class ArmsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    root_ = fs::temp_directory_path() / fmt::format("dmoerm_arms_{}", ::getpid());
    fs::remove_all(root_);
    data_ = std::make_unique<OpposedCategories>(root_ / "data", root_ / "states", [](const std::string&) { return false; });
    experiment_ = data_->experiment(/*test_split=*/true);
  }
  static void TearDownTestSuite() {
    experiment_.reset(), data_.reset();
    fs::remove_all(root_);
  }
  static const std::vector<CategoryData>& categories() { return experiment_->categories(); }

  /// Groups of a category with the pairs of a label as the rows say them. @param all  rows as among all categories
  static LabelledGroups groups_of(const CategoryData& category, const std::string& label, bool tested, bool all) {
    LabelledGroups found;
    for (std::size_t g = 0; g < category.groups.size(); ++g) {
      if (data_->is_tested(category.groups[g]) != tested) continue;
      const auto number = static_cast<std::int64_t>(g);
      moe::ExpertFeatures::Group group{kAnswers * number + (all ? category.first_row : 0), kAnswers, {}, number};
      const std::vector<int>& rank = data_->prompt(category.groups[g]).rank.at(label);
      for (std::int32_t i = 0; i < kAnswers; ++i) {
        for (std::int32_t j = 0; j < kAnswers; ++j) {
          if (rank[static_cast<std::size_t>(i)] > rank[static_cast<std::size_t>(j)]) group.pairs.push_back({i, j});
        }
      }
      found.groups.push_back(group);
      found.fold.push_back(category.inner[g]);
    }
    return found;
  }
  static LabelledGroups taught(const CategoryData& category, const std::string& label, bool all = false) {
    return groups_of(category, label, /*tested=*/false, all);
  }
  /// Those of the groups that a regime gives overall labels.
  static LabelledGroups labelled(const CategoryData& category, const Regime& regime, bool all = false) {
    std::set<std::int64_t> chosen;
    for (const auto& group : labelled_overall(data_->store(), data_->scores(), category, 0, regime, kSeed).groups)
      chosen.insert(group.first);
    EXPECT_EQ(std::ssize(chosen), regime.prompts == 0 ? kTaught : regime.prompts);
    const LabelledGroups every = taught(category, "overall", all);
    LabelledGroups some;
    for (std::size_t g = 0; g < every.groups.size(); ++g) {
      if (!chosen.contains(every.groups[g].first - (all ? category.first_row : 0))) continue;
      some.groups.push_back(every.groups[g]), some.fold.push_back(every.fold[g]);
    }
    return some;
  }
  /// Share of each tested group's pairs that rewards order correctly. @param reward  of the category's responses
  static Vector shares(const CategoryData& category, const Vector& reward) {
    Vector shares;
    for (const auto& group : groups_of(category, "overall", /*tested=*/true, /*all=*/false).groups) {
      double right = 0;
      for (const auto& pair : group.pairs) {
        const double gap = reward[static_cast<std::size_t>(group.first + pair.winner)] -
                           reward[static_cast<std::size_t>(group.first + pair.loser)];
        right += gap > 0 ? 1 : gap == 0 ? 0.5 : 0;
      }
      shares.push_back(right / kPairs);
    }
    return shares;
  }
  static Vector of_category(const CategoryData& category, const Vector& all) {
    return {all.begin() + category.first_row, all.begin() + category.first_row + category.row_count};
  }
  static double accuracy(const json& arms, const std::string& arm) { return arms.at(arm).at("seeds").at(0).get<double>(); }
  static ArmTable empty_table(const CategoryData& category) { return {category.tested(0), category.tested_at_equal_length(0)}; }
  /// Random features with a trace of both qualities. @param wanted  random alone if it is false
  static at::Tensor random_features(const std::string& name, std::int64_t width, bool wanted) {
    const std::int64_t rows = categories().back().first_row + categories().back().row_count;
    at::Tensor x_NF = at::empty({rows, width});
    auto* cells = x_NF.data_ptr<float>();
    Rng rng(7, name);
    for (const CategoryData& category : categories()) {
      for (const std::int64_t group : category.groups) {
        const Prompt& prompt = data_->prompt(group);
        for (std::size_t r = 0; r < kAnswers; ++r, cells += width) {
          for (std::int64_t f = 0; f < width; ++f) cells[f] = static_cast<float>(rng.normal());
          if (!wanted) continue;
          cells[0] = static_cast<float>(0.5 * prompt.a[r] + 0.5 * rng.normal());
          cells[1] = static_cast<float>(0.5 * prompt.b[r] + 0.5 * rng.normal());
        }
      }
    }
    return x_NF;
  }
  /// Whether an arm orders the tested pairs as the plain loops do: less than half a pair may differ.
  static void expect_arm(const json& arms, const std::string& arm, const CategoryData& category, const Vector& reward) {
    ASSERT_TRUE(arms.contains(arm)) << arm << " of " << category.name;
    const auto found = arms.at(arm).at("groups").get<Vector>();
    const Vector wanted = shares(category, reward);
    ASSERT_EQ(found.size(), static_cast<std::size_t>(kTested)) << arm << " of " << category.name;
    double pairs = 0;
    for (std::size_t g = 0; g < wanted.size(); ++g) pairs += std::abs(found[g] - wanted[g]) * kPairs;
    EXPECT_LT(pairs, 0.5) << arm << " of " << category.name;
  }

  static fs::path root_;
  static std::unique_ptr<OpposedCategories> data_;
  static std::unique_ptr<Experiment> experiment_;
};

fs::path ArmsTest::root_;
std::unique_ptr<OpposedCategories> ArmsTest::data_;
std::unique_ptr<Experiment> ArmsTest::experiment_;

/// The arms of one category, by plain loops.
struct PlainArms {
  Table x, bag;
  LabelledGroups labelled, training;  ///< Overall labels; all training groups
  std::map<std::string, LabelledGroups> points;
  std::string name;
  std::map<std::string, Vector> reward;
  std::vector<Vector> columns;         ///< Of the experts, then of the base
  std::map<std::string, double> loss;  ///< Of the members that are mixed

  [[nodiscard]] Vector standard(const Vector& values) const { return plain::standardised(values, training.groups); }
  [[nodiscard]] Vector unseen(const PlainHeads& heads) const { return standard(plain::rewards(heads, x, training)); }
  [[nodiscard]] Vector by(const Vector& head) const { return plain::rewards({head, {}}, x, {}); }

  void ensembles(const PlainHeads& own, const Groups& all) {
    Rng rng(kSeed, "evidence/ensemble/" + name, 0);
    std::vector<Vector> members;
    for (int m = 0; m < 5; ++m) {
      Groups drawn;
      for (std::size_t i = 0; i < labelled.groups.size(); ++i)
        drawn.push_back(labelled.groups[rng.below(labelled.groups.size())]);
      const Vector head = plain::ridge(plain::differences(x, drawn), own.strength, Vector(own.all.size(), 0));
      members.push_back(plain::centred(standard(by(head)), all));
    }
    for (std::size_t n = 0; n < x.size(); ++n) {
      double mean = 0, variance = 0, least = members.front()[n];
      for (const Vector& member : members) mean += member[n] / 5, least = std::min(least, member[n]);
      for (const Vector& member : members) variance += (member[n] - mean) * (member[n] - mean) / 4;
      reward["ensemble_mean"].push_back(mean);
      reward["ensemble_wco"].push_back(least);
      reward["ensemble_uwo"].push_back(mean - 0.5 * variance);
    }
  }
  void without_folds(const std::vector<PlainHeads>& experts, const PlainHeads& own, const Vector& target) {
    const auto early = [](const LabelledGroups& of, bool others) { return of.of_first_folds(3, others); };
    std::vector<Vector> seen, split;
    const auto add = [&](const PlainHeads& heads, const LabelledGroups& of) {
      seen.push_back(standard(by(heads.all)));
      split.push_back(standard(
          by(plain::ridge(plain::differences(x, early(of, false).groups), heads.strength, Vector(heads.all.size(), 0)))));
    };
    std::size_t p = 0;
    for (const auto& [point, of] : points) add(experts[p++], of);
    add(own, labelled);
    reward["stack_in_sample"] = plain::stack(seen, target, labelled).reward;
    if (const LabelledGroups late = early(labelled, true); late.groups.size() >= 2)
      reward["stack_split"] = plain::stack(split, target, late).reward;
  }
  void mixtures(double linear_loss) {
    for (const char* member : {"own", "pooled", "linear", "warm", "residual"})
      loss[member] = static_cast<double>(labelled.groups.size()) *
                     (std::string(member) == "linear" ? linear_loss : plain::stack({reward[member]}, {1}, labelled).loss);
    const std::string best = std::ranges::min_element(loss, {}, [](const auto& one) { return one.second; })->first;
    reward["best"] = reward[best];
    for (const auto& [member, own] : loss) {
      Vector &equal = reward["equal"], &vote = reward["vote"];
      equal.resize(x.size()), vote.resize(x.size());
      equal = plain::sum(equal, reward[member]);
      vote = plain::sum(vote, reward[member], std::exp(loss[best] - own));
    }
  }
  void compute(const Groups& all) {
    const PlainHeads own = plain::fit(x, labelled, head_strengths());
    reward["own"] = unseen(own);
    ensembles(own, all);
    reward["bag"] = plain::rewards({plain::fit(bag, labelled, head_strengths()).all, {}}, bag, {});
    LabelledGroups heap;
    std::vector<PlainHeads> experts;
    for (const auto& [point, of] : points) {
      heap.append(of);
      experts.push_back(plain::fit(x, of, head_strengths()));
      columns.push_back(unseen(experts.back()));
    }
    const PlainHeads universal = plain::fit(x, heap, head_strengths()),
                     pooled = plain::fit(x, heap.with(labelled, 1), head_strengths(), &labelled);
    reward["universal"] = unseen(universal), reward["pooled"] = unseen(pooled);
    PlainHeads weighted = pooled;
    for (const int times : {3, 10}) {
      const std::vector<double> strengths = {3 * pooled.strength, pooled.strength, pooled.strength / 3};
      if (PlainHeads heads = plain::fit(x, heap.with(labelled, times), strengths, &labelled); heads.loss < weighted.loss)
        weighted = heads;
    }
    reward["pooled_weighted"] = unseen(weighted);
    reward["mean"] = plain::scaled(plain::sum(columns[0], columns[1]), 0.5);
    const PlainStack linear = plain::stack(columns, {0.5, 0.5}, labelled);
    reward["linear"] = standard(linear.reward);
    columns.push_back(reward["own"]);
    reward["stack"] = plain::stack(columns, {0.5, 0.5, 0}, labelled).reward;
    without_folds(experts, own, {0.5, 0.5, 0});
    std::vector<Vector> wider = columns;
    wider.push_back(reward["universal"]);
    reward["stack_universal"] = plain::stack(wider, {0, 0, 0, 1}, labelled).reward;
    for (const auto& [arm, from] : {std::pair("warm", &universal), std::pair("residual", &pooled)}) {
      const double scale = plain::best_scale(plain::rewards(*from, x, training), labelled);
      reward[arm] = unseen(plain::fit(x, labelled, residual_strengths(), nullptr, from, scale));
    }
    mixtures(linear.loss);
  }
};

at::Tensor tensor_of(const std::vector<Vector>& columns) {
  at::Tensor all_NK = at::empty({std::ssize(columns.front()), std::ssize(columns)});
  auto* cells = all_NK.data_ptr<float>();
  for (std::size_t n = 0; n < columns.front().size(); ++n) {
    for (const Vector& column : columns) *cells++ = static_cast<float>(column[n]);
  }
  return all_NK;
}

TEST_F(ArmsTest, EachIsWhatPlainLoopsMakeOfTheSameLabels) {
  const Regime regime = regime_from("10-none");
  const at::Tensor x_NF = random_features("features", 8, true), bag_NB = random_features("bag", 6, true),
                   prompt_GF = random_features("prompts", 8, false);
  for (const std::size_t c : {0U, 1U}) {
    const CategoryData& category = categories()[c];
    const auto own = [&](const at::Tensor& all) { return all.narrow(0, category.first_row, category.row_count); };
    ArmTable table = empty_table(category);
    CategoryArms(data_->store(), data_->scores(), category, 0, own(x_NF),
                 prompt_GF.narrow(0, category.first_group, std::ssize(category.groups)), own(bag_NB))
        .run(regime, kSeed, table);
    const json result = table.to_json(), arms = result.at("arms");

    PlainArms arm{table_of(own(x_NF)),
                  table_of(own(bag_NB)),
                  labelled(category, regime),
                  taught(category, "overall"),
                  {},
                  category.name,
                  {},
                  {},
                  {}};
    for (const char* point : {"calm", "polite"}) arm.points[point] = taught(category, point);
    Groups all = arm.training.groups;
    for (const auto& group : groups_of(category, "overall", true, false).groups) all.push_back(group);
    arm.compute(all);
    for (const auto& [name, reward] : arm.reward) expect_arm(arms, name, category, reward);
    const std::string best = result.at("counts").at("best").begin().key();
    for (const auto& [member, loss] : arm.loss)
      EXPECT_LT(arm.loss.at(best), loss + 1e-6) << best << " is not better than " << member;
    for (const char* other : {"ensemble_wco", "ensemble_uwo"})
      EXPECT_NE(shares(category, arm.reward[other]), shares(category, arm.reward["ensemble_mean"])) << "or this shows nothing";

    const std::string kind = result.at("counts").at("aggregator").begin().key();
    moe::ExpertFeatures said;
    const at::Tensor columns_NK = tensor_of(arm.columns);
    said.rewards_NK = columns_NK.narrow(1, 0, 2).contiguous(), said.base_N = columns_NK.select(1, 2).contiguous();
    said.groups = arm.labelled.groups;
    expect_arm(arms, "dmoerm", category,
               table_of(moe::fit_aggregator(kind, said, {}, {}, kSeed).rewards(said).unsqueeze(0)).front());
  }
}

TEST_F(ArmsTest, PointsThatContradictTheOverallLabelsMisleadWhatDoesNotWeighThem) {
  const Regime regime = regime_from("all-none");
  const at::Tensor x_NF = random_features("features", 8, true);
  std::map<std::string, json> arms;
  for (const std::size_t c : {0U, 1U}) {
    const CategoryData& category = categories()[c];
    const at::Tensor own_NF = x_NF.narrow(0, category.first_row, category.row_count);
    ArmTable table = empty_table(category);
    CategoryArms(data_->store(), data_->scores(), category, 0, own_NF, at::zeros({std::ssize(category.groups), 8}), own_NF)
        .run(regime, kSeed, table);
    arms[category.name] = table.to_json().at("arms");
  }
  for (const char* arm : {"mean", "universal", "pooled"}) {
    EXPECT_GT(accuracy(arms["chat"], arm), 0.55) << arm;
    EXPECT_LT(accuracy(arms["code"], arm), accuracy(arms["code"], "own") - 0.1) << arm;
  }
  for (const char* arm : {"own", "linear", "stack", "dmoerm", "stack_universal", "warm", "residual", "best", "vote"}) {
    EXPECT_GT(accuracy(arms["chat"], arm), 0.65) << arm;
    EXPECT_GT(accuracy(arms["code"], arm), 0.65) << arm;
  }
  for (const char* arm : {"mean", "universal"}) EXPECT_LT(accuracy(arms["code"], arm), 0.5) << arm;
  EXPECT_EQ(accuracy(arms["code"], "length"), 1) << "the shorter is the better";
  EXPECT_NEAR(accuracy(arms["chat"], "length"), 0.5, 0.12);
}

TEST_F(ArmsTest, TheInnerLayerHasOneStackForAllCategories) {
  const Regime regime = regime_from("10-none");
  const at::Tensor x_NF = random_features("features", 8, true);
  std::vector<ArmTable> tables;
  for (const CategoryData& category : categories()) tables.push_back(empty_table(category));
  InnerLayer(data_->store(), data_->scores(), categories(), 0, x_NF).run(regime, kSeed, tables);

  const Table x = table_of(x_NF);
  LabelledGroups training, overall, calm, polite;
  for (const CategoryData& category : categories()) {
    training.append(taught(category, "overall", true));
    overall.append(labelled(category, regime, true));
    calm.append(taught(category, "calm", true));
    if (category.name != "notes") polite.append(taught(category, "polite", true));
  }
  std::vector<Vector> columns;
  for (const LabelledGroups* of : {&calm, &polite, &overall})
    columns.push_back(plain::standardised(plain::rewards(plain::fit(x, *of, head_strengths()), x, training), training.groups));
  const Vector reward = plain::stack(columns, {0.5, 0.5, 0}, overall).reward;
  for (std::size_t c = 0; c < tables.size(); ++c)
    expect_arm(tables[c].to_json().at("arms"), "inner", categories()[c], of_category(categories()[c], reward));
  const auto inner = [&](std::size_t c) { return accuracy(tables[c].to_json().at("arms"), "inner"); };
  EXPECT_NEAR((inner(0) + inner(1)) / 2, 0.5, 0.1) << "no weights suit chat and code";
  EXPECT_GT(inner(2), 0.58);
}

TEST_F(ArmsTest, ASingleModelSuitsNoCategoryWhereTheyWantOppositeThings) {
  constexpr int kSingle = 3;  // behind three categories
  data_->compute(*experiment_, 0, kSingle);
  const json cell = read_json(single_file(data_->folder(), "all-none", 0));

  std::vector<Rows> all;
  std::vector<std::vector<Rows>> parts;
  std::vector<LabelledGroups> own;
  LabelledGroups every, heap;
  for (const CategoryData& category : categories()) {
    parts.emplace_back();
    for (std::size_t g = 0; g < category.groups.size(); ++g) {
      all.push_back({category.first_row + kAnswers * static_cast<std::int64_t>(g), kAnswers});
      if (!data_->is_tested(category.groups[g])) parts.back().push_back(all.back());
    }
    own.push_back(taught(category, "overall", true));
    every.append(own.back()), heap.append(own.back());
    for (const char* point : {"calm", "polite"}) {
      if (category.name != "notes" || std::string(point) == "calm") heap.append(taught(category, point, true));
    }
  }
  const at::Tensor within_NB = by_group({data_->states()}, all).within_NB;
  const at::Tensor x_NF = at::matmul(within_NB, components(within_NB, parts, kWidth));
  const Table x = table_of(x_NF);
  const auto by = [&](const LabelledGroups& of, const LabelledGroups* judged) {
    return plain::rewards({plain::fit(x, of, head_strengths(), judged).all, {}}, x, {});
  };
  const Vector single = by(every, nullptr), with_points = by(heap, &every);
  for (std::size_t c = 0; c < 3; ++c) {
    const CategoryData& category = categories()[c];
    const json arms = cell.at("categories").at(category.name).at("arms");
    LabelledGroups two = own[c];
    two.append(own[(c + 1) % 3]);
    expect_arm(arms, "single", category, of_category(category, single));
    expect_arm(arms, "single_points", category, of_category(category, with_points));
    expect_arm(arms, "single_of_1", category, of_category(category, by(own[c], nullptr)));
    expect_arm(arms, "single_of_2", category, of_category(category, by(two, nullptr)));
    EXPECT_EQ(arms.size(), 4U) << "of all three it is the single model, and there are not four";
    if (category.name == "notes") continue;
    EXPECT_LT(accuracy(arms, "single"), accuracy(arms, "single_of_1") - 0.1) << category.name;
  }
  data_->compute(*experiment_, 0, 0);
  EXPECT_EQ(read_json(cell_file(data_->folder(), "all-none", "chat", 0)).at("arms").at("own").at("groups"),
            cell.at("categories").at("chat").at("arms").at("single_of_1").at("groups"));
}

/// Pieces of two categories in turns would give one rank all of chat: 24 prompts of 26.
TEST_F(ArmsTest, RanksShareStatesByTheirTokens) {
  const std::vector<std::int64_t> tokens = data_->tokens_by_rank(root_ / "shared");
  EXPECT_GT(2 * std::ranges::min(tokens), std::ranges::max(tokens));
}

TEST_F(ArmsTest, FeaturesAreTheReadingsTurnedAndScaled) {
  std::vector<Rows> all;
  std::vector<std::vector<Rows>> parts;
  double square = 0;  // of the length of a training response, each category counting the same
  const std::vector<CategoryData>& three = categories();
  for (const CategoryData& category : three) {
    for (std::size_t g = 0; g < category.groups.size(); ++g)
      all.push_back({category.first_row + kAnswers * static_cast<std::int64_t>(g), kAnswers});
  }
  const at::Tensor within_NB = by_group({data_->states()}, all).within_NB;
  for (const CategoryData& category : three) {
    parts.emplace_back();
    for (std::size_t g = 0; g < category.groups.size(); ++g) {
      if (data_->is_tested(category.groups[g])) continue;
      const Rows rows = all[static_cast<std::size_t>(category.first_group) + g];
      parts.back().push_back(rows);
      square += within_NB.narrow(0, rows.first, rows.count).square().sum().item<double>() / (3 * kTaught * kAnswers);
    }
  }
  const at::Tensor x_NF = at::matmul(within_NB, components(within_NB, parts, kWidth));
  EXPECT_TRUE(at::matmul(x_NF, x_NF.t())
                  .allclose(at::matmul(within_NB, within_NB.t()) * (static_cast<double>(kWidth) / square), 1e-3, 1e-2));
}

/// All arms of a cell, with their categories in the cells of models over all of them.
std::map<std::string, json> arms_in(const json& cell) {
  std::map<std::string, json> found;
  if (cell.contains("arms")) {
    for (const auto& [arm, result] : cell.at("arms").items()) {
      if (arm != kGoldArm) found[arm] = result;  // it knows what is tested
    }
    return found;
  }
  for (const auto& [category, own] : cell.at("categories").items()) {
    for (const auto& [arm, result] : own.at("arms").items()) found[fmt::format("{} of {}", arm, category)] = result;
  }
  return found;
}

void expect_opposite(const json& one, const json& other, const std::string& arm) {
  const auto a = one.at("groups").get<Vector>(), b = other.at("groups").get<Vector>();
  ASSERT_EQ(a.size(), b.size()) << arm;
  ASSERT_FALSE(a.empty()) << arm;
  for (std::size_t g = 0; g < a.size(); ++g) EXPECT_NEAR(a[g] + b[g], 1, 1e-6) << arm << ", group " << g;
}

TEST_F(ArmsTest, LearnFromTheLabelsOfTrainingPromptsAndOfNoTestedOne) {
  constexpr int kFold = 2;
  std::set<std::string> tested;
  const std::unique_ptr<Experiment> all = data_->experiment(/*test_split=*/false);
  for (const CategoryData& category : all->categories()) {
    for (const std::int64_t group : category.tested_groups(kFold)) tested.insert(data_->prompt(group).id);
  }
  ASSERT_GE(tested.size(), 12U);
  const auto turned = [&](const char* name, bool of_tested) {
    return OpposedCategories(root_ / name, root_ / "states",
                             [&](const std::string& id) { return tested.contains(id) == of_tested; })
        .cells(kFold);
  };
  const std::vector<json> before = data_->cells(kFold), other_test = turned("turned tests", true),
                          other_lessons = turned("turned lessons", false);
  for (std::size_t cell = 0; cell < before.size(); ++cell) {
    const std::map<std::string, json> arms = arms_in(before[cell]), after = arms_in(other_test[cell]),
                                      taught_otherwise = arms_in(other_lessons[cell]);
    EXPECT_GE(arms.size(), 3U);
    for (const auto& [arm, result] : arms) {
      expect_opposite(result, after.at(arm), arm + " with tested labels turned");
      // The worst of members that are turned is less their best, and doubt costs as before; in chat a length may say nothing.
      if (arm == "ensemble_wco" || arm == "ensemble_uwo" || (cell == 0 && arm == "length")) continue;
      expect_opposite(result, taught_otherwise.at(arm), arm + " with training labels turned");
    }
    for (const char* key : {"weights", "counts"}) {
      if (!before[cell].contains(key)) continue;
      EXPECT_EQ(before[cell].at(key), other_test[cell].at(key)) << key << " do not depend on tested labels";
    }
  }
  for (std::size_t cell = 0; cell < 2; ++cell) {
    for (const char* arm : {"ensemble_wco", "ensemble_uwo"}) {
      const auto groups = [&](const json& of) { return of.at("arms").at(arm).at("groups"); };
      EXPECT_NE(groups(before[cell]), groups(other_lessons[cell])) << arm;
    }
  }
}

}  // namespace
}  // namespace dmoerm::evidence
