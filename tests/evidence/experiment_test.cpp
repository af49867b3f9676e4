#include "evidence/experiment.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"
#include "comm/single_process.h"
#include "data/ingest.h"
#include "evidence/blocks.h"
#include "evidence/cell_results.h"
#include "support/scratch.h"
#include "support/thread_group.h"
#include "support/tiny_backbone.h"
#include "support/word_renderer.h"

namespace dmoerm::evidence {
namespace {

constexpr std::int64_t kVocab = 96;
constexpr int kPrompts = 60;

/// Prompts with three responses. The more often a response says "please", the better it is; the first two are equally calm. A
/// first rater exists for even prompts and says the opposite.
std::string rows() {
  std::string text;
  for (int i = 0; i < kPrompts; ++i) {
    Rng rng(3, "rows", static_cast<std::uint64_t>(i));
    nlohmann::json row = {{"id", fmt::format("p{}", i)},
                          {"category", "chat"},
                          {"split", i % 6 == 5 ? "test" : "train"},
                          {"prompt", fmt::format("ask {} {}", i, rng.below(40))},
                          {"responses", nlohmann::json::array()}};
    for (int r = 0; r < 3; ++r) {
      std::string words = fmt::format("word{} ", rng.below(40));
      for (int n = 0; n < r; ++n) words += "please ";
      nlohmann::json response = {
          {"text", words + fmt::format("word{}", rng.below(40))}, {"overall", r}, {"scores", {{"polite", r}, {"calm", r / 2}}}};
      if (i % 2 == 0) response["overall_raters"] = {2 - r, 3 * r - 2};
      row["responses"].push_back(response);
    }
    text += row.dump() + "\n";
  }
  return text;
}

/// Rows for these prompts, as a rater sees them who likes the last response best, or the first.
std::string rated_rows(const std::string& category, const std::vector<int>& prompts, bool last) {
  std::string text;
  for (const int i : prompts) {
    nlohmann::json row = {{"id", fmt::format("{}-{}-{}", category, i, last)},
                          {"category", category},
                          {"split", "train"},
                          {"prompt", fmt::format("ask {}", i)},
                          {"responses", nlohmann::json::array()}};
    for (int r = 0; r < 3; ++r) {
      const int score = last ? r : 2 - r;
      row["responses"].push_back(
          {{"text", fmt::format("word{} word{}", r, i % 30)}, {"overall", score}, {"scores", {{"polite", score}}}});
    }
    text += row.dump() + "\n";
  }
  return text;
}

/// The same rows, each with its document. @param document  of a row, counted from 0
std::string with_documents(const std::string& rows, const std::function<nlohmann::json(int)>& document) {
  std::string text;
  std::istringstream lines(rows);
  int number = 0;
  for (std::string line; std::getline(lines, line); ++number) {
    nlohmann::json row = nlohmann::json::parse(line);
    row["document"] = document(number);
    text += row.dump() + "\n";
  }
  return text;
}

/// A prompt as rows of HelpSteer, a row for each response with its document.
std::string rows_of_prompt(const std::string& prompt, const std::string& split, const std::vector<int>& documents) {
  std::string text;
  for (std::size_t i = 0; i < documents.size(); ++i)
    text += nlohmann::json{{"prompt", prompt},     {"response", fmt::format("word{}", i)},
                           {"helpfulness", 3 * i}, {"category", "chat"},
                           {"split", split},       {"document", documents[i]}}
                .dump() +
            "\n";
  return text;
}

/// From `first` up to `end`, or down.
std::vector<int> numbers(int first, int end, bool down = false) {
  std::vector<int> list(static_cast<std::size_t>(end - first));
  std::iota(list.begin(), list.end(), first);
  if (down) std::ranges::reverse(list);
  return list;
}

class ExperimentTest : public test::Scratch {
 protected:
  ExperimentTest() {
    config_.categories = {{.name = "chat", .points = {"polite", "calm", "first_rater"}, .score_gap_min = 1}};
    read({rows()});
  }
  /// Makes the store of these files.
  void read(const std::vector<std::string>& files) {
    store_.reset(), scores_.reset();
    data::IngestRequest request;
    for (const std::string& text : files) {
      const std::string name = fmt::format("rows{}.jsonl", request.data.inputs.size());
      request.data.inputs.push_back({write(name, text), "auto", "", config::InputSplit::own, 1.0});
    }
    config_.data = request.data;
    request.categories = config_.categories;
    request.renderer = test::word_renderer(kVocab);
    request.output = directory_ / "store.h5";
    data::ingest(request);
    store_ = std::make_unique<data::TokenStore>(data::TokenStore::open(request.output));
    scores_ = std::make_unique<StoreScores>(request.output);
  }
  [[nodiscard]] StateCache cache() const { return {directory_ / "states", *store_, {1, 2}, "model"}; }
  void fill(const std::vector<std::vector<std::int64_t>>& groups) { cache().fill(*backbone_, groups, 256, *ranks_); }

  config::RunConfig config_;
  std::unique_ptr<data::TokenStore> store_;
  std::unique_ptr<StoreScores> scores_;
  std::shared_ptr<nn::Backbone> backbone_ = test::tiny_backbone(kVocab);
  std::unique_ptr<comm::World> world_ = comm::make_single_world();
  comm::Communicator* ranks_ = &world_->all();
};

TEST_F(ExperimentTest, MoreGroupsKeepThoseThatWereThere) {
  const auto few = choose_groups(*store_, {.of_all = 20}).front(), all = choose_groups(*store_, {}).front();
  ASSERT_EQ(few.size(), 20U);
  EXPECT_EQ(all.size(), 50U);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), all.begin()));
  EXPECT_EQ(choose_groups(*store_, {.test = true}).front().size(), 10U);
  EXPECT_THROW((void)choose_groups(*store_, {.by_category = {{"chess", 3}}}), ConfigError);
}

TEST_F(ExperimentTest, StatesAreThoseOfTheBackboneAndAreComputedOnce) {
  const auto groups = choose_groups(*store_, {.of_all = 20});
  EXPECT_TRUE(cache().present(groups.front()).empty());
  EXPECT_GT(cache().fill(*backbone_, groups, 256, *ranks_), 0);
  EXPECT_EQ(cache().fill(*backbone_, groups, 256, *ranks_), 0);
  EXPECT_EQ(cache().present(groups.front()), groups.front());

  const at::Tensor last_ND = cache().load(groups.front(), {2, false}), mean_ND = cache().load(groups.front(), {1, true});
  data::PackedBatch batch;
  const std::int64_t group = groups.front()[17];
  data::append_group(batch, store_->group(group), std::vector<std::int32_t>{0, 1, 2}, backbone_->packing());
  EXPECT_TRUE(last_ND.narrow(0, 51, 3).allclose(backbone_->forward(batch, {}, nullptr), 1e-4, 1e-5));
  const at::Tensor below_TD = backbone_->trunk(batch, 1);
  const data::Span own = batch.responses[2].own;
  EXPECT_TRUE(mean_ND[53].allclose(below_TD.narrow(0, own.begin, own.length).mean(0), 1e-4, 1e-5));
}

