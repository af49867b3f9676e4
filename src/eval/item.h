// What models are evaluated on: a prompt, its responses, and what is known about their order.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "preference/group.h"
#include "preference/preference.h"

namespace dmoerm::eval {

struct Item {
  std::string id, file;
  std::int64_t line = 0;    ///< Its first line in `file`; its number in the list, from 1, if the file is one list
  std::int64_t number = 0;  ///< Place among all items of the data, from 0
  std::string prompt_key;   ///< The same for all items with this prompt
  std::string cluster;      ///< The same for all items that belong together: a conversation, a document
  std::string category;     ///< "" if none is known
  std::vector<preference::Message> prompt;
  std::vector<std::string> responses;
  std::vector<int> places;  ///< Place in `responses` of each response as the file has it, if equal ones were merged or some left
                            ///< out (-1); else empty
  std::map<std::string, std::vector<preference::Preference>> pairs;  ///< "overall" or a point -> ordered pairs
  std::vector<std::pair<int, int>> ties;                             ///< Pairs that are stated to be equal overall
  std::map<std::string, std::vector<double>> scores;                 ///< Gold scores by label; NaN where a response has none
  std::string part;  ///< What the benchmark calls the item: "ref" or "tied" of RewardBench 2, else ""
  std::string twin;  ///< Name that an item shares with the one that it is compared with; "" if there is none
  int correct = 0;   ///< Number of correct responses, which come first; 0 if the benchmark does not say
};

/// The ordered overall pairs; empty if there are none.
const std::vector<preference::Preference>& overall_pairs(const Item& item);

/// The data of one evaluation.
struct Data {
  std::vector<Item> items;
  struct File {
    std::string path, sha256, format;
    std::int64_t items = 0, left_out = 0;
    std::int64_t other_split = 0;         ///< Of `items`: in another split than the one that was taken, or in none
    std::int64_t responses_left_out = 0;  ///< Of lists that are taken: without a gold score
  };
  std::vector<File> files;
  std::string split;      ///< Split that was taken; "all" if the files name none
  std::string benchmark;  ///< Name of the benchmark; "" for the user's own data
};

}  // namespace dmoerm::eval
