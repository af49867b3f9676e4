#include "eval/scored.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace dmoerm::eval {

using nlohmann::json;

namespace {

std::string row_of(const Item& item) { return item.category.empty() ? kNoCategory : item.category; }

}  // namespace

json to_json(const Interval& interval) { return {{"value", interval.value}, {"low", interval.low}, {"high", interval.high}}; }

json marked_json(const Interval& interval) {
  json marked = to_json(interval);
  if (interval.bounded) marked["interval"] = "bounds";
  return marked;
}

json finite(double value) { return std::isfinite(value) ? json(value) : json(); }

json source_json(const ModelScores& model) {
  json source = {{"name", model.name}, {"source", model.source}};
  if (!model.server.empty()) source["server"] = model.server;
  if (!model.prompts_found.empty()) source["server"]["prompts_found"] = model.prompts_found;
  if (!model.doubt.empty()) source["doubt"] = model.doubt;
  if (!model.note.empty()) source["note"] = model.note;
  if (!model.ablation_of.empty()) source["ablation_of"] = model.ablation_of;
  return source;
}

std::string notes_text(const json& models) {
  std::string text;
  for (const json& model : models) {
    for (const char* key : {"doubt", "note"}) {
      if (model.contains(key))
        text += fmt::format("- {}: {}.\n", model["name"].get<std::string>(), model[key].get<std::string>());
    }
  }
  return text.empty() ? "" : "\n" + text;
}

std::map<std::string, std::vector<std::size_t>> Scored::rows() const {
  std::map<std::string, std::vector<std::size_t>> rows;
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < data.items.size(); ++i) {
    rows[row_of(data.items[i])].push_back(i);
    all.push_back(i);
  }
  if (rows.size() > 1 || rows.contains(kNoCategory)) {
    if (rows.size() == 1) rows.clear();
    rows[kAll] = all;
  }
  return rows;
}

std::vector<preference::Preference> Scored::compared_pairs(std::size_t item, const std::string& label) const {
  const auto found = data.items[item].pairs.find(label);
  if (found == data.items[item].pairs.end()) return {};
  std::vector<preference::Preference> pairs;
  std::ranges::copy_if(found->second, std::back_inserter(pairs), [&](const preference::Preference& p) {
    return std::ranges::all_of(models, [&](const ModelScores& m) { return right_of(m.items[item], p).has_value(); });
  });
  return pairs;
}

}  // namespace dmoerm::eval