TEST_F(ExperimentTest, RanksShareAllStatesHoweverFarApartTheyAre) {
  const auto groups = choose_groups(*store_, {});
  test::ThreadMeeting meeting(2);
  for (const int rank : {0, 1}) {  // the second begins when the first has written all its own
    const test::ThreadCommunicator ranks(meeting, rank);
    EXPECT_GT(cache().fill(*backbone_, groups, 256, ranks), 0);
  }
  EXPECT_EQ(cache().present(groups.front()), groups.front());
}

TEST_F(ExperimentTest, DamagedStatesAreComputedAgain) {
  const auto groups = choose_groups(*store_, {.of_all = 20});
  fill(groups);
  const auto file = std::filesystem::directory_iterator(directory_ / "states")->path();
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  EXPECT_NE(test::message_of<DataError>([&] {
              (void)cache().load(groups.front(), {2, false});
            }).find("evidence states"),
            std::string::npos);
  EXPECT_GT(cache().fill(*backbone_, groups, 256, *ranks_), 0);
  EXPECT_NO_THROW((void)cache().load(groups.front(), {2, false}));
}

TEST_F(ExperimentTest, OneRaterCountsWhereSeveralGaveALabel) {
  const auto groups = choose_groups(*store_, {}).front();
  const PairLists pairs = noisy_overall(*store_, *scores_, groups, config_.categories.front(), regime_from("all-rater"), 17);
  int turned = 0, others = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const bool rated = std::stoi(std::string(store_->group(groups[g]).id.substr(1))) % 2 == 0;
    ASSERT_EQ(pairs[g].size(), 3U);
    for (const preference::Preference& p : pairs[g]) {
      if (rated) {
        EXPECT_LT(p.winner, p.loser) << "the first rater says the opposite";
      } else {
        turned += p.winner < p.loser ? 1 : 0, ++others;
      }
    }
  }
  EXPECT_NEAR(static_cast<double>(turned) / others, 0.3, 0.15);
}

TEST_F(ExperimentTest, CloserScoresMakeSofterTargets) {
  const auto groups = choose_groups(*store_, {}).front();
  std::vector<bool> counting(groups.size());
  counting[3] = true;  // its pairs are 1, 1 and 2 apart: 4/3 on average
  const PairLists pairs =
      softened(pairs_of(*store_, groups, config_.categories.front(), "polite"), *scores_, groups, "polite", counting);
  for (const auto& list : pairs) {
    ASSERT_EQ(list.size(), 3U);
    for (const preference::Preference& p : list)
      EXPECT_NEAR(p.target, p.winner - p.loser == 2 ? 0.817574 : 0.679179, 1e-5);  // sigmoid(1.5), sigmoid(0.75)
  }
}

TEST_F(ExperimentTest, NamesOfRegimesAreReadBack) {
  for (const char* name : {"80-rater", "all-none", "20-flip40", "80-rater-points30", "80-rater-ties", "80-rater-soft",
                           "20-none-points30-soft", "80-rater-scored40", "all-none-points30-scored160-ties"})
    EXPECT_EQ(regime_from(name).name(), name);
  for (const char* name : {"80", "80-", "x-none", "80-noise", "80-rater-points", "80-rater-tie", "-none", "80-rater-scored",
                           "80-rater-scored0", "80-rater-scored-5", "80-rater-scored040", "80-rater-scored40-points30"})
    EXPECT_THROW((void)regime_from(name), ConfigError) << name;
}

TEST_F(ExperimentTest, RegimesSayWhatTheyDrawAnewWithEachSeed) {
  for (const char* name : {"80-rater", "all-rater", "20-none", "all-flip40"}) {
    EXPECT_TRUE(regime_from(name).draws_overall()) << name;
    EXPECT_FALSE(regime_from(name).draws_points()) << name;
  }
  for (const char* name : {"all-none-points30", "all-none-scored40"}) {
    EXPECT_FALSE(regime_from(name).draws_overall()) << name;
    EXPECT_TRUE(regime_from(name).draws_points()) << name;
  }
}

TEST_F(ExperimentTest, WhatIsNotDrawnIsCountedAsEachSeedSeesIt) {
  const auto groups = choose_groups(*store_, {});
  fill(groups);
  const auto seen = [&](const std::string& regime, std::int64_t seeds) {
    const std::filesystem::path folder = directory_ / ("cells-" + std::to_string(seeds));
    const ExperimentSettings settings{.readings = {{2, false}}, .components = 8, .seeds = seeds};
    Experiment(config_, *store_, *scores_, cache(), groups, {}, settings).run({regime_from(regime)}, folder, *ranks_);
    return read_json(cell_file(folder, regime, "chat", 0)).at("labels");
  };
  EXPECT_EQ(seen("all-none", 2), seen("all-none", 1));
  EXPECT_EQ(seen("20-none", 2).at("points"), seen("all-none", 1).at("points"));
}

TEST_F(ExperimentTest, FewPromptsKeepTheirCapabilityLabels) {
  const auto groups = choose_groups(*store_, {});
  fill(groups);
  const Experiment experiment(config_, *store_, *scores_, cache(), groups, {}, {.readings = {{2, false}}, .components = 8});
  const CategoryData& chat = experiment.categories().front();
  const auto labelled = [&](const std::string& regime, std::uint64_t seed) {
    std::map<std::string, std::set<std::int64_t>> rows;
    for (const auto& [point, own] : labelled_points(*store_, *scores_, chat, 0, regime_from(regime), seed)) {
      for (const auto& group : own.groups) rows[point].insert(group.first);
    }
    return rows;
  };
  const auto all = labelled("20-none", 17), few = labelled("20-none-scored12", 17);
  EXPECT_GT(all.at("polite").size(), 30U);
  EXPECT_EQ(few.at("polite").size(), 12U);
  EXPECT_EQ(few.at("calm"), few.at("polite")) << "the same prompts for all points";
  EXPECT_EQ(labelled("20-none-scored12-soft", 17).at("calm"), few.at("calm"));
  EXPECT_EQ(labelled("20-none-scored12-ties", 17).at("calm").size(), 12U);
  EXPECT_NE(labelled("20-none-scored12", 18), few) << "drawn with each seed";
  EXPECT_EQ(labelled("20-none-scored999", 17), all);
}

