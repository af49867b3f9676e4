#include "eval/read_lists.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/text.h"
#include "eval/read_data.h"
#include "preference/formats.h"
#include "preference/group_reader.h"
#include "preference/line_reader.h"
#include "preference/row_error.h"
#include "preference/row_fields.h"

namespace dmoerm::eval {
namespace {

using nlohmann::json;
using preference::RowError;

const char* list_key(const json& row) {
  for (const char* key : {"answers", "responses", "completions"}) {
    if (row.contains(key) && row[key].is_array() && !row[key].empty()) return key;
  }
  return nullptr;
}

std::string text_of_element(const json& element, const char* key) {
  if (!element.is_object()) return preference::text_of(element, key);
  for (const char* inner : {"text", "answer", "response", "completion", "content"}) {
    if (element.contains(inner) && element[inner].is_string()) return element[inner].get<std::string>();
  }
  throw RowError("response-without-text", fmt::format("\"{}\": expected texts or objects with \"text\", found the keys {}", key,
                                                      preference::keys_of(element)));
}

void put(Item& item, const std::string& key, std::size_t response, const json& value) {
  if (!value.is_number()) return;
  std::vector<double>& scores = item.scores[key];
  scores.resize(item.responses.size(), preference::kMissing);
  scores[response] = preference::number_of(value, key.c_str());
}

/// A list with scores beside its texts.
Item loose_item(const json& row, preference::Split& split) {
  const char* key = list_key(row);
  if (key == nullptr)
    throw RowError("row-without-list",
                   fmt::format("expected a list of texts under answers, responses or completions, found the keys {}",
                               preference::keys_of(row)));
  Item item;
  preference::Group about;
  preference::read_common(row, about);
  item.id = about.id;
  item.category = about.category;
  split = about.split;
  if (const char* column = preference::prompt_column(row); column != nullptr && std::string(column) != key)
    item.prompt = preference::prompt_of(row, column);
  for (const json& element : row[key]) item.responses.push_back(text_of_element(element, key));
  for (std::size_t i = 0; i < item.responses.size(); ++i) {
    if (is_blank(item.responses[i]))
      throw RowError("empty-response", fmt::format("\"{}\": expected a text in response {}, found an empty one", key, i));
    const json& element = row[key][i];
    if (!element.is_object()) continue;
    for (const auto& [name, value] : element.items()) put(item, name, i, value);
    if (element.contains("scores") && element["scores"].is_object()) {
      for (const auto& [name, value] : element["scores"].items()) put(item, name, i, value);
    }
  }
  for (const auto& [name, values] : row.items()) {
    if (!values.is_array() || values.size() != item.responses.size() || name == key) continue;
    for (std::size_t i = 0; i < values.size(); ++i) put(item, name, i, values[i]);
  }
  set_keys(item);
  if (item.prompt.empty()) item.prompt_key = item.cluster = "";
  return item;
}

/// Refuse what stands in the place of a number under a key that the call names; null says that there is none.
void expect_numbers(const json& row, const std::string& key) {
  const json& elements = row[list_key(row)];
  if (const auto values = row.find(key); values != row.end() && values->is_array() && &*values != &elements) {
    for (const json& value : *values) (void)preference::score_of(value, key.c_str());
  }
  for (const json& element : elements) {
    for (const json* about : {&element, element.is_object() && element.contains("scores") ? &element["scores"] : nullptr}) {
      if (about != nullptr && about->is_object() && about->contains(key)) (void)preference::score_of((*about)[key], key.c_str());
    }
  }
}

/// @param numbers  keys under which the call needs numbers
Item list_item(const json& row, const std::vector<std::string>& numbers, preference::Split& split) {
  const preference::Format* format = preference::detect_format(row);
  const bool apart = format != nullptr && !format->merges_rows;
  if (!apart) {
    Item item = loose_item(row, split);
    for (const std::string& key : numbers) expect_numbers(row, key);
    return item;
  }
  preference::Group group = preference::parse_group(*format, row);
  split = group.split;
  return item_of(std::move(group), 0);
}

/// Whether a file begins with a row of a format whose rows of one prompt are one group.
bool merges_rows(const std::string& file) {
  preference::LineReader lines(file);
  std::string line;
  while (lines.next(line)) {
    if (is_blank(line)) continue;
    try {
      const json row = preference::parse_row(line);
      const preference::Format* format = preference::detect_format(row);
      return format != nullptr && format->merges_rows && list_key(row) == nullptr;
    } catch (const RowError&) {
      return false;  // it is refused where rows are read
    }
  }
  return false;
}

/// Read such a file as an evaluation does.
void read_groups(const std::string& file, Data::File& about, Data& data, std::vector<preference::Split>& splits) {
  preference::GroupReader reader(file, "auto", [&](const preference::Dropped& dropped) {
    if (dropped.bad) throw DataError(dropped.code, fmt::format("{}:{}: {}", dropped.file, dropped.line, dropped.reason));
    ++about.left_out;
  });
  while (std::optional<preference::Group> group = reader.next()) {
    splits.push_back(group->split);
    Item item = item_of(std::move(*group), 0);
    item.number = std::ssize(data.items);
    data.items.push_back(std::move(item));
    ++about.items;
  }
}

/// Refuse a list of gold scores that has not one for each response.
void expect_gold_of_one_length(const Item& item, const json& row, const std::string& gold, const std::string& place) {
  const json values = row.value(gold, json());
  if (item.scores.contains(gold) || !values.is_array() || values.size() == item.responses.size()) return;
  throw DataError(
      "list-of-another-length",
      fmt::format("{}: \"{}\", which --gold names, has {} values, and the row has {} responses: a list of scores has one "
                  "number for each",
                  place, gold, values.size(), item.responses.size()));
}

/// Leave out the responses that have no gold score.
void keep_scored(Item& item, const std::string& gold) {
  const auto found = item.scores.find(gold);
  if (found == item.scores.end()) {
    std::vector<std::string> names;
    for (const auto& [name, scores] : item.scores) names.push_back(name);
    throw DataError("list-without-gold",
                    fmt::format("{}:{}: no response has a number \"{}\", which --gold names; the row has: {}", item.file,
                                item.line, gold, names.empty() ? "no scores" : fmt::format("{}", fmt::join(names, ", "))));
  }
  const std::vector<double> scores = found->second;
  const auto keep = [&](auto& values) {
    std::size_t to = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (std::isnan(scores[i])) continue;
      if (to != i) values[to] = std::move(values[i]);
      ++to;
    }
    values.resize(to);
  };
  std::vector<int> place_of(scores.size(), -1);  // among those that are kept
  int kept = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (!std::isnan(scores[i])) place_of[i] = kept++;
  }
  if (item.places.empty()) {
    if (kept < static_cast<int>(scores.size())) item.places = place_of;
  } else {
    for (int& place : item.places) place = place_of[static_cast<std::size_t>(place)];
  }
  keep(item.responses);
  for (auto& [name, values] : item.scores) keep(values);
  item.pairs.clear();
  item.ties.clear();
}

