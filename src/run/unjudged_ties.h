// The ties that `ties: judged` leaves out. An identity tells judged from all only where there are some, as otherwise both train
// the same.
#pragma once
#include <map>
#include <string>
#include <utility>

#include "config/run_config.h"
#include "data/token_store.h"
#include "plan/task_id.h"

namespace dmoerm::run {

class UnjudgedTies {
 public:
  UnjudgedTies(const config::RunConfig& config, const data::TokenStore& store) : config_(config), store_(store) {}
  /// Whether a training leaves out ties that the train split has under one of its labels. @param task  one of phase 1 or 2
  bool left_out(const plan::TaskId& task);

 private:
  bool left_out_of_experts(const plan::TaskId& task);
  bool left_out_of_model(const plan::TaskId& task);
  /// @param category  "" for all
  bool has(const std::string& category, const std::string& label);

  const config::RunConfig& config_;
  const data::TokenStore& store_;
  std::map<std::pair<std::string, std::string>, bool> known_;  ///< Category and label
};

}  // namespace dmoerm::run
