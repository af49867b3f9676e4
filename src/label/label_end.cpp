#include "label/label_end.h"

#include "base/error.h"

namespace dmoerm::label {

int LabelEnd::exit_code() const {
  if (why == Why::complete) return 0;
  return why == Why::refused ? ConfigError("").exit_code() : Stopped("").exit_code();
}

LabelEnd::Why why_of(judge::JudgeReply::Status status) {
  if (status == judge::JudgeReply::quota_exhausted) return LabelEnd::Why::quota;
  return status == judge::JudgeReply::unreachable ? LabelEnd::Why::unreachable : LabelEnd::Why::refused;
}

}  // namespace dmoerm::label
