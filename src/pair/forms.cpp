#include "pair/forms.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace dmoerm::pair {
namespace {

using nlohmann::json;

std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return text.size() > 80 ? text.substr(0, 77) + "..." : text;
}

const json& need(const json& row, const char* key) {
  if (!row.contains(key)) throw RowError(fmt::format("expected a key \"{}\"", key));
  return row[key];
}

std::string text_of(const json& value, const char* key) {
  if (!value.is_string()) throw RowError(fmt::format("\"{}\": expected a string, found {}", key, shown(value)));
  return value.get<std::string>();
}

double number_of(const json& value, const char* key) {
  if (value.is_null()) return kMissing;
  if (!value.is_number()) throw RowError(fmt::format("\"{}\": expected a number, found {}", key, shown(value)));
  const auto number = value.get<double>();
  if (!std::isfinite(number)) throw RowError(fmt::format("\"{}\": expected a finite number, found {}", key, shown(value)));
  return number;
}

int index_of(const json& value, const char* key, std::size_t count) {
  if (!value.is_number_integer() || value.get<std::int64_t>() < 0 || value.get<std::int64_t>() >= static_cast<std::int64_t>(count)) {
    throw RowError(fmt::format("\"{}\": expected the number of a response from 0 to {}, found {}", key, count - 1, shown(value)));
  }
  return value.get<int>();
}

