// What each capability point means, in the words the judge gets: YAML in configs/judge.
#pragma once
#include <filesystem>
#include <map>
#include <string>

namespace dmoerm::judge {

class PointCriteria {
 public:
  /// @throws IoError, or ConfigError with everything that is wrong, each as file:line:column
  static PointCriteria load(const std::filesystem::path& path);
  /// The same of the file's text. @param file  its name in messages
  static PointCriteria parse(const std::string& text, const std::string& file);

  [[nodiscard]] const std::string& language() const { return language_; }
  /// The criterion of a point. @throws ConfigError for an unknown category or point: the nearest name that is known, and how to
  /// add one
  [[nodiscard]] const std::string& find(const std::string& category, const std::string& point) const;
  /// category -> point -> criterion
  [[nodiscard]] const std::map<std::string, std::map<std::string, std::string>>& all() const { return criteria_; }

 private:
  std::string file_, language_;
  std::map<std::string, std::map<std::string, std::string>> criteria_;
};

}  // namespace dmoerm::judge
