#include "eval/server_protocol.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/counted.h"
#include "base/error.h"
#include "base/json_text.h"
#include "judge/chat_reply.h"
#include "judge/untrusted_text.h"

namespace dmoerm::eval {
namespace {

using judge::member;
using nlohmann::json;

json messages_json(const std::vector<preference::Message>& prompt) {
  json messages = json::array();
  for (const preference::Message& message : prompt) messages.push_back({{"role", message.role}, {"content", message.content}});
  return messages;
}

json vllm_body(const std::vector<preference::Message>& prompt, const std::string& response, const ServerTexts* texts) {
  json body = {{"use_activation", false}};  // the raw score
  if (texts != nullptr) {
    body["input"] = texts->text(prompt, response);
    body["add_special_tokens"] = false;  // the template has them
    return body;
  }
  body["messages"] = messages_json(prompt);
  body["messages"].push_back({{"role", "assistant"}, {"content", response}});
  return body;
}

json openrlhf_body(const std::vector<preference::Message>& prompt, std::span<const std::string> responses,
                   const ServerTexts& texts) {
  json body = {{"query", json::array()}, {"prompts", json::array()}, {"labels", json::array()}};
  for (const std::string& response : responses) {
    body["query"].push_back(texts.text(prompt, response));
    body["prompts"].push_back(texts.prompt(prompt));
    body["labels"].push_back("");
  }
  return body;
}

/// Refuse a reply. @param what  what a usable one has
[[noreturn]] void refuse_reply(const std::string& what, const json& found) {
  throw DataError("server-reply-unusable", fmt::format("expected {}, found {}", what, judge::one_line(json_line(found), 200)));
}

/// The finite numbers of a list. @param place  where it stands in the reply
std::vector<double> numbers_of(const json& list, const char* place, std::size_t count) {
  const std::string what =
      fmt::format("{} in the list {}, one for each response", counted(static_cast<std::int64_t>(count), "finite number"), place);
  if (!list.is_array() || list.size() != count) refuse_reply(what, list);
  std::vector<double> numbers;
  for (const json& value : list) {
    if (!value.is_number() || !std::isfinite(value.get<double>())) refuse_reply(what, list);
    numbers.push_back(value.get<double>());
  }
  return numbers;
}

/// The one element of vLLM's list "data".
const json& only_row(const json& body) {
  const json& data = member(body, "data");
  if (!data.is_array() || data.size() != 1) refuse_reply("the list data with one element", data.is_null() ? body : data);
  return data[0];
}

/// The score in vLLM's pooled data: one number, or one for each token, of which the last one's is the score.
std::vector<double> pooled_score(const json& row) {
  const json& data = member(row, "data");
  const bool of_tokens = data.is_array() && !data.empty() && data.back().is_array();
  return numbers_of(of_tokens ? data.back() : data, of_tokens ? "data[0].data[-1]" : "data[0].data", 1);
}

std::vector<double> scores_of(ServerProtocol protocol, const json& body, std::size_t responses) {
  switch (protocol) {
    case ServerProtocol::reward:
      return numbers_of(member(body, "scores"), "scores", responses);
    case ServerProtocol::get_reward:
      return numbers_of(member(body, "rewards"), "rewards", responses);
    case ServerProtocol::classify:
      return numbers_of(member(only_row(body), "probs"), "data[0].probs", responses);
    case ServerProtocol::pooling:
      return pooled_score(only_row(body));
  }
  return {};
}

}  // namespace

std::size_t responses_max(ServerProtocol protocol) {
  constexpr std::size_t kTogether = 64;  // long lists stay below a server's limit on the tokens of a request
  return protocol == ServerProtocol::reward ? kTogether : 1;
}

std::string request_body(const ServerAddress& address, const std::vector<preference::Message>& prompt,
                         std::span<const std::string> responses, const ServerTexts* texts) {
  DMOERM_CHECK(!responses.empty() && responses.size() <= responses_max(address.protocol), "responses of one request");
  DMOERM_CHECK(texts != nullptr || address.protocol != ServerProtocol::get_reward, "/get_reward takes texts in a template");
  json body;
  if (address.protocol == ServerProtocol::reward) {
    body = {{"prompt", messages_json(prompt)}, {"responses", json::array()}, {"normalise", "none"}};
    for (const std::string& response : responses) body["responses"].push_back(response);
  } else if (address.protocol == ServerProtocol::get_reward) {
    body = openrlhf_body(prompt, responses, *texts);
  } else {
    body = vllm_body(prompt, responses.front(), texts);
  }
  if (!address.model.empty()) body["model"] = address.model;
  return json_line(body);
}

ServerReply read_server_reply(ServerProtocol protocol, std::string_view body, std::size_t responses) {
  const std::optional<json> parsed = judge::parse_json(body);
  if (!parsed) throw DataError("server-reply-unusable", fmt::format("expected a JSON object, found {}", judge::what_came(body)));
  if (!parsed->is_object()) refuse_reply("a JSON object", *parsed);
  ServerReply reply;
  reply.scores = scores_of(protocol, *parsed, responses);
  const json& tokens = member(member(*parsed, "usage"), "total_tokens");
  if (tokens.is_number_integer() && tokens.get<std::int64_t>() >= 0) reply.tokens = tokens.get<std::int64_t>();
  for (const char* key : {"model", "template_sha256"}) {
    if (const json& fact = member(*parsed, key); fact.is_string()) reply.facts[key] = judge::one_line(fact.get<std::string>());
  }
  return reply;
}

}  // namespace dmoerm::eval
