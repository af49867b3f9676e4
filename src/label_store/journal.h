// The journal: labels that are stored but not yet sealed in a segment, in SQLite.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "label_store/columns.h"

namespace dmoerm::label_store {

/// It uses a write-ahead log with synchronous=FULL: appended labels survive a power cut. SQLite locks it exclusively, so it needs
/// no shared memory and works on a network file system. The caller keeps a second process away with StoreLock.
class Journal {
 public:
  /// Open or create the journal at `path` and check all of it.
  /// @throws IoError, DataError if it is damaged or of a newer version
  explicit Journal(const std::filesystem::path& path);
  ~Journal();
  Journal(Journal&&) noexcept;
  Journal& operator=(Journal&&) noexcept;

  /// Add labels numbered from `first_sequence` on, in one transaction: all are on disk when it returns, none if it throws.
  /// @throws IoError, e.g. when the disk is full; earlier labels stay
  void append(std::span<const Label> labels, std::int64_t first_sequence);
  /// All labels in the order of their numbers. @throws IoError, DataError if a row is damaged or missing
  [[nodiscard]] LabelColumns rows() const;
  [[nodiscard]] std::int64_t size() const;
  /// Highest number that clear() has removed, and that append() has added; 0 in a new journal.
  [[nodiscard]] std::int64_t cleared() const;
  [[nodiscard]] std::int64_t last() const;
  /// Remove the labels up to number `through`, which a segment holds now. @throws IoError
  void clear(std::int64_t through);

  struct Salvaged {
    LabelColumns rows;
    std::int64_t cleared = 0, last = 0;  ///< As Journal's; 0 if the journal is damaged
    std::string damage;                  ///< What is wrong with the journal; "" if nothing is
  };
  /// The undamaged labels of a journal that may be damaged, and what is wrong with it. A missing journal is empty. @throws
  /// IoError
  static Salvaged salvage(const std::filesystem::path& path);
  /// The existing files of a journal: the database and its write-ahead log.
  static std::vector<std::filesystem::path> files(const std::filesystem::path& path);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::label_store
