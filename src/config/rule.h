// What a configuration key's value must be, which the table of keys states for each.
#pragma once
#include <limits>
#include <string>
#include <vector>

#include "config/words.h"

namespace dmoerm::config {

/// What a value must be beyond its type.
struct Rule {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_excluded = false;
  bool max_excluded = false;
  std::vector<std::string> words = {};  ///< the only ones allowed; empty = any text
  bool or_file = false;                 ///< A file may be given instead of a word, see names_file(); then as is_path
  bool required = false;                ///< must be given and must not be empty
  bool is_path = false;                 ///< relative to the configuration file's directory
  bool from_cwd = false;                ///< a path relative to the current directory
  bool is_name = false;                 ///< becomes a directory's name: [A-Za-z0-9_.-], no leading dot or dash
};

inline Rule any() { return {}; }
inline Rule at_least(double min) { return {.min = min}; }
inline Rule above(double min) { return {.min = min, .min_excluded = true}; }
inline Rule between(double min, double max) { return {.min = min, .max = max}; }
/// 0 <= x < 1
inline Rule share() { return {.min = 0, .max = 1, .max_excluded = true}; }
/// The words of a setting's type.
template <WordSetting E>
Rule one_of(const E&) {
  return {.words = words<E>()};
}
/// At least one of the words of an element's type.
template <WordSetting E>
Rule some_of(const std::vector<E>&) {
  return {.words = words<E>(), .required = true};
}
/// One of the words, or a file.
inline Rule one_of_or_file(std::vector<std::string> words) { return {.words = std::move(words), .or_file = true}; }
inline Rule required() { return {.required = true}; }
inline Rule optional_path() { return {.is_path = true}; }
inline Rule required_path() { return {.required = true, .is_path = true}; }
inline Rule required_place() { return {.required = true, .from_cwd = true}; }
inline Rule required_name() { return {.required = true, .is_name = true}; }

}  // namespace dmoerm::config
