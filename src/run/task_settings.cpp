#include "run/task_settings.h"

namespace dmoerm::run {

nlohmann::json all_categories(const config::RunConfig& config) {
  nlohmann::json all = nlohmann::json::array();
  for (const config::CategoryConfig& c : config.categories) all.push_back(result_settings(c));
  return all;
}

}  // namespace dmoerm::run
