#include "judge/endpoint_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>

#include "base/log.h"
#include "base/text.h"
#include "judge/moderation.h"
#include "judge/untrusted_text.h"

namespace dmoerm::judge {
namespace {

using Next = RetryDecision::Next;
using Outcome = EndpointGate::Outcome;

bool mentions_quota(const ApiProblem& problem) {
  for (const char* word : {"insufficient_quota", "billing_hard_limit_reached", "quota_exceeded", "credits_exhausted",
                           "insufficient_balance", "exceeded_current_quota_error", "1113"}) {  // 1113: Zhipu
    if (problem.code == word || problem.type == word) return true;
  }
  return false;
}

/// Whether the server does not support the request's response_format. Servers have no common code for it: what they share is a
/// client error (or 501) whose report names the parameter or the technique behind it.
bool refuses_response_format(int status, const ApiProblem& report) {
  if (status != 400 && status != 422 && status != 501) return false;
  for (const std::string* text : {&report.param, &report.code, &report.type, &report.message}) {
    for (const char* word : {"response_format", "schema", "guided", "grammar", "structured", "json_validate_failed"}) {
      if (text->find(word) != std::string::npos) return true;
    }
  }
  return false;
}

std::string words_of(const ApiProblem& report) { return lower(report.code + " " + report.type + " " + report.message); }

/// Whether the report is about a length that this question alone exceeds.
bool is_about_length(const ApiProblem& report) {
  return holds_any(lower(report.code + " " + report.message), {"context_length", "context length", "context window", "too long"});
}

/// Whether the status is that of a proxy that has waited in vain for the model, which may have answered after all.
bool is_gateway_timeout(int status) { return status == 504 || status == 524 || status == 598 || status == 599; }

/// Seconds of a pause that a message asks for: "please wait 60000 seconds", "try again in 1h7m12.5s". 0 if it asks for none.
double pause_in_words(const ApiProblem& report) {
  const std::string text = lower(report.message);
  std::size_t at = std::string::npos;
  for (const std::string_view words : {"wait ", "try again in ", "retry in ", "retry after "}) {
    if (const std::size_t found = text.find(words); at == std::string::npos && found != std::string::npos)
      at = found + words.size();
  }
  double seconds = 0;
  while (at < text.size()) {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), number, std::chars_format::fixed);
    if (error != std::errc()) break;
    std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    unit.remove_prefix(std::min(unit.find_first_not_of(' '), unit.size()));
    const std::size_t length = std::min(unit.find_first_not_of("abcdefghijklmnopqrstuvwxyz"), unit.size());
    const std::string_view name = unit.substr(0, length);
    const bool minutes = name == "m" || name.starts_with("min");
    const double factor = name.starts_with("d")   ? 86400
                          : name.starts_with("h") ? 3600
                          : minutes               ? 60
                          : name.starts_with("s") ? 1
                                                  : 0;
    if (factor == 0) break;  // "ms", or no time
    seconds += number * factor;
    at = text.size() - unit.size() + length;
    at = std::min(text.find_first_not_of(" ,", at), text.size());
  }
  return seconds;
}

/// A message without what it quotes of the request, as in "cannot render input: '...'" or "input_value='...'": the question may
/// speak of empty accounts itself.
std::string without_request(std::string message) {
  constexpr std::array<std::string_view, 9> kOfRequest = {"input",  "input_value", "text",  "content", "contents",
                                                          "prompt", "string",      "value", "document"};
  for (std::size_t at = 0; (at = message.find_first_of("'\"`", at)) != std::string::npos; ++at) {
    std::string_view before = trim(std::string_view(message).substr(0, at), " :=({['\"");
    const std::size_t word = before.find_last_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_");
    before.remove_prefix(word == std::string_view::npos ? 0 : word + 1);
    const std::size_t end = message.find(message[at], at + 1);
    if (end == std::string::npos || std::ranges::find(kOfRequest, lower(before)) == kOfRequest.end()) continue;
    message.erase(at + 1, end - at - 1);
    ++at;
  }
  return message;
}

