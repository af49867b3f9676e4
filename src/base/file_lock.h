// Locks that keep a second process away from a file or folder, and what is said where the file system has none.
#pragma once
#include <filesystem>
#include <string>

namespace dmoerm {

/// Whether an attempt to lock succeeded.
enum class LockOutcome { taken, held_elsewhere, not_supported };

/// Try to lock an open file with flock(2), without waiting. The lock ends when the descriptor is closed.
/// @param path  for the message
/// @throws IoError if the file cannot be locked for another reason than those of LockOutcome
LockOutcome take_lock(int descriptor, const std::filesystem::path& path, bool shared = false);

/// Whether SQLite can lock a file with this name, which needs not exist yet: its locks are those of fcntl(2). Call it only while
/// this process has the file not open.
bool has_record_locks(const std::filesystem::path& path);

/// "nfs4 at /scratch has no file locks": the file system that holds `path`, as part of a sentence.
std::string without_locks(const std::filesystem::path& path);

/// Advice for those who need locks there: where else to put the files, and which options of a mount give it locks.
std::string advice_on_locks(const std::string& setting);

}  // namespace dmoerm
