#include "label/labelling_end.h"

namespace dmoerm::label {

int LabellingEnd::exit_code() const {
  if (why == Why::complete) return 0;
  return why == Why::refused ? ConfigError({}, "").exit_code() : Stopped({}, "").exit_code();
}

ErrorCode LabellingEnd::code() const {
  switch (why) {
    case Why::complete:
      break;
    case Why::limit:
      return ErrorCode("labelling-limit-reached");
    case Why::stopped:
      return ErrorCode("stopped-on-request");
    case Why::quota:
      return ErrorCode("judge-quota-used-up");
    case Why::unreachable:
      return ErrorCode("judge-unreachable");
    case Why::refused:
      return ErrorCode("labelling-refused");
  }
  return {};
}

LabellingEnd::Why why_of(judge::JudgeReply::Status status) {
  if (status == judge::JudgeReply::quota_exhausted) return LabellingEnd::Why::quota;
  return status == judge::JudgeReply::unreachable ? LabellingEnd::Why::unreachable : LabellingEnd::Why::refused;
}

}  // namespace dmoerm::label