TEST_F(ExperimentTest, FewerCapabilityLabelsMakeOtherExperts) {
  const auto groups = choose_groups(*store_, {});
  fill(groups);
  const ExperimentSettings settings{.readings = {{2, false}}, .components = 8, .seeds = 2};
  Experiment(config_, *store_, *scores_, cache(), groups, {}, settings)
      .run({regime_from("20-none"), regime_from("20-none-scored9")}, directory_ / "cells", *ranks_);
  const auto cell = [&](const std::string& regime) { return read_json(cell_file(directory_ / "cells", regime, "chat", 0)); };
  const nlohmann::json all = cell("20-none"), few = cell("20-none-scored9");
  EXPECT_EQ(all.at("arms").at("own"), few.at("arms").at("own")) << "the overall labels are the same";
  EXPECT_NE(all.at("weights").at("stack"), few.at("weights").at("stack"));
  // Overall scores 0, 1, 2 and polite ones make three pairs of a prompt, calm ones 0, 0, 1 two.
  const nlohmann::json overall = {{"prompts", 20.0}, {"pairs", 60.0}};
  EXPECT_EQ(few.at("labels"), nlohmann::json({{"overall", overall}, {"points", {{"prompts", 9.0}, {"pairs", 45.0}}}}));
  const auto read = read_cells(directory_ / "cells", "20-none-scored9", {"chat"}, kOuterFolds).at("chat").labels;
  EXPECT_DOUBLE_EQ(read.value().point_pairs, 45);
}

TEST_F(ExperimentTest, BestOfNIsMeasuredByTheOverallScoresOfAllRaters) {
  const auto groups = choose_groups(*store_, {});
  fill(groups);
  Experiment(config_, *store_, *scores_, cache(), groups, {}, {.readings = {{2, false}}, .components = 8, .seeds = 2})
      .run({regime_from("20-rater")}, directory_ / "cells", *ranks_);
  const CategoryResult chat = read_cells(directory_ / "cells", "20-rater", {"chat"}, kOuterFolds).at("chat");
  ASSERT_EQ(chat.ids.size(), 50U);
  for (std::size_t g = 0; g < chat.ids.size(); ++g) {
    // Scores 0, 1, 2 have a standard deviation of 1; the best of two of them is 2, 2 or 1, and the third is the longest.
    EXPECT_NEAR(chat.arms.at(kGoldArm).best_of.at(2).gold[g], 5.0 / 3 - 1, 1e-6);
    EXPECT_NEAR(chat.arms.at(kGoldArm).best_of.at(2).longest[g], 1, 1e-6);
    EXPECT_LE(chat.arms.at("mean").best_of.at(2).gold[g], 5.0 / 3 - 1 + 1e-6);
  }
  EXPECT_TRUE(chat.arms.at("single").best_of.contains(2)) << "the models over all categories have it, too";
  EXPECT_FALSE(chat.arms.at("single").best_of.contains(4)) << "lists have three responses";
}

TEST_F(ExperimentTest, TheExpertsThatAreShownHaveTheCapabilityLabelsOfTheRegime) {
  const auto groups = choose_groups(*store_, {});
  fill(groups);
  const ExperimentSettings settings{.readings = {{2, false}}, .components = 8, .seeds = 2};
  const std::vector<std::string> regimes = {"20-none", "20-none-points30", "20-none-scored5", "20-none-points30-scored5"};
  std::map<std::string, nlohmann::json> experts;
  std::vector<Regime> asked;
  for (const std::string& regime : regimes) asked.push_back(regime_from(regime));
  Experiment(config_, *store_, *scores_, cache(), groups, {}, settings).run(asked, directory_ / "cells", *ranks_);
  for (const std::string& regime : regimes)
    experts[regime] = read_json(cell_file(directory_ / "cells", regime, "chat", 0)).at("experts");
  EXPECT_GT(experts["20-none"].at("polite").at("groups").get<int>(), 0);
  EXPECT_EQ(experts["20-none-points30"], experts["20-none"]) << "without noise in the points";
  const nlohmann::json none = {{"groups", 0}, {"labelled", 5}};
  EXPECT_EQ(experts["20-none-scored5"], nlohmann::json({{"polite", none}, {"calm", none}})) << "five prompts are too few";
  EXPECT_EQ(experts["20-none-points30-scored5"], experts["20-none-scored5"]);
}

TEST_F(ExperimentTest, TheInnerLayerAloneIsAnArmWhereItIsAskedFor) {
  const auto groups = choose_groups(*store_, {});
  fill(groups);
  ExperimentSettings settings{.readings = {{1, true}, {2, false}}, .components = 16, .seeds = 1};
  const auto run = [&] {
    Experiment(config_, *store_, *scores_, cache(), groups, {}, settings)
        .run({regime_from("20-none")}, directory_ / "cells", *ranks_);
    return read_cells(directory_ / "cells", "20-none", {"chat"}, kOuterFolds).at("chat");
  };
  EXPECT_FALSE(run().arms.contains("inner"));
  settings.inner = true;
  const CategoryResult chat = run();
  ASSERT_TRUE(chat.arms.contains("inner"));
  // With one category these are the experts and the base of the stack, fitted by the same code to the same labels.
  EXPECT_EQ(chat.arms.at("inner").groups, chat.arms.at("stack").groups);
  std::filesystem::remove(inner_file(directory_ / "cells", "20-none", 3));
  settings.inner = false;
  EXPECT_FALSE(run().arms.contains("inner")) << "one fold lacks it";
}

TEST_F(ExperimentTest, GroupsAmongAllCategoriesKeepTheirRowsAndBlocksApart) {
  CategoryData second;
  second.first_row = 30, second.first_group = 10;
  LabelledGroups labelled;
  labelled.groups.push_back({3, 3, {{1, 0}}, 2});
  labelled.fold.push_back(4);
  const LabelledGroups moved = second.among_all(labelled);
  EXPECT_EQ(moved.groups.front().first, 33);
  EXPECT_EQ(moved.groups.front().prompt, 12);
  EXPECT_EQ(moved.fold, labelled.fold);
}

