// Parts of a task's work that are kept while the task is under way, for tasks that do not train a reward model.
#pragma once
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "moe/fit_keeper.h"

namespace dmoerm::run {

/// Files `parts/NAME.safetensors` in a task's folder, each with the key of the task, so that a task with other settings does not
/// take them over. Ranks of a task's group that keep parts give them names of their own.
class TaskParts final : public moe::PartKeeper {
 public:
  static constexpr const char* kFolder = "parts";
  /// @param key  the task's
  TaskParts(const std::filesystem::path& task_folder, std::string key);

  std::optional<nn::NamedTensors> load(const std::string& name) override;
  bool keep(const std::string& name, const nn::NamedTensors& tensors) override;
  bool stop() override;
  /// Remove a part, whatever its key, if there is one. @throws std::filesystem::filesystem_error if it stays
  void drop(const std::string& name);
  /// The task's key.
  [[nodiscard]] const std::string& key() const { return key_; }
  /// Whether it is time to keep what was done since the last part.
  [[nodiscard]] bool due() const;
  /// Remove all parts, after the task is complete.
  static void remove(const std::filesystem::path& task_folder);

 private:
  std::filesystem::path folder_;
  std::string key_;
  std::chrono::steady_clock::time_point kept_ = std::chrono::steady_clock::now();
};

/// Break a task off after some rows. @param what  what a row is: "prompts"  @param kept  how many of the rows are kept
/// @throws Stopped saying how many rows are done, and how many of them are kept if that is not all
[[noreturn]] void leave_after(const std::string& task, const std::string& what, std::int64_t done, std::int64_t kept);

/// Rows of tensors that are computed one after another and kept in pieces, each under the number of its first row.
class KeptRows {
 public:
  KeptRows(TaskParts& parts, std::string name) : parts_(parts), name_(std::move(name)) {}
  /// The next piece that an earlier start kept. @param shapes  tensors with the names and shapes of all rows; a piece that does
  /// not fit into them ends the rows
  std::optional<nn::NamedTensors> next(const nn::NamedTensors& shapes);
  /// Keep the rows from rows() to `end`. @return whether they are kept
  bool keep(const nn::NamedTensors& all, std::int64_t end);
  /// Keep the rows up to `end`, then break the task off.
  /// @param what  the task, and what a row is: "router", "prompts"
  /// @throws Stopped, see leave_after()
  [[noreturn]] void leave(const nn::NamedTensors& all, std::int64_t end, const std::string& task, const std::string& what);

 private:
  TaskParts& parts_;
  std::string name_;
  std::int64_t rows_ = 0;
};

}  // namespace dmoerm::run
