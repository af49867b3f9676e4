#include "label/group_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "preference/group_json.h"

namespace dmoerm::label {

GroupFile::GroupFile(const std::filesystem::path& path) : path_(path), file_(path, std::ios::binary) {
  if (!file_) throw IoError("cannot-open-file", fmt::format("{}: cannot open", path.string()));
  std::int64_t offset = 0;
  for (std::string line; std::getline(file_, line); offset += static_cast<std::int64_t>(line.size()) + 1) {
    const preference::Group group = preference::group_from_json_line(line);
    auto known = std::ranges::find(categories_, group.category);
    if (known == categories_.end()) known = categories_.insert(known, group.category);
    entries_.push_back({group.id, offset, static_cast<std::int32_t>(known - categories_.begin()),
                        static_cast<std::int32_t>(group.responses.size()), group.split});
  }
}

std::vector<std::size_t> GroupFile::of(const std::string& category, const std::vector<config::Split>& splits) const {
  const auto index = static_cast<std::int32_t>(std::ranges::find(categories_, category) - categories_.begin());
  std::vector<std::size_t> groups;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].category != index) continue;
    const auto split = config::from_word<config::Split>(preference::to_string(entries_[i].split));
    if (split && std::ranges::find(splits, *split) != splits.end()) groups.push_back(i);
  }
  return groups;
}

preference::Group GroupFile::read(std::size_t index) {
  std::string line;
  file_.clear();
  file_.seekg(entries_.at(index).offset);
  if (!std::getline(file_, line))
    throw IoError("cannot-read-file", fmt::format("{}: cannot read line {}", path_.string(), index + 1));
  return preference::group_from_json_line(line);
}

}  // namespace dmoerm::label
