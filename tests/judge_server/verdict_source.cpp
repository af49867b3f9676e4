#include "verdict_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/rng.h"
#include "preference/line_reader.h"

namespace dmoerm::judge_server {
namespace {

using nlohmann::json;
constexpr double kBias = 0.35;  // share of "the first shown" at a gap near 0
constexpr double kSyntheticMargin = 0.02;

std::string_view trim(std::string_view text) {
  const auto space = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

/// Remove the block of response `number` from `prompt`.
std::string take_block(std::string& prompt, int number) {
  const std::string open = fmt::format("<response_{}", number);
  for (std::size_t begin = prompt.find(open); begin != std::string::npos; begin = prompt.find(open, begin + 1)) {
    const std::size_t head_end = prompt.find(">\n", begin);
    if (head_end == std::string::npos) break;
    const std::string tag = prompt.substr(begin + open.size(), head_end - begin - open.size());
    if (tag.size() > 64 || tag.find('\n') != std::string::npos) continue;
    const std::string close = fmt::format("</response_{}{}>", number, tag);
    const std::size_t end = prompt.find(close, head_end);
    if (end == std::string::npos) continue;
    const std::string text(trim(std::string_view(prompt).substr(head_end + 2, end - head_end - 2)));
    prompt.erase(begin, end + close.size() - begin);
    return text;
  }
  return "";
}

double unit(std::uint64_t seed, std::string_view words) { return Rng(seed, words).uniform(); }

/// Score of a text under a point: the mean, over its letters, of weights drawn by the point's name.
double made_up_score(std::uint64_t seed, const std::string& point, const std::string& text) {
  std::array<double, 256> weight{};
  Rng rng(seed, point);
  for (double& w : weight) w = rng.uniform();
  double sum = 0;
  for (const char c : text) sum += weight[static_cast<unsigned char>(c)];
  return text.empty() ? 0 : sum / static_cast<double>(text.size());
}

/// "1", "2" or "tie" from the scores of the responses in the order shown. @param name  name of the question, the same for both
/// orders
std::string judge_scores(std::uint64_t seed, const std::string& name, double first, double second, bool swapped, double margin) {
  const double gap = std::abs(first - second);
  const double bias = gap == 0 ? 2 * kBias : kBias * std::exp2(-gap / margin);
  if (unit(seed, "order/" + name) < bias) return "1";
  if (gap > 0) return first > second ? "1" : "2";
  const double u = unit(seed, "equal/" + name);
  if (u < 1.0 / 3) return "tie";
  return (u < 2.0 / 3) == swapped ? "2" : "1";
}

}  // namespace

Question read_question(std::string_view prompt) {
  Question question;
  question.rest = prompt;
  question.first = take_block(question.rest, 1);
  question.second = take_block(question.rest, 2);
  for (std::size_t at = 0; at < question.rest.size();) {
    const std::size_t end = std::min(question.rest.find('\n', at), question.rest.size());
    const std::string_view line = trim(std::string_view(question.rest).substr(at, end - at));
    if (line.substr(0, 6) == "point:") question.point = trim(line.substr(6));
    at = end + 1;
  }
  return question;
}

struct VerdictSource::Data {
  struct Response {
    std::map<std::string, double> scores;
  };
  struct Row {
    std::string id, category, query;
    std::map<std::int64_t, Response> responses;  ///< Responses by rid
    std::map<std::string, std::map<std::pair<std::int64_t, std::int64_t>, std::array<std::string, 2>>>
        verdicts;  ///< Verdicts by point and (a, b)
  };
  struct Place {
    std::size_t row;
    std::int64_t rid;
  };
  struct DigestHash {
    std::size_t operator()(const Digest& digest) const {
      std::size_t value = 0;
      std::memcpy(&value, digest.data(), sizeof value);
      return value;
    }
  };

  void add(const json& row) {
    Row added;
    added.id = row.value("id", std::to_string(rows.size()));
    added.category = row.value("category", "");
    if (const json& prompt = row.at("prompt"); prompt.is_string()) {
      added.query = trim(prompt.get_ref<const std::string&>());
    } else if (!prompt.empty()) {
      added.query = trim(prompt.back().at("content").get_ref<const std::string&>());
    }
    for (const json& r : row.value("responses", json::array())) {
      const auto rid = r.at("rid").get<std::int64_t>();
      Response& response = added.responses[rid];
      const json scores = r.value("scores", json::object());
      for (const auto& [point, score] : scores.items()) response.scores[point] = score.get<double>();
      if (r.contains("overall") && r["overall"].is_number()) response.scores["overall"] = r["overall"].get<double>();
      places[sha256(trim(r.at("text").get_ref<const std::string&>()))].push_back({rows.size(), rid});
    }
    for (const json& v : row.value("verdicts", json::array())) {
      added.verdicts[v.at("point").get<std::string>()][{v.at("a").get<std::int64_t>(), v.at("b").get<std::int64_t>()}] = {
          v.at("first_order").get<std::string>(), v.at("second_order").get<std::string>()};
    }
    rows.push_back(std::move(added));
  }

