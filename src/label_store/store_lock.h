// One writer per store: a lock file that is held as long as the writer's process lives, and names it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "judge/usage.h"

namespace dmoerm::label_store {

/// The file that a store's writer locks.
std::filesystem::path lock_file(const std::filesystem::path& directory);

/// Contents and state of the lock file.
struct LockNote {
  bool held = false;   ///< Whether its writer lives
  std::string holder;  ///< The writer: "pid 12 of user ann on host a1, since 2026-01-31 12:00:00 UTC (dmoerm label ...)"
  std::int64_t journal_rows = 0;  ///< Labels in the journal, as last written here
  judge::Usage in_flight;         ///< The most that requests can cost that have no answer yet, as last written here
  judge::Usage
      uncertain;  ///< The same of all writers that were killed, and of requests whose questions were left without a label
};

class StoreLock {
 public:
  /// Take the lock of a store. A lock left by a dead process does not prevent it.
  /// @throws ConfigError naming the process that holds it and since when, or the file system if it has no locks; IoError if the
  /// directory cannot be written
  explicit StoreLock(const std::filesystem::path& directory);
  ~StoreLock();
  StoreLock(const StoreLock&) = delete;
  StoreLock& operator=(const StoreLock&) = delete;

  /// Write down for readers how many labels are in the journal.
  void note_journal_rows(std::int64_t rows) const;
  /// Write down what requests on their way can cost, so that it counts if this process is killed.
  void note_in_flight(const judge::Usage& most) const;
  /// Count requests that no label will count among LockNote::uncertain.
  void add_uncertain(const judge::Usage& used);
  /// As LockNote::uncertain.
  [[nodiscard]] const judge::Usage& uncertain() const { return uncertain_; }
  /// Read a store's lock file without disturbing the writer. @return nothing if there is none or it cannot be read
  static std::optional<LockNote> read(const std::filesystem::path& directory);

 private:
  void take(const std::filesystem::path& directory) const;
  int fd_ = -1;
  judge::Usage uncertain_;
};

}  // namespace dmoerm::label_store
