#include "label_store/store_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <system_error>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"

namespace dmoerm::label_store {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kStoreSchema = 1;
constexpr const char* kWhat = "dmoerm label store";
constexpr std::string_view kPrefix = "segment-", kSuffix = ".h5";

/// Number of a segment from its file name.
std::optional<std::int64_t> number_of(const fs::path& file) {
  const std::string name = file.filename().string();
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  const char *first = name.data() + kPrefix.size(), *last = name.data() + name.size() - kSuffix.size();
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(first, last, number);
  if (error != std::errc() || end != last || number < 1) return std::nullopt;
  return number;
}

std::vector<fs::path> entries(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) found.push_back(at->path());
  if (error)
    throw IoError("cannot-list-folder", fmt::format("{}: cannot list the directory: {}", directory.string(), error.message()));
  return found;
}

std::vector<fs::path> segment_files(const fs::path& directory) {
  std::vector<fs::path> found;
  for (const fs::path& file : entries(directory)) {
    if (number_of(file)) found.push_back(file);
  }
  std::ranges::sort(found, {}, number_of);
  return found;
}

/// The seal of a segment, which has the checksum of all the rest.
std::string seal_in(const fs::path& file) {
  std::string seal(kSealBytes, '\0');
  std::ifstream(file, std::ios::binary).read(seal.data(), static_cast<std::streamsize>(seal.size()));
  return seal;
}

/// Open all segments once. @return nothing if a segment vanished meanwhile: a compaction removes those that it has replaced
std::optional<StoreSegments> try_open_segments(const fs::path& directory) {
  std::vector<Segment> opened;
  std::vector<DamagedFile> damaged;
  for (const fs::path& file : segment_files(directory)) {
    try {
      opened.emplace_back(file);
    } catch (const Error& e) {
      if (!fs::exists(file)) return std::nullopt;
      damaged.push_back({file, e.what()});
    }
  }
  std::set<std::string> replaced, salvaged;
  for (const Segment& s : opened) {
    replaced.insert(s.about().notes.replaces.begin(), s.about().notes.replaces.end());
    salvaged.insert(s.about().notes.salvaged);
  }
  StoreSegments result;
  std::set<std::string> seals;  // of segments that count: a program that copies files may have left one twice
  for (Segment& s : opened) {
    const bool counts = !replaced.contains(s.path().filename().string()) && seals.insert(seal_in(s.path())).second;
    if (counts) {
      result.segments.push_back(std::move(s));
    } else {
      result.replaced.push_back(s.path());
    }
  }
  for (DamagedFile& file : damaged) {
    const std::string name = file.path.filename().string();
    if (replaced.contains(name)) {
      result.replaced.push_back(file.path);
    } else if (salvaged.contains(name)) {
      result.salvaged.push_back(file.path);
    } else {
      result.damaged.push_back(std::move(file));
    }
  }
  return result;
}

/// Refuse a directory that has segments or a journal, but not the mark of a store: its labels are paid for.
void require_no_labels(const fs::path& directory) {
  for (const fs::path& file : entries(directory)) {
    if (!number_of(file) && file.filename() != journal_path(directory).filename()) continue;
    throw ConfigError("label-store-mark-missing",
                      fmt::format("{0}: expected the mark of a label store, found {1} without it: copy store.json from where the "
                                  "store came from, or, if it is lost, write {{\"what\": \"{2}\", \"schema\": {3}}} into it",
                                  mark_path(directory).string(), file.filename().string(), kWhat, kStoreSchema));
  }
}

bool is_leftover(const fs::path& file) { return file.filename() == "LOCK" || is_temporary_name(file.filename().string()); }

/// Whether a labeller was killed before it wrote store.json: there are files of its start, and no others.
bool is_half_created(const fs::path& directory) {
  const std::vector<fs::path> found = entries(directory);
  return !found.empty() && std::ranges::all_of(found, is_leftover);
}

}  // namespace

fs::path mark_path(const fs::path& directory) { return directory / "store.json"; }
fs::path segment_path(const fs::path& directory, std::int64_t number) {
  return directory / fmt::format("{}{:06}{}", kPrefix, number, kSuffix);
}
fs::path journal_path(const fs::path& directory) { return directory / "journal.sqlite"; }
fs::path damaged_path(const fs::path& directory) { return directory / "damaged"; }

