// The label store: what a judge has said, paid for once and never lost. One process writes: its labels go to a journal first and
// from there, many at a time, into sealed segments, which are what everyone reads (LabelReader, h5py).
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "label_store/columns.h"
#include "label_store/key_table.h"

namespace dmoerm::label_store {

/// Not for several threads at once.
class LabelStore {
 public:
  struct Options {
    std::int64_t seal_rows = 100'000;  ///< labels in the journal before they become a segment
  };
  /// Open a store for writing, creating it in an empty or missing directory. What a killed writer left is put in order.
  /// @throws ConfigError if another process writes to it, it is no label store or one of a newer version; IoError if it cannot be
  ///   written; DataError if a segment or the journal is damaged
  static LabelStore open(const std::filesystem::path& directory, const Options& options);
  static LabelStore open(const std::filesystem::path& directory) { return open(directory, Options{}); }
  ~LabelStore();
  LabelStore(LabelStore&&) noexcept;
  LabelStore& operator=(LabelStore&&) noexcept;

  /// The latest label of a key; nullptr if it was never asked. Good until the next append().
  [[nodiscard]] const Known* find(const Digest& key) const;
  /// Keys that were ever asked.
  [[nodiscard]] std::size_t size() const;
  /// Store labels; they are on disk when it returns, none of them if it throws. The latest label of a key counts. A journal that
  /// has grown to seal_rows is sealed; if that fails (disk full) it is a warning and tried again later.
  /// @throws IoError, DataError if a name is no UTF-8
  void append(std::span<const Label> labels);
  /// Turn what the journal holds into a segment. @throws IoError; the labels stay in the journal then
  void seal();
  /// Costs of everything ever stored; labels that were superseded count, they were paid for.
  [[nodiscard]] judge::Usage spent() const;
  /// Labels that are not in a segment yet.
  [[nodiscard]] std::int64_t journal_rows() const;

 private:
  struct Impl;
  explicit LabelStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::label_store
