#include "base/file_seal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "base/cannot_write.h"
#include "base/dangling_link.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/json_problem.h"

namespace dmoerm {
namespace {

constexpr std::size_t kPiece = 1 << 20;

std::string title(const SealKind& kind) { return fmt::format("dmoerm {}, HDF5 after {} bytes, seal ", kind.what, kSealBytes); }

std::string seal(const PieceDigest& digest, const SealKind& kind) {
  std::string text = title(kind) + digest.state + "\n";
  text.resize(kSealBytes, '\0');
  return text;
}

std::fstream open(const std::filesystem::path& path, std::ios::openmode mode, const SealKind& kind) {
  std::fstream file(path, mode | std::ios::binary);
  if (!file)
    throw IoError("cannot-open-file",
                  fmt::format("{}: cannot open the {}: {}", path.string(), kind.what, why_not_opened(path, errno)));
  return file;
}

/// The seal that the content of the file requires.
std::string seal_of_file(std::fstream& file, const SealKind& kind) {
  PieceDigest digest;
  std::vector<char> piece(kPiece);
  file.seekg(kSealBytes);
  while (file.read(piece.data(), kPiece), file.gcount() > 0) digest.add(piece.data(), static_cast<std::size_t>(file.gcount()));
  file.clear();
  return seal(digest, kind);
}

}  // namespace

void PieceDigest::add(const void* data, std::size_t bytes) {
  state.append(static_cast<const char*>(data), bytes);
  state = sha256_hex(state);
}

std::string seal_of(std::string_view content, const SealKind& kind) {
  PieceDigest digest;
  for (std::size_t at = 0; at < content.size(); at += kPiece) {
    digest.add(content.data() + at, std::min(kPiece, content.size() - at));
  }
  return seal(digest, kind);
}

void write_seal(const std::filesystem::path& path, const SealKind& kind) {
  std::fstream file = open(path, std::ios::in | std::ios::out, kind);
  const std::string text = seal_of_file(file, kind);
  file.seekp(0);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.flush()) throw IoError("cannot-write-file", cannot_write(path.string()));
}

bool begins_with_seal(const std::filesystem::path& path, const SealKind& kind) {
  std::string head(title(kind).size(), '\0');
  std::ifstream(path, std::ios::binary).read(head.data(), static_cast<std::streamsize>(head.size()));
  return head == title(kind);
}

void check_seal(const std::filesystem::path& path, const SealKind& kind) {
  if (std::filesystem::is_directory(path)) {
    throw IoError("is-a-directory", fmt::format("{}: is a directory, expected a {}", path.string(), kind.what));
  }
  std::fstream file = open(path, std::ios::in, kind);
  std::string found(kSealBytes, '\0');
  file.read(found.data(), kSealBytes);
  if (const std::string other = foreign_type(found); other.find("pointer") != std::string::npos)
    throw DataError("seal-missing", fmt::format("{}: not a {}, but {}", path.string(), kind.what, other));
  if (!file || !found.starts_with(title(kind))) {
    throw DataError("seal-missing",
                    fmt::format("{}: not a {}, or one of an older version; {}", path.string(), kind.what, kind.advice));
  }
  if (found != seal_of_file(file, kind)) {
    throw DataError("seal-differs",
                    fmt::format("{}: the content does not match the seal: damaged or truncated; {}", path.string(), kind.advice));
  }
}

}  // namespace dmoerm