fs::path next_segment_path(const fs::path& directory) {
  std::int64_t last = 0;
  for (const fs::path& folder : {directory, damaged_path(directory)}) {
    if (!fs::exists(folder)) continue;
    for (const fs::path& file : segment_files(folder)) last = std::max(last, *number_of(file));
  }
  return segment_path(directory, last + 1);
}

void require_store(const fs::path& directory) {
  const fs::path mark = mark_path(directory);
  if (!fs::is_directory(directory) || !fs::exists(mark)) {
    if (fs::is_directory(directory) && is_half_created(directory)) return;
    if (fs::is_directory(directory)) require_no_labels(directory);
    throw ConfigError("label-store-missing",
                      fmt::format("{}: expected a label store (a directory with store.json), found {}", directory.string(),
                                  !fs::exists(directory)        ? "nothing"
                                  : fs::is_directory(directory) ? "a directory without it"
                                                                : "a file"));
  }
  const nlohmann::json said = read_json(mark);
  if (!said.is_object() || said.value("what", nlohmann::json()) != kWhat ||
      !said.value("schema", nlohmann::json()).is_number_integer()) {
    throw ConfigError("label-store-mark",
                      fmt::format("{}: expected the mark of a label store, found {}", mark.string(), said.dump()));
  }
  const auto schema = said.at("schema").get<std::int64_t>();
  if (schema > kStoreSchema) {
    throw ConfigError("label-store-newer",
                      fmt::format("{}: expected a label store of schema {} or older, found {}: use a newer dmoerm", mark.string(),
                                  kStoreSchema, schema));
  }
}

void create_store(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error)
    throw IoError("label-store-not-created",
                  fmt::format("{}: cannot create the label store: {}", directory.string(), error.message()));
  if (fs::exists(mark_path(directory))) return require_store(directory);
  require_no_labels(directory);
  for (const fs::path& file : entries(directory)) {
    if (is_leftover(file)) continue;
    throw ConfigError(
        "label-store-foreign-files",
        fmt::format("{}: not a label store, and it contains {}: name an empty directory or one that does not exist yet",
                    directory.string(), file.filename().string()));
  }
  write_json_atomically(mark_path(directory), {{"what", kWhat}, {"schema", kStoreSchema}});
}

StoreSegments open_segments(const fs::path& directory) {
  for (int tries = 0; tries < 100; ++tries) {
    if (auto found = try_open_segments(directory)) return std::move(*found);
  }
  throw IoError("label-store-changing",
                fmt::format("{}: the segments change faster than they can be opened; run again", directory.string()));
}

StoreSegments open_whole_segments(const fs::path& directory) {
  StoreSegments found = open_segments(directory);
  if (found.damaged.empty()) return found;
  std::string message;
  for (const DamagedFile& file : found.damaged) message += (message.empty() ? "" : "\n") + file.what;
  throw DataError("label-store-damaged", message);
}

void tidy(const fs::path& directory, const StoreSegments& found) {
  std::vector<fs::path> gone = found.replaced;
  for (const fs::path& file : entries(directory)) {
    if (is_temporary_name(file.filename().string())) gone.push_back(file);
  }
  for (const fs::path& file : gone) {
    std::error_code error;
    if (!fs::remove(file, error) && error) {
      throw IoError("cannot-remove-file", fmt::format("{}: cannot remove: {}", file.string(), error.message()));
    }
    spdlog::info("[label] removed={} reason=\"left by an interrupted write, or replaced\"", file.filename().string());
  }
  for (const fs::path& file : found.salvaged) put_aside(directory, file);
  if (!gone.empty()) sync_path(directory);
}

fs::path put_aside(const fs::path& directory, const fs::path& file) {
  const fs::path folder = damaged_path(directory);
  std::error_code error;
  fs::create_directory(folder, error);
  if (error)
    throw IoError("cannot-move-file", fmt::format("{}: cannot move to {}: {}", file.string(), folder.string(), error.message()));
  fs::path target = folder / file.filename();
  for (int i = 1; !move_without_replacing(file, target); ++i) target = folder / fmt::format("{}.{}", file.filename().string(), i);
  sync_path(folder);
  sync_path(directory);
  return target;
}

}  // namespace dmoerm::label_store
