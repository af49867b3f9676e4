// Generated preference data for the quick start and for tests: plain English with planted preferences, some of them opposite.
//
// A response is a sentence about the prompt's topic plus 0 to 3 phrases of each of seven features (figurative speech, informal
// tone, empathy, promises, ordered steps, bluntness, hedging). A category likes some features and dislikes others. Each of
// these is one of its capability points, whose score is the number of phrases, or 3 minus this number if the category dislikes
// the feature. The overall score is a weighted sum of the points plus a small hidden term. Human labels of the train and
// validation splits follow the overall score, favour longer responses, and are flipped at a given rate. A judge compares each
// pair on each point in both orders.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace dmoerm::synth {

struct SynthOptions {
  int groups = 300;          ///< prompts per category, over all splits
  int responses = 4;         ///< responses per prompt, 2 to 64; with `lists` up to 1,024
  int categories = 3;        ///< number of categories, 2 to 6
  double noise = 0.3;        ///< share of flipped human labels
  double length_bias = 0.4;  ///< overall points that a human label adds for every ten words
  double judge_bias =
      0.35;  ///< probability that the judge picks the first response shown: halves with each point of gap, doubles at a gap of 0
  double judge_noise = 0.05;  ///< share of the judge's other verdicts that are reversed
  std::uint64_t seed = 17;
  double test_share = 0.2;        ///< share of the prompts in the test split
  double validation_share = 0.1;  ///< share of the prompts in the validation split
  bool lists = false;             ///< whether all rows are test rows: lists of scored responses for best-of-n
  bool noisy_test = false;        ///< whether test rows have flipped human labels too, in place of the overall score
};

/// Counts of what was generated in one category.
struct SynthSummary {
  struct Point {
    std::string name;
    int asked = 0;       ///< pairs shown to the judge in both orders
    int consistent = 0;  ///< pairs with the same answer in both orders
    int right = 0;       ///< consistent pairs that agree with scores that differ
    int wrong = 0;       ///< consistent pairs that contradict scores that differ
  };
  std::string category;
  std::array<int, 3> groups{};  ///< number of groups by Split
  int human_labels = 0;
  int flipped = 0;       ///< human labels that were flipped
  int against_gold = 0;  ///< human labels that disagree with the overall score, by flips or by length bias
  std::vector<Point> points;
};

struct SynthData {
  std::string jsonl;  ///< rows ordered by category, then group
  std::vector<SynthSummary> categories;
};

/// Generate the data. The same options give the same bytes on every machine.
///
/// Train and validation rows:
/// {"id","category","split","source","prompt","responses":[{"rid","text"}],"preferences":[[a,b,"a"|"b"]],
/// "verdicts":[{"point","a","b","first_order","second_order"}]}, where first_order is the judge's verdict ("first", "second")
/// with response a shown first and second_order with b shown first. Test rows: responses with "scores" and "overall" instead of
/// preferences and verdicts.
/// @throws ConfigError naming the option that is out of range
SynthData synthesize(const SynthOptions& options);

}  // namespace dmoerm::synth
