#include "run/task_settings.h"

#include <fmt/format.h>

namespace dmoerm::run {

nlohmann::json all_categories(const config::RunConfig& config) {
  nlohmann::json all = nlohmann::json::array();
  for (const config::CategoryConfig& c : config.categories) all.push_back(result_settings(c));
  return all;
}

void drop_defaults(nlohmann::json& settings, const nlohmann::json& defaults, std::initializer_list<const char*> later) {
  for (const char* key : later) {
    if (settings.at(key) == defaults.at(key)) settings.erase(key);
  }
}

nlohmann::json training_settings(const config::TrainConfig& train) {
  nlohmann::json settings = result_settings(train);
  drop_defaults(settings, result_settings(config::TrainConfig{}), {"select_by", "soft_gaps", "ties", "average_decay"});
  return settings;
}

nlohmann::json head_settings(const config::RunConfig& config) {
  nlohmann::json head = result_settings(config.head);
  drop_defaults(head, result_settings(config::HeadConfig{}), {"reads", "start"});
  return head.empty() ? head : nlohmann::json{{"head", head}};
}

std::map<std::string, HashedContent> contents_of_inputs(const config::RunConfig& config) {
  std::map<std::string, HashedContent> contents;
  for (std::size_t i = 0; i < config.data.inputs.size(); ++i)
    contents[fmt::format("data.inputs.{}.sha256", i)] = {fmt::format("content of data.inputs.{}", i), config.data.inputs[i].path};
  return contents;
}

nlohmann::json phase1_settings(const config::RunConfig& config, std::int32_t fold) {
  if (config.folds == 0) return {{"phase1_share", config.phase1_share}};
  return fold > 0 ? nlohmann::json{{"folds", config.folds}} : nlohmann::json{{"phase1", "all train groups"}};
}

}  // namespace dmoerm::run
