#include "data/group_selection.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/cannot_write.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/rng.h"
#include "config/identity.h"
#include "data/text_notes.h"
#include "preference/group_json.h"

namespace dmoerm::data {
namespace {

namespace fs = std::filesystem;

/// Rises when the same settings and files select other groups or responses. 2: splits go by conversation, and only train groups
/// are thinned. 3: a conversation is known without system messages and white space.
constexpr int kSelectionRule = 3;

/// Keep a seeded random choice of at most `most` responses of a group, with their labels.
void thin_responses(preference::Group& group, std::int64_t most, std::uint64_t seed) {
  if (most <= 0 || static_cast<std::int64_t>(group.responses.size()) <= most) return;
  std::vector<std::size_t> order(group.responses.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  Rng(seed, "thin/" + group.id).shuffle(order);
  order.resize(static_cast<std::size_t>(std::max<std::int64_t>(2, most)));
  std::ranges::sort(order);
  std::vector<int> place(group.responses.size(), -1);
  std::vector<preference::Response> kept;
  for (const std::size_t i : order) {
    place[i] = static_cast<int>(kept.size());
    kept.push_back(std::move(group.responses[i]));
  }
  replace_responses(group, std::move(kept), place);
}

}  // namespace

GroupSelection::GroupSelection(const IngestRequest& request) : request_(request), survey_(survey_inputs(request)) {}

std::string GroupSelection::select(InputGroup& item) {
  preference::Group& group = item.group;
  if (!item.configured) return "category not in the configuration";
  const auto settled = survey_.splits.find(item.prompt);
  if (settled == survey_.splits.end())
    throw DataError("input-changed-while-read", fmt::format("{}: the file changed while it was read", group.file));
  if (settled->second == preference::Split::train && item.beyond_weight(request_.seed))
    return "left out by the weight of its input";
  if (!seen_.insert(item.statement).second) return "duplicate: same prompt, responses and labels as an earlier row";
  if (survey_.thinned(item, settled->second, request_.seed))
    return "left out by data.groups_per_category_max or the category's groups_max";
  group.split = settled->second;
  if (group.split == preference::Split::train) thin_responses(group, responses_max(request_, group.category), request_.seed);
  return "";
}

nlohmann::json selection_settings(const config::RunConfig& config, config::Affects affects) {
  nlohmann::json settings = config::settings_that_affect(config, affects);
  settings["selection_rule"] = kSelectionRule;
  for (std::size_t i = 0; i < config.data.inputs.size(); ++i)
    settings["data"]["inputs"][i]["sha256"] = sha256_file(config.data.inputs[i].path);
  return settings;
}

SelectedGroups write_selected_groups(const config::RunConfig& config, const fs::path& path) {
  IngestRequest request;
  request.data = config.data;
  request.categories = config.categories;
  request.seed = config.seed;
  GroupSelection selection(request);
  const fs::path temporary = temporary_name(path);
  SelectedGroups selected;
  try {
    std::ofstream file(temporary, std::ios::binary);
    read_inputs(
        request,
        [&](InputGroup&& item) {
          const std::string reason = selection.select(item);
          if (!reason.empty()) ++selected.dropped[reason];
          if (!reason.empty()) return false;
          file << preference::to_json_line(item.group) << '\n';
          ++selected.groups;
          for (const std::string& note : text_notes(item.group)) ++selected.noted[note];
          return true;
        },
        [&](const preference::Dropped& d) { ++selected.dropped[d.bad ? "bad line" : d.reason]; });
    file.close();
    if (!file) throw IoError("cannot-write-file", cannot_write(temporary.string()));
    publish_file(temporary, path);
  } catch (...) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
  return selected;
}

}  // namespace dmoerm::data
