#include "hf/out_folder.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/dangling_link.h"
#include "base/error.h"
#include "base/files.h"
#include "base/stop.h"

namespace dmoerm::hf {
namespace {

namespace fs = std::filesystem;

void check(const fs::path& bundle, const fs::path& out) {
  std::error_code ignored;
  if (const std::string link = dangling_link(out); !link.empty())
    throw ConfigError("output-is-another-file", fmt::format("--out {}: this is no folder{}", out.string(), link));
  if (fs::exists(out, ignored) && !fs::is_directory(out, ignored))
    throw ConfigError("output-is-another-file", fmt::format("--out {}: this is a file; name a folder", out.string()));
  if (fs::exists(out, ignored) && !fs::is_empty(out, ignored))
    throw ConfigError("output-not-empty",
                      fmt::format("--out {}: the folder holds something: empty it, or name another", out.string()));
  const fs::path inside = fs::weakly_canonical(out, ignored).lexically_relative(fs::weakly_canonical(bundle, ignored));
  if (!inside.empty() && !inside.string().starts_with(".."))
    throw ConfigError("output-lies-in-bundle",
                      fmt::format("--out {}: this lies in the bundle: name another output", out.string()));
}

/// Move what lies in `from` to `to`, last the file by which people and programs know that the rest is there, and remove `from`.
/// If that fails, what was moved is back in `from`.
/// @return what has the name of an entry in `to` already, which stays as it is; empty if everything was moved
fs::path move_all(const fs::path& from, const fs::path& to) {
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(from)) entries.push_back(entry.path().filename());
  std::ranges::stable_partition(entries, [](const fs::path& name) { return name != "README.md" && name != "dmoerm.json"; });
  std::vector<fs::path> moved;
  const auto move_back = [&] {
    std::error_code ignored;
    for (const fs::path& name : moved) fs::rename(to / name, from / name, ignored);
  };
  try {
    for (const fs::path& name : entries) {
      if (!move_without_replacing(from / name, to / name)) {
        move_back();
        return to / name;
      }
      moved.push_back(name);
    }
  } catch (...) {
    move_back();
    throw;
  }
  std::error_code left;
  fs::remove_all(from, left);  // the export is whole; the next one removes what a file system holds back
  return {};
}

}  // namespace

OutFolder::OutFolder(const fs::path& bundle, const fs::path& out) : out_(out.has_filename() ? out : out.parent_path()) {
  const fs::path inside = out_ / "export";
  remove_stale_temporaries_of(inside);
  check(bundle, out_);
  for (fs::path above = out_.parent_path(); !above.empty() && !fs::exists(above); above = above.parent_path())
    made_.push_back(above);
  if (out_.has_parent_path()) fs::create_directories(out_.parent_path());
  remove_stale_temporaries_of(out_);
  there_ = fs::is_directory(out_);
  temporary_ = temporary_name(there_ ? inside : out_);
  fs::create_directories(temporary_);
}

void OutFolder::expect_no_stop() {
  if (stop_requested())
    throw Stopped("stopped-while-exporting", fmt::format("the export was stopped by {}; nothing was written", stop_signal()));
}

OutFolder::~OutFolder() {
  std::error_code ignored;
  if (stays_) return;
  fs::remove_all(temporary_, ignored);
  for (const fs::path& above : made_) fs::remove(above, ignored);  // only if nobody has put anything there
}

void OutFolder::publish() {
  fs::path taken;
  if (there_)
    taken = move_all(temporary_, out_);
  else if (!move_without_replacing(temporary_, out_))
    taken = out_;
  if (!taken.empty()) refuse(taken);
  stays_ = true;
  sync_path(there_ ? out_ : out_.has_parent_path() ? out_.parent_path() : fs::path("."));
}

void OutFolder::refuse(const fs::path& taken) {
  fs::path kept = there_ ? out_ / "export" : fs::path(out_.string() + ".export");
  if (!move_without_replacing(temporary_, kept)) kept = temporary_;
  stays_ = true;
  throw ConfigError("output-not-empty",
                    fmt::format("--out {}: another program made {} during the export; that stays as it is, and the finished "
                                "export is in {}: use it there, or move it",
                                out_.string(), taken.string(), kept.string()));
}

}  // namespace dmoerm::hf
