#include "synth/synth.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/hash.h"

namespace dmoerm::synth {
namespace {

using nlohmann::json;

std::vector<json> rows(const SynthData& data) {
  std::vector<json> result;
  std::istringstream lines(data.jsonl);
  for (std::string line; std::getline(lines, line);) result.push_back(json::parse(line));
  return result;
}

/// Two texts of which one is better.
struct Preferred {
  std::string better, worse;
};

using WordCounts = std::map<std::string, double>;

WordCounts count_words(const std::string& text) {
  WordCounts counts;
  std::string word;
  for (const char c : text + " ") {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!word.empty()) {
      counts[word] += 1;
      word.clear();
    }
  }
  return counts;
}

/// Bradley-Terry on word counts by stochastic gradient descent.
class BagOfWords {
 public:
  void train(const std::vector<Preferred>& pairs) {
    std::vector<WordCounts> gaps;
    for (const Preferred& pair : pairs) {
      WordCounts gap = count_words(pair.better);
      for (const auto& [word, count] : count_words(pair.worse)) gap[word] -= count;
      gaps.push_back(std::move(gap));
    }
    for (int epoch = 0; epoch < 12; ++epoch) {
      for (const WordCounts& gap : gaps) {
        const double step = 0.1 / (1 + epoch) / (1 + std::exp(dot(gap)));
        for (const auto& [word, count] : gap) weights_[word] += step * count;
      }
    }
  }
  [[nodiscard]] double accuracy(const std::vector<Preferred>& pairs) const {
    int right = 0;
    for (const Preferred& pair : pairs) right += dot(count_words(pair.better)) > dot(count_words(pair.worse)) ? 1 : 0;
    return static_cast<double>(right) / static_cast<double>(pairs.size());
  }

 private:
  [[nodiscard]] double dot(const WordCounts& words) const {
    double sum = 0;
    for (const auto& [word, count] : words) {
      if (const auto weight = weights_.find(word); weight != weights_.end()) sum += weight->second * count;
    }
    return sum;
  }
  WordCounts weights_;
};

std::string text_of(const json& row, const json& index) { return row["responses"][index.get<std::size_t>()]["text"]; }

/// Add the human labels of a training row.
void add_preferences(const json& row, std::vector<Preferred>& pairs) {
  for (const json& p : row["preferences"]) {
    const bool a = p[2] == "a";
    pairs.push_back({text_of(row, p[a ? 0 : 1]), text_of(row, p[a ? 1 : 0])});
  }
}

/// Add the pairs of a test row whose gold values differ. @param point  name of a point, or empty for the overall score
void add_gold(const json& row, const std::string& point, std::vector<Preferred>& pairs) {
  const auto value = [&](const json& response) {
    return point.empty() ? response["overall"].get<double>() : response["scores"][point].get<double>();
  };
  for (const json& a : row["responses"]) {
    for (const json& b : row["responses"]) {
      if (value(a) > value(b)) pairs.push_back({a["text"], b["text"]});
    }
  }
}

TEST(Synth, GivesTheSameBytesForTheSameSeedOnly) {
  SynthOptions options;
  options.groups = 40;
  options.categories = 6;
  const std::string first = synthesize(options).jsonl;
  EXPECT_EQ(first, synthesize(options).jsonl);
  options.seed = 18;
  EXPECT_NE(first, synthesize(options).jsonl);
}

TEST(Synth, GivesThePinnedBytesOnEveryMachine) {
  SynthOptions options;
  options.groups = 20;
  EXPECT_EQ(sha256_hex(synthesize(options).jsonl).substr(0, 16), "d1eaedd66a041367")
      << "the generator has changed; a new pin changes the data of every quick start";
}

TEST(Synth, WritesReadableRowsInEverySplit) {
  SynthOptions options;
  options.categories = 6;
  options.groups = 100;
  std::set<std::string> prompts, ids;
  std::map<std::string, std::map<std::string, int>> splits;
  for (const json& row : rows(synthesize(options))) {
    ASSERT_EQ(row["prompt"].size(), 1U);
    EXPECT_EQ(row["prompt"][0]["role"], "user");
    const std::string prompt = row["prompt"][0]["content"];
    EXPECT_TRUE(prompts.insert(prompt).second) << "prompt given twice: " << prompt;
    EXPECT_TRUE(ids.insert(row["id"].get<std::string>()).second);
    ++splits[row["category"].get<std::string>()][row["split"].get<std::string>()];
    std::vector<std::string> texts = {prompt};
    std::set<std::string> distinct;
    for (std::size_t i = 0; i < row["responses"].size(); ++i) {
      const json& response = row["responses"][i];
      EXPECT_EQ(response["rid"], i);
      texts.push_back(response["text"]);
      EXPECT_TRUE(distinct.insert(texts.back()).second) << "response given twice: " << texts.back();
      const std::ptrdiff_t words = 1 + std::count(texts.back().begin(), texts.back().end(), ' ');
      EXPECT_TRUE(words >= 15 && words <= 45) << words << " words: " << texts.back();
    }
    EXPECT_EQ(distinct.size(), 4U);
    for (const std::string& text : texts) {
      for (const char c : text) ASSERT_TRUE(c >= ' ' && c <= '~') << text;
      for (const char* bad : {"  ", "{", "}", "|", " .", "..", ",."}) EXPECT_EQ(text.find(bad), std::string::npos) << text;
      EXPECT_TRUE(text.back() == '.' || text.back() == '?') << text;
    }
    const bool test = row["split"] == "test";
    EXPECT_EQ(row.contains("preferences"), !test);
    EXPECT_EQ(row.contains("verdicts"), !test);
    for (const json& response : row["responses"]) {
      EXPECT_EQ(response.contains("overall"), test);
      EXPECT_EQ(response.contains("scores"), test);
    }
  }
  ASSERT_EQ(splits.size(), 6U);
  for (const auto& [category, counts] : splits)
    EXPECT_EQ(counts, (std::map<std::string, int>{{"test", 20}, {"train", 70}, {"validation", 10}})) << category;
}

TEST(Synth, FlipsTheStatedShareOfHumanLabelsAndNothingElse) {
  SynthOptions clean;
  clean.noise = 0;
  for (const double noise : {0.25, 0.4}) {
    SynthOptions noisy = clean;
    noisy.noise = noise;
    const SynthData data = synthesize(noisy);
    const std::vector<json> a = rows(synthesize(clean)), b = rows(data);
    ASSERT_EQ(a.size(), b.size());
    double labels = 0, flipped = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i]["responses"], b[i]["responses"]);
      EXPECT_EQ(a[i]["prompt"], b[i]["prompt"]);
      if (a[i]["split"] == "test") continue;
      EXPECT_EQ(a[i]["verdicts"], b[i]["verdicts"]);
      ASSERT_EQ(a[i]["preferences"].size(), 6U);
      for (std::size_t k = 0; k < 6; ++k) {
        ++labels;
        flipped += a[i]["preferences"][k] != b[i]["preferences"][k] ? 1 : 0;
      }
    }
    EXPECT_NEAR(flipped, noise * labels, 4 * std::sqrt(labels * noise * (1 - noise)));
    double counted = 0, shown = 0;
    for (const SynthSummary& c : data.categories) {
      counted += c.flipped;
      shown += c.human_labels;
    }
    EXPECT_EQ(counted, flipped);
    EXPECT_EQ(shown, labels);
  }
}

