#include "label_store/label_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/utf8.h"
#include "label_store/journal.h"
#include "label_store/missing_labels.h"
#include "label_store/segment.h"
#include "label_store/store_directory.h"
#include "label_store/store_lock.h"

namespace dmoerm::label_store {

namespace {

namespace fs = std::filesystem;
constexpr std::uintmax_t kRoomBytes = 512 << 10;

}  // namespace

struct LabelStore::Impl {
  std::filesystem::path directory;
  Options options;
  StoreLock lock;
  Journal journal;
  VerdictIndex index;
  judge::Usage spent, in_flight;
  std::int64_t next = 1;    ///< Number of the next label
  std::int64_t sealed = 0;  ///< Highest label number in a segment
  bool any_unparsable = false;
  bool tells_space = false;  ///< Whether the file system says how much space it has
  std::int64_t seal_at;      ///< Rows of the journal at which sealing is tried

  Impl(const std::filesystem::path& path, const Options& wanted)
      : directory(path), options(wanted), lock(path), journal(journal_path(path)), seal_at(wanted.seal_rows) {
    const StoreSegments found = open_whole_segments(directory);
    const JournalTold told = told_by_journal(directory, journal.cleared(), journal.last());
    if (const MissingLabels missing = find_missing_labels(directory, found, told); missing.labels > 0)
      throw DataError("label-store-incomplete", missing.what);
    tidy(directory, found);
    read_segments(found);
    read_journal();
    spent += lock.uncertain();
  }

  void read_segments(const StoreSegments& found) {
    std::int64_t rows = 0;
    for (const Segment& segment : found.segments) rows += segment.about().rows;
    index.reserve(static_cast<std::size_t>(rows) + static_cast<std::size_t>(journal.size()));
    for (const Segment& segment : found.segments) {
      LabelColumns columns;
      segment.read(0, segment.about().rows, ColumnSet::index, columns);
      for (std::size_t i = 0; i < columns.size(); ++i) take(columns, i);
      spent += segment.about().spent();
      next = std::max(next, segment.about().last_sequence + 1);
    }
  }

  void take(const LabelColumns& columns, std::size_t i) {
    any_unparsable = any_unparsable || columns.verdict_of(i) == Verdict::unparsable;
    index.put(columns.key[i], {.verdict = columns.verdict_of(i), .first_probability = columns.first_probability[i]},
              columns.sequence[i]);
  }

  /// Call visit(rows, i) for every label of a judge with a template, without its reply: the journal's first, then a segment's at
  /// a time. @param skip  whether the labels up to a number are of no interest; a segment of such labels is not read
  template <class Visit, class Skip>
  void each_of(const std::string& judge, const std::string& template_name, const Visit& visit, const Skip& skip) const {
    const auto visit_all = [&](const LabelColumns& rows) {
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const bool wanted = rows.names[static_cast<std::size_t>(rows.judge[i])] == judge &&
                            rows.names[static_cast<std::size_t>(rows.template_name[i])] == template_name;
        if (wanted) visit(rows, i);
      }
    };
    LabelColumns in_journal = journal.rows();
    in_journal.reply_bytes.clear();
    visit_all(in_journal);
    for (const Segment& segment : open_whole_segments(directory).segments) {
      const SegmentAbout& about = segment.about();
      for (const SegmentRun& run : about.runs) {
        const PointKey names = about.point_key(run);
        if (names.judge != judge || names.template_name != template_name || skip(about.last_sequence)) continue;
        LabelColumns rows;
        segment.read(run.first, run.rows, ColumnSet::without_replies, rows);
        visit_all(rows);
      }
    }
  }