TEST_F(ExperimentTest, EveryArmLearnsAnEasyPreference) {
  const auto groups = choose_groups(*store_, {});
  fill(groups);
  const ExperimentSettings settings{.readings = {{1, true}, {2, false}}, .components = 16, .seeds = 1};
  Experiment experiment(config_, *store_, *scores_, cache(), groups, {}, settings);
  const Regime regime = regime_from("20-none");
  experiment.run({regime}, directory_ / "cells", *ranks_);
  std::size_t tested = 0;
  for (std::int64_t fold = 0; fold < kOuterFolds; ++fold) {
    const auto file = cell_file(directory_ / "cells", regime.name(), "chat", fold);
    const nlohmann::json cell = read_json(file);
    tested += cell.at("groups").size();
    for (const char* arm : {"own", "pooled", "pooled_weighted", "mean", "dmoerm", "stack", "stack_in_sample", "stack_split",
                            "stack_clusters", "stack_gate", "stack_doubt", "stack_doubt_alone", "vote"})
      EXPECT_GT(cell.at("arms").at(arm).at("seeds").at(0).get<double>(), 0.6) << arm;
    double sizes = 0;
    for (const auto& [feature, weights] : cell.at("weights").at("dmoerm").items()) sizes += std::abs(weights.at(0).get<double>());
    EXPECT_NEAR(sizes, 1, 1e-9) << "weights are shares";
    EXPECT_EQ(cell.at("weights").at("dmoerm").size(), 3U) << "two experts and the base";
  }
  EXPECT_EQ(tested, groups.front().size());
}

TEST(FitHeads, TakeTheStrengthThatTheJudgedGroupsAskFor) {
  Rng rng(3, "fit heads");
  const at::Tensor x_NF = at::arange(1600).to(at::kFloat).view({400, 4});
  for (std::int64_t i = 0; i < x_NF.numel(); ++i) x_NF.data_ptr<float>()[i] = static_cast<float>(2 * rng.uniform() - 1);
  LabelledGroups clean, noise;  // 100 pairs by the first feature, and the same with labels turned at random
  for (std::int64_t g = 0; g < 200; ++g) {
    const bool first = x_NF[2 * g][0].item<float>() > x_NF[2 * g + 1][0].item<float>(), turned = rng.uniform() < 0.5;
    LabelledGroups& own = g < 100 ? clean : noise;
    const bool wins = g < 100 ? first : first != turned;
    own.groups.push_back({2 * g, 2, {{wins ? 0 : 1, wins ? 1 : 0}}, g});
    own.fold.push_back(g % kInnerFolds);
  }
  const Heads alone = fit_heads(x_NF, clean, head_strengths()), judged = fit_heads(x_NF, clean, head_strengths(), &noise);
  EXPECT_LT(alone.strength, 1) << "clean labels ask for a weak penalty";
  EXPECT_NE(judged.strength, alone.strength) << "other labels judge";
  const Heads itself = fit_heads(x_NF, clean, head_strengths(), &clean);
  EXPECT_LE(itself.held_out_loss, alone.held_out_loss + 1e-3) << "a factor helps, but for its own penalty";
  EXPECT_EQ(clean.with(noise, 2).groups.size(), 300U);
}

TEST_F(ExperimentTest, DmoermIsWhatARunMakesOfItsExperts) {
  const auto groups = choose_groups(*store_, {});
  fill(groups);
  const ExperimentSettings settings{.readings = {{2, false}}, .components = 8, .seeds = 2};
  Experiment(config_, *store_, *scores_, cache(), groups, {}, settings)
      .run({regime_from("20-none")}, directory_ / "cells", *ranks_);
  const nlohmann::json cell = read_json(cell_file(directory_ / "cells", "20-none", "chat", 0));
  std::int64_t chosen = 0;
  for (const auto& [kind, count] : cell.at("counts").at("aggregator").items()) {
    EXPECT_TRUE(kind == "mean" || kind == "stack") << kind;
    chosen += count.get<std::int64_t>();
  }
  EXPECT_EQ(chosen, 2) << "one for each seed";
  // Two stacks of one recipe, fitted apart: they order nearly all pairs alike.
  EXPECT_NEAR(cell.at("arms").at("dmoerm").at("seeds").at(0).get<double>(),
              cell.at("arms").at("stack").at("seeds").at(0).get<double>(), 0.05);
}

TEST_F(ExperimentTest, LabelsOfOneBlockLeaveNothingOutToChooseBy) {
  const auto groups = choose_groups(*store_, {});
  fill(groups);
  const ExperimentSettings settings{.readings = {{2, false}}, .components = 8, .seeds = 1, .block_lines = kPrompts / 2};
  Experiment(config_, *store_, *scores_, cache(), groups, {}, settings)
      .run({regime_from("20-none")}, directory_ / "cells", *ranks_);
  std::size_t with_dmoerm = 0;
  for (std::int64_t fold = 0; fold < kOuterFolds; ++fold)
    with_dmoerm += read_json(cell_file(directory_ / "cells", "20-none", "chat", fold)).at("arms").count("dmoerm");
  EXPECT_GE(with_dmoerm, 2U) << "each of the two blocks is tested once";
}

TEST_F(ExperimentTest, CellsAreDoneAgainIfTheirSettingsChange) {
  const Regime regime = regime_from("20-none");
  const auto file = cell_file(directory_ / "cells", "20-none", "chat", 0),
             single = single_file(directory_ / "cells", "20-none", 0);
  const auto groups = choose_groups(*store_, {}), few = choose_groups(*store_, {.of_all = 32});
  fill(groups);
  const auto mark = [](const std::filesystem::path& cell) {
    nlohmann::json marked = read_json(cell);
    marked["kept"] = true;
    write_json_atomically(cell, marked);
  };
  const auto run = [&](const std::vector<std::vector<std::int64_t>>& of, const ExperimentSettings& settings) {
    Experiment(config_, *store_, *scores_, cache(), of, {}, settings).run({regime}, directory_ / "cells", *ranks_);
    const bool kept = read_json(file).contains("kept");
    EXPECT_EQ(read_json(single).contains("kept"), kept);
    mark(file), mark(single);
    return kept;
  };
  ExperimentSettings settings{.readings = {{2, false}}, .components = 8, .seeds = 1};
  EXPECT_FALSE(run(few, settings));
  EXPECT_TRUE(run(few, settings));
  settings.seeds = 2;
  EXPECT_FALSE(run(few, settings));
  settings.seeds = 1;
  EXPECT_TRUE(run(few, settings)) << "two seeds are there";
  EXPECT_FALSE(run(groups, settings)) << "more prompts";
  EXPECT_EQ(read_cells(directory_ / "cells", "20-none", {"chat"}, kOuterFolds).at("chat").ids.size(), groups.front().size());
  settings.components = 4;
  EXPECT_FALSE(run(groups, settings));
  settings.block_lines = 3;
  EXPECT_FALSE(run(groups, settings));
  config_.categories.front().score_gap_min = 2;
  EXPECT_FALSE(run(groups, settings));
  EXPECT_TRUE(run(groups, settings));
}

