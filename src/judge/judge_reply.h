// A judge's reply to one request: its text, or why there is none, and what it may have cost.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace dmoerm::judge {

struct JudgeReply {
  enum Status : std::uint8_t {
    ok,
    refused,    ///< The judge or its content filter declines to answer
    error,      ///< This request failed for good: see detail
    cancelled,  ///< The request was never answered, because the client was stopped or one of the statuses below ended everything
    // These end everything: waiting requests are cancelled, those in flight are collected, nothing more is sent.
    unauthorised,  ///< 401, or 403 of a key that has never worked
    unusable,  ///< The address is a redirect or has the wrong one of http and https, or the server does not know a parameter that
               ///< every request has
    model_unknown,    ///< 404
    quota_exhausted,  ///< 402, 429 with insufficient_quota
    untrusted,        ///< The server's certificate is not valid
    unreachable       ///< No endpoint has worked for longer than the policy allows
  };
  /// What the server objected to, where a caller can do something about it.
  enum class Reason : std::uint8_t {
    other,
    response_format  ///< The server does not support the request's response_format
  };
  std::uint64_t ticket = 0;
  Status status = error;
  Reason reason = Reason::other;
  int http_status =
      0;  ///< HTTP status of the last try; 0 if no reply came. An error report inside a 200 counts as its own status
  std::string text, finish_reason;
  std::string model;     ///< Name of the model that the server says has answered; empty if it does not say
  std::string endpoint;  ///< Address of the last try, if the judge has several; else empty
  std::string detail;    ///< Description for the user; empty if the status is ok
  std::int32_t prompt_tokens = -1, completion_tokens = -1;  ///< Tokens by the server's count; -1 if it did not say
  std::int64_t charged_micros = -1;  ///< Cost in millionths of a US dollar, as the server says; -1 if it did not
  bool too_many_tokens = false;      ///< Whether a count is -1 because it states more tokens than there can be
  std::string odd_cost;              ///< What it states as the cost, if that cannot be one; else empty
  nlohmann::json logprobs;           ///< choices[0].logprobs
  double seconds = 0;                ///< Duration of the last try
  int tries = 0;                     ///< Tries that were sent, at least in part
  int throttled_tries = 0;           ///< Those of them that the server refused as too many (429, 503) and did no work for
  int billed_tries = 0;  ///< Tries without a usable reply that may have been charged; a try that the server refused is not one
  std::string billed_problem;  ///< What was wrong with the last of them
  bool maybe_billed = false;   ///< A try was cut off after it was sent, or its reply was unusable: it may have cost money
};

/// "ok", "refused", ...
std::string_view to_string(JudgeReply::Status status);
/// Whether the status ends everything.
bool ends_all(JudgeReply::Status status);

}  // namespace dmoerm::judge