TEST(Synth, MakesHumanLabelsLeanTowardsLongerResponses) {
  const auto longer_wins = [](double length_bias) {
    SynthOptions options;
    options.length_bias = length_bias;
    double longer = 0, all = 0;
    for (const json& row : rows(synthesize(options))) {
      std::vector<Preferred> pairs;
      if (row["split"] != "test") add_preferences(row, pairs);
      for (const Preferred& pair : pairs) {
        if (pair.better.size() == pair.worse.size()) continue;
        ++all;
        longer += pair.better.size() > pair.worse.size() ? 1 : 0;
      }
    }
    return longer / all;
  };
  EXPECT_GT(longer_wins(0.8), longer_wins(0) + 0.03);
  EXPECT_LT(longer_wins(-0.8), longer_wins(0) - 0.03);
}

TEST(Synth, GivesNoisyLabelsInTheTestSplitOnlyWithNoisyTest) {
  SynthOptions options;
  options.groups = 40;
  options.noisy_test = true;
  for (const json& row : rows(synthesize(options))) {
    EXPECT_EQ(row["preferences"].size(), 6U);
    EXPECT_FALSE(row["responses"][0].contains("overall"));
  }
}

TEST(Synth, LetsTheJudgePickTheFirstShownAtTheRateOfTheRecipe) {
  SynthOptions options;
  const SynthData data = synthesize(options);
  // The rate that the recipe gives for the gold scores of the test split, whose responses are drawn in the same way.
  double expected = 0, pairs = 0;
  int first_first = 0, inconsistent = 0;
  for (const json& row : rows(data)) {
    if (row["split"] == "test") {
      for (std::size_t a = 0; a < 4; ++a) {
        for (std::size_t b = a + 1; b < 4; ++b) {
          for (const auto& [point, score] : row["responses"][a]["scores"].items()) {
            const double gap = std::fabs(score.get<double>() - row["responses"][b]["scores"][point].get<double>());
            expected += 1 - (gap == 0 ? 0.7 : 0.35 * std::exp2(-gap));
            ++pairs;
          }
        }
      }
      continue;
    }
    for (const json& verdict : row["verdicts"]) {
      if (verdict["first_order"] != verdict["second_order"]) continue;
      ++inconsistent;
      first_first += verdict["first_order"] == "first" ? 1 : 0;
    }
  }
  double asked = 0, consistent = 0, right = 0, wrong = 0;
  for (const SynthSummary& c : data.categories) {
    ASSERT_EQ(c.points.size(), 4U);
    for (const SynthSummary::Point& p : c.points) {
      asked += p.asked;
      consistent += p.consistent;
      right += p.right;
      wrong += p.wrong;
      EXPECT_NEAR(static_cast<double>(p.consistent) / p.asked, expected / pairs, 0.07) << c.category << " " << p.name;
    }
  }
  EXPECT_NEAR(consistent / asked, expected / pairs, 0.02);
  EXPECT_EQ(asked - consistent, inconsistent);
  EXPECT_EQ(first_first, inconsistent) << "an inconsistent judge picks the first response shown";
  EXPECT_NEAR(wrong / (right + wrong), options.judge_noise, 0.01);
}

