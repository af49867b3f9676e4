// One endpoint as the user knows it: its name in messages, its key, and what its replies mean, in words that never hold the key.
#pragma once
#include <string>

#include "judge/api_key.h"
#include "judge/chat_reply.h"
#include "judge/endpoint_gate.h"
#include "judge/http_multi.h"
#include "judge/judge_client.h"

namespace dmoerm::judge {

/// What to do after a try.
struct Judgement {
  enum class Next : std::uint8_t {
    finish,
    retry,
    retry_throttled,
    retry_bad,       ///< status 200 and a body that cannot be used
    retry_unreached  ///< nothing was sent
  };
  Next next = Next::finish;
  EndpointGate::Outcome outcome = EndpointGate::Outcome::answered;
  JudgeReply::Status status = JudgeReply::error;  ///< if it is the end
  std::string problem;                            ///< what happened; empty if all is well
};

/// Whether any of the request went out, so that it may cost money.
bool was_sent(const HttpResult& result);

/// Put what the judge said (ChatReply::Kind::ok or refused) into the reply.
void take_answer(JudgeReply& reply, const ApiKey& key, ChatReply chat);

class EndpointWords {
 public:
  /// Reads the key. @param pause_max_s  a server that asks for a longer one has used up its quota
  /// @throws ConfigError, see ApiKey::load()
  EndpointWords(const Endpoint& endpoint, double pause_max_s);

  /// Its address without the query, which may hold secrets.
  [[nodiscard]] const std::string& shown() const { return shown_; }
  [[nodiscard]] const ApiKey& key() const { return key_; }

  /// What anything but a reply with status 200 means.
  [[nodiscard]] Judgement judge(const HttpResult& result) const;
  /// What an error report means that came with `status`, in a reply of its own or inside of one.
  [[nodiscard]] Judgement judge_status(int status, const ApiProblem& report, const RateHeaders& headers) const;
  /// A reply of status 200 with a body that cannot be used.
  [[nodiscard]] Judgement judge_bad(const std::string& problem) const;

 private:
  std::string shown_, key_place_;
  double pause_max_s_;
  ApiKey key_;
};

}  // namespace dmoerm::judge
