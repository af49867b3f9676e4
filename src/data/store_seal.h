// The seal of a token store: a checksum of the whole file, looked at before HDF5 is let near it, as HDF5 crashes over some
// damaged files.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

namespace dmoerm::data {

/// Bytes at the start of the file that HDF5 leaves to us (its user block).
inline constexpr std::uint64_t kSealBytes = 512;

/// Hash of a sequence of pieces: h = SHA-256(h of the pieces before, in hexadecimal, followed by the piece). "" for none.
struct PieceDigest {
  std::string state;
  void add(const void* data, std::size_t bytes);
};

/// Write the seal of a finished file. @throws IoError
void write_seal(const std::filesystem::path& path);
/// @throws IoError if the file cannot be read, DataError if it has no seal or another content than the seal says
void check_seal(const std::filesystem::path& path);

}  // namespace dmoerm::data
