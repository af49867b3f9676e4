#include "report/run_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>

#include "config/renamed_keys.h"
#include "config/tree.h"
#include "config/values.h"
#include "plan/task_id.h"

namespace dmoerm::report {
namespace {

using config::Tree;
using nlohmann::json;
using Values = std::map<std::string, std::string>;

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

/// The one spelling of a value that the configuration takes in several: 0.0001 for 1e-4, 1 for 1.0.
std::string spelling(const Tree& scalar) {
  double number = 0;
  const bool fraction = scalar.text.find_first_of(".eE") != std::string::npos;  // a whole number may not fit a double
  return fraction && config::read_value(scalar, number).empty() ? config::write_value(number) : scalar.text;
}

/// What people call the elements of a list: the values of a key that all have, each another one.
struct Names {
  std::string key;  ///< "" if there is no such key
  std::vector<std::string> names;
};

Names names_of(const Tree& list) {
  for (const char* key : {"name", "point", "model"}) {
    std::vector<std::string> names;
    for (const Tree& item : list.items) {
      const Tree::Entry* entry = item.kind == Tree::Kind::map ? item.find(key) : nullptr;
      if (entry != nullptr && !entry->value.text.empty()) names.push_back(entry->value.text);
    }
    if (names.size() == list.items.size() && std::set(names.begin(), names.end()).size() == names.size()) return {key, names};
  }
  return {};
}

class Flattening {
 public:
  explicit Flattening(Values& values) : values_(values) {}

  /// @param left_out  a key of a map that stands in `key` already
  void add(const Tree& tree, const std::string& key, const std::string& left_out = "") {
    if (tree.kind == Tree::Kind::map) {
      for (const Tree::Entry& entry : tree.entries) {
        if (entry.key != left_out) add(entry.value, key.empty() ? entry.key : key + "." + entry.key);
      }
    } else if (tree.kind == Tree::Kind::list) {
      add_list(tree, key);
    } else {
      values_[key] = spelling(tree);
    }
  }

 private:
  void add_list(const Tree& list, const std::string& key) {
    if (list.items.empty()) return;
    if (std::ranges::all_of(list.items, [](const Tree& item) { return item.kind == Tree::Kind::scalar; })) {
      std::vector<std::string> words;
      for (const Tree& item : list.items) words.push_back(spelling(item));
      values_[key] = joined(words);
      return;
    }
    const auto [named_by, names] = names_of(list);
    if (!names.empty()) values_[key] = joined(names);
    for (std::size_t i = 0; i < list.items.size(); ++i)
      add(list.items[i], fmt::format("{}.{}", key, names.empty() ? std::to_string(i) : names[i]), named_by);
  }

  Values& values_;
};

/// A checksum as a table has room for it; another text as it is.
std::string shown(const std::string& text) {
  constexpr std::size_t kSha256 = 64, kShown = 12;
  const bool hash = text.size() == kSha256 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
  return hash ? "SHA-256 " + text.substr(0, kShown) : text;
}

/// Adds what a JSON object has under a key, if it is a text.
void add(Values& contents, const std::string& title, const json& from, const char* key) {
  const std::string text = from.is_object() && from.contains(key) && from[key].is_string() ? from[key].get<std::string>() : "";
  if (!text.empty()) contents[title] = shown(text);
}

void add_imported(Values& contents, const json& imported) {
  for (const auto& [expert, digest] : imported.items()) {
    const std::size_t slash = expert.find('/');
    if (slash == std::string::npos || !digest.is_string()) continue;
    contents[fmt::format("categories.{}.imported_experts.{}.dir (content)", expert.substr(0, slash), expert.substr(slash + 1))] =
        shown(digest.get<std::string>());
  }
}

void add_ingested(Values& contents, const json& ingest) {
  add(contents, "backbone.dir (tokenizer)", ingest, "tokenizer");
  add(contents, "backbone.chat_template (content)", ingest, "template");
  const json inputs = ingest.value("data", json::object()).value("inputs", json::array());
  for (std::size_t i = 0; i < inputs.size(); ++i) add(contents, content_of_input(i), inputs[i], "sha256");
}

/// What judges were asked with. The first round stands for all.
void add_labelled(Values& contents, const json& external) {
  for (const auto& [task, settings] : external.items()) {
    const auto id = plan::TaskId::parse(task);
    if (!id || id->kind != plan::TaskKind::label || id->points.empty()) continue;
    add(contents, "labels.prompt (content)", settings, "prompt");
    add(contents, "labels.pairs.bundle (content)", settings, "bundle");
    add(contents, fmt::format("labels.points_file ({} of {})", id->points.front(), id->category), settings, "criterion");
  }
}

}  // namespace

std::string content_of_input(std::size_t input) { return fmt::format("data.inputs.{}.path (content)", input); }

Values settings_of(const Run& run) {
  Values values;
  config::Problems problems("config.yaml", {});
  std::optional<Tree> tree = config::parse_tree(run.config, 0, problems);
  if (!tree) return values;
  std::vector<std::string> renamed;
  config::rename_old_keys(*tree, problems, renamed);  // as a run of an earlier version wrote them
  Flattening(values).add(*tree, "");
  return values;
}

Values contents_of(const Run& run) {
  Values contents;
  const json on = read_part(run.folder / "computed_on.json", "").value,
             external = read_part(run.folder / "external.json", "").value;
  try {
    add(contents, kBackboneContent, on, "backbone");
    add(contents, "compute.device (used)", on, "device");
    if (on.is_object() && on.contains("imported")) add_imported(contents, on["imported"]);
    if (external.is_object() && external.contains("ingest")) add_ingested(contents, external["ingest"]);
    if (external.is_object()) add_labelled(contents, external);
  } catch (const json::exception&) {  // of another version, or damaged: what was read before counts
  }
  return contents;
}

}  // namespace dmoerm::report
