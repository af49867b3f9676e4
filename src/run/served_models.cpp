#include "run/served_models.h"

#include "base/files.h"

namespace dmoerm::run {

namespace fs = std::filesystem;
using nlohmann::json;

std::vector<std::string> models_in(const fs::path& report, const std::string& judge) {
  const json last = fs::exists(report) ? json::parse(read_file(report), nullptr, false) : json();
  std::vector<std::string> names;
  if (!last.is_object() || !last.contains("served_models") || !last["served_models"].is_object()) return names;
  for (const json& name : last["served_models"].value(judge, json::array())) {
    if (name.is_string()) names.push_back(name.get<std::string>());
  }
  return names;
}

json models_after(const fs::path& report, const std::vector<judge::Judge>& judges,
                  const std::vector<label::JudgeWatch>& watches) {
  json all = json::object();
  for (std::size_t i = 0; i < judges.size(); ++i) {
    const std::string& judge = judges[i].config.model;
    std::vector<std::string> names = models_in(report, judge);
    for (std::size_t j = 0; i < watches.size() && j < watches[i].models().size(); ++j) {
      std::erase(names, watches[i].models()[j]);
      names.push_back(watches[i].models()[j]);  // the latest last
    }
    if (!names.empty()) all[judge] = names;
  }
  return all;
}

}  // namespace dmoerm::run
