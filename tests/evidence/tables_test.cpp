#include "evidence/tables.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "evidence/cell_results.h"
#include "support/scratch.h"

namespace dmoerm::evidence {
namespace {

class TablesTest : public test::Scratch {
 protected:
  /// Cells of one category whose every group has these shares.
  void write_cells(const std::string& regime, const std::string& category, const std::map<std::string, double>& own,
                   double single) {
    std::filesystem::create_directories(directory_ / regime);
    begin_cells(directory_, basis_);
    for (int fold = 0; fold < 5; ++fold) {
      nlohmann::json cell = {{"arms", nlohmann::json::object()}, {"counts", nlohmann::json::object()}, {"basis", basis_}},
                     all = {{"basis", basis_}};
      for (int g = 0; g < 4; ++g)
        cell["groups"].push_back({{"id", fmt::format("{}-{}", fold, g)}, {"cluster", 4 * fold + g}, {"pairs", 2}});
      const auto arm = [](double share) -> nlohmann::json {
        return {{"groups", std::vector<double>(4, share)},
                {"at_equal_length", {nullptr, share - 0.1, nullptr, share - 0.1}},
                {"seeds", {share, share}}};
      };
      for (const auto& [name, share] : own) cell["arms"][name] = arm(share);
      cell["experts"]["polite"] = {{"groups", 4}, {"own", 0.9}, {"universal", 0.8}, {"length", 0.5}, {"overall", 0.6}};
      cell["weights"]["dmoerm"] = {{"polite", {0.7, 0.5}}, {"(base)", {-0.3, 0.5}}};
      all["categories"][category] = {{"arms", {{"single", arm(single)}}}, {"counts", nlohmann::json::object()}};
      write_json_atomically(cell_file(directory_, regime, category, fold), cell);
      write_json_atomically(single_file(directory_, regime, fold), all);
    }
  }
  /// Cells of two categories, the second of which lacks DMoERM and the mean of experts in fold 2.
  void write_two(const std::string& regime) {
    write_cells(regime, "chat", {{"dmoerm", 0.75}, {"pooled", 0.7}, {"own", 0.65}, {"mean", 0.7}}, 0.5);
    std::vector<nlohmann::json> singles;
    for (int fold = 0; fold < 5; ++fold) singles.push_back(read_json(single_file(directory_, regime, fold)));
    write_cells(regime, "code", {{"dmoerm", 0.35}, {"pooled", 0.4}, {"own", 0.25}, {"mean", 0.4}}, 0.3);
    for (int fold = 0; fold < 5; ++fold) {
      nlohmann::json both = read_json(single_file(directory_, regime, fold));
      both["categories"].update(singles[static_cast<std::size_t>(fold)]["categories"]);
      write_json_atomically(single_file(directory_, regime, fold), both);
    }
    change_cell(
        regime, 1, [](nlohmann::json& cell) { cell["arms"].erase("dmoerm"), cell["arms"].erase("mean"); }, "code");
  }
  /// Change the cell of a category in one fold.
  void change_cell(const std::string& regime, int fold, const std::function<void(nlohmann::json&)>& change,
                   const std::string& category = "chat") {
    const auto file = cell_file(directory_, regime, category, fold);
    nlohmann::json cell = read_json(file);
    change(cell);
    write_json_atomically(file, cell);
  }
  nlohmann::json basis_ = {{"components", 8}, {"categories", {{"chat", {{"prompts", 20}}}}}};
  [[nodiscard]] TableRequest request() const {
    return {.folder = directory_, .main = {"chat"}, .small = {}, .regimes = {"20-rater", "80-rater"}, .primary = "80-rater"};
  }
};

TEST_F(TablesTest, ContrastsAreDifferencesOfTheArms) {
  const std::map<std::string, double> arms = {
      {"dmoerm", 0.75}, {"pooled", 0.7}, {"own", 0.65}, {"ensemble_mean", 0.625}, {"ensemble_wco", 0.66}};
  write_cells("80-rater", "chat", arms, 0.5);
  write_cells("20-rater", "chat", {{"dmoerm", 0.7}, {"pooled", 0.6}}, 0.5);
  const Tables tables = make_tables(request());
  EXPECT_NEAR(tables.figures["minus_single"][0].get<double>(), 0.25, 1e-9);
  EXPECT_NEAR(tables.figures["minus_pooled"][0].get<double>(), 0.05, 1e-9);
  EXPECT_NEAR(tables.figures["minus_ensemble"][0].get<double>(), 0.09, 1e-9) << "less the strongest ensemble";
  EXPECT_NEAR(tables.figures["labels"]["20-rater"]["dmoerm"][0].get<double>(), 0.7, 1e-9);
  EXPECT_NE(tables.markdown.find("chat (20)"), std::string::npos) << tables.markdown;
  EXPECT_NE(tables.markdown.find("polite"), std::string::npos) << "the table of experts";
  EXPECT_NE(tables.markdown.find("| 0.750 | 0.650 "), std::string::npos) << "at equal length\n" << tables.markdown;
  EXPECT_NE(tables.markdown.find("+0.60 (0.11)  "), std::string::npos) << "a weight of five folds and two seeds\n"
                                                                       << tables.markdown;
  EXPECT_EQ(tables.figures["weights"]["chat"]["polite"].size(), 10U) << "one for each seed and fold";
  EXPECT_NE(tables.curves_svg.find("fill=\"none\" stroke="), std::string::npos) << "a curve";
}

TEST_F(TablesTest, CellsMayHaveNoFiguresAtEqualLengthAndNoWeights) {
  write_cells("80-rater", "chat", {{"dmoerm", 0.75}, {"pooled", 0.7}}, 0.5);
  for (int fold = 0; fold < 5; ++fold) {
    change_cell("80-rater", fold, [](nlohmann::json& cell) {
      cell.erase("weights");
      for (auto& arm : cell["arms"]) arm.erase("at_equal_length");
    });
  }
  const Tables tables = make_tables(request());
  EXPECT_NE(tables.markdown.find("| 0.750 | -  "), std::string::npos) << tables.markdown;
  EXPECT_EQ(tables.markdown.find("(base)"), std::string::npos);
}

TEST_F(TablesTest, AWeightIsTheMeanOverTheFoldsThatHaveIt) {
  write_cells("80-rater", "chat", {{"dmoerm", 0.75}, {"pooled", 0.7}}, 0.5);
  for (int fold = 0; fold < 4; ++fold) {
    change_cell("80-rater", fold, [fold](nlohmann::json& cell) {
      if (fold == 3) return cell["weights"]["dmoerm"].erase("polite"), void();  // its point had too few pairs
      cell["weights"]["dmoerm"]["polite"] = {fold + 0.1, fold + 0.1};
      if (fold < 2) cell.erase("weights");  // of an earlier version
    });
  }
  const Tables tables = make_tables(request());
  // Fold 2 says 2.1 twice, and fold 4 0.7 and 0.5.
  EXPECT_NE(tables.markdown.find("+1.35 (0.87), 2 of 5 folds  "), std::string::npos) << tables.markdown;
  EXPECT_NE(tables.markdown.find("+0.10 (0.44), 3 of 5 folds  "), std::string::npos) << "the base\n" << tables.markdown;
  EXPECT_EQ(tables.figures["weights"]["chat"]["polite"], nlohmann::json({2.1, 2.1, 0.7, 0.5}));
}

TEST_F(TablesTest, TheSpreadOfAWeightIsThatOverFoldsToo) {
  write_cells("80-rater", "chat", {{"dmoerm", 0.75}, {"pooled", 0.7}}, 0.5);
  for (int fold = 0; fold < 5; ++fold) {
    change_cell("80-rater", fold,
                [fold](nlohmann::json& cell) { cell["weights"]["dmoerm"]["polite"] = nlohmann::json::array({0.1 * fold}); });
  }
  EXPECT_NE(make_tables(request()).markdown.find("+0.20 (0.16)  "), std::string::npos) << "one seed";
}

TEST_F(TablesTest, OnlySeedsThatEveryFoldHasCount) {
  write_cells("80-rater", "chat", {{"dmoerm", 0.75}}, 0.5);
  change_cell("80-rater", 1, [](nlohmann::json& cell) { cell["arms"]["dmoerm"]["seeds"] = nlohmann::json::array({0.75}); });
  change_cell("80-rater", 4, [](nlohmann::json& cell) { cell["arms"]["dmoerm"]["seeds"] = {0.75, 0.7, 0.7}; });
  const auto results = read_cells(directory_, "80-rater", {"chat"}, 5);
  const std::vector<double>& seeds = results.at("chat").arms.at("dmoerm").seeds;
  ASSERT_EQ(seeds.size(), 1U);
  EXPECT_NEAR(seeds[0], 0.75, 1e-9);
}

TEST_F(TablesTest, CellsThatAreMissingAreNamed) {
  write_cells("80-rater", "chat", {{"dmoerm", 0.75}}, 0.5);
  std::filesystem::remove(cell_file(directory_, "80-rater", "chat", 3));
  EXPECT_NE(test::message_of<DataError>([&] { make_tables(request()); }).find("chat under 80-rater"), std::string::npos);
  write_cells("80-rater", "chat", {{"dmoerm", 0.75}}, 0.5);
  std::filesystem::remove(single_file(directory_, "80-rater", 2));
  EXPECT_NE(test::message_of<DataError>([&] { make_tables(request()); }).find("chat under 80-rater"), std::string::npos);
}

TEST_F(TablesTest, CellsOfOtherSettingsDoNotCount) {
  write_cells("80-rater", "chat", {{"dmoerm", 0.75}}, 0.5);
  nlohmann::json other = basis_;
  other["categories"]["chat"]["prompts"] = 40;
  other.erase("components");
  testing::internal::CaptureStdout();
  begin_cells(directory_, other);
  spdlog::default_logger()->flush();
  const std::string said = testing::internal::GetCapturedStdout();
  EXPECT_NE(said.find("categories.chat.prompts: 20 -> 40, components: 8 -> none"), std::string::npos) << said;
  EXPECT_TRUE(read_cells(directory_, "80-rater", {"chat"}, 5).empty());
  EXPECT_NE(test::message_of<DataError>([&] { make_tables(request()); }).find("other settings"), std::string::npos);
}

TEST_F(TablesTest, SmallCategoriesAreTheAverageIfThereIsNoOther) {
  write_cells("80-rater", "chat", {{"dmoerm", 0.75}, {"pooled", 0.7}}, 0.5);
  TableRequest small = request();
  small.small = std::exchange(small.main, {});
  small.small.emplace_back("without_cells");
  small.prompts_min = 300;
  const Tables tables = make_tables(small);
  EXPECT_NE(tables.markdown.find("No category that can be tested has the 300 prompts"), std::string::npos) << tables.markdown;
  EXPECT_NE(tables.markdown.find("- without_cells has not all its cells under 80-rater"), std::string::npos) << tables.markdown;
  EXPECT_NEAR(tables.figures["minus_single"][0].get<double>(), 0.25, 1e-9);
  small.small = {"without_cells"};
  EXPECT_NE(test::message_of<DataError>([&] { make_tables(small); }).find("no category has all its cells"), std::string::npos);
}

TEST_F(TablesTest, AnAverageOfSmallCategoriesIsSaidToBeOverThoseAlone) {
  write_two("80-rater");  // code lacks DMoERM in a fold
  TableRequest small = request();
  small.main.clear();
  small.small = {"chat", "code"};
  small.prompts_min = 300;
  const std::string markdown = make_tables(small).markdown;
  EXPECT_NE(markdown.find("so it is over smaller ones: chat. Few prompts"), std::string::npos) << markdown;
  EXPECT_NE(markdown.find("The average is over chat alone, for every arm. It is without code"), std::string::npos) << markdown;
}

TEST_F(TablesTest, AContrastWithoutAnArmHasNoFigure) {
  write_cells("80-rater", "chat", {{"dmoerm", 0.75}}, 0.5);
  const Tables tables = make_tables(request());
  EXPECT_TRUE(tables.figures["minus_pooled"].is_null()) << tables.figures;
  EXPECT_TRUE(tables.figures["minus_ensemble"].is_null());
  EXPECT_TRUE(tables.figures["p_holm"].is_null()) << "there is one primary contrast instead of two";
  EXPECT_FALSE(tables.figures["minus_single"].is_null());
}

TEST_F(TablesTest, SaysWhatWasNotMeasured) {
  basis_["left_out"] = {{"code", "has no pair"}};
  write_cells("80-rater", "chat", {{"dmoerm", 0.75}, {"pooled", 0.7}}, 0.5);
  for (int fold = 0; fold < 5; ++fold) {
    change_cell("80-rater", fold, [fold](nlohmann::json& cell) {
      if (fold == 2) cell["arms"].erase("dmoerm");
      if (fold > 2) cell["experts"]["calm"] = {{"groups", 0}, {"labelled", fold}};
    });
  }
  TableRequest wanted = request();
  wanted.main.emplace_back("code");
  const Tables tables = make_tables(wanted);
  for (const char* line :
       {"- code is left out: it has no pair.", "- chat has no DMoERM in fold 3,",
        "- chat has no expert of calm in folds 4, 5: in training 3, 4 prompts have pairs of it, and an expert needs 8."})
    EXPECT_NE(tables.markdown.find(line), std::string::npos) << line << "\n" << tables.markdown;
  EXPECT_TRUE(tables.figures["minus_pooled"].is_null());
}

TEST_F(TablesTest, SaysWhyAFoldHasNoDmoerm) {
  const auto said = [&](const std::vector<int>& without_expert, const std::vector<int>& without_overall) {
    write_cells("80-rater", "chat", {{"dmoerm", 0.75}, {"pooled", 0.7}, {"own", 0.6}}, 0.5);
    const auto drop = [&](int fold, bool own) {
      change_cell("80-rater", fold, [own](nlohmann::json& cell) {
        for (const char* arm : {"dmoerm", "pooled"}) cell["arms"].erase(arm);
        if (own) cell["arms"].erase("own");
      });
    };
    for (const int fold : without_expert) drop(fold, false);
    for (const int fold : without_overall) drop(fold, true);
    return make_tables(request()).markdown;
  };
  EXPECT_NE(said({1, 3}, {}).find("folds 2, 4, so none over all its prompts: no point has an expert there.\n"),
            std::string::npos);
  EXPECT_NE(
      said({}, {0}).find("fold 1, so none over all its prompts: fewer than two prompts have overall labels in training there.\n"),
      std::string::npos);
  EXPECT_NE(
      said({1}, {0, 4})
          .find("folds 1, 2, 5, so none over all its prompts: no point has an expert in fold 2, and fewer than two prompts have "
                "overall labels in training in folds 1, 5.\n"),
      std::string::npos);
}

TEST_F(TablesTest, ACategoryWithoutAnExpertInAFoldIsLeftOutOfTheAverageOfEveryArm) {
  write_two("80-rater"), write_two("20-rater"), write_two("80-rater-scored40");
  TableRequest both = request();
  both.main = {"chat", "code"};
  both.regimes.emplace_back("80-rater-scored40");
  const Tables tables = make_tables(both);
  EXPECT_NEAR(tables.figures["minus_single"][0].get<double>(), 0.25, 1e-9) << tables.figures;
  EXPECT_NEAR(tables.figures["minus_pooled"][0].get<double>(), 0.05, 1e-9);
  EXPECT_NEAR(tables.figures["main"]["own"][0].get<double>(), 0.65, 1e-9) << "as for DMoERM";
  EXPECT_EQ(tables.figures["categories"], nlohmann::json({"chat"}));
  EXPECT_NEAR(tables.figures["labels"]["20-rater"]["dmoerm"][0].get<double>(), 0.75, 1e-9);
  EXPECT_NEAR(tables.figures["labels"]["80-rater-scored40"]["mean"][0].get<double>(), 0.7, 1e-9);
  for (const char* line : {"The average is over chat alone, for every arm. It is without code, which has no DMoERM in fold 2.",
                           "Under 20-rater, the average is over chat alone", "Under 80-rater-scored40, the average is over chat"})
    EXPECT_NE(tables.markdown.find(line), std::string::npos) << line << "\n" << tables.markdown;
  EXPECT_NE(tables.markdown.find("code (20)"), std::string::npos) << "its column stays";
  EXPECT_NE(tables.markdown.find("- code has no DMoERM in fold 2,"), std::string::npos);
}

TEST_F(TablesTest, AContrastIsAskedForByItsArms) {
  write_two("80-rater"), write_two("20-rater");
  TableRequest both = request();
  both.main = {"chat", "code"};
  for (const char* text : {"own:single", "20-rater/mean:own"}) both.contrasts.push_back(contrast_from(text, "80-rater"));
  const Tables tables = make_tables(both);
  const nlohmann::json& own = tables.figures["contrasts"]["80-rater/own:single"];
  EXPECT_NEAR(own["difference"][0].get<double>(), (0.15 - 0.05) / 2, 1e-9) << "over both categories\n" << own;
  EXPECT_EQ(own["categories"], nlohmann::json({"chat", "code"}));
  const nlohmann::json& mean = tables.figures["contrasts"]["20-rater/mean:own"];
  EXPECT_NEAR(mean["difference"][0].get<double>(), 0.05, 1e-9) << "over the category that has both arms";
  EXPECT_EQ(mean["categories"], nlohmann::json({"chat"}));
  EXPECT_GE(mean["p"].get<double>(), 0);
  EXPECT_GT(mean["p_apart"].get<double>(), 0.05) << "0.05 apart";
  EXPECT_NE(tables.markdown.find("## Further contrasts"), std::string::npos);
  EXPECT_EQ(make_tables(request()).markdown.find("## Further contrasts"), std::string::npos) << "none was";
}

TEST_F(TablesTest, AContrastOfArmsThatNoCategoryHasBothOfNamesNoCategory) {
  write_two("80-rater");  // code lacks the mean of experts
  change_cell("80-rater", 1, [](nlohmann::json& cell) { cell["arms"].erase("own"); });
  TableRequest both = request();
  both.main = {"chat", "code"};
  both.contrasts.push_back(contrast_from("mean:own", "80-rater"));
  const Tables tables = make_tables(both);
  const nlohmann::json& none = tables.figures["contrasts"]["80-rater/mean:own"];
  EXPECT_TRUE(none["difference"].is_null()) << none;
  EXPECT_EQ(none["categories"], nlohmann::json::array());
  EXPECT_NE(tables.markdown.find("| none has both |"), std::string::npos) << tables.markdown;
}

TEST_F(TablesTest, APointOfACurveStandsAtItsAmountOfLabels) {
  TableRequest three = request();
  three.regimes = {"20-rater", "80-rater", "all-rater"};
  write_cells("20-rater", "chat", {{"own", 0.6}}, 0.5);
  write_cells("80-rater", "chat", {{"own", 0.6}, {"dmoerm", 0.75}}, 0.5);
  write_cells("all-rater", "chat", {{"own", 0.6}, {"dmoerm", 0.8}}, 0.5);
  const auto lines = [](const std::string& svg) {
    std::size_t count = 0;
    for (std::size_t at = svg.find("fill=\"none\""); at != std::string::npos; at = svg.find("fill=\"none\"", at + 1)) ++count;
    return count;
  };
  const std::string late = make_tables(three).curves_svg;
  EXPECT_NE(late.find("<title>1: 0.75</title>"), std::string::npos) << "the second amount\n" << late;
  EXPECT_NE(late.find("<title>2: 0.8</title>"), std::string::npos);
  EXPECT_EQ(late.find("<title>0: 0.75</title>"), std::string::npos) << "no expert with the first amount";
  EXPECT_EQ(lines(late), 3U) << "single, own and DMoERM";

  write_cells("20-rater", "chat", {{"own", 0.6}, {"dmoerm", 0.7}}, 0.5);
  write_cells("80-rater", "chat", {{"own", 0.6}}, 0.5);
  const std::string broken = make_tables(three).curves_svg;
  EXPECT_NE(broken.find("<title>0: 0.7</title>"), std::string::npos) << broken;
  EXPECT_NE(broken.find("<title>2: 0.8</title>"), std::string::npos);
  EXPECT_EQ(lines(broken), 4U) << "DMoERM's is broken";
}

TEST_F(TablesTest, BestOfNIsOverTheListsThatAreLongEnough) {
  write_cells("80-rater", "chat", {{"dmoerm", 0.75}, {"pooled", 0.7}}, 0.5);
  EXPECT_EQ(make_tables(request()).markdown.find("## Best of n"), std::string::npos) << "cells without gold scores";
  const auto best_of = [](double gain) -> nlohmann::json {
    const std::vector<double> of_groups(4, gain);
    return {{"2", {{"gold", of_groups}, {"own", of_groups}, {"longest", {0.5, 0.5, 0.25, 0.75}}}},
            {"4", {{"gold", {nullptr, gain, gain, gain}}, {"own", {nullptr, 1, 1, 1}}, {"longest", {nullptr, 0, 0, 0}}}}};
  };
  for (int fold = 0; fold < 5; ++fold) {
    change_cell("80-rater", fold, [&](nlohmann::json& cell) { cell["arms"]["dmoerm"]["best_of"] = best_of(0.1 * fold); });
    nlohmann::json all = read_json(single_file(directory_, "80-rater", fold));
    all["categories"]["chat"]["arms"]["single"]["best_of"] = best_of(0.05);
    write_json_atomically(single_file(directory_, "80-rater", fold), all);
  }
  const Tables tables = make_tables(request());
  const nlohmann::json& best = tables.figures.at("best_of");
  ASSERT_EQ(best.size(), 1U) << "15 of 20 lists have four responses: too few\n" << best;
  EXPECT_NEAR(best["2"]["arms"]["dmoerm"]["gold"][0].get<double>(), 0.2, 1e-12);
  EXPECT_NEAR(best["2"]["arms"]["dmoerm"]["longest"].get<double>(), 0.5, 1e-12);
  EXPECT_NEAR(best["2"]["less"]["single"][0].get<double>(), 0.15, 1e-12);
  EXPECT_FALSE(best["2"]["arms"].contains("pooled")) << "no figure of it is known";
  EXPECT_NE(tables.markdown.find("- n = 2: chat (20)\n"), std::string::npos) << tables.markdown;
  EXPECT_NE(tables.best_of_svg.find("<title>1: 0.2</title>"), std::string::npos) << tables.best_of_svg;
}

TEST_F(TablesTest, AContrastThatIsAskedForIsThatOfTheContrastsOfDmoerm) {
  write_cells("80-rater", "chat", {{"dmoerm", 0.75}, {"pooled", 0.7}}, 0.5);
  for (int fold = 0; fold < 5; ++fold) {
    change_cell("80-rater", fold, [fold](nlohmann::json& cell) {
      cell["arms"]["pooled"]["groups"] = {0.1 * fold, 0.5, 0.9 - 0.1 * fold, 0.7};
    });
  }
  TableRequest asked = request();
  asked.contrasts.push_back(contrast_from("dmoerm:pooled", "80-rater"));
  const Tables tables = make_tables(asked);
  EXPECT_EQ(tables.figures["contrasts"]["80-rater/dmoerm:pooled"]["difference"], tables.figures["minus_pooled"]);
  EXPECT_EQ(tables.figures["contrasts"]["80-rater/dmoerm:pooled"]["p_apart"], tables.figures["p_pooled_apart"]);
}

TEST_F(TablesTest, AContrastOfWhatIsNotThereIsRefused) {
  write_cells("80-rater", "chat", {{"dmoerm", 0.75}, {"pooled", 0.7}}, 0.5);
  const auto refused = [&](const std::string& text) {
    return test::message_of<ConfigError>([&] {
      TableRequest asked = request();
      asked.contrasts.push_back(contrast_from(text, "80-rater"));
      (void)make_tables(asked);
    });
  };
  EXPECT_NE(refused("dmoerm:gate").find("has the arm gate in every fold: there are dmoerm, pooled, single"), std::string::npos)
      << refused("dmoerm:gate");
  EXPECT_NE(refused("20-flip40/dmoerm:pooled").find("there are those of 80-rater"), std::string::npos);
  EXPECT_NE(refused("dmoerm:poold").find("no arm poold, did you mean pooled?; there are single, "), std::string::npos)
      << refused("dmoerm:poold");
  EXPECT_NE(refused("20-flop40/dmoerm:pooled").find("the regime 20-flop40: expected PROMPTS-NOISE"), std::string::npos);
  for (const char* text : {"dmoerm", "dmoerm:", ":own", "/a:b", "a:b:c", "a/b/c:d", ""})
    EXPECT_NE(refused(text).find("expected two arms"), std::string::npos) << text;
}

TEST_F(TablesTest, TheInnerLayerIsARowWhereEveryFoldHasIt) {
  write_cells("80-rater", "chat", {{"dmoerm", 0.75}, {"pooled", 0.7}}, 0.5);
  for (int fold = 0; fold < 5; ++fold) {
    nlohmann::json cell = read_json(single_file(directory_, "80-rater", fold));
    auto& arms = cell["categories"]["chat"]["arms"];
    arms["inner"] = arms["single"];
    arms.erase("single");
    EXPECT_EQ(make_tables(request()).markdown.find("inner layer only"), std::string::npos) << fold << " of 5 folds have it";
    write_json_atomically(inner_file(directory_, "80-rater", fold), cell);
  }
  const Tables tables = make_tables(request());
  EXPECT_NE(tables.markdown.find("| inner layer only"), std::string::npos) << tables.markdown;
  EXPECT_NEAR(tables.figures["main"]["inner"][0].get<double>(), 0.5, 1e-9);
}

TEST_F(TablesTest, TheNoiseCeilingIsASection) {
  write_cells("80-rater", "chat", {{"dmoerm", 0.75}}, 0.5);
  TableRequest with = request();
  with.ceilings.push_back({"chat", "overall", rater_agreement({{{0, 0}, {1, 1}, {2, 0}}}), ""});
  with.ceilings.push_back({"code", "overall", {}, "no two raters order a pair"});
  const Tables tables = make_tables(with);
  EXPECT_NE(tables.markdown.find("## Inter-rater agreement"), std::string::npos);
  EXPECT_NE(tables.markdown.find("no two raters order a pair"), std::string::npos);
  EXPECT_NEAR(tables.figures["noise_ceiling"]["chat"]["overall"]["without_ties"]["share"].get<double>(), 0.5, 1e-9);
  EXPECT_EQ(tables.figures["noise_ceiling"]["code"]["overall"]["why"], "no two raters order a pair");
}

TEST_F(TablesTest, BoundsAreMarked) {
  write_cells("80-rater", "chat", {{"dmoerm", 0.75}, {"pooled", 0.75}}, 0.5);
  const Tables tables = make_tables(request());
  EXPECT_NE(tables.markdown.find("(bounds)"), std::string::npos) << tables.markdown;
  EXPECT_NE(tables.markdown.find("Bounds: "), std::string::npos);
  EXPECT_EQ(tables.figures["bounds"], nlohmann::json({"minus_single", "minus_pooled"})) << "they differ by the same everywhere";
}

}  // namespace
}  // namespace dmoerm::evidence
