#include "synth/synth.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/rng.h"
#include "synth/synth_words.h"

namespace dmoerm::synth {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kStrengthMax = 3;
constexpr std::size_t kWordsMin = 15, kWordsMax = 45;
constexpr std::size_t kPromptWordsMin = 10, kPromptWordsMax = 30;
constexpr int kGroupsMax = 5000;  // the word lists have far more different prompts
constexpr int kResponsesMax = 64, kListMax = 1024;
constexpr int kTries = 10000;  // draws after which the word lists count as too small, which is a bug
constexpr const char* kSplits[] = {"train", "validation", "test"};
enum { kTrain, kValidation, kTest };

struct Made {
  std::string text;
  std::size_t words = 0;
  std::vector<int> scores;  ///< one score per point of the category
  double overall = 0;
};

std::size_t count_words(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), ' ')) + 1;
}

/// The text with the first letter of each sentence in upper case, and with a full stop at the end.
std::string sentence(std::string text) {
  bool first = true;
  for (char& c : text) {
    if (first && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    first = c == '.' || c == '?' || (first && c == ' ');
  }
  if (text.back() != '.' && text.back() != '?') text += '.';
  return text;
}

/// Number of phrases of a feature that the category judges: 0 to 3, with high numbers rare.
int draw_strength(Rng& rng) {
  const double u = rng.uniform();
  return u < 0.4 ? 0 : u < 0.7 ? 1 : u < 0.9 ? 2 : kStrengthMax;
}

/// A response with its text and gold scores. Sometimes it has features that the category does not judge. They mislead a model
/// that ignores the category, because other categories like them.
Made make_response(const SynthCategory& category, const std::string& topic, Rng& rng) {
  const std::string words(category.words);
  for (int tries = 0; tries < kTries; ++tries) {
    std::map<std::string_view, int> strength;
    for (const std::string_view feature : synth_features()) strength[feature] = rng.uniform() < 0.25 ? 1 : 0;
    for (const SynthPoint& point : category.points) strength[point.feature] = draw_strength(rng);

    std::vector<std::string> pieces;
    for (const std::string_view feature : synth_features()) {
      for (int i = 0; feature != "steps" && i < strength[feature]; ++i) pieces.push_back(sentence(expand(feature, topic, rng)));
    }
    for (std::uint64_t fillers = rng.below(3); fillers > 0; --fillers) pieces.push_back(sentence(expand("filler", topic, rng)));
    rng.shuffle(pieces);
    std::size_t after = 0;  // steps may stand anywhere, but in their order
    for (int i = 1; i <= strength["steps"]; ++i) {
      after += rng.below(pieces.size() - after + 1);
      pieces.insert(pieces.begin() + static_cast<std::ptrdiff_t>(after++),
                    sentence(expand(fmt::format("steps{}", i), topic, rng)));
    }
    const bool on_topic = rng.below(2) == 0;
    Made made;
    made.text = sentence(expand(words + (on_topic ? "_core" : "_plain"), topic, rng));
    for (const std::string& piece : pieces) made.text += ' ' + piece;
    made.words = count_words(made.text);
    if (made.words < kWordsMin || made.words > kWordsMax ||
        std::set<std::string>(pieces.begin(), pieces.end()).size() != pieces.size())
      continue;

    for (const SynthPoint& point : category.points) {
      made.scores.push_back(point.liked ? strength[point.feature] : kStrengthMax - strength[point.feature]);
      made.overall += point.weight * made.scores.back();
    }
    // The hidden term stands for what no point covers. Steps of 0.001 keep the number short and the same on every machine.
    made.overall += (on_topic ? 0.3 : 0.0) + 0.4 * rng.uniform();
    made.overall = std::round(made.overall * 1000) / 1000;
    return made;
  }
  throw Error("synth-words-exhausted", "synth: the word lists give no response of the required length");
}

/// Makes the rows of one category.
class CategoryMaker {
 public:
  CategoryMaker(const SynthOptions& options, const SynthCategory& category) : options_(options), category_(category) {
    summary_.category = category.name;
    for (const SynthPoint& point : category.points) summary_.points.push_back({.name = std::string(point.name)});
  }

  SynthSummary make(std::string& jsonl) {
    std::vector<int> splits(static_cast<std::size_t>(options_.groups), kTrain);
    const auto count = [&](double share) { return static_cast<std::ptrdiff_t>(std::llround(share * options_.groups)); };
    std::fill_n(splits.begin(), count(options_.test_share), kTest);
    std::fill_n(splits.begin() + count(options_.test_share), count(options_.validation_share), kValidation);
    Rng(options_.seed, fmt::format("synth/{}/splits", category_.name)).shuffle(splits);
    if (options_.lists) std::ranges::fill(splits, kTest);
    for (std::size_t i = 0; i < splits.size(); ++i) jsonl += row(i, splits[i]).dump() + '\n';
    return summary_;
  }

 private:
  Json row(std::size_t index, int split) {
    Rng rng(options_.seed, fmt::format("synth/{}", category_.name), index);
    const std::string words(category_.words);
    std::string topic, prompt;
    for (int tries = 0;; ++tries) {
      DMOERM_CHECK(tries < kTries, "synth: the word lists give no further prompt");
      topic = expand(words + "_topic", "", rng);
      prompt = sentence(expand(words + "_prompt", topic, rng));
      const std::size_t length = count_words(prompt);
      if (length >= kPromptWordsMin && length <= kPromptWordsMax && prompts_.insert(prompt).second) break;
    }
    std::vector<Made> made;
    std::set<std::string> texts;
    while (static_cast<int>(made.size()) < options_.responses) {
      Made next = make_response(category_, topic, rng);
      if (texts.insert(next.text).second) made.push_back(std::move(next));
    }

    ++summary_.groups.at(static_cast<std::size_t>(split));
    const std::string id = fmt::format("{}-{:05}", category_.words, index);
    Json result = {{"id", id}, {"category", category_.name}, {"split", kSplits[split]}, {"source", "dmoerm synth"}};
    result["prompt"] = Json::array({{{"role", "user"}, {"content", prompt}}});
    const bool human = split != kTest || options_.noisy_test;
    for (std::size_t i = 0; i < made.size(); ++i) result["responses"].push_back(response(made[i], i, split == kTest, human));
    if (human) result["preferences"] = preferences(made, rng);
    if (split != kTest) result["verdicts"] = verdicts(made, id);
    return result;
  }

  [[nodiscard]] Json response(const Made& made, std::size_t rid, bool with_scores, bool human) const {
    Json result = {{"rid", rid}, {"text", made.text}};
    if (with_scores) {
      for (std::size_t k = 0; k < made.scores.size(); ++k)
        result["scores"][std::string(category_.points[k].name)] = made.scores[k];
    }
    if (!human) result["overall"] = made.overall;
    return result;
  }

  Json preferences(const std::vector<Made>& made, Rng& rng) {
    Json result = Json::array();
    for (std::size_t a = 0; a < made.size(); ++a) {
      for (std::size_t b = a + 1; b < made.size(); ++b) {
        const double gap = made[a].overall - made[b].overall;
        const double words = static_cast<double>(made[a].words) - static_cast<double>(made[b].words);
        const double felt = gap + options_.length_bias * words / 10;
        const bool flip = rng.uniform() < options_.noise;
        const char* label = felt == 0 ? "tie" : (felt > 0) != flip ? "a" : "b";
        ++summary_.human_labels;
        if (felt != 0) {
          summary_.flipped += flip ? 1 : 0;
          summary_.against_gold += (gap > 0 && *label == 'b') || (gap < 0 && *label == 'a') ? 1 : 0;
        }
        result.push_back({a, b, label});
      }
    }
    return result;
  }

  /// A number in [0, 1) that depends only on the question, so that the judge answers the same question in the same way.
  [[nodiscard]] double mood(std::string_view what, const std::string& id, std::size_t a, std::size_t b,
                            std::string_view point) const {
    return Rng(options_.seed, fmt::format("judge/{}/{}/{}/{}/{}", what, id, a, b, point)).uniform();
  }

  Json verdicts(const std::vector<Made>& made, const std::string& id) {
    Json result = Json::array();
    for (std::size_t k = 0; k < category_.points.size(); ++k) {
      const std::string_view name = category_.points[k].name;
      SynthSummary::Point& point = summary_.points[k];
      for (std::size_t a = 0; a < made.size(); ++a) {
        for (std::size_t b = a + 1; b < made.size(); ++b) {
          const int gap = made[a].scores[k] - made[b].scores[k];
          const double bias = gap == 0 ? 2 * options_.judge_bias : std::ldexp(options_.judge_bias, -std::abs(gap));
          ++point.asked;
          Json verdict = {{"point", name}, {"a", a}, {"b", b}};
          if (mood("bias", id, a, b, name) < bias) {
            verdict["first_order"] = "first";
            verdict["second_order"] = "first";
          } else {
            const bool prefers_a = gap == 0 ? mood("coin", id, a, b, name) < 0.5
                                            : (gap > 0) != (mood("slip", id, a, b, name) < options_.judge_noise);
            verdict["first_order"] = prefers_a ? "first" : "second";
            verdict["second_order"] = prefers_a ? "second" : "first";
            ++point.consistent;
            if (gap != 0) ++(prefers_a == (gap > 0) ? point.right : point.wrong);
          }
          result.push_back(std::move(verdict));
        }
      }
    }
    return result;
  }

  const SynthOptions& options_;
  const SynthCategory& category_;
  SynthSummary summary_;
  std::set<std::string> prompts_;
};

void check_options(const SynthOptions& options) {
  const auto require = [](bool holds, const char* option, auto value, const char* range) {
    if (!holds) throw ConfigError("option-out-of-range", fmt::format("synth: --{} is {}: it must be {}", option, value, range));
  };
  require(options.groups >= 1 && options.groups <= kGroupsMax, "groups", options.groups, "1 to 5000");
  require(options.responses >= 2 && options.responses <= (options.lists ? kListMax : kResponsesMax), "responses",
          options.responses, options.lists ? "2 to 1024" : "2 to 64; with --lists up to 1024");
  require(!options.lists || !options.noisy_test, "noisy-test", "given", "absent with --lists, whose scores are gold");
  require(options.categories >= 2 && options.categories <= 6, "categories", options.categories, "2 to 6");
  require(options.noise >= 0 && options.noise < 0.5, "noise", options.noise, "at least 0 and below 0.5");
  require(std::isfinite(options.length_bias), "length-bias", options.length_bias, "finite");
  require(options.judge_bias >= 0 && options.judge_bias <= 1, "judge-bias", options.judge_bias, "between 0 and 1");
  require(options.judge_noise >= 0 && options.judge_noise < 0.5, "judge-noise", options.judge_noise, "at least 0 and below 0.5");
  require(options.test_share >= 0 && options.test_share < 1, "test-share", options.test_share, "at least 0 and below 1");
  require(options.validation_share >= 0 && options.validation_share < 1, "validation-share", options.validation_share,
          "at least 0 and below 1");
  require(std::llround(options.test_share * options.groups) + std::llround(options.validation_share * options.groups) <
              options.groups,
          "test-share + --validation-share", options.test_share + options.validation_share,
          "small enough to leave a group to train on");
}

}  // namespace

SynthData synthesize(const SynthOptions& options) {
  check_options(options);
  SynthData data;
  for (int i = 0; i < options.categories; ++i) {
    CategoryMaker maker(options, synth_categories()[static_cast<std::size_t>(i)]);
    data.categories.push_back(maker.make(data.jsonl));
  }
  return data;
}

}  // namespace dmoerm::synth
