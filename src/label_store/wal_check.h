// Damage inside SQLite's write-ahead log. SQLite takes the log to end at the first frame whose checksum is wrong, which is right
// for the torn end of a crash, but drops committed transactions without a word when the frame stands in the middle.
#pragma once
#include <filesystem>
#include <string>

namespace dmoerm::label_store {

/// What is wrong with a write-ahead log; "" for nothing, a torn end, or no such file. A damaged frame in the last transaction
/// cannot be told from a torn end. @throws IoError
std::string wal_damage(const std::filesystem::path& path);

}  // namespace dmoerm::label_store
