// One endpoint as the user knows it: its name in messages, its API key, and what each failure of it means and how it is handled.
// No message holds the key.
#pragma once
#include <string>

#include "config/label_config.h"
#include "judge/api_key.h"
#include "judge/chat_reply.h"
#include "judge/endpoint_gate.h"
#include "judge/http_multi.h"
#include "judge/judge_reply.h"

namespace dmoerm::judge {

/// What to do after a try.
struct RetryDecision {
  enum class Next : std::uint8_t {
    finish,
    retry,
    retry_throttled,
    retry_bad,       ///< The status was one of success and the body is unusable
    retry_unreached  ///< Nothing was sent
  };
  Next next = Next::finish;
  EndpointGate::Outcome outcome = EndpointGate::Outcome::answered;
  JudgeReply::Status status = JudgeReply::error;  ///< Status of the reply, if this try was the last
  std::string problem;                            ///< Description for the user; empty if nothing is wrong
  int http_status = 0;                            ///< As JudgeReply::http_status
  JudgeReply::Reason reason = JudgeReply::Reason::other;
  bool charged = false;  ///< Whether a try without an answer may have cost money
  bool unclear = false;  ///< It is a 403 that says nothing of key, account or place: it may be about this one question
};

/// Whether any of the request went out to a server that reads it, so that it may cost money.
bool was_sent(const HttpResult& result);
/// Whether a reply came whose status is one of success (2xx).
bool succeeded(const HttpResult& result);

/// Copy what the judge said (ChatReply::Kind::ok or refused) into the reply.
void take_answer(JudgeReply& reply, const ApiKey& key, ChatReply chat);

class EndpointErrors {
 public:
  /// Reads the key.
  /// @param pause_max_s  longest pause that a server may ask for; one that asks for more has used up its quota
  /// @throws ConfigError, see ApiKey::load()
  EndpointErrors(const config::EndpointConfig& endpoint, double pause_max_s);

  /// The endpoint's address without the query, which may hold secrets.
  [[nodiscard]] const std::string& shown() const { return shown_; }
  [[nodiscard]] const ApiKey& key() const { return key_; }

  /// Decide on anything but a reply with a status of success.
  [[nodiscard]] RetryDecision decide(const HttpResult& result) const;
  /// Decide on an error report with `status`, which came as a reply of its own or inside another one.
  /// @param asked  address that was asked; "" = the endpoint's
  [[nodiscard]] RetryDecision decide_on_report(int status, const ApiProblem& report, const RateHeaders& headers,
                                               const std::string& asked = "") const;
  /// Decide on a reply with a status of success and no answer in it. @param charged  whether it may have cost money
  [[nodiscard]] RetryDecision decide_on_no_answer(const std::string& problem, bool charged, const std::string& asked = "",
                                                  int status = 200) const;
  /// Decide on a success whose body is an error report: by its own status, else by what it says, else as by a server that fails.
  /// @param charged  whether it counts tokens of an answer
  [[nodiscard]] RetryDecision decide_on_report_inside(const ApiProblem& report, const RateHeaders& headers,
                                                      const std::string& asked = "", int status = 200,
                                                      bool charged = false) const;
  /// The key was accepted: a later 403 is about one question.
  void accept_key() { key_accepted_ = true; }
  /// Decide on a reply with a status of success and an unusable body.
  [[nodiscard]] RetryDecision decide_on_bad_body(const std::string& problem, const std::string& asked = "",
                                                 int status = 200) const;

 private:
  /// @param shown_status  what the message says of the status
  [[nodiscard]] RetryDecision decide_as(int said, const std::string& shown_status, const ApiProblem& report,
                                        const RateHeaders& headers, const std::string& asked) const;

  std::string shown_, key_place_;
  double pause_max_s_;
  ApiKey key_;
  bool key_accepted_ = false;
};

}  // namespace dmoerm::judge
