// What models say about items.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "eval/item.h"

namespace dmoerm::eval {

/// Where a bundle's router sent a prompt.
struct RouteTaken {
  std::string category;   ///< Category whose model scored; "" = the fallback
  std::string likeliest;  ///< Category with the highest probability, whatever the threshold
  double confidence = 0;
};

/// A model on one item.
struct ItemScores {
  std::vector<double> scores = {};  ///< One for each response; empty if the model only compares pairs
  std::map<std::pair<int, int>, double> preferences =
      {};  ///< Of a model that compares: (a, b) -> 1 if a is better, 0 if b is, 0.5
  std::optional<RouteTaken> route = {};
  std::map<std::string, std::vector<double>> experts = {};  ///< Capability point -> its expert's reward of each response
  std::int64_t tokens = 0;                                  ///< Tokens that the model read, the prompt once
};

struct ModelScores {
  /// What asking judges took in this evaluation; answers that were stored before cost nothing again.
  struct Cost {
    std::int64_t requests = 0, tokens = 0;
    double money = 0;
    std::string currency;
    double pairs = 0;  ///< Pairs, ordered and tied, that the judges answered for it
  };

  std::string name = {}, source = {};        ///< Name in tables; what the model was made from
  std::vector<std::string> categories = {};  ///< Categories of its router; empty without one
  std::vector<ItemScores> items = {};        ///< In the order of the data
  std::optional<Cost> cost = {};
  std::string tokens_unknown = {};  ///< Why ItemScores::tokens say nothing; "" if they do
  /// Of a reward server: its address and protocol, and what it said of itself.
  std::map<std::string, std::string> server = {};
  /// How a reward server found the prompts, by its word for it (X-Prompt-Found: messages, text, none): number of responses. Empty
  /// if it does not say.
  std::map<std::string, std::int64_t> prompts_found = {};
  /// Why its scores may not be those of the model that they are taken for; "" if nothing speaks for that.
  std::string doubt = {};
  /// What a reader of the tables has to know of this model; "" if nothing.
  std::string note = {};
  /// Name of the model that this one is without one of its parts; "" if it is whole.
  std::string ablation_of = {};
};

/// Whether the difference of two models is of interest: a model without one of its parts is compared with the whole alone.
bool are_compared(const ModelScores& a, const ModelScores& b);

/// How right a model is on an ordered pair: 1, 0, or 0.5 where it sees no difference. Nothing if it did not compare the two.
std::optional<double> right_of(const ItemScores& scores, const preference::Preference& pair);

/// Score of the winner minus that of the loser; nothing if the model has no scores.
std::optional<double> gap_of(const ItemScores& scores, const preference::Preference& pair);

/// Share of the model's best responses (those with its highest score) that the data holds to be best: that win a pair and lose
/// none. Responses in no ordered pair and without an overall score do not count: the data do not say how good they are. Nothing
/// without scores or pairs.
std::optional<double> best_right(const Item& item, const ItemScores& scores);

}  // namespace dmoerm::eval
