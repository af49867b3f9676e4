// What a label store remembers of its judges beside their labels, in judges.json: how each was asked, and since when.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace dmoerm::label_store {

struct JudgeNote {
  std::string judge, template_name;
  std::string way;            ///< Digest of the judge's address and of the settings of its requests
  std::int64_t since_ms = 0;  ///< Time since which it is asked in this way, as Label::time_ms; 0 = always
  std::int64_t ask_again_from_ms = 0, ask_again_before_ms = 0;  ///< Its replies without a verdict from the one time to before the
                                                                ///< other are asked for again
};

/// The notes of a store; none if it has no such file, as those of earlier versions.
/// @throws IoError, ConfigError if a newer version wrote them, DataError naming the file if it is damaged
std::vector<JudgeNote> read_judge_notes(const std::filesystem::path& directory);
/// Replace the notes. The caller holds the store's lock. @throws IoError
void write_judge_notes(const std::filesystem::path& directory, const std::vector<JudgeNote>& notes);

}  // namespace dmoerm::label_store
