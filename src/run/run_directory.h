// The directory of a run, with one folder per task. A task is done if its folder has a manifest with the task's identity.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/hash_cache.h"
#include "plan/task_id.h"

namespace dmoerm::run {

/// Version of the fields of identities. 2: settings by stage and under their new names.
inline constexpr int kIdentitySchema = 2;

/// What a hash among the settings of a task stands for, in words for people.
struct HashedContent {
  std::string title;  ///< "imported expert of tone in chat"
  std::string place;  ///< Its file, folder or name: "adapters/tone"
};

/// Everything that affects a task's result: its settings, and the keys of its inputs.
struct TaskIdentity {
  nlohmann::json settings;                    ///< Everything that it reads from the configuration and the data
  std::map<std::string, std::string> inputs;  ///< Key of each task that it reads from
  /// The settings that are hashes of contents, by their key: "imported.tone". Places are no part of the identity.
  std::map<std::string, HashedContent> contents = {};
  /// The tasks of the ranks whose results went into this one's, directly or through others. No part of the identity: done again,
  /// such a task may leave other bits.
  std::set<std::string> sources = {};
  /// Hash over both. Tasks with equal keys have the same bits.
  [[nodiscard]] std::string key() const;
};

/// Why a finished or begun task does not match the present configuration and data.
struct TaskChange {
  std::string task;
  /// Settings that changed, "lr: 0.001 -> 0.002", hashes with what they stand for; empty if only inputs did.
  std::vector<std::string> differences;
};

class RunDirectory {
 public:
  /// Reads {"key", "settings"} of a task that was begun from the files in its folder; null if there are none.
  using BegunReader = std::function<nlohmann::json(const std::filesystem::path& folder)>;

  /// @param read_begun  may be empty; then unfinished tasks do not count as changed
  explicit RunDirectory(std::filesystem::path root, BegunReader read_begun = {})
      : root_(std::move(root)), read_begun_(std::move(read_begun)), hashes_(std::make_shared<HashCache>(root_ / kHashes)) {}

  /// Hashes of files that did not change since they were hashed, in `hashes.json`.
  [[nodiscard]] HashCache& hashes() const { return *hashes_; }
  [[nodiscard]] const std::filesystem::path& root() const { return root_; }
  [[nodiscard]] std::filesystem::path task(const std::string& id) const { return root_ / id; }
  [[nodiscard]] std::filesystem::path task(const plan::TaskId& id) const { return task(id.text()); }

  /// Whether the task's manifest has this identity and all outputs match their checksums. Warns if the manifest
  /// or an output is damaged.
  [[nodiscard]] bool done(const std::string& id, const TaskIdentity& identity) const;
  [[nodiscard]] bool done(const plan::TaskId& id, const TaskIdentity& identity) const { return done(id.text(), identity); }
  /// done(), and known to be made of the results that its sources have now. Says nothing, and shares no cache with other threads.
  [[nodiscard]] bool still_done(const std::string& id, const TaskIdentity& identity) const;
  /// Read all outputs of a finished task again. @throws DataError naming the first that is not as the task left it; the next run
  /// does the task again then
  void expect_whole(const std::string& id) const;
  /// The differences, if the task was finished or begun with another identity.
  [[nodiscard]] std::optional<TaskChange> change(const std::string& id, const TaskIdentity& identity) const;
  /// The finished tasks, whatever their identity.
  [[nodiscard]] std::vector<plan::TaskId> finished() const;
  /// Write the manifest, last of all files: the task is done. @param outputs  paths relative to the task's folder
  void complete(const std::string& id, const TaskIdentity& identity, const std::vector<std::string>& outputs,
                const nlohmann::json& metrics) const;
  void complete(const plan::TaskId& id, const TaskIdentity& identity, const std::vector<std::string>& outputs,
                const nlohmann::json& metrics) const {
    complete(id.text(), identity, outputs, metrics);
  }
  /// The outputs of some tasks may change although their settings do not, such as labels that are asked for again after an error.
  /// Their identity has `settings.revision`, so that tasks that read older outputs count as changed.
  /// @return `identity` with the directory's revision if nothing else differs; else with revision 0
  [[nodiscard]] TaskIdentity with_revision(const std::string& id, TaskIdentity identity) const;
  /// complete() for such a task. Raises the revision if the same task was done before with other outputs.
  /// @return the identity in the new manifest
  TaskIdentity complete_revision(const std::string& id, TaskIdentity identity, const std::vector<std::string>& outputs,
                                 const nlohmann::json& metrics) const;
  /// Metrics of a finished task.
  [[nodiscard]] nlohmann::json metrics(const std::string& id) const;
  [[nodiscard]] nlohmann::json metrics(const plan::TaskId& id) const { return metrics(id.text()); }
  /// Make the task count as not begun: remove its folder. Of the bundle, which users may be reading, remove only the manifest.
  void forget(const std::string& id) const;

 private:
  /// Path of a task's manifest: in the task's folder, but beside the bundle, whose folder holds only files for users.
  [[nodiscard]] std::filesystem::path manifest(const std::string& id) const;
  /// The task's manifest; null if there is none, or only a damaged one.
  [[nodiscard]] nlohmann::json read_manifest(const std::string& id) const;
  /// What a task's manifest says of its results, as one checksum; "" if it is not done.
  [[nodiscard]] std::string results_sum(const std::string& id) const;
  /// The first output that is not as the manifest says; nothing if all are.
  [[nodiscard]] std::optional<std::filesystem::path> damaged_output(const std::string& id, const nlohmann::json& manifest,
                                                                    HashCache& hashes) const;

  static constexpr const char* kHashes = "hashes.json";

  std::filesystem::path root_;
  BegunReader read_begun_;
  std::shared_ptr<HashCache> hashes_;
};

}  // namespace dmoerm::run
