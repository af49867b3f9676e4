// Reads the HTTP body of a chat completion. Any bytes give a value, never a crash or an exception.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "judge/api_problem.h"
#include "judge/untrusted_text.h"

namespace dmoerm::judge {

struct ChatReply {
  enum class Kind : std::uint8_t {
    ok,       ///< The judge's text is there
    refused,  ///< The judge or its content filter declines to answer
    failed,  ///< The body is an error report of the server: see ApiProblem. If it counts tokens of an answer, these were paid for
    none,    ///< The list of choices is empty, or the provider failed: there may be an answer when it is asked again
    bad      ///< The body is not a chat completion with exactly one choice: `problem` says why
  };
  Kind kind = Kind::bad;
  std::string text;           ///< Text of the answer, or of the refusal
  std::string finish_reason;  ///< "stop", "length", "content_filter", ...
  std::string model;          ///< Name of the model that the server says has answered; empty if it does not say
  std::string problem;
  std::int32_t prompt_tokens = -1, completion_tokens = -1;  ///< -1 if the server did not count
  std::int64_t charged_micros = -1;                         ///< Millionths of a US dollar by the server; -1 if it does not say
  bool too_many_tokens = false;  ///< Whether a count is -1 because the server states more tokens than there can be
  std::string odd_cost;          ///< What the server states as the cost, if that cannot be one; else empty
  nlohmann::json logprobs;       ///< choices[0].logprobs; null if there are none
};

/// Whether a finish_reason says that the answer was cut off at its largest number of tokens: "length", or another server's word.
bool is_cut_off(std::string_view finish_reason);

/// What a body is that is not JSON: "an empty body", "a web page ...".
std::string what_came(std::string_view body);
/// Read the body of a reply with HTTP status 200.
ChatReply parse_chat_reply(std::string_view body);
/// Read the body of a reply with another status, or of ChatReply::Kind::failed. A body that is not JSON becomes the message,
/// shortened.
ApiProblem parse_api_problem(std::string_view body);

}  // namespace dmoerm::judge
