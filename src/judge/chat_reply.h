// The HTTP body of a chat completion, read with distrust: whatever bytes come, the answer is a value, never a crash and never an
// exception.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace dmoerm::judge {

struct ChatReply {
  enum class Kind : std::uint8_t {
    ok,       ///< the judge's text is there
    refused,  ///< the judge or its content filter will not answer
    failed,   ///< the body is an error report of the server: see ApiProblem
    bad       ///< not a chat completion with exactly one choice: `problem` says why
  };
  Kind kind = Kind::bad;
  std::string text;           ///< of a refusal its wording
  std::string finish_reason;  ///< "stop", "length", "content_filter", ...
  std::string problem;
  std::int32_t prompt_tokens = -1, completion_tokens = -1;  ///< -1 if the server does not say
  nlohmann::json logprobs;                                  ///< choices[0].logprobs; null if there are none
};

/// An error report: {"error": {"message", "type", "code"}} and the forms that other servers have for it.
struct ApiProblem {
  std::string message, type, code;
  int status = 0;  ///< a number in "code": some gateways send errors with HTTP status 200
};

/// Read the body of a reply with HTTP status 200.
ChatReply parse_chat_reply(std::string_view body);
/// Read the body of a reply with another status, or of ChatReply::Kind::failed. Never fails: a body that is no JSON becomes the
/// message, cut.
ApiProblem parse_api_problem(std::string_view body);

/// The JSON value of a stranger, or nothing if it is none or nested deeper than 64, so that it can be copied and written without
/// a thought to the stack.
std::optional<nlohmann::json> parse_json(std::string_view body);

/// Text of a stranger for a log line or message: one line, no control characters, valid UTF-8, at most `bytes_max` bytes.
std::string one_line(std::string_view text, std::size_t bytes_max = 300);

}  // namespace dmoerm::judge
