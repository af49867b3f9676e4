#include "judge/endpoint_errors.h"

#include <fmt/format.h>

#include "base/log.h"

namespace dmoerm::judge {
namespace {

using Next = RetryDecision::Next;
using Outcome = EndpointGate::Outcome;

bool mentions_quota(const ApiProblem& problem) {
  for (const char* word :
       {"insufficient_quota", "billing_hard_limit_reached", "quota_exceeded", "credits_exhausted", "insufficient_balance"}) {
    if (problem.code == word || problem.type == word) return true;
  }
  return false;
}

/// Whether the server does not support the request's response_format. Servers have no common code for it: what they share is a
/// client error (or 501) whose report names the parameter or the technique behind it.
bool refuses_response_format(int status, const ApiProblem& report) {
  if (status != 400 && status != 422 && status != 501) return false;
  for (const std::string* text : {&report.param, &report.code, &report.type, &report.message}) {
    for (const char* word : {"response_format", "schema", "guided", "grammar", "structured"}) {
      if (text->find(word) != std::string::npos) return true;
    }
  }
  return false;
}

/// Whether the address is plain HTTP to another machine.
bool is_unprotected(const std::string& url) {
  if (url.rfind("http://", 0) != 0) return false;
  const std::string host = url.substr(7, url.find_first_of(":/?", 7) - 7);
  return host != "localhost" && host.rfind("127.", 0) != 0 && host.rfind("[", 0) != 0;
}

}  // namespace

bool was_sent(const HttpResult& result) {
  return result.end != HttpResult::End::not_reached && result.end != HttpResult::End::untrusted;
}

void take_answer(JudgeReply& reply, const ApiKey& key, ChatReply chat) {
  reply.text = key.redact_data(std::move(chat.text));
  reply.finish_reason = key.redact(std::move(chat.finish_reason));
  reply.prompt_tokens = chat.prompt_tokens;
  reply.completion_tokens = chat.completion_tokens;
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
    case End::cut_off:
      return {Next::retry, Outcome::failed, JudgeReply::error, fmt::format("{}: {}", shown_, problem)};
    case End::too_big:
      return {Next::retry_bad, Outcome::answered, JudgeReply::error, fmt::format("{}: {}", shown_, problem), result.status};
    case End::replied:
      break;
  }
  if (result.status >= 300 && result.status < 400) {
    return {Next::finish, Outcome::answered, JudgeReply::error,
            fmt::format("{} answered {}, a redirect to \"{}\": redirects are not followed; set the endpoint's url to the address "
                        "that the service has",
                        shown_, result.status, one_line(key_.redact(result.location), 200)),
            result.status};
  }
  return decide_on_report(result.status, parse_api_problem(result.body), result.headers);
}

RetryDecision EndpointErrors::decide_on_report(int status, const ApiProblem& report, const RateHeaders& headers) const {
  RetryDecision decision;
  decision.http_status = status;
  decision.problem =
      key_.redact(fmt::format("{} answered {}{}{}", shown_, status, report.message.empty() ? "" : ": ", report.message));
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
  switch (status) {
    case 401:
    case 403:
      return finish(JudgeReply::unauthorised,
                    key_.empty() ? "; no API key was sent: name the variable or file that holds it (key_env, key_file)"
                                 : "; check the API key in " + key_place_);
    case 402:
      return finish(JudgeReply::quota_exhausted);
    case 404:
      return finish(JudgeReply::model_unknown, "; check the judge's model name and the endpoint's url");
    case 429:
      if (mentions_quota(report)) return finish(JudgeReply::quota_exhausted);
      if (headers.retry_after_s && *headers.retry_after_s > pause_max_s_) {
        return finish(JudgeReply::quota_exhausted,
                      fmt::format("; it asks for a pause of {:.0f} s: run again after that", *headers.retry_after_s));
      }
      return retry(Next::retry_throttled, Outcome::throttled);
    case 503:
      return retry(Next::retry_throttled, Outcome::overloaded);
    case 408:
    case 409:
    case 425:
      return retry(Next::retry, Outcome::answered);
    default:
      break;
  }
  if (status >= 500) return retry(Next::retry, Outcome::failed);
  const bool filtered = report.code == "content_filter" || report.code == "content_policy_violation";
  return finish(filtered ? JudgeReply::refused : JudgeReply::error);
}

RetryDecision EndpointErrors::decide_on_bad_body(const std::string& problem) const {
  return {Next::retry_bad, Outcome::answered, JudgeReply::error,
          key_.redact(fmt::format("{} answered 200 with {}", shown_, problem)), 200};
}

}  // namespace dmoerm::judge