TEST_F(ExperimentTest, ABlockOfLinesBeginsWithTheFirstLineOfTheFile) {
  const auto groups = choose_groups(*store_, {});
  fill(groups);
  const Experiment experiment(config_, *store_, *scores_, cache(), groups, {},
                              {.readings = {{2, false}}, .components = 8, .block_lines = 3});
  const CategoryData& chat = experiment.categories().front();
  std::map<std::int64_t, std::int64_t> cluster_of;  // of each block of three lines
  for (std::size_t g = 0; g < chat.groups.size(); ++g) {
    const std::int64_t block = (store_->source(chat.groups[g]).second - 1) / 3;
    EXPECT_EQ(cluster_of.try_emplace(block, chat.rows[g].prompt).first->second, chat.rows[g].prompt)
        << "line " << store_->source(chat.groups[g]).second;
  }
  EXPECT_EQ(cluster_of.size(), 20U);
}

TEST_F(ExperimentTest, AConversationInTwoFilesIsInOneFold) {
  read({rated_rows("chat", numbers(0, 40), true), rated_rows("chat", numbers(0, 40, /*down=*/true), false)});
  const auto groups = choose_groups(*store_, {}).front();
  ASSERT_EQ(groups.size(), 80U);
  const std::vector<std::int64_t> folds = deal(blocks_of(*store_, groups, {.lines = 5}), kOuterFolds, 17);
  std::map<std::uint64_t, std::int64_t> fold_of;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const std::uint64_t conversation = store_->group(groups[g]).session_key;
    EXPECT_EQ(fold_of.try_emplace(conversation, folds[g]).first->second, folds[g]);
  }
  EXPECT_EQ(fold_of.size(), 40U);
  EXPECT_EQ(std::set<std::int64_t>(folds.begin(), folds.end()).size(), 5U);
}

TEST_F(ExperimentTest, NoModelLearnsFromAConversationThatAnotherCategoryTests) {
  config_.categories.push_back({.name = "letters", .points = {"polite"}, .score_gap_min = 1});
  read({rated_rows("chat", numbers(0, 40), true), rated_rows("letters", numbers(20, 60, /*down=*/true), false)});
  const auto groups = choose_groups(*store_, {});
  fill(groups);
  Experiment experiment(config_, *store_, *scores_, cache(), groups, {},
                        {.readings = {{2, false}}, .components = 8, .seeds = 1, .block_lines = 5});
  const Regime regime = regime_from("all-none");
  int kept_out = 0;
  for (std::int64_t fold = 0; fold < kOuterFolds; ++fold) {
    std::set<std::uint64_t> tested;
    for (const CategoryData& category : experiment.categories()) {
      for (const std::int64_t group : category.tested_groups(fold)) tested.insert(store_->group(group).session_key);
    }
    for (const CategoryData& category : experiment.categories()) {
      std::set<std::int64_t> learnt;  // first rows of groups
      for (const auto& group : labelled_overall(*store_, *scores_, category, fold, regime, 17).groups) learnt.insert(group.first);
      const auto points = labelled_points(*store_, *scores_, category, fold, regime, 17);
      for (const auto& group : points.at("polite").groups) learnt.insert(group.first);
      for (std::size_t g = 0; g < category.groups.size(); ++g) {
        const bool is_tested = tested.contains(store_->group(category.groups[g]).session_key);
        EXPECT_EQ(learnt.contains(category.rows[g].first), !is_tested) << category.name << " fold " << fold;
        kept_out += is_tested && category.outer[g] != fold ? 1 : 0;
      }
    }
  }
  EXPECT_GT(kept_out, 0) << "the categories are dealt to folds differently";
  experiment.run({regime}, directory_ / "cells", *ranks_);
  EXPECT_EQ(read_cells(directory_ / "cells", "all-none", {"chat", "letters"}, kOuterFolds).size(), 2U);
}

TEST_F(ExperimentTest, RowsOfOneDocumentAreInOneFoldAndNoModelLearnsFromOneThatIsTested) {
  constexpr int kDocuments = 8;
  config_.categories.push_back({.name = "letters", .points = {"polite"}, .score_gap_min = 1});
  const auto document = [](int row) { return nlohmann::json(fmt::format("document {}", row % kDocuments)); };
  read({with_documents(rated_rows("chat", numbers(0, 40), true), document),
        with_documents(rated_rows("letters", numbers(40, 80), false), document)});
  const auto groups = choose_groups(*store_, {});
  fill(groups);
  const auto document_of = [&](std::int64_t group) { return (store_->source(group).second - 1) % kDocuments; };
  Experiment experiment(config_, *store_, *scores_, cache(), groups, {},
                        {.readings = {{2, false}}, .components = 8, .seeds = 1, .cluster = "document"});
  for (const CategoryData& category : experiment.categories()) {
    std::map<std::int64_t, std::int64_t> cluster, outer, inner;  // of each document
    std::set<std::int64_t> clusters;
    for (std::size_t g = 0; g < category.groups.size(); ++g) {
      const std::int64_t own = document_of(category.groups[g]);
      EXPECT_EQ(cluster.try_emplace(own, category.rows[g].prompt).first->second, category.rows[g].prompt) << own;
      EXPECT_EQ(outer.try_emplace(own, category.outer[g]).first->second, category.outer[g]) << own;
      EXPECT_EQ(inner.try_emplace(own, category.inner[g]).first->second, category.inner[g]) << own;
      clusters.insert(category.rows[g].prompt);
    }
    EXPECT_EQ(clusters.size(), static_cast<std::size_t>(kDocuments)) << category.name;
  }
  const Regime regime = regime_from("all-none");
  int kept_out = 0;
  for (std::int64_t fold = 0; fold < kOuterFolds; ++fold) {
    std::set<std::int64_t> tested;
    for (const CategoryData& category : experiment.categories()) {
      for (const std::int64_t group : category.tested_groups(fold)) tested.insert(document_of(group));
    }
    for (const CategoryData& category : experiment.categories()) {
      std::set<std::int64_t> learnt;  // first rows of groups
      for (const auto& group : labelled_overall(*store_, *scores_, category, fold, regime, 17).groups) learnt.insert(group.first);
      for (std::size_t g = 0; g < category.groups.size(); ++g) {
        const bool is_tested = tested.contains(document_of(category.groups[g]));
        EXPECT_EQ(learnt.contains(category.rows[g].first), !is_tested) << category.name << " fold " << fold;
        kept_out += is_tested && category.outer[g] != fold ? 1 : 0;
      }
    }
  }
  EXPECT_GT(kept_out, 0) << "the categories are dealt to folds differently";
  experiment.run({regime}, directory_ / "cells", *ranks_);
  const auto results = read_cells(directory_ / "cells", "all-none", {"chat", "letters"}, kOuterFolds);
  const std::vector<std::int64_t>& drawn = results.at("chat").clusters;
  const std::vector<std::int64_t>& others = results.at("letters").clusters;
  EXPECT_EQ(std::set<std::int64_t>(drawn.begin(), drawn.end()).size(), static_cast<std::size_t>(kDocuments));
  EXPECT_EQ(std::set<std::int64_t>(drawn.begin(), drawn.end()), std::set<std::int64_t>(others.begin(), others.end()));
  EXPECT_TRUE(results.at("letters").clusters_over_all) << "so a document is drawn in both categories";
}

