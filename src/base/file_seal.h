// The seal of an HDF5 file that never changes again: a checksum of the whole file in the 512 bytes before it, looked at before
// HDF5 is let near it, as HDF5 crashes over some damaged files.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace dmoerm {

/// Bytes at the start of the file that HDF5 leaves to us (its user block).
inline constexpr std::uint64_t kSealBytes = 512;

/// Words of the seals of one kind of file.
struct SealKind {
  std::string_view what;    ///< "token store": first words of the file, and of messages
  std::string_view advice;  ///< "ingest again": what to do about a damaged one
};

/// Hash of a sequence of pieces: h = SHA-256(h of the pieces before, in hexadecimal, followed by the piece). "" for none.
struct PieceDigest {
  std::string state;
  void add(const void* data, std::size_t bytes);
};

/// The kSealBytes that belong before `content`, the HDF5 file.
std::string seal_of(std::string_view content, const SealKind& kind);
/// Write the seal of a finished file that keeps kSealBytes free for it. @throws IoError
void write_seal(const std::filesystem::path& path, const SealKind& kind);
/// Whether the file begins as one with such a seal, whole or damaged.
bool begins_with_seal(const std::filesystem::path& path, const SealKind& kind);
/// @throws IoError if the file cannot be read, DataError if it has no seal or another content than the seal says
void check_seal(const std::filesystem::path& path, const SealKind& kind);

}  // namespace dmoerm
