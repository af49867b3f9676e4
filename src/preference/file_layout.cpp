#include "preference/file_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "preference/formats.h"
#include "preference/row_error.h"
#include "preference/row_fields.h"

namespace dmoerm::preference {

bool has_typed_values(const nlohmann::json& row) {
  const auto typed = [](const nlohmann::json& value) {
    return value.is_object() && value.size() == 1 && value.begin().key().size() == 1 &&
           std::string_view("SNLMB").find(value.begin().key()) != std::string_view::npos;
  };
  return row.is_object() && !row.empty() && std::ranges::all_of(row, typed);
}

namespace {

using nlohmann::json;

/// What separates the names of columns in the first line of a table; "" if the line is none.
std::string table_of(std::string_view line) {
  constexpr std::size_t kLongest = 64;
  for (const char separator : {',', '\t', ';', '|'}) {
    if (line.starts_with('{') || line.starts_with('|') || line.find(separator) == std::string_view::npos) continue;
    bool names = true;
    for (std::size_t at = 0; names && at <= line.size();) {
      const std::size_t end = std::min(line.find(separator, at), line.size());
      const std::string_view name = trim(line.substr(at, end - at), " \r\"");
      const auto fits = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
      };
      names = name.size() <= kLongest && std::ranges::all_of(name, fits);
      at = end + 1;
    }
    if (names) return {separator};
  }
  return "";
}

/// The separator that a file's name promises, as in pairs.csv or pairs.tsv.gz; "" if it promises none.
std::string table_by_name(const std::string& path) {
  std::filesystem::path name(lower(path));
  if (name.extension() == ".gz" || name.extension() == ".zst") name.replace_extension();
  if (name.extension() == ".csv") return ",";
  return name.extension() == ".tsv" || name.extension() == ".tab" ? "\t" : "";
}

std::string instead_of_rows(const LinePlace& place, const std::string& found) {
  return fmt::format("{}:{}: expected one JSON object per line, found {}", place.path, place.line, found);
}

/// The first row of a table that an object holds by columns, each a list or an object of numbered cells; nothing if it is none.
std::optional<json> first_of_columns(const json& table) {
  if (!table.is_object() || table.size() < 2 || has_typed_values(table)) return std::nullopt;
  const json& any = table.front();
  json row = json::object();
  for (const auto& [name, column] : table.items()) {
    if (!column.is_structured() || column.empty() || column.type() != any.type() || column.size() != any.size())
      return std::nullopt;
    if (column.is_array() && column.front().is_object() && (column.front().contains("role") || column.front().contains("from")))
      return std::nullopt;  // messages of one row
    if (column.is_object() && column.begin().key() != any.begin().key()) return std::nullopt;
    row[name] = column.front();
  }
  return row;
}

bool is_row(const json& value) { return value.is_object() && detect_format(value) != nullptr; }

/// Whether the object is a usable row as it stands.
bool is_usable(const json& row) {
  const Format* format = detect_format(row);
  if (format == nullptr) return false;
  try {
    (void)parse_group(*format, row);
    return true;
  } catch (const RowError&) {
    return false;
  } catch (const json::exception&) {
    return false;
  }
}

/// The filter of jq that gives the rows which lie under a key of the object; "" if none lie there.
std::string filter_of_rows(const json& row) {
  for (const auto& [key, value] : row.items()) {
    if (!value.is_array() || value.empty() || !value[0].is_object()) continue;
    const bool wrapped = value[0].contains("row") && is_row(value[0]["row"]);
    if (is_row(value[0]) || wrapped) return fmt::format(".[{}][]{}", json(key).dump(), wrapped ? ".row" : "");
  }
  return "";
}

/// How to convert a file whose first line is a list: one of rows, or a row whose columns have no names.
std::string about_list(std::string_view line) {
  const char* names = "{prompt: .[0], chosen: .[1], rejected: .[2]}";
  const json list = json::parse(line, nullptr, false);  // discarded if the list goes over several lines
  const auto is_unnamed = [](const json& row) {
    return row.is_array() && !row.empty() && std::ranges::all_of(row, [](const json& cell) { return cell.is_string(); });
  };
  if (is_unnamed(list))
    return fmt::format("a list without the names of its columns: {}; name them, as in jq -c '{}' FILE", shown(list), names);
  if (list.is_array() && !list.empty() && std::ranges::all_of(list, is_unnamed))
    return fmt::format("a list of lists without the names of their columns; name them, as in jq -c '.[] | {}' FILE", names);
  return "the beginning of a list; convert it with jq -c '.[]' FILE";
}

}  // namespace

