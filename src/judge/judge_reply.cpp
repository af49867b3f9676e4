#include "judge/judge_reply.h"

namespace dmoerm::judge {

std::string_view to_string(JudgeReply::Status status) {
  constexpr std::string_view kNames[] = {"ok",       "refused",       "error",           "cancelled", "unauthorised",
                                         "unusable", "model_unknown", "quota_exhausted", "untrusted", "unreachable"};
  return kNames[status];
}

bool ends_all(JudgeReply::Status status) { return status >= JudgeReply::unauthorised; }

}  // namespace dmoerm::judge
