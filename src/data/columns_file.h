// The columns of a large token store as plain memory on disk, beside the store: STORE.columns. It is made when the store is
// opened for the first time, and mapped from then on, so that opening takes no time and no process holds the store in its own
// memory. It can be removed at any time.
#pragma once
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "data/store_index.h"

namespace dmoerm::data {

/// A store that is mapped from its columns file. The views are valid as long as this object.
struct MappedStore {
  std::shared_ptr<const void> mapping;
  StoreView columns;
  IndexView index;
  StoreAttributes attributes;
  std::string digest;  ///< content digest of the store
};

/// The columns file of a store, if there is one that was made from the store as it is: same size, time of change and inode. The
/// store is not read.
std::optional<MappedStore> open_columns_file(const std::filesystem::path& store);

/// Read and verify the whole store and write its columns file. The file is kept only if the store was last changed some seconds
/// ago, since a change in the same instant could not be told; otherwise it goes away with the result.
/// @return nothing for a store of 0.1, which lacks columns
/// @throws DataError as read_store() does; IoError if the store cannot be read, or the file cannot be written
std::optional<MappedStore> make_columns_file(const std::filesystem::path& store);

}  // namespace dmoerm::data