/// Whether the server says that the account, or the budget that somebody has set for the key, is used up. Providers say so with
/// many statuses.
bool is_used_up(const ApiProblem& report) {
  ApiProblem own = report;
  own.message = without_request(std::move(own.message));
  const std::string text = words_of(own);
  return mentions_quota(report) || holds_any(text, {"credit balance is too low",
                                                    "insufficient balance",
                                                    "insufficient_balance",
                                                    "balance is insufficient",
                                                    "insufficient account balance",
                                                    "balance not enough",
                                                    "balance is not enough",
                                                    "not enough balance",
                                                    "not enough credit",
                                                    "insufficient credit",
                                                    "insufficient fund",
                                                    "insufficient_quota",
                                                    "billing_hard_limit_reached",
                                                    "out of credit",
                                                    "no credits",
                                                    "available credits",
                                                    "arrearage",
                                                    "overdue balance",
                                                    "accountoverdue",
                                                    "overdue payment",
                                                    "overdue bill",
                                                    "in arrears",
                                                    "unpaid invoice",
                                                    "serviceunpaid",
                                                    "stopunpaid",
                                                    "resourcepackexhausted",
                                                    "budget_exceeded",
                                                    "budget has been exceeded",
                                                    "budget exceeded",
                                                    "exceededbudget",
                                                    "usage limit exceeded",
                                                    "spending limit",
                                                    "specified api usage limits",
                                                    "spend limit",
                                                    "key limit exceeded",
                                                    "余额不足",
                                                    "欠费"});
}

/// The status that a report with an unspecific one belongs to: providers refuse keys, models and empty accounts so, and every
/// question would be refused alike.
int status_meant(int status, const ApiProblem& report) {
  const bool any_account = status == 401 || status == 403 || status == 412;
  if (status != 400 && status != 422 && !any_account) return status;
  if (!report.is_whole_body && !is_about_length(report) && is_used_up(report)) return 402;
  if (any_account) return status;
  const std::string text = words_of(report);
  if (holds_any(text, {"api key not valid", "api_key_invalid", "invalid api key", "invalid_api_key", "incorrect api key"}))
    return 401;
  if (holds_any(text, {"not a valid model", "model not exist", "model does not exist", "no models loaded", "no model loaded",
                       "model_not_found", "model not found", "unknown model", "invalid model name"}))
    return 404;
  return status;
}

/// Whether the server does not know a parameter, or not with this value, so that it will refuse every question.
bool is_unsupported(int status, const ApiProblem& report) {
  if ((status != 400 && status != 422) || is_about_length(report)) return false;
  return holds_any(words_of(report), {"unsupported_parameter", "unsupported_value", "unknown_parameter", "unsupported parameter",
                                      "unsupported value", "unknown parameter", "unrecognized request argument",
                                      "extra_forbidden", "extra inputs are not permitted"});
}

/// Whether the report says that the provider does not serve the place that the request came from.
bool is_about_place(int status, const ApiProblem& report) {
  const std::string text = words_of(report);
  if (holds_any(text, {"unsupported_country", "region, or territory", "user location is not supported"})) return true;
  return (status == 401 || status == 403 || status == 451) && holds_any(text, {"country", "region", "territory", "location"}) &&
         holds_any(text,
                   {"not supported", "unsupported", "not available", "unavailable", "not allowed", "restricted", "blocked"});
}

/// What to do where a server lets no request through; "" if the key is to blame, as far as can be seen.
std::string access_advice(int status, const ApiProblem& report) {
  const std::string text = words_of(report);
  if (is_about_place(status, report))
    return "; the provider does not serve the country or region that the request came from, whatever the key: ask another "
           "provider "
           "or model, or one that serves it";
  if (holds_any(text, {"ip address", "ip_address", "your ip", "allowlist", "whitelist"}))
    return "; the server does not accept requests from the address of this machine: have it allowed, or send from another "
           "machine";
  if (status == 403 && report.message.starts_with('<'))
    return "; that is the page of a firewall or proxy: check the endpoint's url, and whether this machine may reach it";
  if (holds_any(text, {"account", "organization", "organisation"}) &&
      holds_any(text, {"suspended", "deactivated", "disabled", "terminated", "blocked", "flagged"}))
    return "; the account of the key is blocked: ask its provider, or use a key of another account";
  return "";
}

/// The setting to change where the server objects to a request parameter; "" if none is clear.
std::string setting_of(int status, const ApiProblem& report) {
  if (is_about_length(report))
    return "; lower context_tokens of this judge, so that long texts are cut, or set labels.too_long: skip";
  if (status == 413 && holds_any(words_of(report), {"tokens per minute", "(tpm)"}))
    return "; this one request has more tokens than the provider allows in a minute: lower context_tokens or max_tokens of this "
           "judge, or have the limit raised";
  if (status == 413)
    return "; the texts are too long for the server, or for a gateway or proxy before it, which may allow more bytes (nginx: "
           "client_max_body_size): raise its limit, lower context_tokens of this judge, so that long texts are cut, or set "
           "labels.too_long: skip";
  if (is_about_place(status, report)) return access_advice(status, report);
  const std::string text = lower(report.param + " " + report.message);
  std::string advice;
  const auto add = [&](const char* words) { advice += advice.empty() ? std::string("; in labels.judges: ") + words : ""; };
  if (holds_any(text, {"max_completion_tokens"}))
    add("extra: '{\"max_tokens\": null, \"max_completion_tokens\": 2000}' (and temperature: 1, if the model wants that)");
  if (holds_any(text, {"temperature"})) add("temperature: 1");
  if (holds_any(text, {"response_format", "json_schema", "guided"}) || report.code == "json_validate_failed")
    add("answer: verdict_line");
  if (holds_any(text, {"logprobs"})) add("probabilities: false");
  if (holds_any(text, {"top_p"})) add("top_p: 1");
  if (holds_any(text, {"seed"})) add("seed: -1");
  if (holds_any(text, {"max_tokens"})) add("another max_tokens, or the name that the server has for it (extra)");
  return advice;
}

}  // namespace

