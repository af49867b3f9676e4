#include "label/labelling_end.h"

#include "base/error.h"

namespace dmoerm::label {

int LabellingEnd::exit_code() const {
  if (why == Why::complete) return 0;
  return why == Why::refused ? ConfigError({}, "").exit_code() : Stopped({}, "").exit_code();
}

LabellingEnd::Why why_of(judge::JudgeReply::Status status) {
  if (status == judge::JudgeReply::quota_exhausted) return LabellingEnd::Why::quota;
  return status == judge::JudgeReply::unreachable ? LabellingEnd::Why::unreachable : LabellingEnd::Why::refused;
}

}  // namespace dmoerm::label
