#include "wire/reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace dmoerm::wire {

using nlohmann::json;

namespace {

/// The texts of a request in the order in which it names them.
struct Row {
  const Item* item = nullptr;
  const Scored* scored = nullptr;
  double value = 0;  ///< the score as the client wants it
};

double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }

/// The scores of one group as the client wants them.
std::vector<double> values_of(const Scored* scored, std::size_t count, Normalise normalise) {
  std::vector<double> values;
  for (std::size_t i = 0; i < count; ++i)
    values.push_back(normalise == Normalise::sigmoid    ? sigmoid(scored[i].score)
                     : normalise == Normalise::standard ? scored[i].standardised
                                                        : scored[i].score);
  if (normalise != Normalise::softmax || count == 0) return values;
  const double most = *std::ranges::max_element(values);
  for (double& v : values) v = std::exp(v - most);
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  for (double& v : values) v /= sum;
  return values;
}

std::vector<Row> rows_of(const Request& request, const std::vector<Scored>& scored) {
  DMOERM_CHECK(scored.size() == request.size(), "a score for each text");
  std::vector<Row> rows(scored.size());
  std::size_t next = 0;
  for (const Group& group : request.groups) {
    const std::vector<double> values = values_of(scored.data() + next, group.items.size(), request.normalise);
    for (std::size_t i = 0; i < group.items.size(); ++i)
      rows[group.items[i].place] = {&group.items[i], &scored[next + i], values[i]};
    next += group.items.size();
  }
  return rows;
}

std::int64_t tokens_read(const std::vector<Row>& rows) {
  std::int64_t sum = 0;
  for (const Row& row : rows) sum += row.scored->tokens - row.scored->cut_tokens;
  return sum;
}

json usage_of(const std::vector<Row>& rows) {
  const std::int64_t tokens = tokens_read(rows);
  return {{"prompt_tokens", tokens}, {"total_tokens", tokens}, {"completion_tokens", 0}, {"prompt_tokens_details", nullptr}};
}

/// Rows with the highest value first; equal ones stay in their order.
std::vector<std::size_t> ranking(const std::vector<Row>& rows) {
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return rows[a].value > rows[b].value; });
  return order;
}

/// Base64 of a score as float32 with its lowest byte first.
std::string base64_of(double value) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  const std::uint64_t bytes =
      (static_cast<std::uint64_t>(bits & 0xFFU) << 40U) | (static_cast<std::uint64_t>(bits >> 8U & 0xFFU) << 32U) |
      (static_cast<std::uint64_t>(bits >> 16U & 0xFFU) << 24U) | (static_cast<std::uint64_t>(bits >> 24U) << 16U);
  std::string text;
  for (unsigned shift = 42; text.size() < 6; shift -= 6) text += kDigits[bytes >> shift & 63U];
  return text + "==";
}

json number_list(const Request& request, double value) { return request.base64 ? json(base64_of(value)) : json::array({value}); }

// --- ours ---

json parts_of(const Scored& s) {
  json parts = {{"points", s.contributions}};
  if (s.base_contribution) parts["base"] = *s.base_contribution;
  if (!s.second.empty()) parts["second"] = s.second_contribution;
  return parts;
}

json route_of(const Scored& s) {
  json route = {{"category", s.category}, {"confidence", s.confidence}, {"distance", s.distance}, {"fallback", s.fallback}};
  if (!s.second.empty()) route["second"] = {{"category", s.second}, {"share", s.second_share}};
  return route;
}

/// The scores of one prompt's responses, with the keys of `dmoerm score` and more. Each list has an element for each row: null
/// where the model that scored has no base or no parts, though another's has.
json group_reply(const std::vector<Row>& rows) {
  const bool bases = std::ranges::any_of(rows, [](const Row& row) { return row.scored->base.has_value(); });
  const bool parts = std::ranges::any_of(rows, [](const Row& row) { return !row.scored->contributions.empty(); });
  json reply = {{"scores", json::array()},
                {"points", json::array()},
                {"spread", json::array()},
                {"tokens", json::array()},
                {"cut_tokens", json::array()}};
  for (const Row& row : rows) {
    const Scored& s = *row.scored;
    reply["scores"].push_back(row.value);
    reply["points"].push_back(s.points);
    reply["spread"].push_back(s.spread);
    reply["tokens"].push_back(s.tokens);
    reply["cut_tokens"].push_back(s.cut_tokens);
    if (bases) reply["base"].push_back(s.base ? json(*s.base) : json(nullptr));
    if (parts) reply["contributions"].push_back(s.contributions.empty() ? json(nullptr) : parts_of(s));
  }
  return reply;
}

/// The rows of one group, as messages with one route.
json prompt_reply(const Group& group, const std::vector<Row>& rows) {
  json reply = group_reply(rows);
  reply["scored_by"] = rows.front().scored->scored_by;
  reply["route"] = route_of(*rows.front().scored);
  if (!group.id.is_null()) reply["id"] = group.id;
  return reply;
}