/// Leave out the responses without a gold score, and then the lists with fewer responses.
void keep_long_lists(Data& data, const std::string& gold, std::int64_t smallest) {
  std::vector<Item> kept;
  for (Item& item : data.items) {
    const auto file = std::ranges::find(data.files, item.file, &Data::File::path);
    const std::size_t responses = item.responses.size();
    keep_scored(item, gold);
    if (std::ssize(item.responses) < smallest) {
      ++file->left_out;
      continue;
    }
    file->responses_left_out += static_cast<std::int64_t>(responses - item.responses.size());
    kept.push_back(std::move(item));
  }
  data.items = std::move(kept);
}

}  // namespace

Data read_lists(const std::vector<std::string>& files, const std::string& gold, std::int64_t smallest, const std::string& split,
                std::vector<std::string> fields) {
  Data data;
  fields.push_back(gold);
  std::vector<preference::Split> splits;
  for (const std::string& file : files) {
    Data::File about{file, sha256_file(file), "lists"};
    if (merges_rows(file)) {
      read_groups(file, about, data, splits);
      data.files.push_back(about);
      continue;
    }
    preference::LineReader lines(file);
    std::string line;
    while (lines.next(line)) {
      if (stop_requested())
        throw Stopped("stopped-while-reading", fmt::format("reading {} was stopped by {}", file, stop_signal()));
      if (is_blank(line)) continue;
      const std::string place = fmt::format("{}:{}", file, lines.number());
      try {
        const json row = preference::parse_row(line);
        if (!row.is_object())
          throw RowError("row-is-not-an-object", fmt::format("expected a JSON object, found {}", preference::shown(row)));
        Item item = list_item(row, fields, splits.emplace_back());
        expect_gold_of_one_length(item, row, gold, place);
        item.file = file;
        item.line = lines.number();
        item.number = std::ssize(data.items);
        if (item.id.empty()) item.id = fmt::format("{}:{}", std::filesystem::path(file).filename().string(), item.line);
        if (item.prompt_key.empty()) item.prompt_key = item.cluster = place;  // a list without a prompt stands alone
        data.items.push_back(std::move(item));
        ++about.items;
      } catch (const RowError& e) {
        throw DataError(e.code(), fmt::format("{}: {}", place, e.what()));
      }
    }
    data.files.push_back(about);
  }
  if (!data.items.empty()) take_split(data, splits, split);
  keep_long_lists(data, gold, std::max<std::int64_t>(2, smallest));
  if (data.items.empty())
    throw DataError("nothing-to-evaluate", fmt::format("{}: no list has {} or more responses with a gold score", files.front(),
                                                       std::max<std::int64_t>(2, smallest)));
  warn_of_repeated(data, "[bon] lists with the prompt, responses and gold scores",
                   [&](const Item& item) { return fmt::format("{}", fmt::join(item.scores.at(gold), ",")); });
  return data;
}

}  // namespace dmoerm::eval
