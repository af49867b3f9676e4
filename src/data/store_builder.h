// Turns groups of texts into rows of a token store.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "data/group_layout.h"
#include "data/token_store_hdf5.h"
#include "pair/group.h"
#include "pair/swap_check.h"

namespace dmoerm::data {

class StoreBuilder {
 public:
  explicit StoreBuilder(const std::filesystem::path& path) : file_(path) {}

  /// Add one group. @param layout  its tokens; @param prompt  ids of the prompt alone, already cut
  void add(const pair::Group& group, const GroupLayout& layout, const std::vector<std::int32_t>& prompt, pair::Split split, double weight);
  [[nodiscard]] std::int64_t groups() const { return static_cast<std::int64_t>(columns_.category.size()); }
  /// Names found so far, in order of their numbers.
  [[nodiscard]] const std::vector<std::string>& categories() const { return attributes_.categories; }
  /// Write the rest and close. @param categories  their final order; all found ones must be in it
  void finish(const std::vector<std::string>& categories, const std::string& provenance);

 private:
  static std::int32_t number_of(std::vector<std::string>& names, const std::string& name);
  std::int32_t label_of(const std::string& category, const std::string& label);
  StoreFile file_;
  StoreColumns columns_;
  StoreAttributes attributes_;
  std::int64_t responses_ = 0;
};

}  // namespace dmoerm::data
