#include "label/store_to_look_at.h"

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/files.h"
#include "label_store/store_directory.h"
#include "label_store/store_lock.h"

namespace dmoerm::label {
namespace {

namespace fs = std::filesystem;

/// Make `view` a store with the labels of another that cannot be written: links to its segments, and copies of its journal and
/// lock file, which are written when they are opened.
void link_store(const fs::path& store, const fs::path& view) {
  std::error_code error;
  fs::create_directories(view, error);
  std::vector<fs::path> files;
  for (fs::directory_iterator at(store, error), end; !error && at != end; at.increment(error)) files.push_back(at->path());
  const std::string journal = label_store::journal_path(store).filename().string();
  for (const fs::path& file : files) {
    const std::string name = file.filename().string();
    if (error || !fs::is_regular_file(file) || is_temporary_name(name)) continue;
    if (file != label_store::lock_file(store) && !name.starts_with(journal)) {
      fs::create_symlink(fs::absolute(file), view / name, error);
      continue;
    }
    fs::copy_file(file, view / name, error);
    if (!error) fs::permissions(view / name, fs::perms::owner_write, fs::perm_options::add, error);
  }
  if (error)
    throw IoError("cannot-create-folder", fmt::format("{}: cannot make a view of the label store {}: {}", view.string(),
                                                      store.string(), error.message()));
}

}  // namespace

bool is_not_writable(const Error& e) { return std::string_view(e.code().text()) == "label-store-not-writable"; }

StoreToLookAt::Folder::Folder() : path(temporary_name(fs::temp_directory_path() / "dmoerm-labels")) {}

StoreToLookAt::Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

StoreToLookAt::StoreToLookAt(const fs::path& path) {
  try {
    store.emplace(label_store::LabelStore::open(fs::exists(path) ? path : temporary_.path));
  } catch (const IoError& e) {
    if (!is_not_writable(e) || !fs::exists(path)) throw;
    if (const auto note = label_store::StoreLock::read(path); note && note->held)
      throw IoError("label-store-in-use",
                    fmt::format("{}: another process labels into this store, which you cannot write: run again when it has ended",
                                path.string()));
    link_store(path, temporary_.path);
    store.emplace(label_store::LabelStore::open(temporary_.path));
  }
}

}  // namespace dmoerm::label