TEST(Synth, LikesOppositeFeaturesInDifferentCategories) {
  SynthOptions options;
  options.noise = 0;
  options.length_bias = 0;
  std::map<std::string, std::vector<Preferred>> train, test;
  for (const json& row : rows(synthesize(options))) {
    if (row["split"] == "test") add_gold(row, "", test[row["category"].get<std::string>()]);
    if (row["split"] == "train") add_preferences(row, train[row["category"].get<std::string>()]);
  }
  std::vector<Preferred> all;
  for (std::size_t i = 0; i < train.begin()->second.size(); ++i) {  // interleaved like a shuffled mixture
    for (const auto& [category, pairs] : train) all.push_back(pairs.at(i));
  }
  BagOfWords single;
  single.train(all);
  double single_mean = 0, own_mean = 0;
  for (const auto& [category, pairs] : train) {
    BagOfWords own;
    own.train(pairs);
    const double own_accuracy = own.accuracy(test[category]), single_accuracy = single.accuracy(test[category]);
    EXPECT_GT(own_accuracy, 0.85) << category << " cannot be learnt";
    EXPECT_GT(own_accuracy, single_accuracy + 0.05) << category << " does not need a model of its own";
    RecordProperty(category, std::to_string(own_accuracy) + " alone, " + std::to_string(single_accuracy) + " together");
    std::printf("%s: %.3f alone, %.3f together\n", category.c_str(), own_accuracy, single_accuracy);
    own_mean += own_accuracy / 3;
    single_mean += single_accuracy / 3;
  }
  EXPECT_GT(own_mean, single_mean + 0.15);
}

TEST(Synth, GivesConsistentVerdictsFromWhichPointsCanBeLearnt) {
  const SynthOptions options;
  const SynthData data = synthesize(options);
  std::map<std::string, std::vector<Preferred>> train, test;
  for (const json& row : rows(data)) {
    const std::string category = row["category"];
    if (row["split"] == "test") {
      for (const auto& [point, score] : row["responses"][0]["scores"].items()) add_gold(row, point, test[category + "/" + point]);
    } else if (row["split"] == "train") {
      for (const json& v : row["verdicts"]) {
        if (v["first_order"] == v["second_order"]) continue;
        const bool a = v["first_order"] == "first";
        train[category + "/" + v["point"].get<std::string>()].push_back(
            {text_of(row, v[a ? "a" : "b"]), text_of(row, v[a ? "b" : "a"])});
      }
    }
  }
  ASSERT_EQ(train.size(), 12U);
  for (const auto& [point, pairs] : train) {
    BagOfWords model;
    model.train(pairs);
    EXPECT_GT(model.accuracy(test[point]), 0.85) << point;
  }
}

TEST(Synth, RefusesOptionsOutOfRangeByName) {
  const auto refused = [](auto change) {
    SynthOptions options;
    change(options);
    try {
      synthesize(options);
    } catch (const ConfigError& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(refused([](SynthOptions& o) { o.noise = 0.5; }), "synth: --noise is 0.5: it must be at least 0 and below 0.5");
  EXPECT_NE(refused([](SynthOptions& o) { o.noise = std::nan(""); }).find("--noise"), std::string::npos);
  EXPECT_NE(refused([](SynthOptions& o) { o.categories = 7; }).find("--categories is 7"), std::string::npos);
  EXPECT_NE(refused([](SynthOptions& o) { o.groups = 0; }).find("--groups is 0"), std::string::npos);
  EXPECT_NE(refused([](SynthOptions& o) { o.responses = 1; }).find("--responses is 1"), std::string::npos);
  EXPECT_NE(refused([](SynthOptions& o) { o.test_share = o.validation_share = 0.5; }).find("group to train on"),
            std::string::npos);
}

}  // namespace
}  // namespace dmoerm::synth
