#include "judge/batch_status.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"

namespace dmoerm::judge {

bool passes_by_itself(std::string_view report) {
  const std::string words = lower(report);
  for (const char* sign : {"token_limit", "enqueued", "rate_limit", "rate limit", "quota", "billing", "try again", "overloaded",
                           "temporarily", "capacity", "internal_error", "server_error", "internal error"}) {
    if (words.find(sign) != std::string::npos) return true;
  }
  return false;
}

std::string batch_end(std::string_view status) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kEnds = {{{"completed", "completed"},
                                                                                    {"complete", "completed"},
                                                                                    {"ended", "completed"},
                                                                                    {"succeeded", "completed"},
                                                                                    {"success", "completed"},
                                                                                    {"failed", "failed"},
                                                                                    {"error", "failed"},
                                                                                    {"errored", "failed"},
                                                                                    {"expired", "expired"},
                                                                                    {"timeout", "expired"},
                                                                                    {"timed_out", "expired"},
                                                                                    {"timeout_exceeded", "expired"},
                                                                                    {"cancelled", "cancelled"},
                                                                                    {"canceled", "cancelled"}}};
  const std::string word = lower(status);
  const auto found = std::ranges::find(kEnds, word, [](const auto& end) { return end.first; });
  return found == kEnds.end() ? "" : std::string(found->second);
}

bool is_batch_under_way(std::string_view status) {
  constexpr std::array<std::string_view, 16> kWords = {
      "validating", "in_progress", "finalizing", "cancelling", "canceling", "queued",      "pending",
      "running",    "created",     "processing", "submitted",  "waiting",   "not_started", "cancellation_requested",
      "scheduled",  "preparing"};
  return std::ranges::find(kWords, lower(status)) != kWords.end();
}

}  // namespace dmoerm::judge
