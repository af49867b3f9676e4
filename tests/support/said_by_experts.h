// What the experts of a run say about some groups.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "comm/single_process.h"
#include "run/features_file.h"

namespace dmoerm::test {

/// @param folder  where their features are written
/// @param fold  experts of which fold; 0 = those of all groups of phase 1
inline moe::ExpertFeatures said_by_experts(run::RunContext& context, std::int32_t category,
                                           std::vector<train::LabelledGroup> groups, const std::filesystem::path& folder,
                                           std::int32_t fold = 0) {
  const auto alone = comm::single();
  run::TaskParts parts(folder, std::string(64, '0'));
  const run::RatedGroups rated{category, fold, std::move(groups), "features", "some groups"};
  run::write_features(context, rated, folder / "said.safetensors", parts, *alone);
  return run::read_features(folder / "said.safetensors");
}

}  // namespace dmoerm::test
