#include "data/store_seal.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "base/error.h"
#include "base/hash.h"

namespace dmoerm::data {
namespace {

constexpr std::size_t kPiece = 1 << 20;
constexpr const char* kTitle = "dmoerm token store, HDF5 after 512 bytes, seal ";

std::fstream open(const std::filesystem::path& path, std::ios::openmode mode) {
  std::fstream file(path, mode | std::ios::binary);
  if (!file) throw IoError(fmt::format("{}: cannot open the token store: {}", path.string(), std::strerror(errno)));
  return file;
}

/// The first kSealBytes as they must be.
std::string seal_of(std::fstream& file) {
  PieceDigest digest;
  std::vector<char> piece(kPiece);
  file.seekg(kSealBytes);
  while (file.read(piece.data(), kPiece), file.gcount() > 0) digest.add(piece.data(), static_cast<std::size_t>(file.gcount()));
  file.clear();
  std::string seal = kTitle + digest.state + "\n";
  seal.resize(kSealBytes, '\0');
  return seal;
}

}  // namespace

void PieceDigest::add(const void* data, std::size_t bytes) {
  state.append(static_cast<const char*>(data), bytes);
  state = sha256_hex(state);
}

void write_seal(const std::filesystem::path& path) {
  std::fstream file = open(path, std::ios::in | std::ios::out);
  const std::string seal = seal_of(file);
  file.seekp(0);
  file.write(seal.data(), static_cast<std::streamsize>(seal.size()));
  if (!file.flush()) throw IoError(fmt::format("{}: cannot write: is the disk full?", path.string()));
}

void check_seal(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path))
    throw IoError(fmt::format("{}: is a directory, expected a token store", path.string()));
  std::fstream file = open(path, std::ios::in);
  std::string found(kSealBytes, '\0');
  file.read(found.data(), kSealBytes);
  if (!file || !found.starts_with(kTitle)) {
    throw DataError(fmt::format("{}: no token store, or one of an older version; ingest again", path.string()));
  }
  if (found != seal_of(file)) {
    throw DataError(fmt::format("{}: its content is not what its seal says: damaged or truncated; ingest again", path.string()));
  }
}

}  // namespace dmoerm::data