/// Texts of several prompts: a route for each.
json texts_reply(const std::vector<Row>& rows) {
  json reply = group_reply(rows);
  reply["scored_by"] = reply["routes"] = reply["split"] = json::array();
  for (const Row& row : rows) {
    reply["scored_by"].push_back(row.scored->scored_by);
    reply["routes"].push_back(route_of(*row.scored));
    reply["split"].push_back(row.scored->split);
  }
  return reply;
}

json reward(const Request& request, const std::vector<Row>& rows, const ReplyFacts& facts) {
  json reply = json::object();
  const bool in_messages = !request.groups.empty() && request.groups[0].form == Form::messages;
  if (request.nested) {
    reply["items"] = json::array();
    for (const Group& group : request.groups) {
      std::vector<Row> own;
      for (const Item& item : group.items) own.push_back(rows[item.place]);
      reply["items"].push_back(prompt_reply(group, own));
    }
  } else {
    reply = in_messages ? prompt_reply(request.groups[0], rows) : texts_reply(rows);
  }
  reply["model"] = facts.model;
  reply["normalise"] = name_of(request.normalise);
  reply["template_sha256"] = facts.template_sha256;
  return reply;
}

// --- OpenRLHF ---

/// Flat lists for its logs. The points are those of the whole bundle, because its trainer joins the replies of many prompts; one
/// that did not score a text counts as average, 0.
json extra_logs(const std::vector<Row>& rows, const ReplyFacts& facts) {
  json logs = json::object();
  for (const char* key : {"confidence", "distance", "fallback", "spread", "tokens", "cut_tokens"}) logs[key] = json::array();
  for (const std::string& point : facts.points) logs["point_" + point] = json::array();
  for (const Row& row : rows) {
    const Scored& s = *row.scored;
    logs["confidence"].push_back(s.confidence);
    logs["distance"].push_back(s.distance);
    logs["fallback"].push_back(s.fallback ? 1.0 : 0.0);
    logs["spread"].push_back(s.spread);
    logs["tokens"].push_back(static_cast<double>(s.tokens));
    logs["cut_tokens"].push_back(static_cast<double>(s.cut_tokens));
    for (const std::string& point : facts.points) {
      const auto found = s.points.find(point);
      logs["point_" + point].push_back(found == s.points.end() ? 0.0 : found->second);
    }
  }
  return logs;
}

json openrlhf(const std::vector<Row>& rows, const ReplyFacts& facts) {
  json rewards = json::array(), scores = json::array();
  for (const Row& row : rows) {
    rewards.push_back(row.value);
    scores.push_back(sigmoid(row.scored->standardised));  // its filter of prompts expects them between 0 and 1
  }
  return {{"rewards", rewards}, {"scores", scores}, {"extra_logs", extra_logs(rows, facts)}};
}

// --- vLLM, SGLang, OpenAI ---

std::string request_id(const Request& request, const ReplyFacts& facts, const char* prefix) {
  return fmt::format("{}-{}", prefix, request.id.empty() ? facts.id : request.id);
}

json list_reply(const Request& request, const std::vector<Row>& rows, const ReplyFacts& facts, const char* prefix, json data) {
  return {{"id", request_id(request, facts, prefix)},
          {"object", "list"},
          {"created", facts.created},
          {"model", facts.model},
          {"data", std::move(data)},
          {"usage", usage_of(rows)}};
}

json classify(const Request& request, const std::vector<Row>& rows, const ReplyFacts& facts) {
  json data = json::array();
  for (std::size_t i = 0; i < rows.size(); ++i)
    data.push_back({{"index", i}, {"label", "LABEL_0"}, {"probs", {rows[i].value}}, {"num_classes", 1}});
  return list_reply(request, rows, facts, "classify", std::move(data));
}

json pooling(const Request& request, const std::vector<Row>& rows, const ReplyFacts& facts) {
  json data = json::array();
  for (std::size_t i = 0; i < rows.size(); ++i)
    data.push_back({{"index", i}, {"object", "pooling"}, {"data", number_list(request, rows[i].value)}});
  return list_reply(request, rows, facts, "pool", std::move(data));
}

json score(const Request& request, const std::vector<Row>& rows, const ReplyFacts& facts) {
  json data = json::array();
  for (std::size_t i = 0; i < rows.size(); ++i) data.push_back({{"index", i}, {"object", "score"}, {"score", rows[i].value}});
  return list_reply(request, rows, facts, "embd", std::move(data));
}

json embeddings(const Request& request, const std::vector<Row>& rows, const ReplyFacts& facts) {
  json data = json::array();
  for (std::size_t i = 0; i < rows.size(); ++i)
    data.push_back({{"object", "embedding"}, {"index", i}, {"embedding", number_list(request, rows[i].value)}});
  return list_reply(request, rows, facts, "embd", std::move(data));
}

