// A run is a directory: one folder per task, which is done when its manifest is there and fits.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace dmoerm::run {

/// Version of what identities hold. 2: settings by stage and under their new names.
inline constexpr int kIdentitySchema = 2;

/// Everything that decides a task's result: its own settings, and its inputs by key.
struct TaskIdentity {
  nlohmann::json settings;                    ///< Everything of the configuration and data that it reads
  std::map<std::string, std::string> inputs;  ///< Key of each task that it reads from
  /// Hash over both: equal identities give equal bits.
  [[nodiscard]] std::string key() const;
};

/// Why a finished or begun task no longer fits.
struct TaskChange {
  std::string task;
  std::vector<std::string> differences;  ///< Settings that changed, "lr: 0.001 -> 0.002"; empty if only inputs did
};

class RunDirectory {
 public:
  /// Reads {"key", "settings"} of a task that was begun, from whatever it left in its folder; null if there is nothing.
  using BegunReader = std::function<nlohmann::json(const std::filesystem::path& folder)>;

  /// @param read_begun  may be empty: then only finished tasks can have changed
  explicit RunDirectory(std::filesystem::path root, BegunReader read_begun = {})
      : root_(std::move(root)), read_begun_(std::move(read_begun)) {}

  [[nodiscard]] const std::filesystem::path& root() const { return root_; }
  [[nodiscard]] std::filesystem::path task(const std::string& id) const { return root_ / id; }

  /// True if the task's manifest has this identity and all outputs have their checksums. A damaged output counts as not done,
  /// with a warning.
  [[nodiscard]] bool done(const std::string& id, const TaskIdentity& identity) const;
  /// What differs, if the task was finished or begun with another identity.
  [[nodiscard]] std::optional<TaskChange> change(const std::string& id, const TaskIdentity& identity) const;
  /// Write the manifest, last of all files: the task is done. @param outputs  paths relative to the task's folder
  void complete(const std::string& id, const TaskIdentity& identity, const std::vector<std::string>& outputs,
                const nlohmann::json& metrics) const;
  /// Outputs of some tasks may change although their settings do not: a label is asked again after an error. Such an identity has
  /// `settings.revision`, so that the tasks made of older outputs are known to be stale.
  /// @return `identity` with the revision that the directory has, if nothing else differs; else with revision 0
  [[nodiscard]] TaskIdentity with_revision(const std::string& id, TaskIdentity identity) const;
  /// complete() for such a task: counts its revision up if the same task was done before with other outputs.
  /// @return the identity that it was completed with
  TaskIdentity complete_revision(const std::string& id, TaskIdentity identity, const std::vector<std::string>& outputs,
                                 const nlohmann::json& metrics) const;
  /// Metrics of a finished task.
  [[nodiscard]] nlohmann::json metrics(const std::string& id) const;
  /// Make the task count as not begun: remove its folder, or of the bundle, which users may be reading, the manifest alone.
  void forget(const std::string& id) const;

 private:
  /// Lies in the task's folder. That of the bundle lies beside it: the bundle holds only what users take away.
  [[nodiscard]] std::filesystem::path manifest(const std::string& id) const;

  std::filesystem::path root_;
  BegunReader read_begun_;
};

}  // namespace dmoerm::run
