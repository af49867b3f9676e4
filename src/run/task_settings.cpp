#include "run/task_settings.h"

namespace dmoerm::run {

nlohmann::json all_categories(const config::RunConfig& config) {
  nlohmann::json all = nlohmann::json::array();
  for (const config::CategoryConfig& c : config.categories) all.push_back(result_settings(c));
  return all;
}

nlohmann::json training_settings(const config::TrainConfig& train) {
  nlohmann::json settings = result_settings(train);
  const nlohmann::json defaults = result_settings(config::TrainConfig{});
  for (const char* later : {"select_by", "soft_gaps", "ties"}) {
    if (settings.at(later) == defaults.at(later)) settings.erase(later);
  }
  return settings;
}

nlohmann::json head_settings(const config::RunConfig& config) {
  if (config.head.reads == config::HeadConfig{}.reads) return nlohmann::json::object();
  return {{"head", result_settings(config.head)}};
}

nlohmann::json phase1_settings(const config::RunConfig& config, std::int32_t fold) {
  if (config.folds == 0) return {{"phase1_share", config.phase1_share}};
  return fold > 0 ? nlohmann::json{{"folds", config.folds}} : nlohmann::json{{"phase1", "all train groups"}};
}

}  // namespace dmoerm::run