/// The best rows of a ranking, as many as the client wants.
std::vector<std::size_t> best(const Request& request, const std::vector<Row>& rows) {
  std::vector<std::size_t> order = ranking(rows);
  if (request.top_n > 0 && request.top_n < order.size()) order.resize(request.top_n);
  return order;
}

json vllm_rerank(const Request& request, const std::vector<Row>& rows, const ReplyFacts& facts) {
  json results = json::array();
  for (const std::size_t i : best(request, rows)) {
    json result = {{"index", i}, {"relevance_score", rows[i].value}};
    if (request.return_text) result["document"] = {{"text", rows[i].item->text}, {"multi_modal", nullptr}};
    results.push_back(std::move(result));
  }
  const std::int64_t tokens = tokens_read(rows);
  return {{"id", request_id(request, facts, "rerank")},
          {"model", facts.model},
          {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}},
          {"results", std::move(results)}};
}

json meta_info(const Request& request, const Row& row, const ReplyFacts& facts) {
  return {{"id", request.id.empty() ? facts.id : request.id},
          {"prompt_tokens", row.scored->tokens - row.scored->cut_tokens},
          {"finish_reason", nullptr}};
}

json sglang_rerank(const Request& request, const std::vector<Row>& rows, const ReplyFacts& facts) {
  json results = json::array();
  for (const std::size_t i : best(request, rows)) {
    json result = {{"score", rows[i].value}, {"index", i}, {"meta_info", meta_info(request, rows[i], facts)}};
    if (request.return_text) result["document"] = rows[i].item->text;
    results.push_back(std::move(result));
  }
  return results;
}

json sglang_classify(const Request& request, const std::vector<Row>& rows, const ReplyFacts& facts) {
  json list = json::array();
  for (const Row& row : rows) list.push_back({{"embedding", {row.value}}, {"meta_info", meta_info(request, row, facts)}});
  return request.nested ? list : list[0];
}

json sglang_score(const std::vector<Row>& rows, const ReplyFacts& facts) {
  json scores = json::array();
  for (const Row& row : rows) scores.push_back(json::array({row.value}));
  return {{"scores", scores}, {"model", facts.model}, {"usage", usage_of(rows)}, {"object", "scoring"}};
}

// --- TEI, LLaMA-Factory, KServe ---

json tei_predict(const Request& request, const std::vector<Row>& rows) {
  json list = json::array();
  for (const Row& row : rows) list.push_back(json::array({{{"score", row.value}, {"label", "LABEL_0"}}}));
  return request.nested ? list : list[0];
}

json tei_rerank(const Request& request, const std::vector<Row>& rows) {
  json list = json::array();
  for (const std::size_t i : ranking(rows)) {
    json rank = {{"index", i}, {"score", rows[i].value}};
    if (request.return_text) rank["text"] = rows[i].item->text;
    list.push_back(std::move(rank));
  }
  return list;
}

json score_evaluation(const Request& request, const std::vector<Row>& rows, const ReplyFacts& facts) {
  json scores = json::array();
  for (const Row& row : rows) scores.push_back(row.value);
  return {{"id", request_id(request, facts, "scoreval")},
          {"object", "score.evaluation"},
          {"model", facts.model},
          {"scores", std::move(scores)}};
}

json kserve(const Request& request, const std::vector<Row>& rows, const ReplyFacts& facts) {
  json data = json::array();
  for (const Row& row : rows) data.push_back(static_cast<float>(row.value));
  json reply = {
      {"model_name", request.model.empty() ? facts.model : request.model},
      {"model_version", "1"},
      {"outputs",
       json::array({{{"name", "rewards"}, {"datatype", "FP32"}, {"shape", {rows.size(), 1}}, {"data", std::move(data)}}})}};
  if (!request.id.empty()) reply["id"] = request.id;
  return reply;
}

}  // namespace

json render(const Request& request, const std::vector<Scored>& scored, const ReplyFacts& facts) {
  const std::vector<Row> rows = rows_of(request, scored);
  switch (request.reply) {
    case Reply::reward:
      return reward(request, rows, facts);
    case Reply::openrlhf:
      return openrlhf(rows, facts);
    case Reply::vllm_classify:
      return classify(request, rows, facts);
    case Reply::vllm_pooling:
      return pooling(request, rows, facts);
    case Reply::vllm_score:
      return score(request, rows, facts);
    case Reply::vllm_rerank:
      return vllm_rerank(request, rows, facts);
    case Reply::sglang_classify:
      return sglang_classify(request, rows, facts);
    case Reply::sglang_score:
      return sglang_score(rows, facts);
    case Reply::sglang_rerank:
      return sglang_rerank(request, rows, facts);
    case Reply::embeddings:
      return embeddings(request, rows, facts);
    case Reply::tei_predict:
      return tei_predict(request, rows);
    case Reply::tei_rerank:
      return tei_rerank(request, rows);
    case Reply::score_evaluation:
      return score_evaluation(request, rows, facts);
    case Reply::kserve:
      return kserve(request, rows, facts);
  }
  return {};
}

}  // namespace dmoerm::wire
