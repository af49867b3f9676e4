// Reads the HTTP body of a chat completion. Any bytes give a value, never a crash or an exception.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace dmoerm::judge {

struct ChatReply {
  enum class Kind : std::uint8_t {
    ok,       ///< The judge's text is there
    refused,  ///< The judge or its content filter declines to answer
    failed,   ///< The body is an error report of the server: see ApiProblem
    none,     ///< The list of choices is empty: the server gave no answer, and may give one when it is asked again
    bad       ///< The body is not a chat completion with exactly one choice: `problem` says why
  };
  Kind kind = Kind::bad;
  std::string text;           ///< Text of the answer, or of the refusal
  std::string finish_reason;  ///< "stop", "length", "content_filter", ...
  std::string problem;
  std::int32_t prompt_tokens = -1, completion_tokens = -1;  ///< -1 if the server did not say
  nlohmann::json logprobs;                                  ///< choices[0].logprobs; null if there are none
};

/// An error report: {"error": {"message", "type", "code", "param"}}, or what other servers send instead.
struct ApiProblem {
  std::string message, type, code;
  std::string param;  ///< Name of the request parameter that is at fault
  int status = 0;     ///< A number in "code": some gateways send errors with HTTP status 200
};

/// Read the body of a reply with HTTP status 200.
ChatReply parse_chat_reply(std::string_view body);
/// Read the body of a reply with another status, or of ChatReply::Kind::failed. A body that is not JSON becomes the message,
/// shortened.
ApiProblem parse_api_problem(std::string_view body);

/// Parse untrusted JSON. @return nothing if it is not JSON or nested deeper than 64: copying and writing a value recurse, and the
/// limit keeps them from overflowing the stack
std::optional<nlohmann::json> parse_json(std::string_view body);

/// Untrusted text, made fit for a log line or message: one line, no control characters, valid UTF-8, at most `bytes_max` bytes.
std::string one_line(std::string_view text, std::size_t bytes_max = 300);

}  // namespace dmoerm::judge
