#include "cli/trained_prompts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <unordered_set>

#include "base/counted.h"
#include "base/error.h"
#include "base/log.h"
#include "data/token_store.h"
#include "run/stage_ingest.h"

namespace dmoerm::cli {
namespace {

namespace fs = std::filesystem;
constexpr int kDeepest = 4;  // expert/CATEGORY/TASK/POINT of a run

/// The run in whose directory a model lies.
std::optional<fs::path> run_of(const std::string& model) {
  std::error_code error;
  fs::path place = fs::weakly_canonical(model, error);
  if (error || !fs::is_directory(place, error)) return std::nullopt;
  for (int i = 0; i < kDeepest && place.has_relative_path(); ++i) {
    place = place.parent_path();
    if (fs::exists(run::token_store_path(run::RunDirectory(place)), error)) return place;
  }
  return std::nullopt;
}

/// The keys of the prompts that a run was trained on, as Item::prompt_key has them.
std::unordered_set<std::string> trained_prompts(const fs::path& run) {
  const data::TokenStore store = data::TokenStore::open(run::token_store_path(run::RunDirectory(run)));
  std::unordered_set<std::string> keys;
  for (std::int64_t i = 0; i < store.size(); ++i) {
    const data::TokenGroup group = store.group(i);
    if (group.split == preference::Split::train) keys.insert(fmt::format("{:016x}", group.prompt_key));
  }
  return keys;
}

}  // namespace

void warn_of_trained_prompts(const std::vector<eval::ModelSpec>& models, const eval::Data& data) {
  std::map<fs::path, std::vector<std::string>> runs;  // names of the models of each
  for (const eval::ModelSpec& model : models) {
    if (const auto run = run_of(model.what)) runs[*run].push_back(model.name);
  }
  for (const auto& [run, names] : runs) {
    try {
      const std::unordered_set<std::string> trained = trained_prompts(run);
      const auto known = std::ranges::count_if(data.items, [&](const eval::Item& i) { return trained.contains(i.prompt_key); });
      if (known == 0) continue;
      spdlog::warn(
          "[eval] {} of {} have a prompt that the run {} was trained on, so the figures of {} are too good: measure on "
          "other prompts, such as the run's test split",
          known, counted(std::ssize(data.items), "row"), run.string(), fmt::join(names, ", "));
    } catch (const std::exception& e) {  // a warning that cannot be given ends no evaluation
      spdlog::warn("[eval] whether {} was trained on these prompts is not known: {}", fmt::join(names, ", "), e.what());
    }
  }
}

}  // namespace dmoerm::cli
