#include "label/progress_line.h"

#include <fmt/format.h>

#include <cmath>

#include "base/log.h"
#include "base/text.h"

namespace dmoerm::label {
namespace {

using std::chrono::duration;
constexpr double kMeasureS = 5;

struct Sums {
  std::int64_t total = 0, done = 0, answered = 0, failures = 0;
};

Sums sums_of(const LabelProgress& progress) {
  Sums sums;
  for (const PointProgress& p : progress.points) {
    sums.total += p.total;
    sums.done += p.known + p.answered + p.skipped;
    sums.answered += p.answered;
    for (const preference::Verdict v :
         {preference::Verdict::unparsable, preference::Verdict::refused, preference::Verdict::error})
      sums.failures += p.verdicts[static_cast<std::size_t>(v)];
  }
  return sums;
}

/// "coherence 81 %": consistency of the point that is being asked, or of all points of this run.
std::string consistency(const LabelProgress& progress, bool all) {
  std::string text;
  for (const PointProgress& p : progress.points) {
    const bool running = !p.done() && (p.answered > 0 || p.outstanding > 0);
    if (p.both == 0 || (!all && !running)) continue;
    text +=
        fmt::format("{}{} {:.0f} %", text.empty() ? "" : ", ", all ? p.target.category + "/" + p.target.point : p.target.point,
                    100.0 * static_cast<double>(p.consistent) / static_cast<double>(p.both));
    if (!all) break;
  }
  return text;
}

}  // namespace

std::string progress_text(const LabelProgress& progress, const std::string& currency, double requests_per_s, double tokens_per_s,
                          int width) {
  const Sums sums = sums_of(progress);
  const std::int64_t left = sums.total - sums.done;
  const double each = sums.answered > 0 ? static_cast<double>(progress.run.cost_micros) / static_cast<double>(sums.answered) : 0;
  std::string text = fmt::format("{}/{} {:.1f} requests/s {:.0f} tokens/s", sums.done, sums.total, requests_per_s, tokens_per_s);
  const bool priced = progress.run.cost_micros > 0;  // a judge without a price costs nothing that can be told
  if (priced) text += fmt::format(" cost {}", money(progress.run.cost_micros, currency));
  if (priced && sums.answered > 0)
    text += fmt::format(" (+{} expected)", money(static_cast<std::int64_t>(each * static_cast<double>(left)), currency));
  text += fmt::format(
      " ETA {}", left == 0 ? "0:00:00" : clock_text(requests_per_s > 0 ? static_cast<double>(left) / requests_per_s : INFINITY));
  text += fmt::format(" in flight {}", progress.in_flight);
  if (sums.failures > 0) text += fmt::format(" failed {}", sums.failures);
  if (progress.throttled > 0) text += fmt::format(" throttled {}", progress.throttled);
  const std::string consistent = consistency(progress, width == 0);
  if (!consistent.empty()) text += " consistent: " + consistent;
  if (width == 0) return text;
  return cut_to_columns(progress_bar(sums.done, sums.total) + " " + text, width);
}

ProgressLine::ProgressLine(std::string currency, bool terminal)
    : currency_(std::move(currency)), line_(terminal, [](const std::string& text) { spdlog::info("[label] {}", text); }) {}

ProgressLine::Rates ProgressLine::rates(const LabelProgress& progress, Clock::time_point now) {
  const double seconds = duration<double>(now - measured_).count();
  const bool early = duration<double>(now - begun_).count() < kMeasureS;
  if (seconds >= kMeasureS || early) {
    const auto tokens = [](const judge::Usage& s) { return static_cast<double>(s.prompt_tokens + s.completion_tokens); };
    if (seconds > 0) {
      rates_.requests = static_cast<double>(progress.run.requests - measured_run_.requests) / seconds;
      rates_.tokens = (tokens(progress.run) - tokens(measured_run_)) / seconds;
    }
    if (!early) {
      measured_ = now;
      measured_run_ = progress.run;
    }
  }
  return rates_;
}

void ProgressLine::update(const LabelProgress& progress, bool last) {
  if (!last && !line_.due()) return;
  const Rates rate = rates(progress, Clock::now());
  line_.show([&](int columns) { return progress_text(progress, currency_, rate.requests, rate.tokens, columns); });
}

}  // namespace dmoerm::label
