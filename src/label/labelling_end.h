// How a labelling ended, with its code and its exit code.
#pragma once
#include <cstdint>
#include <string>

#include "base/error.h"
#include "judge/judge_reply.h"

namespace dmoerm::label {

/// How a labelling ended.
struct LabellingEnd {
  enum class Why : std::uint8_t { complete, limit, stopped, quota, unreachable, refused };
  Why why = Why::complete;
  std::string message;  ///< One line for the user; empty if complete
  /// 0; 2: the configuration must be corrected (key, model, certificate); 3: run again.
  [[nodiscard]] int exit_code() const;
  /// The code that ends the message to the user; none if complete.
  [[nodiscard]] ErrorCode code() const;
};

/// The end that a fatal reply causes.
LabellingEnd::Why why_of(judge::JudgeReply::Status status);

}  // namespace dmoerm::label