TEST_F(ExperimentTest, CellsAreDoneAgainIfRowsNameOtherDocuments) {
  const auto run = [&](const ExperimentSettings& settings) {
    const auto groups = choose_groups(*store_, {});
    fill(groups);
    Experiment(config_, *store_, *scores_, cache(), groups, {}, settings)
        .run({regime_from("20-none")}, directory_ / "cells", *ranks_);
    return read_json(cell_file(directory_ / "cells", "20-none", "chat", 0)).at("basis");
  };
  ExperimentSettings settings{.readings = {{2, false}}, .components = 8, .seeds = 1};
  read({with_documents(rows(), [](int row) { return row / 6; })});
  const nlohmann::json by_lines = run(settings);
  EXPECT_FALSE(by_lines.contains("cluster")) << "or earlier cells would be computed again";
  settings.cluster = "document";
  const nlohmann::json before = run(settings);
  read({with_documents(rows(), [](int row) { return row / 5; })});
  const nlohmann::json now = run(settings);
  EXPECT_EQ(before.at("data"), now.at("data")) << "or this test would say nothing of documents";
  EXPECT_NE(before, now);
}

TEST_F(ExperimentTest, AConversationJoinsTheDocumentsThatItsRowsName) {
  const auto document = [](int row) { return nlohmann::json(row); };
  read({with_documents(rated_rows("chat", {0, 1, 2}, true), document),
        with_documents(rated_rows("chat", {2, 3, 4}, false), [](int row) { return nlohmann::json(row < 2 ? 9 : 1); })});
  ASSERT_EQ(store_->size(), 6);
  const std::vector<std::int64_t> clusters = clusters_of(*store_, config_.data, "document");
  std::map<std::pair<std::string, std::int64_t>, std::int64_t> of;  // by file and line
  for (std::int64_t i = 0; i < store_->size(); ++i) {
    const auto [file, line] = store_->source(i);
    of[{std::filesystem::path(file).filename(), line}] = clusters[static_cast<std::size_t>(i)];
  }
  EXPECT_EQ((of[{"rows0.jsonl", 3}]), (of[{"rows1.jsonl", 1}])) << "one conversation";
  EXPECT_EQ((of[{"rows0.jsonl", 3}]), (of[{"rows1.jsonl", 2}])) << "a row of the same document";
  EXPECT_EQ((of[{"rows0.jsonl", 2}]), (of[{"rows1.jsonl", 3}])) << "one document in two files";
  EXPECT_EQ(std::set<std::int64_t>(clusters.begin(), clusters.end()).size(), 3U);
  EXPECT_TRUE(clusters_of(*store_, config_.data, "").empty());
}

TEST_F(ExperimentTest, ThePromptOfSeveralRowsJoinsTheDocumentsThatTheyName) {
  read({rows_of_prompt("a", "train", {1, 2}) + rows_of_prompt("b", "train", {2, 2}) + rows_of_prompt("c", "train", {1, 1}) +
        rows_of_prompt("d", "train", {3, 3})});
  EXPECT_EQ(clusters_of(*store_, config_.data, "document"), (std::vector<std::int64_t>{0, 0, 0, 3}));
}

TEST_F(ExperimentTest, ARepeatedRowJoinsTheDocumentsAlthoughIngestLeavesItOut) {
  const std::string again = rows_of_prompt("a", "train", {2, 2});
  read({rows_of_prompt("a", "train", {1, 1}) + rows_of_prompt("b", "train", {2, 2}) + rows_of_prompt("d", "train", {3, 3}),
        again});
  ASSERT_EQ(store_->size(), 3);
  EXPECT_EQ(clusters_of(*store_, config_.data, "document"), (std::vector<std::int64_t>{0, 0, 2}));
}

TEST_F(ExperimentTest, NoModelLearnsFromAnyDocumentOfATestedPromptOfSeveralRows) {
  std::string text = rows_of_prompt("tested", "test", {1, 2}) + rows_of_prompt("first", "train", {1, 1}) +
                     rows_of_prompt("second", "train", {2, 2}) + rows_of_prompt("both", "train", {3, 2});
  for (int i = 0; i < 8; ++i) text += rows_of_prompt(fmt::format("other {}", i), "train", {4 + i, 4 + i});
  read({text});
  const auto groups = choose_groups(*store_, {}), tested = choose_groups(*store_, {.test = true});
  fill(groups), fill(tested);
  const Experiment experiment(config_, *store_, *scores_, cache(), groups, tested,
                              {.readings = {{2, false}}, .components = 8, .seeds = 1, .cluster = "document"});
  const CategoryData& category = experiment.categories().front();
  ASSERT_EQ(category.groups.size(), 12U);
  for (std::size_t g = 0; g < category.groups.size(); ++g) {
    const std::int64_t line = store_->source(category.groups[g]).second;
    EXPECT_EQ(category.trains(g, 0), line > 8) << line;
  }
}

TEST_F(ExperimentTest, RowsWithoutADocumentAndFilesThatHaveChangedAreNamed) {
  const auto refusal = [&] { return test::message_of<DataError>([&] { (void)clusters_of(*store_, config_.data, "document"); }); };
  EXPECT_NE(refusal().find("rows0.jsonl:1: the row has no text or number \"document\", which --cluster names"), std::string::npos)
      << refusal();
  (void)write("rows0.jsonl", "");
  EXPECT_NE(refusal().find("rows0.jsonl:1: the prompt of this row is in the token store"), std::string::npos) << refusal();
}

