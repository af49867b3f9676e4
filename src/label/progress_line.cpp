#include "label/progress_line.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/log.h"
#include "base/text.h"

namespace dmoerm::label {
namespace {

using std::chrono::duration;
constexpr double kRedrawS = 0.2, kLogS = 60, kMeasureS = 5;

int terminal_width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 100;
}

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
  constexpr int kBar = 20;
  const int full = sums.total > 0 ? static_cast<int>(kBar * sums.done / sums.total) : kBar;
  text = fmt::format("[{:#>{}}{:.>{}}] {}", "", full, "", kBar - full, text);
  auto end = std::min(text.size(), static_cast<std::size_t>(std::max(20, width - 1)));
  // Names may have characters of several bytes: do not cut inside one.
  while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

ProgressLine::ProgressLine(std::string currency, bool terminal) : currency_(std::move(currency)), terminal_(terminal) {}

ProgressLine::~ProgressLine() {
  if (drawn_) std::fputc('\n', stderr);
}

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
  const auto now = Clock::now();
  if (!last && duration<double>(now - shown_).count() < (terminal_ ? kRedrawS : kLogS)) return;
  shown_ = now;
  const Rates rate = rates(progress, now);
  if (!terminal_) {
    spdlog::info("[label] {}", progress_text(progress, currency_, rate.requests, rate.tokens, 0));
    return;
  }
  std::fprintf(stderr, "\r\033[K%s", progress_text(progress, currency_, rate.requests, rate.tokens, terminal_width()).c_str());
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace dmoerm::label