std::vector<Message> messages_of(const json& value, const char* key) {
  std::vector<Message> messages;
  if (value.is_string()) return {{"user", value.get<std::string>()}};
  if (!value.is_array()) throw RowError(fmt::format("\"{}\": expected a string or a list of messages, found {}", key, shown(value)));
  for (const json& m : value) {
    if (!m.is_object() || !m.contains("role") || !m.contains("content")) throw RowError(fmt::format("\"{}\": expected messages {{\"role\", \"content\"}}, found {}", key, shown(m)));
    Message message{text_of(m["role"], "role"), text_of(m["content"], "content")};
    if (message.role != "system" && message.role != "user" && message.role != "assistant") {
      throw RowError(fmt::format("\"{}\": role \"{}\" is not system, user or assistant", key, message.role));
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

/// A response given as a string or as a list that ends with an assistant message.
std::string last_turn(const json& value, const char* key) {
  if (value.is_string()) return value.get<std::string>();
  const std::vector<Message> messages = messages_of(value, key);
  if (messages.empty() || messages.back().role != "assistant") throw RowError(fmt::format("\"{}\": expected a last message of role assistant, found {}", key, shown(value)));
  return messages.back().content;
}

void read_common(const json& row, Group& group) {
  for (const char* key : {"category", "label", "task_name"}) {
    if (group.category.empty() && row.contains(key) && row[key].is_string()) group.category = row[key].get<std::string>();
  }
  if (row.contains("id") && (row["id"].is_string() || row["id"].is_number_integer())) group.id = row["id"].is_string() ? row["id"].get<std::string>() : row["id"].dump();
  if (!row.contains("split") || row["split"].is_null()) return;
  const std::string split = text_of(row["split"], "split");
  if (split == "train") {
    group.split = Split::train;
  } else if (split == "validation" || split == "valid" || split == "val" || split == "dev") {
    group.split = Split::validation;
  } else if (split == "test") {
    group.split = Split::test;
  } else {
    throw RowError(fmt::format("\"split\": expected train, validation or test, found {}", shown(row["split"])));
  }
}

bool has(const json& row, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (!row.contains(key) || row[key].is_null()) return false;
  }
  return true;
}

void add_scores(const json& scores, Response& response) {
  if (!scores.is_object()) throw RowError(fmt::format("\"scores\": expected an object of numbers, found {}", shown(scores)));
  for (const auto& [point, value] : scores.items()) response.scores[point] = number_of(value, point.c_str());
}

// --- one function a form ---

Group parse_native(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = messages_of(need(row, "prompt"), "prompt");
  for (const json& r : row["responses"]) {
    if (!r.is_object()) throw RowError(fmt::format("\"responses\": expected objects with \"text\", found {}", shown(r)));
    Response response;
    response.text = text_of(need(r, "text"), "text");
    if (r.contains("scores")) add_scores(r["scores"], response);
    if (r.contains("overall")) response.overall = number_of(r["overall"], "overall");
    group.responses.push_back(std::move(response));
  }
  const std::size_t n = group.responses.size();
  if (has(row, {"preferences"})) {
    for (const json& p : row["preferences"]) {
      if (!p.is_array() || p.size() != 3) throw RowError(fmt::format("\"preferences\": expected [a, b, \"a\" | \"b\" | \"tie\"], found {}", shown(p)));
      const int a = index_of(p[0], "preferences", n), b = index_of(p[1], "preferences", n);
      const std::string winner = text_of(p[2], "preferences");
      if (winner != "a" && winner != "b" && winner != "tie") throw RowError(fmt::format("\"preferences\": expected \"a\", \"b\" or \"tie\", found {}", shown(p[2])));
      if (winner != "tie") group.pairs.push_back({std::string(kOverall), winner == "a" ? a : b, winner == "a" ? b : a, 0.0});
    }
  }
  if (has(row, {"verdicts"})) {
    for (const json& v : row["verdicts"]) {
      group.verdicts.push_back({text_of(need(v, "point"), "point"), index_of(need(v, "a"), "a", n), index_of(need(v, "b"), "b", n), text_of(need(v, "first_order"), "first_order"),
                                text_of(need(v, "second_order"), "second_order")});
    }
  }
  return group;
}

Group parse_authors(const json& row) {
  Group group;
  read_common(row, group);
  const json &src = row["src"], &responses = row["response"], &rank = row["rank"];
  const json tgt = row.value("tgt", json::array());
  if (!src.is_array() || !responses.is_array() || !rank.is_array() || rank.size() != responses.size()) {
    throw RowError(fmt::format("expected lists \"src\", \"response\" and \"rank\", the last two of equal length, found {} responses and {} ranks", responses.size(), rank.size()));
  }
  for (std::size_t i = 0; i < src.size(); ++i) {
    group.prompt.push_back({"user", text_of(src[i], "src")});
    if (i + 1 < src.size() && i < tgt.size()) group.prompt.push_back({"assistant", text_of(tgt[i], "tgt")});
  }
  for (std::size_t i = 0; i < responses.size(); ++i) {
    Response response;
    response.text = text_of(responses[i], "response");
    response.overall = -number_of(rank[i], "rank");  // lower rank = better
    group.responses.push_back(std::move(response));
  }
  return group;
}

Group parse_points(const json& row) {
  Group group;
  group.prompt = messages_of(row["query"], "query");
  const json& rank = row["rank"];
  for (const json& r : row["responses"]) group.responses.push_back({text_of(r, "responses"), kMissing, {}});
  if (group.responses.size() != 2 || !rank.is_array() || rank.size() != 2) throw RowError("expected two \"responses\" and two ranks");
  const bool first = number_of(rank[0], "rank") < number_of(rank[1], "rank");
  group.pairs.push_back({text_of(row["point"], "point"), first ? 0 : 1, first ? 1 : 0, 0.0});
  read_common(row, group);
  return group;
}

Group parse_nemo(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = messages_of(row["context"], "context");
  for (const json& c : row["completions"]) {
    Response response;
    response.text = last_turn(need(c, "completion"), "completion");
    response.overall = -number_of(need(c, "rank"), "rank");
    group.responses.push_back(std::move(response));
  }
  return group;
}

Group parse_ultrafeedback(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = messages_of(row["instruction"], "instruction");
  for (const json& c : row["completions"]) {
    Response response;
    response.text = text_of(need(c, "response"), "response");
    if (c.contains("overall_score")) response.overall = number_of(c["overall_score"], "overall_score");
    double sum = 0;
    int rated = 0;
    for (const auto& [aspect, note] : need(c, "annotations").items()) {
      const json rating = note.is_object() ? note.value("Rating", json("N/A")) : json("N/A");
      if (rating.is_string() && rating.get<std::string>() == "N/A") continue;
      double value = kMissing;
      if (rating.is_string()) {
        const std::string text = rating.get<std::string>();
        char* end = nullptr;
        value = std::strtod(text.c_str(), &end);
        if (end == text.c_str() || *end != '\0' || !std::isfinite(value)) throw RowError(fmt::format("\"{}.Rating\": expected a number or N/A, found {}", aspect, shown(rating)));
      } else {
        value = number_of(rating, "Rating");
      }
      response.scores[aspect] = value;
      sum += value, ++rated;
    }
    if (std::isnan(response.overall) && rated > 0) response.overall = sum / rated;
    group.responses.push_back(std::move(response));
  }
  return group;
}

Group parse_helpsteer(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = messages_of(row["prompt"], "prompt");
  Response response;
  response.text = text_of(row["response"], "response");
  for (const char* point : {"helpfulness", "correctness", "coherence", "complexity", "verbosity"}) {
    if (row.contains(point)) response.scores[point] = number_of(row[point], point);
  }
  response.overall = number_of(row["helpfulness"], "helpfulness");
  group.responses.push_back(std::move(response));
  return group;
}

Group parse_helpsteer_pairs(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = messages_of(row["prompt"], "prompt");
  for (const char* key : {"response_1", "response_2"}) group.responses.push_back({text_of(row[key], key), kMissing, {}});
  const double strength = number_of(row["preference_strength"], "preference_strength");
  if (strength != 0) group.pairs.push_back({std::string(kOverall), strength < 0 ? 0 : 1, strength < 0 ? 1 : 0, 0.0});  // negative: the first is better
  return group;
}

Group parse_swift(const json& row) {
  Group group;
  read_common(row, group);
  group.prompt = messages_of(row["messages"], "messages");
  if (group.prompt.empty() || group.prompt.back().role != "assistant") throw RowError("\"messages\": expected a last message of role assistant, the chosen response");
  group.responses.push_back({group.prompt.back().content, kMissing, {}});
  group.prompt.pop_back();
  group.responses.push_back({text_of(row["rejected_response"], "rejected_response"), kMissing, {}});
  group.pairs.push_back({std::string(kOverall), 0, 1, row.contains("margin") ? number_of(row["margin"], "margin") : 0.0});
  return group;
}

/// Where two texts part, moved back to the start of a word.
std::size_t shared_text(const std::string& a, const std::string& b) {
  std::size_t n = 0;
  while (n < std::min(a.size(), b.size()) && a[n] == b[n]) ++n;
  while (n > 0 && a[n - 1] != ' ' && a[n - 1] != '\n') --n;
  return n;
}

Group parse_pairs(const json& row) {
  Group group;
  read_common(row, group);
  const json &chosen = row.contains("text_chosen") ? row["text_chosen"] : row["chosen"], &rejected = row.contains("text_rejected") ? row["text_rejected"] : row["rejected"];
  std::string texts[2];
  if (has(row, {"prompt"})) {
    group.prompt = messages_of(row["prompt"], "prompt");
    texts[0] = last_turn(chosen, "chosen"), texts[1] = last_turn(rejected, "rejected");
  } else if (chosen.is_string()) {  // one text each: what both begin with is the prompt
    texts[0] = chosen.get<std::string>(), texts[1] = text_of(rejected, "rejected");
    const std::size_t shared = shared_text(texts[0], texts[1]);
    group.prompt = {{"user", texts[0].substr(0, shared)}};
    for (std::string& text : texts) text.erase(0, shared);
  } else {  // whole conversations: all but the last turn is the prompt
    group.prompt = messages_of(chosen, "chosen");
    texts[0] = last_turn(chosen, "chosen"), texts[1] = last_turn(rejected, "rejected");
    std::vector<Message> other = messages_of(rejected, "rejected");
    group.prompt.pop_back(), other.pop_back();
    const bool same = group.prompt.size() == other.size() &&
                      std::equal(group.prompt.begin(), group.prompt.end(), other.begin(), [](const Message& a, const Message& b) { return a.role == b.role && a.content == b.content; });
    if (!same) throw RowError("\"chosen\" and \"rejected\" must share all messages but the last one");
  }
  for (std::string& text : texts) group.responses.push_back({std::move(text), kMissing, {}});
  const double margin = has(row, {"margin"}) ? number_of(row["margin"], "margin") : 0.0;
  if (margin < 0) throw RowError(fmt::format("\"margin\": expected a number >= 0, found {}", margin));
  group.pairs.push_back({std::string(kOverall), 0, 1, margin});
  return group;
}

bool list_of_objects(const json& row, const char* key) { return row.contains(key) && row[key].is_array() && !row[key].empty() && row[key][0].is_object(); }

}  // namespace

const std::vector<Form>& forms() {
  static const std::vector<Form> kForms = {
      {"native", R"({"id","category","split","prompt","responses":[{"text","scores":{point: x},"overall"}],"preferences":[[a,b,"a"|"b"|"tie"]],"verdicts":[...]})",
       [](const json& r) { return has(r, {"prompt"}) && list_of_objects(r, "responses"); }, parse_native},
      {"dmoerm-ranked", R"({"src":[...],"tgt":[...],"response":[...],"rank":[...],"label"}, lower rank = better)", [](const json& r) { return has(r, {"src", "response", "rank"}); }, parse_authors},
      {"dmoerm-points", R"({"query","responses":[a,b],"rank":[1,2],"point"}, 1 = better)", [](const json& r) { return has(r, {"query", "responses", "rank", "point"}); }, parse_points},
      {"nemo", R"({"context":[messages],"completions":[{"rank","completion":[messages]}]}, lower rank = better)", [](const json& r) { return has(r, {"context"}) && list_of_objects(r, "completions"); }, parse_nemo},
      {"ultrafeedback", R"({"instruction","completions":[{"response","annotations":{aspect:{"Rating"}},"overall_score"}]})",
       [](const json& r) { return has(r, {"instruction"}) && list_of_objects(r, "completions"); }, parse_ultrafeedback},
      {"helpsteer-preference", R"({"prompt","response_1","response_2","preference_strength"}, negative = the first is better)",
       [](const json& r) { return has(r, {"prompt", "response_1", "response_2", "preference_strength"}); }, parse_helpsteer_pairs},
      {"helpsteer", R"({"prompt","response","helpfulness","correctness","coherence","complexity","verbosity"}, consecutive rows of one prompt are one group)",
       [](const json& r) { return has(r, {"prompt", "response", "helpfulness"}); }, parse_helpsteer, true},
      {"swift", R"({"messages":[... chosen last],"rejected_response","margin"})", [](const json& r) { return has(r, {"messages", "rejected_response"}); }, parse_swift},
      {"conversational", R"({"prompt":[messages],"chosen":[messages],"rejected":[messages],"margin"}, TRL and OpenRLHF)",
       [](const json& r) { return has(r, {"prompt", "chosen", "rejected"}) && r["prompt"].is_array(); }, parse_pairs},
      {"conversational-implicit", R"({"chosen":[messages],"rejected":[messages],"margin"}, TRL and OpenRLHF)",
       [](const json& r) { return has(r, {"chosen", "rejected"}) && r["chosen"].is_array() && !has(r, {"prompt"}); }, parse_pairs},
      {"standard", R"({"prompt","chosen","rejected","margin"}, TRL, OpenRLHF, RewardBench)", [](const json& r) { return has(r, {"prompt", "chosen", "rejected"}); }, parse_pairs},
      {"standard-implicit", R"({"chosen","rejected","margin"} or {"text_chosen","text_rejected"}: the prompt is what both begin with)",
       [](const json& r) { return has(r, {"chosen", "rejected"}) || has(r, {"text_chosen", "text_rejected"}); }, parse_pairs},
  };
  return kForms;
}

const Form* detect_form(const json& row) {
  if (!row.is_object()) return nullptr;
  for (const Form& form : forms()) {
    if (form.matches(row)) return &form;
  }
  return nullptr;
}

const Form& form_by_name(const std::string& name) {
  std::string names;
  for (const Form& form : forms()) {
    if (form.name == name) return form;
    names += (names.empty() ? "" : ", ") + form.name;
  }
  throw ConfigError(fmt::format("form \"{}\" is unknown. Known: auto, {}", name, names));
}

}  // namespace dmoerm::pair
