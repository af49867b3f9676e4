#include "hf/out_folder.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/files.h"

namespace dmoerm::hf {
namespace {

namespace fs = std::filesystem;

void check(const fs::path& bundle, const fs::path& out) {
  std::error_code ignored;
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

}  // namespace

OutFolder::OutFolder(const fs::path& bundle, const fs::path& out) : out_(out.has_filename() ? out : out.parent_path()) {
  check(bundle, out_);
  for (fs::path above = out_.parent_path(); !above.empty() && !fs::exists(above); above = above.parent_path())
    made_.push_back(above);
  if (out_.has_parent_path()) fs::create_directories(out_.parent_path());
  remove_stale_temporaries_of(out_);
  temporary_ = temporary_name(out_);
  fs::create_directories(temporary_);
}

OutFolder::~OutFolder() {
  std::error_code ignored;
  if (published_) return;
  fs::remove_all(temporary_, ignored);
  for (const fs::path& above : made_) fs::remove(above, ignored);  // only if nobody has put anything there
}

void OutFolder::publish() {
  fs::remove(out_);  // an empty folder
  fs::rename(temporary_, out_);
  sync_path(out_.has_parent_path() ? out_.parent_path() : fs::path("."));
  published_ = true;
}

}  // namespace dmoerm::hf
