// Flushing open files to the disk, where the file system can do that.
#pragma once
#include <filesystem>

namespace dmoerm {

/// Flush an open file or directory to the disk. A file system that cannot do that at all is warned of once and is no error.
/// @param path  for the warning
/// @return false, with errno, if it failed
bool flush_to_disk(int descriptor, const std::filesystem::path& path);

}  // namespace dmoerm
