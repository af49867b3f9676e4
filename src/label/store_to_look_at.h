// A label store that is only looked at: for a dry run, and where nothing is to be asked.
#pragma once
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "label_store/label_store.h"

namespace dmoerm::label {

/// Whether an error says that a label store cannot be written.
bool is_not_writable(const Error& e);

/// The store itself; a view of it in a temporary folder if it cannot be written; or an empty temporary one if there is none.
class StoreToLookAt {
  struct Folder {
    std::filesystem::path path;
    Folder();
    ~Folder();
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
  } temporary_;  // outlives the store in it

 public:
  /// @throws ConfigError, DataError as LabelStore::open(), IoError if no view can be made
  explicit StoreToLookAt(const std::filesystem::path& path);

  std::optional<label_store::LabelStore> store;
};

}  // namespace dmoerm::label