TEST_F(ExperimentTest, CategoriesThatCannotBeTestedAreLeftOut) {
  const auto groups = choose_groups(*store_, {});
  fill(groups);
  const ExperimentSettings settings{.readings = {{2, false}}, .components = 8, .seeds = 1, .block_lines = 100};
  const auto refused = [&] { Experiment(config_, *store_, *scores_, cache(), groups, {}, settings); };
  EXPECT_NE(test::message_of<DataError>(refused).find("chat has 50 prompts in one block"), std::string::npos);
  config_.categories.front().score_gap_min = 7;
  EXPECT_NE(test::message_of<DataError>(refused).find("chat has no pair that its overall labels order"), std::string::npos);
}

TEST_F(ExperimentTest, CategoriesThatCannotBeTestedAreKnownBeforeTheirStates) {
  config_.categories.push_back({.name = "talk", .points = {"polite"}, .score_gap_min = 1});
  read({rows(), rated_rows("talk", numbers(0, 9), true)});
  config_.categories.back().score_gap_min = 9;
  const auto groups = choose_groups(*store_, {});
  ExperimentSettings settings{.readings = {}};
  const auto left_out = untestable(config_, *store_, groups, false, settings);
  ASSERT_EQ(left_out.size(), 1U);
  EXPECT_EQ(left_out.at("talk").find("has no pair that its overall labels order"), 0U) << left_out.at("talk");
  const auto refused = [&] { (void)untestable(config_, *store_, groups, false, settings); };
  settings.block_lines = 100;
  EXPECT_NE(test::message_of<DataError>(refused).find("chat has 50 prompts in one block"), std::string::npos);
  EXPECT_EQ(untestable(config_, *store_, choose_groups(*store_, {.test = true}), true, settings).count("chat"), 0U)
      << "the test split is tested by models of the others";
  settings.cluster = "nokey";
  EXPECT_NE(test::message_of<DataError>(refused).find("no text or number \"nokey\""), std::string::npos);
}

TEST_F(ExperimentTest, APointWithFewLabelsHasNoExpertAndSaysSo) {
  config_.categories.front().score_gap_min.by_label = {{"overall", 1}, {"polite", 1}, {"calm", 9}};
  const auto groups = choose_groups(*store_, {});
  fill(groups);
  Experiment(config_, *store_, *scores_, cache(), groups, {}, {.readings = {{2, false}}, .components = 8, .seeds = 1})
      .run({regime_from("20-none")}, directory_ / "cells", *ranks_);
  const CategoryResult chat = read_cells(directory_ / "cells", "20-none", {"chat"}, kOuterFolds).at("chat");
  EXPECT_EQ(chat.experts.at("calm").too_few.size(), 5U);
  EXPECT_TRUE(chat.experts.at("polite").too_few.empty());
  EXPECT_GT(chat.experts.at("polite").groups, 0);
}

TEST(Depths, AreSharesOfTheLayersByDefault) {
  EXPECT_EQ(usual_depths(30), (std::vector<std::int64_t>{15, 20, 25, 30}));
  EXPECT_EQ(usual_depths(6), (std::vector<std::int64_t>{3, 4, 5, 6}));
  EXPECT_EQ(usual_depths(1), (std::vector<std::int64_t>{1}));
  EXPECT_EQ(usual_readings(usual_depths(30), 30), (std::vector<std::string>{"mean.20", "mean.25", "last.15", "last.30"}));
  EXPECT_EQ(usual_readings(usual_depths(1), 1), (std::vector<std::string>{"last.1"}));
  EXPECT_EQ(usual_readings({7}, 30), (std::vector<std::string>{"mean.7", "last.7"})) << "none of the usual ones is there";
}

TEST(Depths, ThatTheModelLacksAreRefused) {
  EXPECT_NO_THROW(check_depths({1, 6}, 6));
  for (const std::vector<std::int64_t>& bad : {std::vector<std::int64_t>{3, 9}, {-1}, {0}, {3, 3}, {6, 3}})
    EXPECT_THROW(check_depths(bad, 6), ConfigError);
}

TEST_F(ExperimentTest, TheArmsOfAllCategoriesHaveAFileOfTheirOwn) {
  EXPECT_NE(cell_file("cells", "20-none", "all", 0), single_file("cells", "20-none", 0));
  EXPECT_NE(cell_file("cells", "20-none", "single", 0), single_file("cells", "20-none", 0));
}

TEST_F(ExperimentTest, ExpertsLearnFromTiesWhereARegimeSaysSo) {
  const auto groups = choose_groups(*store_, {});
  const auto with = [&](preference::Ties ties) {
    return pairs_of(*store_, groups.front(), config_.categories.front(), "calm", ties).front();
  };
  ASSERT_EQ(with(preference::Ties::left_out).size(), 2U);
  ASSERT_EQ(with(preference::Ties::all).size(), 3U);
  fill(groups);
  Experiment experiment(config_, *store_, *scores_, cache(), groups, {}, {.readings = {{1, true}}, .components = 8, .seeds = 1});
  const Regime strict = regime_from("20-none"), tied = regime_from("20-none-ties");
  experiment.run({strict, tied}, directory_ / "cells", *ranks_);
  const auto cell = [&](const Regime& regime) { return read_json(cell_file(directory_ / "cells", regime.name(), "chat", 0)); };
  EXPECT_NE(cell(strict).at("weights"), cell(tied).at("weights")) << "other experts";
  EXPECT_EQ(cell(strict).at("arms").at("own"), cell(tied).at("arms").at("own")) << "the overall labels are the same";
  EXPECT_EQ(cell(strict).at("experts").at("calm").at("groups"), cell(tied).at("experts").at("calm").at("groups"));
}

TEST_F(ExperimentTest, PairsOfEqualLengthAreThoseWithinATenth) {
  const auto groups = choose_groups(*store_, {}).front();
  const data::TokenGroup group = store_->group(groups.front());
  ASSERT_LT(group.responses[0].size() * 10, group.responses[1].size() * 9);
  PairLists pairs(groups.size());
  pairs[0] = {{0, 1, 0.0F}, {1, 1, 0.0F}};
  const PairLists equal = of_equal_length(pairs, *store_, groups);
  ASSERT_EQ(equal[0].size(), 1U);
  EXPECT_EQ(equal[0][0].winner, 1);
}

TEST(ArmTable, CountsPairsOfEqualLengthApart) {
  const moe::ExpertFeatures::Group first{0, 2, {{1, 0, 0.0F}}, 0}, second{2, 2, {{0, 1, 0.0F}}, 1};
  moe::ExpertFeatures::Group without = second;
  without.pairs.clear();
  ArmTable table({first, second}, {first, without});
  table.add("arm", at::arange(4));
  table.add("arm", -at::arange(4));
  const nlohmann::json arm = table.to_json().at("arms").at("arm");
  EXPECT_EQ(arm.at("groups"), nlohmann::json({0.5, 0.5}));
  EXPECT_EQ(arm.at("at_equal_length"), nlohmann::json({0.5, nullptr}));
}

