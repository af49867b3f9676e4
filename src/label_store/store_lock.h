// One writer a store: a file that is locked as long as its process lives, and says who that is.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace dmoerm::label_store {

/// What the lock file says.
struct LockNote {
  bool held = false;              ///< its writer lives
  std::string holder;             ///< "pid 12 of user ann on host a1, since 2026-01-31 12:00:00 UTC (dmoerm label ...)"
  std::int64_t journal_rows = 0;  ///< labels in the journal that are not sealed yet, as last noted
};

class StoreLock {
 public:
  /// Take the lock of a store, whatever a process that is gone left in it.
  /// @throws ConfigError if another process holds it: who, and since when; IoError if the directory cannot be written
  explicit StoreLock(const std::filesystem::path& directory);
  ~StoreLock();
  StoreLock(const StoreLock&) = delete;
  StoreLock& operator=(const StoreLock&) = delete;

  /// Let readers know how many labels wait in the journal.
  void note_journal_rows(std::int64_t rows) const;
  /// What is known of a store's writer; nothing if it never had one or the file cannot be read. Disturbs nobody.
  static std::optional<LockNote> read(const std::filesystem::path& directory);

 private:
  int fd_ = -1;
};

}  // namespace dmoerm::label_store
