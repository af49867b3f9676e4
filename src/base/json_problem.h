// Why bytes are not the JSON or text that they should be, in words for the person who made the file.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/json_mismatch.h"

namespace dmoerm {

/// What bytes are that should be text, from the first of them: "a Git LFS pointer, ...", with what to do; "" if no such thing.
/// Known are archives, tables, tensors, web pages, UTF-16 and UTF-32, zero bytes. @param head  4 KiB are enough
std::string foreign_type(std::string_view head);

/// Where a text stops being JSON and why: "a comment: JSON has none, remove it".
struct JsonProblem {
  std::int64_t line = 1, column = 1;
  std::string what;
  bool cut_off = false;  ///< whether the text ends before its value does
};
JsonProblem json_problem(std::string_view text, const nlohmann::json::parse_error& error);

/// json_mismatch(), or where `text` stops being JSON: "found a comment: JSON has none, remove it (column 7)".
std::string json_complaint(std::string_view text, const nlohmann::json::exception& error);

/// The value of a whole file, in which no object has a key twice. @param name  name of the file for messages.
/// @throws DataError "name:line: ..."
nlohmann::json parse_json(std::string_view text, const std::string& name);

}  // namespace dmoerm
