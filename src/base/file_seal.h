// The seal of an HDF5 file that is never changed: a checksum of the file, in the 512 bytes before it. The seal is checked before
// HDF5 opens the file, because HDF5 crashes on some damaged files.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace dmoerm {

/// Bytes at the start of the file that HDF5 does not use (its user block).
inline constexpr std::uint64_t kSealBytes = 512;

/// What the seals of one kind of file say.
struct SealKind {
  std::string_view what;    ///< name of the kind in the seal and in messages, as in "token store"
  std::string_view advice;  ///< what to do about a damaged file, as in "ingest again"
};

/// Hash of a sequence of pieces: SHA-256 of the hash so far, in hexadecimal, followed by the next piece. It begins as "".
struct PieceDigest {
  std::string state;
  void add(const void* data, std::size_t bytes);
};

/// The seal that belongs before `content`, an HDF5 file without its user block.
std::string seal_of(std::string_view content, const SealKind& kind);
/// Write the seal into a finished file that has kSealBytes of space for it. @throws IoError
void write_seal(const std::filesystem::path& path, const SealKind& kind);
/// Whether the file begins with the title of such a seal. The rest may be damaged.
bool begins_with_seal(const std::filesystem::path& path, const SealKind& kind);
/// Compare the content of a file with its seal.
/// @throws IoError if the file cannot be read, DataError if it has no seal of this kind or its content does not match
void check_seal(const std::filesystem::path& path, const SealKind& kind);

}  // namespace dmoerm
