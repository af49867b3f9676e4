#include "judge/point_criteria.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "config/nearest.h"
#include "config/yaml_map.h"

namespace dmoerm::judge {
namespace {

template <class Value>
std::vector<std::string> keys_of(const std::map<std::string, Value>& map) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : map) keys.push_back(key);
  return keys;
}

/// "did you mean x?", or the known names.
std::string advice(const std::string& word, const std::vector<std::string>& known) {
  const auto close = config::nearest(word, known);
  return close ? fmt::format("did you mean {}?", *close) : fmt::format("known are {}.", fmt::join(known, ", "));
}

}  // namespace

PointCriteria PointCriteria::load(const std::filesystem::path& path) { return parse(read_file(path), path.string()); }

PointCriteria PointCriteria::parse(const std::string& text, const std::string& file) {
  config::Problems problems(file, {});
  const std::optional<config::Tree> tree = config::parse_tree(text, 0, problems);
  problems.throw_if_any();
  PointCriteria result;
  result.file_ = file;
  config::YamlMap root(*tree, "", {"language", "categories"}, problems);
  result.language_ = root.text("language");
  if (const config::Tree* categories = root.value("categories")) {
    const config::YamlMap map(*categories, "categories", {}, problems);
    for (const config::Tree::Entry* category : map.entries()) {
      const std::string name = "categories." + category->key;
      const config::YamlMap points(category->value, name, {}, problems);
      for (const config::Tree::Entry* point : points.entries()) {
        result.criteria_[category->key][point->key] = config::yaml_text(point->value, name + "." + point->key, problems);
      }
    }
    if (map.entries().empty() && categories->kind == config::Tree::Kind::map)
      problems.add(categories->where, "missing-key", "categories: expected at least one category");
  }
  problems.throw_if_any();
  return result;
}

const std::string& PointCriteria::find(const std::string& category, const std::string& point) const {
  const auto points = criteria_.find(category);
  if (points == criteria_.end()) {
    throw ConfigError(
        "unknown-criterion-category",
        fmt::format("{}: it has no category {}: {} To add one, copy the file, add a key below categories:, with a line \"point: "
                    "criterion\" for each of its capability points, and name the copy with labels.points_file",
                    file_, category, advice(category, keys_of(criteria_))));
  }
  const auto criterion = points->second.find(point);
  if (criterion == points->second.end()) {
    throw ConfigError(
        "unknown-criterion-point",
        fmt::format(
            "{}: category {} has no capability point {}: {} To add one, add a line \"{}: criterion\" below categories.{}, "
            "which says in one or two sentences what makes one response better than another",
            file_, category, point, advice(point, keys_of(points->second)), point, category));
  }
  return criterion->second;
}

}  // namespace dmoerm::judge
