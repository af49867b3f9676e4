// The journal in front of the segments: labels that are acknowledged but not sealed yet, in SQLite. The only file that includes
// sqlite3.h is the .cpp of this header.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "label_store/columns.h"

namespace dmoerm::label_store {

/// WAL with synchronous=FULL: what append() has taken survives a power cut. Locked exclusively, so no shared memory is needed and
/// it works on a network file system; the caller keeps a second process away (StoreLock).
class Journal {
 public:
  /// Open or create `path` and check all of it.
  /// @throws IoError, DataError if it is damaged or of a newer version
  explicit Journal(const std::filesystem::path& path);
  ~Journal();
  Journal(Journal&&) noexcept;
  Journal& operator=(Journal&&) noexcept;

  /// Add labels numbered from `first_sequence` on in one transaction; all are on disk when it returns, none if it throws.
  /// @throws IoError, e.g. when the disk is full; what was there stays
  void append(std::span<const Label> labels, std::int64_t first_sequence);
  /// All labels in the order of their numbers. @throws IoError, DataError if a row is damaged or missing
  [[nodiscard]] LabelColumns rows() const;
  [[nodiscard]] std::int64_t size() const;
  /// Remove the labels up to number `through`, which are in a segment now. @throws IoError
  void clear(std::int64_t through);

  struct Salvaged {
    LabelColumns rows;
    std::string damage;  ///< what is wrong with the journal; "" if nothing is
  };
  /// The undamaged labels of a journal that the constructor may refuse, and what is wrong with it. A journal that is not there is
  /// empty. @throws IoError
  static Salvaged salvage(const std::filesystem::path& path);
  /// The files of a journal that are there: the database and its write-ahead log.
  static std::vector<std::filesystem::path> files(const std::filesystem::path& path);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::label_store
