// What is said about a configuration: canonical YAML, flat list, difference, reference.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "config/flatten.h"
#include "config/values.h"

namespace dmoerm::config {
namespace {

std::string list_text(const std::vector<std::string>& values) {
  std::vector<std::string> written;
  for (const std::string& value : values) written.push_back(write_value(value));
  return fmt::format("[{}]", fmt::join(written, ", "));
}

struct YamlWriter {
  std::string text;
  std::string indent = "";
  bool first_of_element = false;  ///< its indentation was written with the list's dash

  template <class T>
  void operator()(std::string_view name, const T& value, const Rule&, std::string_view) {
    if (!first_of_element) text += indent;
    first_of_element = false;
    text += name;
    text += ':';
    if constexpr (is_section<T>) {
      text += '\n';
      section(value, "  ");
    } else if constexpr (std::same_as<T, std::vector<std::string>>) {
      text += ' ' + list_text(value) + '\n';
    } else if constexpr (is_list<T>) {
      text += value.empty() ? " []\n" : "\n";
      for (const auto& element : value) {
        text += indent + "  - ";
        first_of_element = true;
        section(element, "    ");
      }
    } else {
      text += ' ' + write_value(value) + '\n';
    }
  }

  template <class T>
  void section(const T& value, const char* deeper) {
    const std::string outer = indent;
    indent += deeper;
    describe(*this, value);
    indent = outer;
  }
};

struct Flattener {
  std::vector<FlatValue> values;
  std::string prefix = "";

  template <class T>
  void operator()(std::string_view name, const T& value, const Rule&, std::string_view) {
    const std::string key = prefix + std::string(name);
    if constexpr (is_section<T>) {
      section(key, value);
    } else if constexpr (std::same_as<T, std::vector<std::string>>) {
      values.emplace_back(key, list_text(value));
    } else if constexpr (is_list<T>) {
      for (std::size_t i = 0; i < value.size(); ++i) section(fmt::format("{}.{}", key, i), value[i]);
    } else {
      values.emplace_back(key, write_value(value));
    }
  }

  template <class T>
  void section(const std::string& key, const T& value) {
    const std::string outer = std::exchange(prefix, key + ".");
    describe(*this, value);
    prefix = outer;
  }
};

/// Visits defaults, and one element of each list.
struct ReferenceWriter {
  std::string text = "| key | type | default | range | meaning |\n|---|---|---|---|---|\n";
  std::vector<std::string> keys;
  std::string prefix = "";

  template <class T>
  void operator()(std::string_view name, const T& value, const Rule& rule, std::string_view meaning) {
    const std::string key = prefix + std::string(name);
    keys.push_back(key);
    if constexpr (is_section<T>) {
      row(key, "section", "", "", meaning);
      section(key + ".", value);
    } else if constexpr (std::same_as<T, std::vector<std::string>>) {
      row(key, "list of texts", rule.required ? "required" : "`[]`", describe_range(rule), meaning);
    } else if constexpr (is_list<T>) {
      row(key, "list of sections", rule.required ? "required" : "`[]`", describe_range(rule), meaning);
      section(key + "[].", typename T::value_type{});
    } else {
      const std::string written = write_value(value);
      row(key, type_name<T>(), rule.required && written == "\"\"" ? "required" : "`" + written + "`", describe_range(rule),
          meaning);
    }
  }

  template <class T>
  void section(const std::string& inner, const T& value) {
    const std::string outer = std::exchange(prefix, inner);
    describe(*this, value);
    prefix = outer;
  }

  void row(const std::string& key, const std::string& type, const std::string& initial, const std::string& range,
           std::string_view meaning) {
    std::string cell(meaning);
    for (std::size_t i = 0; (i = cell.find('|', i)) != std::string::npos; i += 2) cell.insert(i, 1, '\\');
    text += fmt::format("| `{}` | {} | {} | {} | {} |\n", key, type, initial, range, cell);
  }
};

}  // namespace

std::string to_yaml(const RunConfig& config) {
  YamlWriter writer;
  describe(writer, config);
  return writer.text;
}

std::vector<FlatValue> flatten(const RunConfig& config) {
  Flattener flattener;
  describe(flattener, config);
  return flattener.values;
}

std::vector<std::string> all_keys() {
  ReferenceWriter writer;
  const RunConfig defaults;
  describe(writer, defaults);
  for (std::string& key : writer.keys) {
    for (std::size_t i = 0; (i = key.find("[]")) != std::string::npos;) key.erase(i, 2);
  }
  return writer.keys;
}

std::string difference(const RunConfig& a, const RunConfig& b) {
  const std::vector<FlatValue> before = flatten(a);
  const std::vector<FlatValue> now = flatten(b);
  const std::map<std::string, std::string> old_values(before.begin(), before.end());
  const std::map<std::string, std::string> new_values(now.begin(), now.end());
  std::string text;
  const auto line = [&](const std::string& key, const std::string& old_value, const std::string& new_value) {
    text += fmt::format("{}{}: {} before, {} now", text.empty() ? "" : "\n", key, old_value, new_value);
  };
  for (const auto& [key, value] : before) {
    const auto found = new_values.find(key);
    if (found == new_values.end()) {
      line(key, value, "absent");
    } else if (found->second != value) {
      line(key, value, found->second);
    }
  }
  for (const auto& [key, value] : now) {
    if (!old_values.contains(key)) line(key, "absent", value);
  }
  return text;
}

std::string reference() {
  ReferenceWriter writer;
  const RunConfig defaults;
  describe(writer, defaults);
  return writer.text;
}

}  // namespace dmoerm::config