  /// Rows whose key has them as its latest label, and no verdict.
  [[nodiscard]] std::vector<std::size_t> unparsable(const LabelColumns& rows) const {
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const bool latest = index.sequence(rows.key[i]) == rows.sequence[i];
      if (latest && index.find(rows.key[i])->verdict == Verdict::unparsable) found.push_back(i);
    }
    return found;
  }

  std::int64_t read_again(const LabelColumns& rows, const std::function<std::optional<Verdict>(const Label&)>& read) {
    const std::vector<std::size_t> starts = rows.reply_starts();
    std::int64_t changed = 0;
    for (const std::size_t i : unparsable(rows)) {
      const auto verdict = read(rows.label(i, starts[i]));
      if (!verdict) continue;
      index.put(rows.key[i], {.verdict = *verdict, .first_probability = rows.first_probability[i]}, rows.sequence[i]);
      ++changed;
    }
    return changed;
  }

  /// Take up the journal. A writer that was killed between publishing a segment and clearing the journal left labels in both: all
  /// up to the last one that a segment holds under the same key and number.
  void read_journal() {
    const LabelColumns columns = journal.rows();
    next = std::max({next, journal.last() + 1, noted_labels(directory) + 1});  // the last segment may be lost
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (index.sequence(columns.key[i]) == columns.sequence[i]) sealed = columns.sequence[i];
    }
    journal.clear(sealed);
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (columns.sequence[i] <= sealed) continue;
      take(columns, i);
      spent += columns.spent(i);
    }
    lock.note_journal_rows(journal.size());
    // The journal needs numbers without gaps, and a segment copied from another store may use the next ones: start a new journal.
    if (journal.size() > 0 && next != columns.sequence.back() + 1) seal();
  }

  /// Bytes that are free; 0 if the file system does not say.
  [[nodiscard]] std::uintmax_t space() const {
    std::error_code error;
    const fs::space_info info = fs::space(directory, error);
    return error ? 0 : info.available;
  }

  void seal() {
    journal.clear(sealed);  // in case this failed after the last segment
    if (journal.size() == 0) return;
    const LabelColumns rows = journal.rows();
    write_segment(next_segment_path(directory), rows, {});
    sealed = rows.sequence.back();
    journal.clear(sealed);
    seal_at = options.seal_rows;
    lock.note_journal_rows(0);
    note_labels(directory, sealed);
  }
};

LabelStore::LabelStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LabelStore::~LabelStore() = default;
LabelStore::LabelStore(LabelStore&&) noexcept = default;
LabelStore& LabelStore::operator=(LabelStore&&) noexcept = default;

LabelStore LabelStore::open(const std::filesystem::path& directory, const Options& options) {
  if (options.seal_rows < 1)
    throw ConfigError("option-out-of-range", fmt::format("seal_rows: expected 1 or more, found {}", options.seal_rows));
  create_store(directory);
  return LabelStore(std::make_unique<Impl>(directory, options));
}

const CachedVerdict* LabelStore::find(const Digest& key) const { return impl_->index.find(key); }
const std::filesystem::path& LabelStore::directory() const { return impl_->directory; }
std::size_t LabelStore::size() const { return impl_->index.size(); }
judge::Usage LabelStore::spent() const { return impl_->spent; }
std::int64_t LabelStore::journal_rows() const { return impl_->journal.size(); }

void LabelStore::append(std::span<const Label> labels) {
  Impl& in = *impl_;
  for (const Label& l : labels) {
    for (const std::string* name : {&l.category, &l.point, &l.judge, &l.template_name}) {
      if (!is_utf8(*name))
        throw DataError("label-name-not-utf8",
                        fmt::format("the label with key {}: its category, point, judge or template is not UTF-8", to_hex(l.key)));
    }
    if (std::isnan(l.first_probability))
      throw DataError("label-probability", fmt::format("the label with key {}: its probability is not a number", to_hex(l.key)));
  }
  in.journal.append(labels, in.next);
  for (const Label& l : labels) {
    in.any_unparsable = in.any_unparsable || l.verdict == Verdict::unparsable;
    in.index.put(l.key, {.verdict = l.verdict, .first_probability = l.first_probability}, in.next++);
    in.spent += {1, l.prompt_tokens, l.completion_tokens, l.cost_micros};
  }
  in.lock.note_journal_rows(in.journal.size());
  if (in.journal.size() < in.seal_at) return;
  try {
    seal();
  } catch (const Error& e) {  // the labels are on disk, in the journal
    in.seal_at = in.journal.size() + std::max<std::int64_t>(1, in.options.seal_rows / 10);
    spdlog::warn("[label] the journal cannot be sealed, its labels stay there: {}", e.what());
  }
}