  void read_margins(const std::filesystem::path& file) {
    if (!std::filesystem::exists(file)) return;
    const json all = read_json(file);
    for (const auto& [category, entry] : all.items()) {
      const json& margin = entry.value("clear_margin", json());
      if (margin.is_number()) margins[category][""] = margin.get<double>();
      if (!margin.is_object()) continue;
      for (const auto& [point, value] : margin.items()) margins[category][point] = value.get<double>();
    }
  }

  [[nodiscard]] double margin_of(const std::string& category, const std::string& point) const {
    const auto by_point = margins.find(category);
    if (by_point == margins.end()) return 1;
    const auto exact = by_point->second.find(point), any = by_point->second.find("");
    const double margin = exact != by_point->second.end() ? exact->second : any != by_point->second.end() ? any->second : 1;
    return margin > 0 ? margin : 1;
  }

  /// Verdict of one row on two of its responses, the first shown first.
  [[nodiscard]] std::optional<std::string> of_row(std::uint64_t seed, const Row& row, const std::string& point,
                                                  std::int64_t first, std::int64_t second) const {
    if (const auto recorded = row.verdicts.find(point); recorded != row.verdicts.end()) {
      for (const bool swapped : {false, true}) {
        const auto found = recorded->second.find(swapped ? std::pair(second, first) : std::pair(first, second));
        if (found == recorded->second.end()) continue;
        const std::string& word = found->second[swapped];
        return word == "tie" ? "tie" : (word == "first") == swapped ? "2" : "1";
      }
    }
    const auto& scores_1 = row.responses.at(first).scores;
    const auto& scores_2 = row.responses.at(second).scores;
    const auto one = scores_1.find(point), two = scores_2.find(point);
    if (one == scores_1.end() || two == scores_2.end()) return std::nullopt;
    const std::string name = fmt::format("{}/{}/{}/{}", row.id, std::min(first, second), std::max(first, second), point);
    return judge_scores(seed, name, one->second, two->second, first > second, margin_of(row.category, point));
  }

  [[nodiscard]] std::optional<std::string> find(std::uint64_t seed, const Question& question) const {
    const auto first = places.find(sha256(question.first)), second = places.find(sha256(question.second));
    if (first == places.end() || second == places.end()) return std::nullopt;
    std::optional<std::string> fallback;
    for (const Place& one : first->second) {
      for (const Place& two : second->second) {
        if (one.row != two.row || one.rid == two.rid) continue;
        const Row& row = rows[one.row];
        const auto verdict = of_row(seed, row, question.point, one.rid, two.rid);
        if (!verdict) continue;
        if (question.rest.find(row.query) != std::string::npos) return verdict;  // the same two texts may answer several queries
        if (!fallback) fallback = verdict;
      }
    }
    return fallback;
  }

  std::vector<Row> rows;
  std::unordered_map<Digest, std::vector<Place>, DigestHash> places;  ///< Places by SHA-256 of the trimmed text
  std::map<std::string, std::map<std::string, double>> margins;       ///< Margins by category and point ("" = any)
};

VerdictSource::VerdictSource(std::uint64_t seed) : seed_(seed) {}

VerdictSource::VerdictSource(std::uint64_t seed, const std::filesystem::path& data)
    : seed_(seed), data_(std::make_unique<Data>()) {
  data_->read_margins(data.parent_path() / "capabilities.json");
  preference::LineReader reader(data);
  for (std::string line; reader.next(line);) {
    try {
      if (!line.empty()) data_->add(json::parse(line));
    } catch (const json::exception& e) {
      throw DataError(fmt::format("{}:{}: not a row of preference data: {}", data.string(), reader.number(), e.what()));
    }
  }
}

VerdictSource::~VerdictSource() = default;

std::string VerdictSource::verdict(const Question& question) const {
  if (data_) {
    if (const auto found = data_->find(seed_, question)) return *found;
  }
  const bool swapped = question.first > question.second;
  const std::string& low = swapped ? question.second : question.first;
  const std::string& high = swapped ? question.first : question.second;
  const std::string name = fmt::format("{}/{:016x}/{:016x}", question.point, stable_hash(low), stable_hash(high));
  return judge_scores(seed_, name, made_up_score(seed_, question.point, question.first),
                      made_up_score(seed_, question.point, question.second), swapped, kSyntheticMargin);
}

}  // namespace dmoerm::judge_server
