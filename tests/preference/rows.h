// Rows of preference data as tests write them, read as the program reads them.
#pragma once
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "preference/formats.h"
#include "preference/row_error.h"

namespace dmoerm::preference::test {

/// "role: content | role: content"
inline std::string prompt_of(const Group& group) {
  std::string text;
  for (const Message& m : group.prompt) text += (text.empty() ? "" : " | ") + m.role + ": " + m.content;
  return text;
}

/// The group of a row, which must be of this format.
inline Group read(const std::string& format, const char* row) {
  const auto value = nlohmann::json::parse(row);
  const Format* found = detect_format(value);
  EXPECT_NE(found, nullptr) << row;
  if (found == nullptr) return {};
  EXPECT_EQ(found->name, format) << row;
  return found->parse(value);
}

/// "prompt -> response | response" of a row as the reader sees it; the code of its refusal otherwise.
inline std::string read(const nlohmann::json& row) {
  try {
    const nlohmann::json unpacked = parse_row(row.dump());
    const Format* format = detect_format(unpacked);
    if (format == nullptr) return "no format";
    const Group group = parse_group(*format, unpacked);
    std::string text;
    for (const Message& m : group.prompt) text += m.role + ": " + m.content + " ";
    text += "->";
    for (const Response& r : group.responses) text += " " + r.text + " |";
    return text;
  } catch (const RowError& e) {
    return std::string(e.bad() ? "bad " : "dropped ") + e.code().text();
  }
}

}  // namespace dmoerm::preference::test
