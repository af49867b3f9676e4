// How a labelling ended, and what that means to whoever started it.
#pragma once
#include <cstdint>
#include <string>

#include "judge/judge_client.h"

namespace dmoerm::label {

/// How a labelling ended.
struct LabelEnd {
  enum class Why : std::uint8_t { complete, limit, stopped, quota, unreachable, refused };
  Why why = Why::complete;
  std::string message;  ///< of anything but complete: one line for the user
  /// 0; 2 for what the configuration has to mend (key, model, certificate); 3: run again.
  [[nodiscard]] int exit_code() const;
};

/// What a reply that ends everything means.
LabelEnd::Why why_of(judge::JudgeReply::Status status);

}  // namespace dmoerm::label