bool was_sent(const HttpResult& result) {
  using End = HttpResult::End;
  return result.end != End::not_reached && result.end != End::untrusted && result.end != End::other_scheme;
}

bool succeeded(const HttpResult& result) {
  return result.end == HttpResult::End::replied && result.status >= 200 && result.status < 300;
}

void take_answer(JudgeReply& reply, const ApiKey& key, ChatReply chat) {
  reply.text = key.redact_data(std::move(chat.text));
  reply.finish_reason = key.redact(std::move(chat.finish_reason));
  reply.prompt_tokens = chat.prompt_tokens;
  reply.completion_tokens = chat.completion_tokens;
  reply.charged_micros = chat.charged_micros;
  reply.too_many_tokens = chat.too_many_tokens;
  reply.model = key.redact(std::move(chat.model));
  reply.odd_cost = key.redact(std::move(chat.odd_cost));
  reply.logprobs = std::move(chat.logprobs);
  reply.status = chat.kind == ChatReply::Kind::refused ? JudgeReply::refused : JudgeReply::ok;
}

EndpointErrors::EndpointErrors(const config::EndpointConfig& endpoint, double pause_max_s)
    : shown_(endpoint.url.substr(0, endpoint.url.find('?'))),
      key_place_(endpoint.key_env.empty() ? endpoint.key_file : endpoint.key_env),
      pause_max_s_(pause_max_s),
      key_(ApiKey::load(endpoint.key_env, endpoint.key_file)) {
  if (!key_.empty() && is_unprotected(endpoint.url)) {
    spdlog::warn("[label] endpoint={} warning=\"http sends the API key and the texts unencrypted; use https\"", shown_);
  }
}

RetryDecision EndpointErrors::decide(const HttpResult& result) const {
  using End = HttpResult::End;
  const std::string problem = one_line(key_.redact(result.problem));
  switch (result.end) {
    case End::not_reached:
      return {Next::retry_unreached, Outcome::failed, JudgeReply::error,
              fmt::format("{} cannot be reached: {}", shown_, problem)};
    case End::untrusted:
      return {Next::finish, Outcome::failed, JudgeReply::untrusted,
              fmt::format("{}: its certificate is not valid: {}; nothing was sent. For a server with a certificate of your own, "
                          "name the file of its certificate authority (ca_file)",
                          shown_, problem)};
    case End::other_scheme:
      return {Next::finish, Outcome::failed, JudgeReply::unusable, fmt::format("{}: {} (the endpoint's url)", shown_, problem)};
    case End::cut_off:
      return {
          Next::retry, Outcome::failed, JudgeReply::error, fmt::format("{}: {}", shown_, problem), 0, JudgeReply::Reason::other,
          true};
    case End::too_big:
      return {Next::retry_bad,
              Outcome::answered,
              JudgeReply::error,
              fmt::format("{}: {}", shown_, problem),
              result.status,
              JudgeReply::Reason::other,
              true};
    case End::long_headers: {  // they would be as long again
      RetryDecision decision{Next::finish, Outcome::answered, JudgeReply::error, fmt::format("{}: {}", shown_, problem),
                             result.status};
      decision.charged = true;
      return decision;
    }
    case End::replied:
      break;
  }
  const std::string asked = key_.redact(result.asked.empty() ? shown_ : result.asked);
  if (result.status >= 300 && result.status < 400) {
    return {Next::finish, Outcome::answered, JudgeReply::unusable,
            fmt::format("{} answered {}, a redirect to \"{}\": redirects are not followed; set the endpoint's url to the address "
                        "that the service has",
                        asked, result.status, one_line(key_.redact(result.location), 200)),
            result.status};
  }
  return decide_on_report(result.status, parse_api_problem(result.body), result.headers, asked);
}

RetryDecision EndpointErrors::decide_on_report(int status, const ApiProblem& report, const RateHeaders& headers,
                                               const std::string& asked) const {
  return decide_as(status, std::to_string(status), report, headers, asked);
}

