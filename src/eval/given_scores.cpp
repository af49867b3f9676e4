#include "eval/given_scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>

#include "base/counted.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "preference/formats.h"
#include "preference/line_reader.h"
#include "preference/row_error.h"
#include "preference/row_fields.h"

namespace dmoerm::eval {
namespace {

using nlohmann::json;

struct Line {
  std::int64_t number = 0;
  std::optional<std::string> id;
  std::vector<double> scores;
};

struct Lines {
  std::vector<Line> all;
  std::map<std::string, std::size_t> by_id;
};

Lines read_lines(const std::string& file) {
  Lines lines;
  preference::LineReader reader(file);
  std::string text;
  while (reader.next(text)) {
    if (is_blank(text)) continue;
    try {
      const json row = preference::parse_row(text);
      if (!row.is_object() || !row.contains("scores"))
        throw preference::RowError("line-without-scores", fmt::format("expected {{\"id\", \"scores\": [...]}}, found {}",
                                                                      row.is_object() ? "the keys " + preference::keys_of(row)
                                                                                      : preference::shown(row)));
      Line line{reader.number(), {}, {}};
      for (const json& score : preference::need_list(row, "scores"))
        line.scores.push_back(preference::number_of(score, "scores"));
      if (row.contains("id") && !row["id"].is_null()) {
        line.id = row["id"].is_string() ? row["id"].get<std::string>() : row["id"].dump();
        if (!lines.by_id.emplace(*line.id, lines.all.size()).second)
          throw preference::RowError("id-given-twice", fmt::format("the id \"{}\" stands on an earlier line too", *line.id));
      }
      lines.all.push_back(std::move(line));
    } catch (const preference::RowError& e) {
      throw DataError(e.code(), fmt::format("{}:{}: {}", file, reader.number(), e.what()));
    }
  }
  return lines;
}

/// The scores of an item's responses, of which the reader may have merged equal ones and left out some.
std::vector<double> for_responses(const Item& item, const Line& line, const std::string& file) {
  const std::size_t in_row = item.places.empty() ? item.responses.size() : item.places.size();
  if (line.scores.size() != in_row)
    throw DataError("scores-not-one-each",
                    fmt::format("{}:{}: expected {} scores, one for each response of {} ({}:{}), found {}", file, line.number,
                                in_row, item.id, item.file, item.line, line.scores.size()));
  if (item.places.empty()) return line.scores;
  std::vector<double> scores(item.responses.size());
  for (std::size_t i = item.places.size(); i-- > 0;) {
    if (item.places[i] >= 0) scores[static_cast<std::size_t>(item.places[i])] = line.scores[i];
  }
  return scores;
}

/// Refuse two rows of one id, which a line of scores cannot tell apart.
void expect_ids_of_their_own(const Data& data, const std::string& file) {
  std::map<std::string_view, const Item*> first;
  for (const Item& item : data.items) {
    const Item* known = first.try_emplace(item.id, &item).first->second;
    if (known != &item)
      throw DataError(
          "two-rows-of-one-id",
          fmt::format("{}: its lines name rows by their ids, and {}:{} and {}:{} both have the id \"{}\": give each row an "
                      "id of its own, or write the scores without ids, in the order of the groups",
                      file, known->file, known->line, item.file, item.line, item.id));
  }
}

/// Refuse a line that nothing would read, since others name their groups.
void expect_ids_on_all(const Lines& lines, const std::string& file) {
  const auto without = std::ranges::find_if(lines.all, [](const Line& line) { return !line.id; });
  if (without != lines.all.end())
    throw DataError("line-without-id",
                    fmt::format("{}:{}: the line has no \"id\", and line {} has one: give each line the id of its group, or none "
                                "of them",
                                file, without->number, lines.all[lines.by_id.begin()->second].number));
}

/// Warn of ids that no group has, unless they may be those of groups that are not evaluated. @param aside  how many those are
void warn_of_unknown_ids(const Lines& lines, const Data& data, std::int64_t aside, const std::string& file) {
  const std::int64_t unknown = std::ssize(lines.all) - std::ssize(data.items);  // each item has a line of its own
  if (unknown <= aside) return;
  std::set<std::string_view> known;
  for (const Item& item : data.items) known.insert(item.id);
  const auto first = std::ranges::find_if(lines.all, [&](const Line& line) { return !known.contains(*line.id); });
  spdlog::warn(
      "[eval] {}: {} of {} lines have an id that no evaluated group has, the first at line {}: \"{}\"; {} of the data left out "
      "or "
      "in another split",
      file, unknown, lines.all.size(), first->number, *first->id, counted(aside, "group"));
}

}  // namespace

ModelScores given_scores(const std::string& name, const std::string& file, const Data& data) {
  const Lines lines = read_lines(file);
  std::int64_t read = 0, left_out = 0, other_split = 0;
  for (const Data::File& f : data.files) read += f.items, left_out += f.left_out, other_split += f.other_split;
  if (lines.by_id.empty() && std::ssize(lines.all) != read)
    throw DataError(
        "lines-not-one-each",
        fmt::format("{}: {} lines without ids for {} groups ({} more were left out): give each line the id of its group", file,
                    lines.all.size(), read, left_out));
  if (!lines.by_id.empty()) {
    expect_ids_on_all(lines, file);
    expect_ids_of_their_own(data, file);
  }
  ModelScores model{.name = name, .source = "scores of " + file, .tokens_unknown = "scores say nothing of tokens"};
  for (const Item& item : data.items) {
    std::size_t at = static_cast<std::size_t>(item.number);
    if (!lines.by_id.empty()) {
      const auto found = lines.by_id.find(item.id);
      if (found == lines.by_id.end())
        throw DataError("item-without-scores",
                        fmt::format("{}: no line has the id \"{}\" ({}:{})", file, item.id, item.file, item.line));
      at = found->second;
    }
    model.items.push_back({.scores = for_responses(item, lines.all[at], file)});
  }
  if (!lines.by_id.empty()) warn_of_unknown_ids(lines, data, left_out + other_split, file);
  return model;
}

}  // namespace dmoerm::eval
