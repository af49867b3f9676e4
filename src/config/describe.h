// What the parts of the table of configuration keys share (config/fields.h, config/label_fields.h).
#pragma once
#include <concepts>
#include <string>
#include <type_traits>
#include <vector>

#include "config/affects.h"
#include "config/rule.h"
#include "config/run_config.h"

namespace dmoerm::config {

/// What a section affects: see its keys.
inline constexpr Affects kByKey = Affects::groups | Affects::tokens | Affects::labels | Affects::result;

/// A section that a visitor may change or only look at.
template <class T, class Section>
concept Like = std::same_as<std::remove_const_t<T>, Section>;

template <class T>
inline constexpr bool is_list = false;
template <class T>
inline constexpr bool is_list<std::vector<T>> = true;
/// A struct with keys of its own.
template <class T>
inline constexpr bool is_section =
    std::is_class_v<T> && !std::same_as<T, std::string> && !std::same_as<T, ScoreGap> && !is_list<T>;
/// A list of single values.
template <class T>
inline constexpr bool is_value_list = false;
template <class T>
inline constexpr bool is_value_list<std::vector<T>> = !is_section<T>;

}  // namespace dmoerm::config
