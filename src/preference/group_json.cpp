#include "preference/group_json.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_problem.h"
#include "base/json_text.h"

namespace dmoerm::preference {

using nlohmann::json;

std::string to_json_line(const Group& group) {
  json prompt = json::array(), responses = json::array(), pairs = json::array();
  for (const Message& m : group.prompt) prompt.push_back({m.role, m.content});
  for (const Response& r : group.responses) {
    json response{{"text", r.text}};
    if (!std::isnan(r.overall)) response["overall"] = r.overall;
    if (!r.scores.empty()) response["scores"] = r.scores;
    responses.push_back(std::move(response));
  }
  for (const StatedPair& p : group.pairs) pairs.push_back({p.label, p.winner, p.loser});
  json row{{"id", group.id},     {"category", group.category}, {"split", static_cast<int>(group.split)},
           {"prompt", prompt},   {"responses", responses},     {"pairs", pairs},
           {"file", group.file}, {"line", group.line}};
  for (const RecordedVerdict& v : group.verdicts)
    row["verdicts"].push_back({v.point, v.a, v.b, to_string(v.first_order), to_string(v.second_order)});
  return json_line(row);
}

Group group_from_json_line(std::string_view line) {
  try {
    const json row = json::parse(line);
    Group group;
    group.id = row.at("id");
    group.category = row.at("category");
    group.file = row.at("file");
    group.line = row.at("line");
    group.split = static_cast<Split>(row.at("split").get<int>());
    for (const json& m : row.at("prompt")) group.prompt.push_back({m.at(0), m.at(1)});
    for (const json& r : row.at("responses")) {
      Response response;
      response.text = r.at("text");
      response.overall = r.value("overall", kMissing);
      if (r.contains("scores")) response.scores = r["scores"].get<std::map<std::string, double>>();
      group.responses.push_back(std::move(response));
    }
    for (const json& p : row.at("pairs")) group.pairs.push_back({p.at(0), p.at(1), p.at(2), 0.0});
    if (row.contains("verdicts")) {
      for (const json& v : row["verdicts"])
        group.verdicts.push_back(
            {v.at(0), v.at(1), v.at(2), verdict_from(v.at(3).get<std::string>()), verdict_from(v.at(4).get<std::string>())});
    }
    return group;
  } catch (const json::exception& e) {
    throw DataError("group-line-damaged", fmt::format("not a line of selected groups: {}", json_complaint(line, e)));
  }
}

}  // namespace dmoerm::preference
