#include "label_store/missing_labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>

#include "base/counted.h"
#include "base/files.h"
#include "label_store/store_lock.h"

namespace dmoerm::label_store {
namespace {

namespace fs = std::filesystem;
constexpr const char* kGivenUp = "labels_given_up";  // key of store.json
constexpr const char* kLabels = "labels";            // key of store.json
constexpr std::size_t kNamed = 3;                    // missing files that a message names

/// Labels that the segments count, the highest number of one, and what there must be.
struct Counted {
  std::int64_t labels = 0, last = 0;
  std::int64_t expected = 0;  ///< Labels that there must be
  std::int64_t sealed = 0;    ///< Those of them that were in a segment
  [[nodiscard]] std::int64_t missing() const { return expected - labels; }
};

Counted count(const fs::path& directory, const StoreSegments& found, const JournalTold& journal) {
  Counted counted;
  for (const Segment& segment : found.segments) {
    counted.labels += segment.about().spent().requests;
    counted.last = std::max(counted.last, segment.about().last_sequence);
  }
  counted.sealed = std::max({counted.last, journal.cleared, noted_labels(directory)});
  counted.expected = counted.sealed + journal.lost;
  return counted;
}

/// Labels that repairs have given up; nothing if an earlier version repaired the store, which did not count them.
std::optional<std::int64_t> given_up(const fs::path& directory) {
  if (const fs::path mark = mark_path(directory); fs::exists(mark)) {
    const nlohmann::json said = read_json(mark);
    if (said.is_object() && said.contains(kGivenUp) && said[kGivenUp].is_number_integer()) return said[kGivenUp];
  }
  const fs::path damaged = damaged_path(directory);
  if (fs::exists(damaged) && !fs::is_empty(damaged)) return std::nullopt;
  return 0;
}

/// The files that are not there: numbers between those of segments that no compaction has replaced, or the number after them.
std::string missing_files(const fs::path& directory, const StoreSegments& found, bool last_is_missing, bool journal_is_missing) {
  std::set<fs::path> there;
  fs::path newest_merged;  // earlier files that are not there may be merged into it
  for (const Segment& segment : found.segments) {
    there.insert(segment.path());
    if (!segment.about().notes.replaces.empty()) newest_merged = std::max(newest_merged, segment.path());
  }
  std::vector<std::string> names;
  std::int64_t number = 1;
  for (; !there.empty() && segment_path(directory, number) < *there.rbegin(); ++number) {
    const fs::path path = segment_path(directory, number);
    const bool aside = fs::exists(damaged_path(directory) / path.filename());
    if (path > newest_merged && !there.contains(path) && !aside) names.push_back(path.filename().string());
  }
  if (last_is_missing) names.push_back(segment_path(directory, there.empty() ? 1 : number + 1).filename().string());
  if (journal_is_missing) names.push_back(journal_path(directory).filename().string());
  if (names.empty()) return fmt::format("a file before {}", newest_merged.filename().string());
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kNamed); ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kNamed) text += fmt::format(" and {} more", names.size() - kNamed);
  return text;
}

}  // namespace

JournalTold told_by_journal(const fs::path& directory, std::int64_t cleared, std::int64_t last) {
  if (last > 0) return {cleared, 0};
  const auto note = StoreLock::read(directory);
  return {cleared, note ? std::max<std::int64_t>(0, note->journal_rows) : 0};
}

MissingLabels find_missing_labels(const fs::path& directory, const StoreSegments& found, const JournalTold& journal) {
  const Counted have = count(directory, found, journal);
  if (have.missing() <= 0) return {};
  const std::optional<std::int64_t> known = given_up(directory);
  if (!known || have.missing() <= *known) return {};
  const std::int64_t missing = have.missing() - *known;
  return {
      missing,
      fmt::format("{}: expected {} in its segments{}, found {}: not there: {}; copy what is missing from where the store came "
                  "from, or its answers are asked for and paid again. If it is lost, `dmoerm label-store repair` gives it up",
                  directory.string(), counted(have.expected, "label"), journal.lost > 0 ? " and its journal" : "", have.labels,
                  missing_files(directory, found, have.sealed > have.last, journal.lost > 0))};
}

void give_up_missing_labels(const fs::path& directory, const StoreSegments& found, const JournalTold& journal) {
  const Counted have = count(directory, found, journal);
  if (have.missing() <= 0) return;
  nlohmann::json mark = read_json(mark_path(directory));
  if (have.missing() <= mark.value(kGivenUp, std::int64_t{0})) return;
  mark[kGivenUp] = have.missing();
  mark[kLabels] = have.expected;  // later labels are numbered after those that are lost
  write_json_atomically(mark_path(directory), mark);
}

std::int64_t noted_labels(const fs::path& directory) {
  const fs::path mark = mark_path(directory);
  if (!fs::exists(mark)) return 0;
  const nlohmann::json said = read_json(mark);
  return said.is_object() && said.contains(kLabels) && said[kLabels].is_number_integer() ? said[kLabels].get<std::int64_t>() : 0;
}

void note_labels(const fs::path& directory, std::int64_t last) {
  if (last <= noted_labels(directory)) return;
  nlohmann::json mark = read_json(mark_path(directory));
  mark[kLabels] = last;
  write_json_atomically(mark_path(directory), mark);
}

}  // namespace dmoerm::label_store
