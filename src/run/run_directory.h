// A run is a directory: one folder a task, finished when its manifest is there and fits.
#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace dmoerm::run {

/// Version of what identities hold. 2: settings by stage and under their new names.
inline constexpr int kIdentitySchema = 2;

/// What decides a task's result: its own settings, and its inputs by key.
struct TaskIdentity {
  nlohmann::json settings;                    ///< everything of the configuration and data that it reads
  std::map<std::string, std::string> inputs;  ///< task id -> key of that task
  /// Hash over both: equal identities give equal bits.
  [[nodiscard]] std::string key() const;
};

/// Why a finished or begun task does not fit any more.
struct TaskChange {
  std::string task;
  std::vector<std::string> differences;  ///< "settings.lr: 0.001 -> 0.002"; empty if only inputs changed
};

class RunDirectory {
 public:
  explicit RunDirectory(std::filesystem::path root) : root_(std::move(root)) {}

  [[nodiscard]] const std::filesystem::path& root() const { return root_; }
  [[nodiscard]] std::filesystem::path task(const std::string& id) const { return root_ / id; }

  /// True if the task's manifest has this identity and all outputs have their checksums. A damaged output counts as not done,
  /// with a warning.
  [[nodiscard]] bool done(const std::string& id, const TaskIdentity& identity) const;
  /// If a manifest of another identity is there, or a checkpoint of an unfinished task: what differs.
  [[nodiscard]] std::optional<TaskChange> change(const std::string& id, const TaskIdentity& identity) const;
  /// Write the manifest, last of all files: the task is done. @param outputs  paths relative to the task's folder
  void complete(const std::string& id, const TaskIdentity& identity, const std::vector<std::string>& outputs,
                const nlohmann::json& metrics) const;
  /// Metrics of a finished task.
  [[nodiscard]] nlohmann::json metrics(const std::string& id) const;
  /// Remove a task's folder.
  void forget(const std::string& id) const;

 private:
  std::filesystem::path root_;
};

}  // namespace dmoerm::run
