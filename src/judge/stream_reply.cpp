#include "judge/stream_reply.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "base/text.h"
#include "judge/untrusted_text.h"

namespace dmoerm::judge {
namespace {

using nlohmann::json;

/// Puts chunks together.
class Joiner {
 public:
  /// @return false if the chunk is not one of a chat completion with one choice
  bool add(const json& chunk) {
    if (const json& error = member(chunk, "error"); !error.is_null()) {
      error_ = error;
      return true;
    }
    take_usage(member(chunk, "usage"));
    take_usage(member(chunk, "usageMetadata"));
    take_usage(member(member(chunk, "x_groq"), "usage"));
    const json& choices = member(chunk, "choices");
    if (choices.is_array() && choices.empty()) return true;  // the chunk with the usage
    if (!choices.is_array() || choices.size() != 1) return false;
    const json& choice = choices[0];
    if (const json& index = member(choice, "index"); !index.is_null() && index != 0) return false;
    take_usage(member(choice, "usage"));
    for (const char* part : {"delta", "message"}) add_part(member(choice, part));
    if (const json& reason = member(choice, "finish_reason"); reason.is_string()) finish_reason_ = reason;
    if (const json& tokens = member(member(choice, "logprobs"), "content"); tokens.is_array())
      logprobs_.insert(logprobs_.end(), tokens.begin(), tokens.end());
    return true;
  }
  void end() { ended_ = true; }

  [[nodiscard]] std::optional<json> result() const {
    if (!error_.is_null()) return json{{"error", error_}};
    if (!ended_ && finish_reason_.is_null()) return std::nullopt;
    if (!any_) return std::nullopt;
    json message = {{"role", "assistant"}, {"content", content_}};
    if (!refusal_.empty()) message["refusal"] = refusal_;
    json choice = {{"message", message}, {"finish_reason", finish_reason_}};
    if (!logprobs_.empty()) choice["logprobs"] = {{"content", logprobs_}};
    json body = {{"choices", json::array({choice})}};
    if (usage_.is_object()) body["usage"] = usage_;
    return body;
  }

 private:
  void take_usage(const json& usage) {
    if (usage.is_object()) usage_ = usage;
  }

  void add_part(const json& part) {
    if (!part.is_object()) return;
    any_ = true;
    if (const json& text = member(part, "content"); text.is_string()) content_ += text.get<std::string>();
    if (const json& text = member(part, "refusal"); text.is_string()) refusal_ += text.get<std::string>();
  }

  std::string content_, refusal_;
  json finish_reason_, usage_, error_;
  json::array_t logprobs_;
  bool ended_ = false, any_ = false;
};

}  // namespace

bool is_stream(std::string_view body) {
  const std::string_view text = trim(body);
  return text.starts_with("data:") || text.starts_with("event:") || text.starts_with("id:") || text.starts_with(": ");
}

std::optional<json> join_stream(std::string_view body) {
  Joiner joiner;
  while (!body.empty()) {
    const std::size_t end = std::min(body.find('\n'), body.size());
    const std::string_view line = trim(body.substr(0, end));
    body.remove_prefix(std::min(end + 1, body.size()));
    if (!line.starts_with("data:")) continue;
    const std::string_view data = trim(line.substr(5));
    if (data == "[DONE]") {
      joiner.end();
      continue;
    }
    const auto chunk = parse_json(data);
    if (!chunk || !joiner.add(*chunk)) return std::nullopt;
  }
  return joiner.result();
}

}  // namespace dmoerm::judge
