// Preference data of our own making, for the quick start and for tests: plain English with planted, partly opposite preferences.
//
// A response is a sentence about the prompt's topic plus 0 to 3 phrases of each of seven features (figurative speech, informal
// tone, empathy, promises, ordered steps, bluntness, hedging). A category likes some features and dislikes others: each is one of
// its capability points, with score = number of phrases (or 3 minus it where disliked). Overall = weighted sum of the points + a
// small hidden term. Human labels of train and validation follow the overall score, lean towards longer responses and are flipped
// at a stated rate. A judge compares each pair on each point in both orders.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace dmoerm::synth {

struct SynthOptions {
  int groups = 300;          ///< prompts per category, over all splits
  int responses = 4;         ///< per prompt
  int categories = 3;        ///< 2 to 6
  double noise = 0.3;        ///< share of flipped human labels
  double length_bias = 0.4;  ///< overall points that a human label gives for ten words more
  double judge_bias =
      0.35;  ///< probability of "the first shown" at a gap near 0; halves with each point of gap, doubles at a gap of 0
  double judge_noise = 0.05;  ///< share of the judge's other verdicts that are turned round
  std::uint64_t seed = 17;
  double test_share = 0.2;  ///< of the prompts
  double validation_share = 0.1;
  bool noisy_test = false;  ///< test rows too get flipped human labels instead of the overall score
};

/// What was made in one category.
struct SynthSummary {
  struct Point {
    std::string name;
    int asked = 0;       ///< pairs shown to the judge in both orders
    int consistent = 0;  ///< same answer in both
    int right = 0;       ///< consistent, and agrees with scores that differ
    int wrong = 0;       ///< consistent, and against scores that differ
  };
  std::string category;
  std::array<int, 3> groups{};  ///< by Split
  int human_labels = 0;
  int flipped = 0;       ///< of them
  int against_gold = 0;  ///< labels that disagree with the overall score: flips and length bias together
  std::vector<Point> points;
};

struct SynthData {
  std::string jsonl;  ///< rows in the order category, group
  std::vector<SynthSummary> categories;
};

/// Make the data: the same bytes for the same options on every machine.
///
/// Train and validation rows:
/// {"id","category","split","source","prompt","responses":[{"rid","text"}],"preferences":[[a,b,"a"|"b"]],
/// "verdicts":[{"point","a","b","first_order","second_order"}]}, where first_order is the judge's verdict ("first", "second")
/// with response a shown first and second_order with b shown first. Test rows: responses with "scores" and "overall" instead of
/// preferences and verdicts.
/// @throws ConfigError naming the option that is out of range
SynthData synthesize(const SynthOptions& options);

}  // namespace dmoerm::synth