/// The gain of the best of n over all subsets, one after the other: gold, own reward, and the share of picks that are the
/// longest.
std::array<double, 3> best_of_all_subsets(const std::vector<double>& reward, const std::vector<double>& gold,
                                          const std::vector<double>& lengths, int n) {
  std::array<double, 3> sum = {};
  double subsets = 0, mean_gold = 0, mean_reward = 0;
  const auto size = static_cast<double>(gold.size());
  for (std::size_t i = 0; i < gold.size(); ++i) mean_gold += gold[i] / size, mean_reward += reward[i] / size;
  for (unsigned subset = 0; subset < 1U << gold.size(); ++subset) {
    if (std::popcount(subset) != n) continue;
    std::size_t pick = gold.size();
    double longest = 0;
    for (std::size_t i = 0; i < gold.size(); ++i) {
      if ((subset >> i & 1U) == 0) continue;
      if (pick == gold.size() || reward[i] > reward[pick]) pick = i;
      longest = std::max(longest, lengths[i]);
    }
    sum[0] += gold[pick] - mean_gold, sum[1] += reward[pick] - mean_reward, sum[2] += lengths[pick] == longest ? 1 : 0;
    ++subsets;
  }
  for (double& value : sum) value /= subsets;
  return sum;
}

TEST(ArmTable, BestOfNIsTheMeanOverAllSubsets) {
  // Two groups: five responses, of which one has no gold score, and two.
  const moe::ExpertFeatures::Group first{0, 5, {{1, 0, 0.0F}}, 0}, second{5, 2, {{0, 1, 0.0F}}, 1};
  const ResponseGold responses{{0.5, 2, NAN, -1, 1, 3, 1}, {10, 30, 99, 20, 40, 5, 5}};
  const std::vector<std::vector<double>> rewards = {{0.1, 0.7, 9, 0.9, 0.2, 0.3, 0.8}, {3, 2, -9, 1, 0, 0, 5}};
  ArmTable table({first, second}, {first, second}, responses);
  std::map<std::string, std::array<double, 3>> wanted;
  for (const std::vector<double>& reward : rewards) {
    table.add("arm", at::tensor(reward));
    const std::vector<double> rated = {reward[0], reward[1], reward[3], reward[4]}, pair = {reward[5], reward[6]};
    const double mean = (rated[0] + rated[1] + rated[2] + rated[3]) / 4, middle = (pair[0] + pair[1]) / 2;
    double squares = 0;
    for (const double r : rated) squares += (r - mean) * (r - mean);
    for (const double r : pair) squares += (r - middle) * (r - middle);
    const double spread = std::sqrt(squares / 4);  // six responses less two means
    const auto add = [&](const std::string& key, std::array<double, 3> gain) {
      gain[1] /= spread;
      for (std::size_t k = 0; k < gain.size(); ++k) wanted[key][k] += gain[k] / static_cast<double>(rewards.size());
    };
    add("2 of four", best_of_all_subsets(rated, {0.5, 2, -1, 1}, {10, 30, 20, 40}, 2));
    add("4 of four", best_of_all_subsets(rated, {0.5, 2, -1, 1}, {10, 30, 20, 40}, 4));
    add("2 of two", best_of_all_subsets(pair, {3, 1}, {5, 5}, 2));
  }
  const nlohmann::json best = table.to_json().at("arms").at("arm").at("best_of");
  ASSERT_EQ(best.size(), 2U) << best;
  for (std::size_t k = 0; k < kBestOfKinds.size(); ++k) {
    const char* const kind = kBestOfKinds[k];
    EXPECT_NEAR(best.at("2").at(kind).at(0).get<double>(), wanted["2 of four"][k], 1e-6) << kind;
    EXPECT_NEAR(best.at("2").at(kind).at(1).get<double>(), wanted["2 of two"][k], 1e-6) << kind;
    EXPECT_NEAR(best.at("4").at(kind).at(0).get<double>(), wanted["4 of four"][k], 1e-6) << kind;
    EXPECT_TRUE(best.at("4").at(kind).at(1).is_null()) << "a list of two has no best of four";
  }
}

TEST_F(ExperimentTest, TheTestSplitIsTestedByModelsOfTheOthers) {
  const auto groups = choose_groups(*store_, {}), tested = choose_groups(*store_, {.test = true});
  fill(groups), fill(tested);
  Experiment experiment(config_, *store_, *scores_, cache(), groups, tested,
                        {.readings = {{2, false}}, .components = 8, .seeds = 1});
  experiment.run({regime_from("20-none")}, directory_ / "cells", *ranks_);
  const auto cell = read_json(cell_file(directory_ / "cells", "20-none", "chat", 0));
  ASSERT_EQ(cell.at("groups").size(), 10U);
  for (const auto& group : cell.at("groups")) EXPECT_EQ(std::stoi(group.at("id").get<std::string>().substr(1)) % 6, 5);
}

TEST_F(ExperimentTest, NoModelLearnsFromADocumentOfTheTestSplit) {
  constexpr int kShared = 4;  // a training row of the document of the next row, which is of the test split
  read({with_documents(rows(), [](int row) { return nlohmann::json(row == kShared ? row + 1 : row); })});
  const auto groups = choose_groups(*store_, {}), tested = choose_groups(*store_, {.test = true});
  fill(groups), fill(tested);
  const Experiment experiment(config_, *store_, *scores_, cache(), groups, tested,
                              {.readings = {{2, false}}, .components = 8, .seeds = 1, .cluster = "document"});
  const CategoryData& category = experiment.categories().front();
  ASSERT_EQ(category.groups.size(), static_cast<std::size_t>(kPrompts));
  int learnt = 0;
  for (std::size_t g = 0; g < category.groups.size(); ++g) {
    const std::int64_t row = store_->source(category.groups[g]).second - 1;
    EXPECT_EQ(category.trains(g, 0), row % 6 != 5 && row != kShared) << row;
    learnt += category.trains(g, 0) ? 1 : 0;
  }
  EXPECT_EQ(learnt, 49);
}

TEST_F(ExperimentTest, StatesThatAreMissingAreNamed) {
  EXPECT_THROW(Experiment(config_, *store_, *scores_, cache(), choose_groups(*store_, {}), {}, {.readings = {{2, false}}}),
               DataError);
}

}  // namespace
}  // namespace dmoerm::evidence
