#include "preference/formats_of_groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <unordered_map>

#include "base/error.h"
#include "preference/row_error.h"
#include "preference/row_fields.h"

namespace dmoerm::preference {

using nlohmann::json;

namespace {

/// The numbers that a row gives its responses: "rid" where it is stated, otherwise the place in the list.
class ResponseNumbers {
 public:
  explicit ResponseNumbers(const json& responses) {
    for (const json& r : responses) {
      const auto place = static_cast<int>(places_.size());
      const json& rid = r.contains("rid") ? r["rid"] : json(place);
      if (!rid.is_number_integer())
        throw RowError("rid-not-whole", fmt::format("\"rid\": expected a whole number, found {}", shown(rid)));
      if (!places_.try_emplace(rid.get<std::int64_t>(), place).second) {
        throw RowError("rid-twice", fmt::format("\"rid\": expected each number once, found {} twice", shown(rid)));
      }
    }
  }
  /// Places of two different responses.
  [[nodiscard]] std::pair<int, int> places(const json& a, const json& b, const char* key) const {
    const std::pair<int, int> found{place(a, key), place(b, key)};
    if (found.first == found.second) {
      throw RowError("label-names-one-response",
                     fmt::format("\"{}\": expected two different responses, found {} twice", key, shown(a)));
    }
    return found;
  }

 private:
  [[nodiscard]] int place(const json& rid, const char* key) const {
    const auto found = rid.is_number_integer() ? places_.find(rid.get<std::int64_t>()) : places_.end();
    if (found == places_.end()) {
      throw RowError("label-of-unknown-rid", fmt::format("\"{}\": expected the rid of one of the {} responses, found {}", key,
                                                         places_.size(), shown(rid)));
    }
    return found->second;
  }
  std::unordered_map<std::int64_t, int> places_;
};

void add_score(Response& response, const std::string& point, double value) {
  if (point == kOverall) {
    response.overall = value;
  } else {
    response.scores[point] = value;
  }
}

Verdict verdict_of(const json& row, const char* key) {
  try {
    return verdict_from(text_of(need(row, key), key));
  } catch (const DataError&) {
    throw RowError("unknown-verdict", fmt::format("\"{}\": expected first, second, tie, unparsable, refused or error, found {}",
                                                  key, shown(row[key])));
  }
}

/// A rating as UltraFeedback writes it: a number, a number in a string, or "N/A" or null if there is none.
double rating_of(const json& rating, const std::string& aspect) {
  if (!rating.is_string()) return score_of(rating, aspect.c_str());
  const std::string text = rating.get<std::string>();
  if (text == "N/A") return kMissing;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    throw RowError("rating-not-a-number",
                   fmt::format("\"{}.Rating\": expected a finite number or N/A, found {}", aspect, shown(rating)));
  }
  return number_of(json(value), (aspect + ".Rating").c_str());
}

/// @throws RowError if a response has a number under a name that is not read, and none under those that are
void expect_no_other_score(const json& response) {
  if (has(response, {"overall"}) || has(response, {"scores"})) return;
  for (const char* key : {"score", "rating", "reward", "rank", "quality"}) {
    if (has(response, {key}) && response[key].is_number())
      throw RowError(
          "score-not-read",
          fmt::format("\"responses\": expected the score of a response as \"overall\" (higher is better), or by point in "
                      "\"scores\", found \"{}\": {}: rename it{}",
                      key, shown(response[key]), std::string_view(key) == "rank" ? ", with its sign turned round" : ""));
  }
}

/// Where several raters gave overall scores, the first one's is a label of its own.
void add_first_rater(const json& row, Response& response) {
  if (!has(row, {"overall_raters"})) return;
  const json& raters = need_list(row, "overall_raters");
  if (raters.size() > 1) response.scores[std::string(kFirstRater)] = score_of(raters.front(), "overall_raters");
}

/// Whether a group has scores or verdicts under a label.
bool is_labelled(const Group& group, const std::string& label) {
  return label == kOverall || std::ranges::any_of(group.responses, [&](const Response& r) { return r.scores.contains(label); }) ||
         std::ranges::find(group.verdicts, label, &RecordedVerdict::point) != group.verdicts.end();
}

/// Check the lists of single raters, and count those who gave scores.
void count_raters(const json& row, Group& group) {
  for (const auto& [label, lists] : rater_scores(row)) {
    bool any = false;
    for (std::size_t r = 0; r < lists.size(); ++r) {
      const auto raters = std::ranges::count_if(lists[r], [](double score) { return !std::isnan(score); });
      if (raters > 0) group.responses[r].raters[label] = raters, any = true;
    }
    if (any && !is_labelled(group, label)) group.raters_alone = true;
  }
}

}  // namespace

