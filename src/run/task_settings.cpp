#include "run/task_settings.h"

#include <nlohmann/json.hpp>

namespace dmoerm::run {

using nlohmann::json;

json train_settings(const config::TrainConfig& t) {
  return {{"trains", t.trains},
          {"lr", t.lr},
          {"beta1", t.beta1},
          {"beta2", t.beta2},
          {"eps", t.eps},
          {"weight_decay", t.weight_decay},
          {"clip_norm", t.clip_norm},
          {"schedule", t.schedule},
          {"warmup_steps", t.warmup_steps},
          {"epochs_max", t.epochs_max},
          {"steps_max", t.steps_max},
          {"groups_per_step", t.groups_per_step},
          {"eval_every_steps", t.eval_every_steps},
          {"patience", t.patience},
          {"eval_groups_max", t.eval_groups_max},
          {"reward_centring", t.reward_centring},
          {"lora_rank", t.lora_rank},
          {"lora_alpha", t.lora_alpha},
          {"lora_dropout", t.lora_dropout},
          {"lora_layers", t.lora_layers}};
}

json category_settings(const config::CategoryConfig& c) {
  return {{"name", c.name}, {"points", c.points}, {"clear_margin", c.clear_margin}};
}

json all_categories(const config::RunConfig& config) {
  json all = json::array();
  for (const config::CategoryConfig& c : config.categories) all.push_back(category_settings(c));
  return all;
}

}  // namespace dmoerm::run
