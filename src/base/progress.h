// Shows on stderr how far a long piece of work is: a bar that is redrawn on a terminal, elsewhere one line a minute.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace dmoerm {

/// A line that is replaced on a terminal. It decides when it is time to show the next text; the caller makes the text.
class LiveLine {
 public:
  using Clock = std::chrono::steady_clock;
  /// @param log  takes a line where there is no terminal, once a minute; nothing = it goes to stderr
  explicit LiveLine(bool terminal, std::function<void(const std::string&)> log = {});
  /// Ends the line on a terminal.
  ~LiveLine();
  LiveLine(const LiveLine&) = delete;
  LiveLine& operator=(const LiveLine&) = delete;

  [[nodiscard]] bool due() const;
  /// Show a text now. @param text  receives the number of columns, 0 where there is no terminal
  void show(const std::function<std::string(int columns)>& text);
  /// Take the line away from the terminal, so that other output can follow.
  void clear();

 private:
  bool terminal_, drawn_ = false;
  std::function<void(const std::string&)> log_;
  Clock::time_point shown_ = Clock::now();
};

/// How far a piece of work is.
struct ProgressFigures {
  std::string what;                ///< The piece of work, such as a model's name; may be empty
  std::string_view unit;           ///< What is counted: "groups"
  std::int64_t done = 0, all = 0;  ///< all: 0 = not known
  double per_s = 0;                ///< Rate; 0 = not known yet
};
/// "[####......] length: 40 of 100 groups, 12.5 groups/s, 0:00:05 left"; without the bar if `columns` is 0.
std::string progress_text(const ProgressFigures& figures, int columns);
/// "[####......]" with `width` places; full if `all` is 0.
std::string progress_bar(std::int64_t done, std::int64_t all, int width = 20);
/// The text cut to fit `columns`, if that is not 0; no character takes more columns than bytes.
std::string cut_to_columns(std::string text, int columns);

/// Progress through pieces of work, each of which counts the same unit.
class Progress {
 public:
  Progress(std::string unit, bool terminal) : unit_(std::move(unit)), line_(terminal) {}

  /// Call it often. The first call for a `what` begins its clock. @param all  0 = not known
  void show(const std::string& what, std::int64_t done, std::int64_t all);
  void clear() { line_.clear(); }
  /// Seconds since the work began.
  [[nodiscard]] double seconds() const;

 private:
  using Clock = LiveLine::Clock;
  std::string unit_, what_;
  LiveLine line_;
  bool begun_ = false;
  std::int64_t first_ = 0;
  Clock::time_point start_ = Clock::now(), since_ = start_;
};

}  // namespace dmoerm