std::map<std::string, std::vector<std::vector<double>>> rater_scores(const json& row) {
  std::map<std::string, std::vector<std::vector<double>>> labels;
  if (!row.is_object() || !has_objects(row, "responses")) return labels;
  const json& responses = row["responses"];
  for (std::size_t r = 0; r < responses.size(); ++r) {
    const auto add = [&](const std::string& label, const json& scores, const std::string& key) {
      if (!scores.is_array())
        throw RowError("field-of-wrong-type", fmt::format("\"{}\": expected a list of numbers, found {}", key, shown(scores)));
      auto& of_label = labels.try_emplace(label, responses.size()).first->second;
      for (const json& score : scores) of_label[r].push_back(score_of(score, key.c_str()));
    };
    if (has(responses[r], {"overall_raters"})) add(std::string(kOverall), responses[r]["overall_raters"], "overall_raters");
    if (!has(responses[r], {"scores_raters"})) continue;
    const json& points = responses[r]["scores_raters"];
    if (!points.is_object())
      throw RowError("field-of-wrong-type",
                     fmt::format("\"scores_raters\": expected an object of lists of numbers, found {}", shown(points)));
    for (const auto& [point, scores] : points.items()) {
      if (!scores.is_null()) add(point, scores, "scores_raters." + point);
    }
  }
  return labels;
}

Group parse_native(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = prompt_of(row, "prompt");
  for (const json& r : need_list(row, "responses")) {
    Response response;
    response.text = response_text(need(r, "text"), "text", group.prompt);
    expect_no_other_score(r);
    if (has(r, {"overall"})) response.overall = number_of(r["overall"], "overall");
    if (has(r, {"scores"})) {
      if (!r["scores"].is_object()) {
        throw RowError("field-of-wrong-type",
                       fmt::format("\"scores\": expected an object of numbers, found {}", shown(r["scores"])));
      }
      for (const auto& [point, value] : r["scores"].items()) add_score(response, point, score_of(value, point.c_str()));
    }
    add_first_rater(r, response);
    group.responses.push_back(std::move(response));
  }
  const ResponseNumbers numbers(row["responses"]);
  if (has(row, {"preferences"})) {
    for (const json& p : need_list(row, "preferences")) {
      const bool triple = p.is_array() && p.size() == 3 && (p[2] == "a" || p[2] == "b" || p[2] == "tie");
      if (!triple)
        throw RowError("preference-not-a-triple",
                       fmt::format("\"preferences\": expected [rid, rid, \"a\" | \"b\" | \"tie\"], found {}", shown(p)));
      const auto [a, b] = numbers.places(p[0], p[1], "preferences");
      if (p[2] != "tie") group.pairs.push_back({std::string(kOverall), p[2] == "a" ? a : b, p[2] == "a" ? b : a, 0.0});
    }
  }
  if (has(row, {"verdicts"})) {
    for (const json& v : need_list(row, "verdicts")) {
      const auto [a, b] = numbers.places(need(v, "a"), need(v, "b"), "verdicts");
      group.verdicts.push_back(
          {text_of(need(v, "point"), "point"), a, b, verdict_of(v, "first_order"), verdict_of(v, "second_order")});
    }
  }
  count_raters(row, group);
  return group;
}

