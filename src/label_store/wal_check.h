// Finds damage inside SQLite's write-ahead log. SQLite lets the log end at the first frame whose checksum is wrong. That is
// correct for the incomplete end that a crash leaves, but silently drops committed transactions if the frame is in the middle.
#pragma once
#include <filesystem>
#include <string>

namespace dmoerm::label_store {

/// What is wrong with a write-ahead log; "" if nothing is, it has an incomplete end, or there is no such file. A damaged frame in
/// the last transaction looks like an incomplete end. @throws IoError
std::string wal_damage(const std::filesystem::path& path);

}  // namespace dmoerm::label_store
