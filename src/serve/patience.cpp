#include "serve/patience.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "serve/callers.h"
#include "wire/render_error.h"

namespace dmoerm::serve {
namespace {

constexpr double kMargin = 0.05, kMarginMaxS = 0.25;
constexpr double kShortS = 0.1;  // such a deadline passes without any others

HttpAnswer busy(wire::Family family, ErrorCode code, const std::string& said, double retry_s) {
  return with_retry(json_answer(wire::render_error(family, 429, code, said), 429), retry_s);
}

/// The status is that which the protocols' own servers give.
HttpAnswer too_short(const Patience& patience, const std::string& why) {
  const int status = patience.family == wire::Family::tei || patience.family == wire::Family::kserve ? 503 : 504;
  const std::string said = fmt::format("the deadline of {:.3g} s does not suffice: {}", patience.patience_s, why);
  return json_answer(wire::render_error(patience.family, status, ErrorCode("deadline-too-short"), said), status);
}

HttpAnswer no_time(const Patience& patience, const Engine::Admission& admission) {
  if (patience.patience_s <= admission.own_s)
    return too_short(patience, fmt::format("the request alone takes about {:.2g} s", admission.own_s));
  if (admission.queue_s == 0 || patience.since_s >= usable_s(patience.patience_s))
    return waited_long(patience, 0) ? too_late(patience, 0) : too_short(patience, "it passed before the request was read");
  const std::string said = fmt::format(
      "the scores would take about {:.2g} s, {:.2g} s of it in the queue, and {:.2g} s of {:.3g} s are left: try again in {:.0f} "
      "s, "
      "or allow more time",
      admission.done_s, admission.queue_s, usable_s(patience.patience_s) - patience.since_s, patience.patience_s,
      std::ceil(admission.retry_after_s));
  return busy(patience.family, ErrorCode("server-is-busy"), said, admission.retry_after_s);
}

}  // namespace

double usable_s(double patience_s) { return patience_s - std::min(kMargin * patience_s, kMarginMaxS); }

bool waited_long(const Patience& patience, double busy_s) {
  return patience.patience_s > kShortS && patience.since_s - busy_s > patience.patience_s / 2;
}

HttpAnswer too_late(const Patience& patience, double busy_s) {
  if (!waited_long(patience, busy_s)) return too_short(patience, "the texts were not scored until then");
  return busy(
      patience.family, ErrorCode("deadline-passed"),
      fmt::format("the request waited for others for most of its deadline of {:.3g} s: try again later, or allow more time",
                  patience.patience_s),
      1);
}

HttpAnswer queue_full(wire::Family family, double retry_s) {
  return busy(family, ErrorCode("server-is-busy"), fmt::format("the queue is full: try again in {:.0f} s", std::ceil(retry_s)),
              retry_s);
}

HttpAnswer not_admitted(const Patience& patience, const Engine::Admission& admission) {
  switch (admission.refused) {
    case Engine::Refused::stopped:
      return stopping(patience.family);
    case Engine::Refused::deadline:
      return no_time(patience, admission);
    default:
      if (patience.patience_s <= admission.own_s) return no_time(patience, admission);  // it would never fit
      return queue_full(patience.family, admission.retry_after_s);
  }
}

}  // namespace dmoerm::serve
