#include "label/budget.h"

#include <fmt/format.h>

#include <algorithm>

namespace dmoerm::label {

bool Budget::reserve(const judge::Usage& max_cost) {
  if (!shortage(max_cost).empty()) return false;
  reserved_ += max_cost;
  return true;
}

void Budget::settle(const judge::Usage& max_cost, const judge::Usage& used) {
  reserved_ -= max_cost;
  run_ += used;
}

std::string Budget::shortage(const judge::Usage& max_cost, const judge::Usage& in_flight) const {
  for (const auto& [limits, store] : limits_) {
    judge::Usage sum = store ? before_ : judge::Usage{};
    sum += run_;
    sum += in_flight;
    const auto exceeds = [&](std::int64_t limit, std::int64_t used, std::int64_t more) {
      return limit > 0 && more > 0 && used + more > limit;  // what adds nothing may be sent beyond a limit
    };
    const std::int64_t tokens = sum.prompt_tokens + sum.completion_tokens;
    const std::int64_t more_tokens = max_cost.prompt_tokens + max_cost.completion_tokens;
    if (exceeds(limits.cost_micros, sum.cost_micros, max_cost.cost_micros)) {
      return fmt::format("cost: {:.6f} spent or in flight, the next request may cost {:.6f}, {} allows {:.6f}",
                         static_cast<double>(sum.cost_micros) * 1e-6, static_cast<double>(max_cost.cost_micros) * 1e-6,
                         limits.source, static_cast<double>(limits.cost_micros) * 1e-6);
    }
    if (exceeds(limits.requests, sum.requests, max_cost.requests)) {
      return fmt::format("requests: {} sent, {} allows {}", sum.requests, limits.source, limits.requests);
    }
    if (exceeds(limits.tokens, tokens, more_tokens)) {
      return fmt::format("tokens: {} used or in flight, the next request may take {}, {} allows {}", tokens, more_tokens,
                         limits.source, limits.tokens);
    }
  }
  return "";
}

bool Budget::limits_length() const {
  return std::ranges::any_of(limits_, [](const Limit& l) { return l.limits.cost_micros > 0 || l.limits.tokens > 0; });
}

std::string money(std::int64_t micros, const std::string& currency) {
  const double value = static_cast<double>(micros) * 1e-6;
  return fmt::format("{:.{}f} {}", value, value < 1 ? 6 : 2, currency);
}

std::string cost_text(const judge::Usage& usage, const std::string& currency, bool priced) {
  return !priced && usage.requests > 0 && usage.cost_micros == 0 ? "no price set" : money(usage.cost_micros, currency);
}

}  // namespace dmoerm::label
