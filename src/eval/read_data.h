// Reads the user's own data for an evaluation: every data format that `ingest` reads.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "eval/item.h"

namespace dmoerm::eval {

struct DataOptions {
  std::string format = "auto";     ///< Data format of own files
  std::string split = {};          ///< train, validation, test or all; "" = test if a row names it, else all
  std::string category = {};       ///< Category of rows that name none
  std::string cluster = {};        ///< Key of a row whose value says what belongs together; "" = the conversation's beginning
  double score_gap_min = 0;        ///< Smallest gap of scores that counts as an order
  std::int64_t bad_lines_max = 0;  ///< Lines that may be left out because they are malformed
};

/// @throws ConfigError, DataError, IoError; DataError if nothing is left that can be evaluated
Data read_data(const std::vector<std::string>& files, const DataOptions& options);

/// Keep the items of a split, and count the others in Data::files. @param splits  of each item
/// @param wanted  train, validation, test or all; "" = test if an item is in it, else all
/// @throws DataError if items name splits but not that one, or nothing is left
void take_split(Data& data, const std::vector<preference::Split>& splits, const std::string& wanted);

/// Warn of items that repeat an earlier one, as they count again: those with equal categories, prompts, responses and labels.
/// @param what  begins the warning: "[eval] groups with the prompt, responses and order"
/// @param said_by  gives the labels of an item as a text; an item with "" is left alone
void warn_of_repeated(const Data& data, const std::string& what, const std::function<std::string(const Item&)>& said_by);

/// The order of an item's responses under each label, as a text for warn_of_repeated(); "" if none is known.
std::string order_of(const Item& item);

/// Refuse the name of the row over all categories for one of them. @throws DataError
void expect_no_category_called_all(const Data& data);

/// The item of a group: its ordered pairs by label, ties and scores.
Item item_of(preference::Group group, double score_gap_min);

/// Fill in the keys of an item's prompt and, unless it has one, of its cluster.
void set_keys(Item& item);

}  // namespace dmoerm::eval
