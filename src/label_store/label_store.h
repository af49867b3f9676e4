// The label store: the judges' answers, paid for once and never lost. One process writes: its labels go to a journal first and
// from there, many at a time, into sealed segments, which any number of processes can read (LabelReader, h5py).
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "label_store/columns.h"
#include "label_store/verdict_index.h"

namespace dmoerm::label_store {

/// For one thread.
class LabelStore {
 public:
  struct Options {
    std::int64_t seal_rows = 100'000;  ///< Labels in the journal at which they become a segment
  };
  /// Open a store for writing, creating it in an empty or missing directory. What a killed writer left is tidied up.
  /// @throws ConfigError if another process writes to it, it is not a label store or one of a newer version; IoError if it cannot
  ///   be written; DataError if a segment or the journal is damaged, or labels are missing
  static LabelStore open(const std::filesystem::path& directory, const Options& options);
  static LabelStore open(const std::filesystem::path& directory) { return open(directory, Options{}); }
  ~LabelStore();
  LabelStore(LabelStore&&) noexcept;
  LabelStore& operator=(LabelStore&&) noexcept;

  /// The verdict of a key's latest label; nullptr if it was never asked. The pointer is valid until the next append().
  [[nodiscard]] const CachedVerdict* find(const Digest& key) const;
  [[nodiscard]] const std::filesystem::path& directory() const;
  /// Number of keys.
  [[nodiscard]] std::size_t size() const;
  /// The latest labels of a judge with a template, at most `count`, the oldest first, without their replies, and without errors
  /// whose questions were answered later. They have the verdicts that find() returns. @throws DataError if a segment is damaged
  [[nodiscard]] std::vector<Label> latest(std::size_t count, const std::string& judge, const std::string& template_name) const;
  /// Store labels: all are on disk when it returns, none if it throws. The latest label of a key counts. A journal that has grown
  /// to seal_rows is sealed; if that fails, e.g. because the disk is full, a warning is logged and sealing is tried again later.
  /// @throws IoError, DataError if a name is not UTF-8
  void append(std::span<const Label> labels);
  /// Show the replies whose latest label is unparsable to a newer reader. Where it finds a verdict, find() returns that from now
  /// on; what is stored stays as it is. @return how many. @throws DataError if a segment is damaged
  std::int64_t read_again(const std::function<std::optional<Verdict>(const Label&)>& read);
  /// Mark the replies without a verdict (unparsable or refused) that a judge gave to a template from one time to before another,
  /// as in Label::time_ms: find() returns them with ask_again. What is stored stays as it is. @return how many.
  /// @throws DataError if a segment is damaged
  std::int64_t ask_again(const std::string& judge, const std::string& template_name, std::int64_t from_ms,
                         std::int64_t before_ms);
  /// Find out, by writing half a MiB beside the journal, whether there is room for answers that are to be paid for. @throws
  /// IoError
  void require_room();
  /// Whether the space that require_room() has found is used up but for a quarter of a MiB and what `answers` in flight need.
  /// False where the file system does not say how much it has.
  [[nodiscard]] bool nearly_full(std::int64_t answers) const;
  /// Turn the journal into a segment. @throws IoError; then the labels stay in the journal
  void seal();
  /// Write down the most that requests without an answer can cost: if this process is killed, spent() counts it from then on.
  void note_in_flight(const judge::Usage& most);
  /// Write down the cost of requests that no label will count: spent() counts it from now on.
  void book_without_label(const judge::Usage& used);
  /// Costs of all labels ever stored, superseded ones included, of requests that were in flight when a writer was killed, and of
  /// those that got no label.
  [[nodiscard]] judge::Usage spent() const;
  /// Labels that are not yet in a segment.
  [[nodiscard]] std::int64_t journal_rows() const;

 private:
  struct Impl;
  explicit LabelStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::label_store
