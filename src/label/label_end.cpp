#include "label/label_end.h"

#include "base/error.h"

namespace dmoerm::label {

int LabelEnd::exit_code() const {
  if (why == Why::complete) return 0;
  return why == Why::refused ? ConfigError("").exit_code() : Stopped("").exit_code();
}

LabelEnd::Why why_of(JudgeReply::Status status) {
  if (status == JudgeReply::quota_exhausted) return LabelEnd::Why::quota;
  return status == JudgeReply::unreachable ? LabelEnd::Why::unreachable : LabelEnd::Why::refused;
}

}  // namespace dmoerm::label
