#include "judge/endpoint_words.h"

#include <fmt/format.h>

#include "base/log.h"

namespace dmoerm::judge {
namespace {

using Next = Judgement::Next;
using Outcome = EndpointGate::Outcome;

bool mentions_quota(const ApiProblem& problem) {
  for (const char* word :
       {"insufficient_quota", "billing_hard_limit_reached", "quota_exceeded", "credits_exhausted", "insufficient_balance"}) {
    if (problem.code == word || problem.type == word) return true;
  }
  return false;
}

bool plain_to_elsewhere(const std::string& url) {
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

EndpointWords::EndpointWords(const Endpoint& endpoint, double pause_max_s)
    : shown_(endpoint.url.substr(0, endpoint.url.find('?'))),
      key_place_(endpoint.key_env.empty() ? endpoint.key_file : endpoint.key_env),
      pause_max_s_(pause_max_s),
      key_(ApiKey::load(endpoint.key_env, endpoint.key_file)) {
  if (!key_.empty() && plain_to_elsewhere(endpoint.url)) {
    spdlog::warn("[label] endpoint={} warning=\"http sends the API key and the texts in the clear; use https\"", shown_);
  }
}

Judgement EndpointWords::judge(const HttpResult& result) const {
  using End = HttpResult::End;
  const std::string problem = one_line(key_.redact(result.problem));
  switch (result.end) {
    case End::not_reached:
      return {Next::retry_unreached, Outcome::failed, JudgeReply::error, fmt::format("{} is not reached: {}", shown_, problem)};
    case End::untrusted:
      return {
          Next::finish, Outcome::failed, JudgeReply::untrusted,
          fmt::format("{}: its certificate does not hold: {}; nothing was sent. For a server with a certificate of your own name "
                      "its CA (ca_file)",
                      shown_, problem)};
    case End::cut_off:
      return {Next::retry, Outcome::failed, JudgeReply::error, fmt::format("{}: {}", shown_, problem)};
    case End::too_big:
      return {Next::retry_bad, Outcome::answered, JudgeReply::error, fmt::format("{}: {}", shown_, problem)};
    case End::replied:
      break;
  }
  if (result.status >= 300 && result.status < 400) {
    return {
        Next::finish, Outcome::answered, JudgeReply::error,
        fmt::format("{} answered {}, a redirect to \"{}\": redirects are not followed; set the endpoint's address to where the "
                    "service is",
                    shown_, result.status, one_line(key_.redact(result.location), 200))};
  }
  return judge_status(result.status, parse_api_problem(result.body), result.headers);
}

Judgement EndpointWords::judge_status(int status, const ApiProblem& report, const RateHeaders& headers) const {
  const std::string problem =
      key_.redact(fmt::format("{} answered {}{}{}", shown_, status, report.message.empty() ? "" : ": ", report.message));
  const auto finish = [&](JudgeReply::Status end, const std::string& advice = "") {
    return Judgement{Next::finish, Outcome::answered, end, problem + advice};
  };
  switch (status) {
    case 401:
    case 403:
      return finish(JudgeReply::unauthorised, key_.empty()
                                                  ? "; no API key was sent: name a variable or file with one (key_env, key_file)"
                                                  : "; check the API key in " + key_place_);
    case 402:
      return finish(JudgeReply::quota_exhausted);
    case 404:
      return finish(JudgeReply::model_unknown, "; check the judge's model name and the endpoint's address");
    case 429:
      if (mentions_quota(report)) return finish(JudgeReply::quota_exhausted);
      if (headers.retry_after_s && *headers.retry_after_s > pause_max_s_) {
        return finish(JudgeReply::quota_exhausted,
                      fmt::format("; it asks for a pause of {:.0f} s: run again then", *headers.retry_after_s));
      }
      return {Next::retry_throttled, Outcome::throttled, JudgeReply::error, problem};
    case 503:
      return {Next::retry_throttled, Outcome::overloaded, JudgeReply::error, problem};
    case 408:
    case 409:
    case 425:
      return {Next::retry, Outcome::answered, JudgeReply::error, problem};
    default:
      break;
  }
  if (status >= 500) return {Next::retry, Outcome::failed, JudgeReply::error, problem};
  const bool filtered = report.code == "content_filter" || report.code == "content_policy_violation";
  return finish(filtered ? JudgeReply::refused : JudgeReply::error);
}

Judgement EndpointWords::judge_bad(const std::string& problem) const {
  return {Next::retry_bad, Outcome::answered, JudgeReply::error,
          key_.redact(fmt::format("{} answered 200 with {}", shown_, problem))};
}

}  // namespace dmoerm::judge
