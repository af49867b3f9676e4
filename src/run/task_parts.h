// Parts of a task's work that are kept while the task is under way, for tasks that do not train a reward model.
#pragma once
#include <chrono>
#include <filesystem>
#include <string>

#include "moe/fit_keeper.h"

namespace dmoerm::run {

/// Files `parts/NAME.safetensors` in a task's folder, each with the key of the task, so that a task with other settings does not
/// take them over. Only the first rank of the task's group uses it.
class TaskParts final : public moe::PartKeeper {
 public:
  static constexpr const char* kFolder = "parts";
  /// @param key  the task's
  TaskParts(const std::filesystem::path& task_folder, std::string key);

  std::optional<nn::NamedTensors> load(const std::string& name) override;
  void keep(const std::string& name, const nn::NamedTensors& tensors) override;
  bool stop() override;
  /// Whether it is time to keep what was done since the last part.
  [[nodiscard]] bool due() const;
  /// Remove all parts, after the task is complete.
  static void remove(const std::filesystem::path& task_folder);

 private:
  std::filesystem::path folder_;
  std::string key_;
  std::chrono::steady_clock::time_point kept_ = std::chrono::steady_clock::now();
};

}  // namespace dmoerm::run