RetryDecision EndpointErrors::decide_as(int said, const std::string& shown_status, const ApiProblem& report,
                                        const RateHeaders& headers, const std::string& asked) const {
  const int status = status_meant(said, report);
  RetryDecision decision;
  decision.http_status = said;
  decision.problem = key_.redact(fmt::format("{} answered {}{}{}", asked.empty() ? shown_ : asked, shown_status,
                                             report.message.empty() ? "" : ": ", report.message));
  if (refuses_response_format(status, report)) decision.reason = JudgeReply::Reason::response_format;
  const auto finish = [&](JudgeReply::Status end, const std::string& advice = "") {
    decision.status = end;
    decision.problem += advice;
    return decision;
  };
  const auto retry = [&](Next next, Outcome outcome) {
    decision.next = next;
    decision.outcome = outcome;
    return decision;
  };
  if (status >= 400 && status != 401 && status != 404 && status != 429 && is_moderation(status, report))
    return finish(JudgeReply::refused);
  switch (status) {
    case 403:
      if (key_accepted_) return finish(JudgeReply::error, "; the key worked before, so this counts for the one question alone");
      decision.unclear = !is_about_access(report);
      [[fallthrough]];
    case 401: {
      const std::string advice = access_advice(status, report);
      if (!advice.empty()) return finish(JudgeReply::unauthorised, advice);
      return finish(JudgeReply::unauthorised,
                    key_.empty() ? "; no API key was sent: name the variable or file that holds it (key_env, key_file)"
                                 : "; check the API key in " + key_place_);
    }
    case 402:
      return finish(JudgeReply::quota_exhausted);
    case 404:
    case 405:
      return finish(
          JudgeReply::model_unknown,
          fmt::format("; check the judge's model name and the endpoint's url: it is the part before /chat/completions, for "
                      "most servers https://host/v1, and is \"{}\" here",
                      shown_));
    case 429:
      if (is_used_up(report)) return finish(JudgeReply::quota_exhausted);
      if (const double pause_s = headers.retry_after_s.value_or(pause_in_words(report)); pause_s > pause_max_s_) {
        return finish(JudgeReply::quota_exhausted,
                      fmt::format("; it asks for a pause of {:.0f} s: run again after that", pause_s));
      }
      return retry(Next::retry_throttled, Outcome::throttled);
    case 503:
      return retry(Next::retry_throttled, Outcome::overloaded);
    case 408:
      decision.charged = true;
      [[fallthrough]];
    case 409:
    case 425:
      return retry(Next::retry, Outcome::answered);
    default:
      break;
  }
  if (status >= 500) {
    decision.charged = is_gateway_timeout(status);
    return retry(Next::retry, Outcome::failed);
  }
  const bool of_all = decision.reason == JudgeReply::Reason::other &&
                      (is_unsupported(status, report) || (status == 400 && is_about_place(status, report)));
  return finish(of_all ? JudgeReply::unusable : JudgeReply::error, setting_of(status, report));
}

RetryDecision EndpointErrors::decide_on_report_inside(const ApiProblem& report, const RateHeaders& headers,
                                                      const std::string& asked, int sent_status, bool charged) const {
  int status = report.status;
  if (status == 0 && is_moderation(400, report)) status = 400;
  if (status == 0 && holds_any(words_of(report), {"unexpected endpoint", "no such endpoint", "unknown endpoint"})) status = 404;
  if (status == 0 && holds_any(words_of(report), {"resource_exhausted", "rate_limit", "rate limit", "too many requests"}))
    status = 429;
  if (status == 0) status = status_meant(400, report) == 400 ? 500 : status_meant(400, report);
  const std::string shown_status = fmt::format("{} with an error report{}", sent_status,
                                               report.status != 0 ? fmt::format(" of status {}", report.status) : "");
  RetryDecision decision = decide_as(status, shown_status, report, headers, asked);
  // A refusal is an answer, and is booked as one.
  decision.charged = decision.charged || (charged && (decision.next != Next::finish || decision.status != JudgeReply::refused));
  return decision;
}

RetryDecision EndpointErrors::decide_on_no_answer(const std::string& problem, bool charged, const std::string& asked,
                                                  int status) const {
  RetryDecision decision{Next::retry, Outcome::answered, JudgeReply::error,
                         key_.redact(fmt::format("{} answered {} with {}", asked.empty() ? shown_ : asked, status, problem)),
                         status};
  decision.charged = charged;
  return decision;
}

RetryDecision EndpointErrors::decide_on_bad_body(const std::string& problem, const std::string& asked, int status) const {
  RetryDecision decision{Next::retry_bad, Outcome::answered, JudgeReply::error,
                         key_.redact(fmt::format("{} answered {} with {}", asked.empty() ? shown_ : asked, status, problem)),
                         status};
  decision.charged = true;
  return decision;
}

}  // namespace dmoerm::judge
