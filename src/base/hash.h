// SHA-256 of texts and files, which identify what an artefact was made from.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace dmoerm {

using Digest = std::array<std::uint8_t, 32>;

/// SHA-256 of `bytes`.
Digest sha256(std::string_view bytes);
/// A digest as 64 lower-case hexadecimal digits.
std::string to_hex(const Digest& digest);
/// SHA-256 of `bytes` in hexadecimal.
std::string sha256_hex(std::string_view bytes);
/// SHA-256 of a file's content in hexadecimal. The file is read in pieces. @throws IoError
std::string sha256_file(const std::filesystem::path& path);
/// The first eight bytes of sha256(bytes) as a number: a stable key for splits and seeds.
std::uint64_t stable_hash(std::string_view bytes);

}  // namespace dmoerm
