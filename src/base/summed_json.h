// JSON files that hold their own checksum, so that a changed digit is noticed although the file is still valid JSON.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace dmoerm {

/// The entry of such a file: SHA-256 of its text without white space and without these 64 digits.
inline constexpr const char* kOwnSum = "manifest_sha256";

/// write_json_atomically() of an object with its checksum, which replaces one that it has.
void write_summed_json(const std::filesystem::path& path, nlohmann::json value);
/// Whether the text of a file has the checksum that it names. True if it names none, as files of earlier versions.
bool has_own_sum(std::string_view text);

}  // namespace dmoerm
