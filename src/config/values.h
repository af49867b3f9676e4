// Single values between text and C++: stricter than YAML, so that what was typed is what is meant.
#pragma once
#include <cstdint>
#include <string>

#include "config/fields.h"
#include "config/tree.h"

namespace dmoerm::config {

/// Read a scalar. Texts get `${NAME}`, `${NAME:-default}` (environment) and `$${` (a literal `${`) replaced. Returns what is
/// wrong, or "".
std::string read_value(const Tree& tree, bool& value);
std::string read_value(const Tree& tree, std::int64_t& value);
std::string read_value(const Tree& tree, std::uint64_t& value);
std::string read_value(const Tree& tree, double& value);
std::string read_value(const Tree& tree, std::string& value);

/// The YAML form that read_value() reads back as the same value: shortest exact numbers, quotes where needed.
std::string write_value(bool value);
std::string write_value(std::int64_t value);
std::string write_value(std::uint64_t value);
std::string write_value(double value);
std::string write_value(const std::string& value);
std::string write_value(const ScoreGap& value);
template <WordSetting E>
std::string write_value(E value) {
  return write_value(word(value));
}

/// What is wrong with a value of the right type, or "".
std::string check_range(double value, const Rule& rule);
std::string check_text(const std::string& value, const Rule& rule);
/// Whether a value of a key that takes words or a file means a file: it ends in .json or has a slash.
bool names_file(const std::string& value);
/// The rule in words: "> 0", "0 <= x < 1", "linear, cosine"; "" if any value goes.
std::string describe_range(const Rule& rule);

template <class T>
std::string type_name() {
  if constexpr (std::same_as<T, bool>)
    return "true or false";
  else if constexpr (std::same_as<T, double>)
    return "number";
  else if constexpr (std::integral<T>)
    return "whole number";
  else if constexpr (std::same_as<T, ScoreGap>)
    return "number, or numbers by label";
  else if constexpr (WordSetting<T>)
    return "word";
  else
    return "text";
}

}  // namespace dmoerm::config
