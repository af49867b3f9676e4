// Refuses files whose layout is another than one JSON object a line: lists, tables, objects over several lines.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dmoerm::preference {

/// The place of a line, for messages.
struct LinePlace {
  const std::string& path;
  std::int64_t line;
};

/// Refuse a first line that shows how the whole file is laid out otherwise: a list, objects over lines, a table, events.
/// @throws DataError with the command that converts the file
void refuse_other_layout(const std::string& line, const LinePlace& place);

/// Refuse a first row that is a whole table or holds the rows under a key: {"prompt":[...],"chosen":[...]}, {"train":[rows]}.
/// @throws DataError with the command that converts the file
void refuse_table_in_row(const nlohmann::json& row, const LinePlace& place);

/// Whether each value of a row is an object of a type and a value, {"prompt": {"S": "text"}}, as DynamoDB exports rows.
bool has_typed_values(const nlohmann::json& row);

}  // namespace dmoerm::preference
