// The groups that a run uses, with their texts, in a file of lines. They are read one at a time, so that memory does not grow
// with the data.
#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "config/words.h"
#include "preference/group.h"

namespace dmoerm::label {

class GroupFile {
 public:
  /// The part of a group that is kept in memory.
  struct Entry {
    std::string id;
    std::int64_t offset = 0;
    std::int32_t category = 0;  ///< Index into categories()
    std::int32_t responses = 0;
    preference::Split split = preference::Split::train;
  };

  /// Open a file of lines made by preference::to_json_line(). @throws IoError, DataError
  explicit GroupFile(const std::filesystem::path& path);

  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }
  [[nodiscard]] const std::vector<std::string>& categories() const { return categories_; }
  /// Numbers of a category's groups in the given splits, in the file's order.
  [[nodiscard]] std::vector<std::size_t> of(const std::string& category, const std::vector<config::Split>& splits) const;
  /// Read group number `index`. For one thread.
  [[nodiscard]] preference::Group read(std::size_t index);

 private:
  std::filesystem::path path_;
  std::ifstream file_;
  std::vector<Entry> entries_;
  std::vector<std::string> categories_;
};

}  // namespace dmoerm::label
