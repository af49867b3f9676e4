#include "config/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "base/dangling_link.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "config/checks.h"
#include "config/defaults.h"
#include "config/fields.h"
#include "config/idle_settings.h"
#include "config/nearest.h"
#include "config/odd_characters.h"
#include "config/overrides.h"
#include "config/renamed_keys.h"
#include "config/values.h"
#include "config/writer.h"

namespace dmoerm::config {
namespace {

/// What all sections of one document share.
struct Document {
  Problems& problems;
  std::map<std::string, Position>& where;  ///< dotted key -> place of its value
  std::string directory;
};

std::string join(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

/// What a text that stands where keys were expected lacks: " (a blank is missing behind the colon)".
std::string key_meant(const std::string& text) {
  if (std::string odd = odd_character(text); !odd.empty()) return odd;
  const std::size_t end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_");
  if (end == std::string::npos || end == 0) return "";
  if (text[end] == ':' && end + 1 < text.size() && text[end + 1] != '/') return " (a blank is missing behind the colon)";
  return text[end] == ' ' || text[end] == '=' ? " (a colon is missing)" : "";
}

/// What this program calls a setting of other programs; "" if the key is none.
std::string usual_name(const std::string& key) {
  constexpr auto kNames = std::to_array<std::pair<std::string_view, const char*>>({{"learning_rate", "lr"},
                                                                                   {"num_train_epochs", "epochs_max"},
                                                                                   {"num_epochs", "epochs_max"},
                                                                                   {"epochs", "epochs_max"},
                                                                                   {"max_steps", "steps_max"},
                                                                                   {"max_seq_length", "max_length"},
                                                                                   {"max_seq_len", "max_length"},
                                                                                   {"cutoff_len", "max_length"},
                                                                                   {"lora_r", "lora_rank"},
                                                                                   {"batch_size", "groups_per_step"},
                                                                                   {"train_batch_size", "groups_per_step"},
                                                                                   {"lr_scheduler_type", "schedule"},
                                                                                   {"early_stopping_patience", "patience"},
                                                                                   {"eval_steps", "eval_every_steps"},
                                                                                   {"model_name_or_path", "backbone.dir"},
                                                                                   {"model_path", "backbone.dir"},
                                                                                   {"output_dir", "runs_dir"}});
  const auto* found = std::ranges::find(kNames, key, &std::pair<std::string_view, const char*>::first);
  return found == kNames.end() ? "" : found->second;
}

/// Whether `other` has the words of `key`, in their order: request_timeout_s those of timeout_s.
bool has_words_of(std::string_view other, std::string_view key) {
  return fmt::format("_{}_", other).find(fmt::format("_{}_", key)) != std::string::npos;
}

/// "expected a list ..., found ...", with how to write it.
template <class Element>
std::string expected_list(const Tree& tree) {
  std::string found = "keys with values: write \"- \" before the first of them";
  if (tree.kind == Tree::Kind::scalar && tree.text.find('\n') != std::string::npos) {
    found = "several lines of text: write \"- \" before each";
  } else if (tree.kind == Tree::Kind::scalar) {
    found = fmt::format("\"{}\"{}", tree.text, odd_character(tree.text));
    if constexpr (!is_section<Element>) found += fmt::format(": write [{}]", tree.text);
  }
  return fmt::format("expected a list ([a, b], or one \"- \" line for each element), found {}", found);
}

/// Reads the keys of one map into one struct.
class SectionReader {
 public:
  SectionReader(Document& document, const Tree& map, std::string path) : document_(document), map_(map), path_(std::move(path)) {}

  template <class T>
  void operator()(std::string_view name, T& value, const Rule& rule, Affects, std::string_view meaning) {
    keys_.emplace_back(name);
    const Tree::Entry* entry = map_.find(keys_.back());
    const std::string key = join(path_, name);
    if (entry != nullptr) {
      document_.where[key] = entry->value.where;
      read(key, entry->value, value, rule);
    } else if constexpr (is_section<T>) {
      Tree nothing;
      nothing.where = map_.where;
      read(key, nothing, value, rule);  // says which of its keys are missing
    } else if constexpr (requires { value.empty(); }) {
      if (rule.required && value.empty())
        document_.problems.add(map_.where, "missing-key", fmt::format("{}: is missing. {}", key, meaning));
    }
  }

  /// After all known keys: what else the map holds.
  void refuse_other_keys() {
    std::map<std::string, Position> seen;
    for (const Tree::Entry& entry : map_.entries) {
      const std::string key = join(path_, entry.key);
      if (const auto [first, is_new] = seen.emplace(entry.key, entry.where); !is_new) {
        document_.problems.add(entry.where, "key-given-twice",
                               fmt::format("{}: given twice, first at {}", key, document_.problems.place(first->second)));
      } else if (std::find(keys_.begin(), keys_.end(), entry.key) == keys_.end()) {
        document_.problems.add(entry.where, "unknown-key",
                               fmt::format("{}: unknown key{}{}", key, odd_character(entry.key), advice(entry.key)));
      }
    }
  }

 private:
  template <class T>
  void read(const std::string& key, const Tree& tree, T& value, const Rule& rule) {
    if constexpr (is_section<T>) {
      read_section(document_, tree, key, value);
    } else if constexpr (is_list<T>) {
      if (tree.kind != Tree::Kind::list && tree.kind != Tree::Kind::null)
        return problem(tree, key, "wrong-kind-of-value", expected_list<typename T::value_type>(tree));
      value.clear();
      for (std::size_t i = 0; i < tree.items.size(); ++i) {
        const std::string element_key = fmt::format("{}.{}", key, i);
        document_.where[element_key] = tree.items[i].where;
        typename T::value_type element{};
        read(element_key, tree.items[i], element, rule);
        value.push_back(std::move(element));
      }
      if (rule.required && value.empty()) problem(tree, key, "empty-list", "must have at least one element");
    } else if constexpr (std::same_as<T, ScoreGap>) {
      read_gap(key, tree, value, rule);
    } else if constexpr (WordSetting<T>) {
      std::string text;
      std::string wrong = read_value(tree, text);
      if (wrong.empty()) wrong = check_text(text, rule);
      if (!wrong.empty()) return problem(tree, key, "invalid-value", wrong);
      value = from_word<T>(text).value_or(value);
    } else {
      [[maybe_unused]] const T initial = value;
      std::string wrong = read_value(tree, value);
      if constexpr (std::same_as<T, std::string>) {
        if (wrong.empty()) wrong = check_text(value, rule);
        if (!wrong.empty() && rule.is_name && !value.empty() && key.starts_with("categories.")) wrong += in_the_data(key, value);
        const bool is_path = rule.is_path || (rule.or_file && names_file(value));
        if (wrong.empty() && is_path && !value.empty()) value = absolute(value);
      } else if constexpr (!std::same_as<T, bool>) {
        if (wrong.empty()) wrong = check_range(static_cast<double>(value), rule);
        if (!wrong.empty()) value = initial;  // so that checks between keys do not complain a second time
      }
      if (!wrong.empty()) problem(tree, key, "invalid-value", wrong);
    }
  }

  void read_gap(const std::string& key, const Tree& tree, ScoreGap& value, const Rule& rule) {
    value = {};
    if (tree.kind != Tree::Kind::map) return read(key, tree, value.of_all, rule);
    for (const Tree::Entry& entry : tree.entries) {
      const std::string of_label = join(key, entry.key);
      document_.where[of_label] = entry.value.where;
      const auto [gap, is_new] = value.by_label.try_emplace(entry.key, 0);
      if (!is_new) document_.problems.add(entry.where, "key-given-twice", of_label + ": given twice");
      read(of_label, entry.value, gap->second, rule);
    }
  }

  /// How the data are brought to spell a name as the configuration must.
  static std::string in_the_data(const std::string& key, const std::string& name) {
    const std::string need = "; the rows of the data must spell it so, too";
    if (!key.ends_with(".name") || name.find_first_of("'\"\\") != std::string::npos) return need;
    return fmt::format("{}: jq -c '(.category | select(. == \"{}\")) = \"NEW_NAME\"' FILE", need, name);
  }

  void problem(const Tree& tree, const std::string& key, ErrorCode code, const std::string& message) {
    document_.problems.add(tree.where, code, key + ": " + message);
  }

  [[nodiscard]] std::string absolute(const std::string& path) const {
    return std::filesystem::absolute(std::filesystem::path(document_.directory) / path).lexically_normal().string();
  }

  /// The keys of this section, or else of the sections inside it, that have the words of `key`.
  [[nodiscard]] std::vector<std::string> keys_around(const std::string& key, const std::vector<std::string>& all) const {
    std::vector<std::string> found;
    if (path_.empty()) return found;  // every section is inside the whole
    std::ranges::copy_if(keys_, std::back_inserter(found), [&](const std::string& own) { return has_words_of(own, key); });
    if (!found.empty()) return found;
    const std::string section = without_numbers(path_) + ".";
    std::ranges::copy_if(all, std::back_inserter(found), [&](const std::string& other) {
      return other.starts_with(section) && has_words_of(std::string_view(other).substr(other.rfind('.') + 1), key);
    });
    return found;
  }

  /// The nearest key of this section, else one of it or of a section inside it with the same words, else the same key of another
  /// section, else all keys of this one.
  [[nodiscard]] std::string advice(const std::string& key) const {
    const std::string usual = usual_name(key);
    if (std::ranges::find(keys_, usual) != keys_.end()) return fmt::format(", did you mean {}?", usual);
    if (const auto near = nearest(key, keys_)) return fmt::format(", did you mean {}?", *near);
    static const std::vector<std::string> kAll = all_keys();
    std::vector<std::string> others = keys_around(usual.empty() ? key : usual, kAll);
    if (!others.empty()) return fmt::format(", did you mean {}?", fmt::join(others, " or "));
    for (const std::string& other : kAll) {
      if (!usual.empty() && (other == usual || other.ends_with("." + usual))) others.push_back(other);
    }
    for (const std::string& other : kAll) {
      if (other.ends_with("." + key)) others.push_back(other);
    }
    for (const RenamedKey& renamed : kRenamedKeys) {
      if (renamed.old_key.ends_with("." + key)) others.emplace_back(renamed.new_key);
    }
    const auto flat_equal = [](char a, char b) { return a == b || (a == '_' && b == '.'); };
    for (const std::string& other : kAll) {
      if (std::ranges::equal(key, other, flat_equal)) others.push_back(other);
    }
    if (!others.empty()) return fmt::format(", did you mean {}?", fmt::join(others, " or "));
    if (std::string meant = key_meant(key); !meant.empty() && odd_character(key).empty()) return meant;
    return fmt::format("; known here: {}", fmt::join(keys_, ", "));
  }

  template <class T>
  friend void read_section(Document& document, const Tree& tree, const std::string& path, T& value);

  Document& document_;
  const Tree& map_;
  std::string path_;
  std::vector<std::string> keys_;
};

template <class T>
void read_section(Document& document, const Tree& tree, const std::string& path, T& value) {
  if (tree.kind != Tree::Kind::map && tree.kind != Tree::Kind::null) {
    const std::string found = tree.kind == Tree::Kind::list ? "a list" : "\"" + tree.text + "\"" + key_meant(tree.text);
    document.problems.add(
        tree.where, "wrong-kind-of-value",
        fmt::format("{}{}expected keys with values (key: value), found {}", path, path.empty() ? "" : ": ", found));
    return;
  }
  SectionReader reader(document, tree, path);
  describe(reader, value);
  reader.refuse_other_keys();
}

/// Whether the base is an adapter.
bool has_adapters(const Tree& root) {
  const Tree::Entry* base = root.find("base");
  const Tree::Entry* tuning = base != nullptr && base->value.kind == Tree::Kind::map ? base->value.find("tuning") : nullptr;
  return tuning != nullptr && from_word<Tuning>(tuning->value.text) == Tuning::lora;
}

}  // namespace

RunConfig parse_run_config(const std::string& text, const std::string& file, const std::string& directory,
                           const std::vector<std::string>& overrides, std::vector<std::string>* warnings) {
  Problems problems(file, overrides);
  std::vector<std::string> said;
  std::optional<Tree> root = parse_tree(text, 0, problems);
  if (root && root->kind == Tree::Kind::null) {
    problems.add({}, "empty-configuration", "the file is empty; it needs at least backbone.dir, data.inputs and categories");
  }
  problems.throw_if_any();  // nothing below would be right
  rename_old_keys(*root, problems, said);
  if (root->kind == Tree::Kind::map) {
    for (std::size_t i = 0; i < overrides.size(); ++i)
      apply_override(*root, overrides[i], static_cast<int>(i) + 1, problems, said);
    rename_old_keys(*root, problems, said);  // inside the overrides' values
  }
  RunConfig config;
  if (root->kind == Tree::Kind::map) {
    const Tree::Entry* method = root->find("method");
    if (method != nullptr && from_word<Method>(method->value.text) == Method::paper) take_defaults_of_paper(config);
    if (has_adapters(*root)) take_defaults_of_adapters(config, root->find("phase1_share") != nullptr);
  }
  std::map<std::string, Position> where;
  Document document{problems, where, directory};
  read_section(document, *root, "", config);
  if (root->kind == Tree::Kind::map) check_together(config, where, problems);
  problems.throw_if_any();
  std::ranges::move(settings_without_effect(config, where, problems), std::back_inserter(said));
  if (warnings == nullptr) {
    for (const std::string& warning : said) spdlog::warn("[config] {}", warning);
  } else {
    *warnings = std::move(said);
  }
  return config;
}

RunConfig read_run_config(const std::string& path, const std::vector<std::string>& overrides,
                          std::vector<std::string>* warnings) {
  const std::filesystem::path file(path);
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored))
    throw ConfigError("is-a-directory", path + ": is a directory, not a configuration file");
  if (!std::filesystem::exists(file, ignored))
    throw ConfigError("no-such-configuration", path + ": this configuration file does not exist" + dangling_link(file));
  return parse_run_config(read_file(file), path, file.parent_path().string(), overrides, warnings);
}

}  // namespace dmoerm::config
