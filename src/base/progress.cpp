#include "base/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/text.h"

namespace dmoerm {
namespace {

constexpr double kRedrawS = 0.2, kLogS = 60;
constexpr int kColumns = 100;  // of a terminal that does not tell

int columns_of_terminal() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const char* said = std::getenv("COLUMNS");
  const int columns = said != nullptr ? std::atoi(said) : 0;
  return columns > 0 ? columns : kColumns;
}

double seconds_since(LiveLine::Clock::time_point then) {
  return std::chrono::duration<double>(LiveLine::Clock::now() - then).count();
}

std::string rate_text(double per_s) { return per_s >= 100 ? fmt::format("{:.0f}", per_s) : fmt::format("{:.3g}", per_s); }

}  // namespace

LiveLine::LiveLine(bool terminal, std::function<void(const std::string&)> log) : terminal_(terminal), log_(std::move(log)) {}

LiveLine::~LiveLine() {
  if (drawn_) std::fputc('\n', stderr);
}

bool LiveLine::due() const { return seconds_since(shown_) >= (terminal_ ? kRedrawS : kLogS); }

void LiveLine::show(const std::function<std::string(int columns)>& text) {
  shown_ = Clock::now();
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", text(columns_of_terminal()).c_str());
    std::fflush(stderr);
    drawn_ = true;
  } else if (log_) {
    log_(text(0));
  } else {
    std::fprintf(stderr, "%s\n", text(0).c_str());
  }
}

void LiveLine::clear() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

std::string progress_bar(std::int64_t done, std::int64_t all, int width) {
  const auto full = all > 0 ? static_cast<int>(std::clamp<std::int64_t>(width * done / all, 0, width)) : width;
  return fmt::format("[{:#>{}}{:.>{}}]", "", full, "", width - full);
}

std::string cut_to_columns(std::string text, int columns) {
  if (columns <= 0) return text;
  return std::string(utf8_prefix(text, static_cast<std::size_t>(std::max(20, columns - 1))));
}

std::string progress_text(const ProgressFigures& figures, int columns) {
  std::string text = figures.what.empty() ? "" : figures.what + ": ";
  text += figures.all > 0 ? fmt::format("{} of {} {}", figures.done, figures.all, figures.unit)
                          : fmt::format("{} {}", figures.done, figures.unit);
  if (figures.per_s > 0) {
    text += fmt::format(", {} {}/s", rate_text(figures.per_s), figures.unit);
    if (figures.all > 0)
      text += fmt::format(", {} left", clock_text(static_cast<double>(figures.all - figures.done) / figures.per_s));
  }
  if (columns > 0 && figures.all > 0) text = progress_bar(figures.done, figures.all) + " " + text;
  return cut_to_columns(std::move(text), columns);
}

void Progress::show(const std::string& what, std::int64_t done, std::int64_t all) {
  if (!begun_ || what != what_ || done < first_) {  // the first of a piece shows no rate
    begun_ = true, what_ = what, first_ = done, since_ = Clock::now();
    return;
  }
  if (!line_.due()) return;
  const double spent = seconds_since(since_);
  const double rate = spent > 0 ? static_cast<double>(done - first_) / spent : 0;
  line_.show([&](int columns) { return progress_text({what, unit_, done, all, rate}, columns); });
}

double Progress::seconds() const { return seconds_since(start_); }

}  // namespace dmoerm
