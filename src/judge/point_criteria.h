// The criterion of each capability point, in the words that the judge is given: a YAML file in configs/judge.
#pragma once
#include <filesystem>
#include <map>
#include <string>

namespace dmoerm::judge {

class PointCriteria {
 public:
  /// Read criteria. @throws IoError, or ConfigError that lists every problem as file:line:column
  static PointCriteria load(const std::filesystem::path& path);
  /// Read criteria from text. @param file  name of its file, for messages
  static PointCriteria parse(const std::string& text, const std::string& file);

  [[nodiscard]] const std::string& language() const { return language_; }
  /// The criterion of a point. @throws ConfigError for an unknown category or point; the message has the nearest known name and
  /// says how to add one
  [[nodiscard]] const std::string& find(const std::string& category, const std::string& point) const;
  /// category -> point -> criterion
  [[nodiscard]] const std::map<std::string, std::map<std::string, std::string>>& all() const { return criteria_; }

 private:
  std::string file_, language_;
  std::map<std::string, std::map<std::string, std::string>> criteria_;
};

}  // namespace dmoerm::judge