std::vector<Label> LabelStore::latest(std::size_t count, const std::string& judge, const std::string& template_name) const {
  std::map<std::int64_t, Label> found;  // by number
  const auto too_old = [&](std::int64_t sequence) { return found.size() >= count && sequence < found.begin()->first; };
  impl_->each_of(
      judge, template_name,
      [&](const LabelColumns& rows, std::size_t i) {
        const bool superseded = impl_->index.sequence(rows.key[i]) != rows.sequence[i];
        if (too_old(rows.sequence[i]) || (superseded && rows.verdict_of(i) == Verdict::error)) return;
        Label& label = found[rows.sequence[i]] = rows.label(i, 0);
        if (!superseded) label.verdict = impl_->index.find(label.key)->verdict;
        if (found.size() > count) found.erase(found.begin());
      },
      too_old);
  std::vector<Label> labels;
  for (auto& [number, label] : found) labels.push_back(std::move(label));
  return labels;
}

std::int64_t LabelStore::read_again(const std::function<std::optional<Verdict>(const Label&)>& read) {
  constexpr std::int64_t kPiece = 1 << 14;  // rows whose replies are in memory
  Impl& in = *impl_;
  if (!in.any_unparsable) return 0;
  std::int64_t changed = in.read_again(in.journal.rows(), read);
  for (const Segment& segment : open_whole_segments(in.directory).segments) {
    for (std::int64_t at = 0; at < segment.about().rows; at += kPiece) {
      const std::int64_t count = std::min(kPiece, segment.about().rows - at);
      LabelColumns keys, rows;
      segment.read(at, count, ColumnSet::index, keys);
      if (in.unparsable(keys).empty()) continue;
      segment.read(at, count, ColumnSet::all, rows);
      changed += in.read_again(rows, read);
    }
  }
  return changed;
}

std::int64_t LabelStore::ask_again(const std::string& judge, const std::string& template_name, std::int64_t from_ms,
                                   std::int64_t before_ms) {
  std::int64_t marked = 0;
  impl_->each_of(
      judge, template_name,
      [&](const LabelColumns& rows, std::size_t i) {
        VerdictIndex& index = impl_->index;
        if (rows.time_ms[i] < from_ms || rows.time_ms[i] >= before_ms || index.sequence(rows.key[i]) != rows.sequence[i]) return;
        CachedVerdict verdict = *index.find(rows.key[i]);
        if (verdict.verdict != Verdict::unparsable && verdict.verdict != Verdict::refused) return;
        verdict.ask_again = true;
        index.put(rows.key[i], verdict, rows.sequence[i]);
        ++marked;
      },
      [](std::int64_t) { return false; });
  return marked;
}

void LabelStore::seal() { impl_->seal(); }

void LabelStore::note_in_flight(const judge::Usage& most) {
  if (impl_->in_flight == most) return;
  impl_->in_flight = most;
  impl_->lock.note_in_flight(most);
}

void LabelStore::book_without_label(const judge::Usage& used) {
  if (used == judge::Usage{}) return;
  impl_->spent += used;
  impl_->lock.add_uncertain(used);
}

void LabelStore::require_room() {
  const fs::path trial = temporary_name(impl_->directory / "room");
  try {
    write_file_atomically(trial, std::string(kRoomBytes, '\0'));
  } catch (const IoError& e) {
    throw IoError("disk-full",
                  fmt::format("{}; nothing is asked for, because answers that are paid for need space in the label store: "
                              "free some there and run again",
                              e.what()));
  }
  std::error_code ignored;
  fs::remove(trial, ignored);
  impl_->tells_space = impl_->space() >= kRoomBytes;
}

bool LabelStore::nearly_full(std::int64_t answers) const {
  constexpr std::uintmax_t kReserve = kRoomBytes / 2, kAnswer = 8 << 10;
  return impl_->tells_space && impl_->space() < kReserve + kAnswer * static_cast<std::uintmax_t>(answers);
}

}  // namespace dmoerm::label_store