Group parse_authors_ranked(const json& row) {
  Group group;
  read_common(row, group);
  const json &src = need_list(row, "src"), &responses = need_list(row, "response"), &rank = need_list(row, "rank");
  const json none = json::array();
  const json& tgt = has(row, {"tgt"}) ? need_list(row, "tgt") : none;
  if (rank.size() != responses.size()) {
    throw RowError("ranks-not-one-each",
                   fmt::format("\"rank\": expected one per response, found {} for {}", rank.size(), responses.size()));
  }
  if (tgt.size() + 1 < src.size()) {
    throw RowError(
        "turns-not-alternating",
        fmt::format("\"tgt\": expected a reply to each of the {} turns except the last, found {}", src.size(), tgt.size()));
  }
  for (std::size_t i = 0; i < src.size(); ++i) {
    group.prompt.push_back({"user", text_of(src[i], "src")});
    if (i + 1 < src.size()) group.prompt.push_back({"assistant", text_of(tgt[i], "tgt")});
  }
  add_system(row, group.prompt);
  for (std::size_t i = 0; i < responses.size(); ++i) {
    group.responses.push_back(
        {response_text(responses[i], "response", group.prompt), -number_of(rank[i], "rank"), {}});  // lower rank = better
  }
  return group;
}

Group parse_nemo(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = prompt_of(row, "context");
  for (const json& c : need_list(row, "completions")) {
    Completion completion = completion_of(need(c, "completion"), "completion");
    if (!completion.before.empty())
      throw RowError::unusable("completion-of-several-messages",
                               "a completion of several messages: a group holds one turn a response");
    group.responses.push_back({std::move(completion.text), -number_of(need(c, "rank"), "rank"), {}});
  }
  return group;
}

Group parse_nectar(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = prompt_of(row, "prompt");
  for (const json& a : need_list(row, "answers"))
    group.responses.push_back(
        {response_text(need(a, "answer"), "answer", group.prompt), -number_of(need(a, "rank"), "rank"), {}});
  return group;
}

Group parse_ultrafeedback(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = prompt_of(row, "instruction");
  for (const json& c : need_list(row, "completions")) {
    Response response;
    response.text = response_text(need(c, "response"), "response", group.prompt);
    const json& annotations = need(c, "annotations");
    if (!annotations.is_object()) {
      throw RowError("field-of-wrong-type", fmt::format("\"annotations\": expected an object, found {}", shown(annotations)));
    }
    double sum = 0;
    for (const auto& [aspect, given] : annotations.items()) {
      if (given.is_array() && given.size() != 1)
        throw RowError("field-of-wrong-type",
                       fmt::format("\"annotations.{}\": expected one rating, found a list of {}", aspect, given.size()));
      const json& note = given.is_array() ? given[0] : given;  // the first release of UltraFeedback
      const double rating = has(note, {"Rating"}) ? rating_of(note["Rating"], aspect) : kMissing;
      response.scores[aspect] = rating;
      sum += rating;
    }
    const char* overall = has(c, {"overall_score"}) ? "overall_score" : "fine-grained_score";
    // A response without an overall score gets the mean of its aspects. The mean is NaN if one is missing, because means over
    // different aspects cannot be compared.
    response.overall = has(c, {overall}) ? number_of(c[overall], overall) : sum / static_cast<double>(annotations.size());
    group.responses.push_back(std::move(response));
  }
  return group;
}

Group parse_helpsteer(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = prompt_of(row, "prompt");
  Response response;
  response.text = response_text(row["response"], "response", group.prompt);
  for (const char* point : {"helpfulness", "correctness", "coherence", "complexity", "verbosity"}) {
    if (row.contains(point)) response.scores[point] = score_of(row[point], point);
  }
  response.overall = number_of(row["helpfulness"], "helpfulness");
  group.responses.push_back(std::move(response));
  return group;
}

}  // namespace dmoerm::preference