void refuse_other_layout(const std::string& line, const LinePlace& place) {
  const std::string_view text = trim(line);
  if (text.starts_with('[')) throw DataError("list-of-rows", instead_of_rows(place, about_list(text)));
  if (text == "{" || (text.starts_with('{') && text.ends_with(',') && !json::accept(text.substr(0, text.size() - 1))))
    throw DataError("object-over-lines",
                    instead_of_rows(place, "the beginning of an object over several lines; convert it with jq -c . FILE"));
  if (text.starts_with("data: {"))
    throw DataError("stream-of-events",
                    instead_of_rows(place, "server-sent events; remove \"data: \" at the beginning of each line"));
  if (text == "---" || text.starts_with("- ") || text.starts_with("--- "))
    throw DataError("yaml-document",
                    instead_of_rows(place, "the beginning of a YAML document; convert it with yq -o=json -I=0 '.[]' FILE"));
  if (text.starts_with("<<<<<<< ") || text.starts_with(">>>>>>> "))
    throw DataError("merge-conflict",
                    instead_of_rows(place, "a mark of a merge conflict; resolve it in git, or fetch the file again"));
  if (text.starts_with('{')) return;
  std::string separator = table_of(text);
  const bool named = !separator.empty();
  if (!named) separator = table_by_name(place.path);
  if (separator.empty()) return;
  const std::string option = separator == "," ? "" : fmt::format(", sep=\"{}\"", separator == "\t" ? "\\t" : separator);
  throw DataError(
      "table-of-text",
      instead_of_rows(
          place, fmt::format("{}; convert it in pandas with pd.read_csv(NAME{}).to_json(OTHER, orient=\"records\", lines=True)",
                             named ? "the names of a table's columns"
                                   : fmt::format("{} in a table (its first line must name the columns)", shown(json(text))),
                             option)));
}

void refuse_table_in_row(const json& row, const LinePlace& place) {
  const std::string_view text = row.is_string() ? trim(row.get_ref<const std::string&>()) : std::string_view();
  if ((text.starts_with('{') || text.starts_with('[')) && json::accept(text)) {
    throw DataError(
        "row-in-quotes",
        instead_of_rows(place, fmt::format("a text that holds JSON: {}; convert the file with jq -c fromjson FILE", shown(row))));
  }
  if (!row.is_object() || is_usable(row)) return;
  if (const auto first = first_of_columns(row); first && is_row(*first)) {
    throw DataError("table-by-columns", instead_of_rows(place,
                                                        "a whole table by columns; convert it in pandas with "
                                                        "pd.read_json(NAME).to_json(OTHER, orient=\"records\", lines=True)"));
  }
  if (row.size() <= 4 && row.contains("columns") && row.contains("data") && row["data"].is_array()) {
    throw DataError(
        "table-by-columns",
        instead_of_rows(place,
                        "a whole table as pandas splits it; convert it with pd.read_json(NAME, orient=\"split\").to_json(OTHER, "
                        "orient=\"records\", lines=True)"));
  }
  if (const std::string filter = filter_of_rows(row); !filter.empty()) {
    throw DataError(
        "list-of-rows",
        instead_of_rows(
            place, fmt::format("an object that holds the rows under a key; convert it with jq -c '{}' FILE (keys: {})", filter,
                               keys_of(row))));
  }
}

}  // namespace dmoerm::preference
