// Experts that other programs trained (categories[].imported_experts): checked when a run starts, taken over by its expert tasks.
#pragma once
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/hash_cache.h"
#include "comm/communicator.h"
#include "config/run_config.h"
#include "plan/task_id.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Check the imported experts of all categories, before any work, and say in the log what is taken over.
/// @return SHA-256 over the files of each adapter, by "category/point"; part of the identity of its task
/// @throws DataError naming the setting, the category's point and what hf::import_adapter() refuses, or both models for an
/// adapter of a model whose weights, number of layers or way of reading (head.reads) are not the run's; IoError with the same
/// place. A base that is not found and a bundle's other chat template only give a line in the log
std::map<std::string, std::string> check_imported_experts(const config::RunConfig& config, HashCache& hashes);

/// The folders of the imported experts among a task's points, by their key in imported_settings().
std::map<std::string, HashedContent> imported_contents(const config::CategoryConfig& category, const plan::TaskId& experts);

/// The checksums of the imported experts among a task's points, by point, for its identity: {"imported": {...}}; nothing without
/// one. @param digests  as check_imported_experts() returns them; missing ones are ""
nlohmann::json imported_settings(const config::CategoryConfig& category, const plan::TaskId& experts,
                                 const std::map<std::string, std::string>& digests);

/// An expert with the metrics of its task's manifest.
struct FinishedExpert {
  std::string point;
  nn::RewardModel model;
  nlohmann::json metrics;
};

/// Take over the adapter of a point as its expert over the frozen base, with the figures of a trained expert on the validation
/// groups. Collective over `ranks`, all of which read the adapter.
/// @param digest  that which check_imported_experts() returned
/// @throws DataError if the adapter's files changed since, and as check_imported_experts() does; Stopped on a signal
FinishedExpert import_expert(RunContext& context, const plan::TaskId& task, const std::string& point, const std::string& digest,
                             const nn::RewardModel& base, comm::Communicator& ranks);

}  // namespace dmoerm::run
