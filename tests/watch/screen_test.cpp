#include "watch/screen.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/log_route.h"

namespace dmoerm::watch {
namespace {

/// The part of a terminal that the screen uses: lines, carriage return, cursor up, erase to the end of the line and of the
/// screen.
class Terminal {
 public:
  Terminal(int columns, int lines) : columns_(columns), rows_(static_cast<std::size_t>(lines)) {}

  void take(const std::string& more) {
    const std::string text = std::exchange(rest_, "") + more;
    for (std::size_t at = 0; at < text.size(); ++at) {
      if (text[at] == '\r') {
        column_ = 0;
      } else if (text[at] == '\n') {
        down();
      } else if (text[at] == '\033') {
        std::size_t end = at + 2;
        while (end < text.size() && (std::isdigit(text[end]) != 0 || text[end] == ';')) ++end;
        if (end >= text.size()) {  // the rest comes with the next read
          rest_ = text.substr(at);
          return;
        }
        obey(text[end], std::atoi(text.c_str() + at + 2));
        at = end;
      } else {
        if (column_ == columns_) down(), column_ = 0;
        std::string& row = rows_[row_];
        row.resize(std::max(row.size(), static_cast<std::size_t>(column_) + 1), ' ');
        row[static_cast<std::size_t>(column_++)] = text[at];
      }
    }
  }

  /// Everything that was shown, without empty lines at the end.
  [[nodiscard]] std::string text() const {
    std::string all;
    for (const auto& row : scrolled_) all += row + "\n";
    for (const auto& row : rows_) all += row + "\n";
    while (all.ends_with("\n\n")) all.pop_back();
    return all;
  }

 private:
  void down() {
    if (++row_ < rows_.size()) return;
    row_ = rows_.size() - 1;
    scrolled_.push_back(rows_.front());
    rows_.erase(rows_.begin());
    rows_.emplace_back();
  }
  void obey(char command, int number) {
    if (command == 'A') row_ -= std::min(row_, static_cast<std::size_t>(std::max(1, number)));
    if (command == 'K') rows_[row_].resize(std::min(rows_[row_].size(), static_cast<std::size_t>(column_)));
    if (command == 'J') {
      rows_[row_].resize(std::min(rows_[row_].size(), static_cast<std::size_t>(column_)));
      for (std::size_t r = row_ + 1; r < rows_.size(); ++r) rows_[r].clear();
    }
  }
  int columns_, column_ = 0;
  std::size_t row_ = 0;
  std::vector<std::string> rows_, scrolled_;
  std::string rest_;  ///< beginning of an escape sequence
};

/// A pseudo terminal with a screen on one end.
class ScreenOnTerminal : public testing::Test {
 protected:
  void open(int columns, int lines) {
    winsize size{};
    size.ws_col = static_cast<unsigned short>(columns), size.ws_row = static_cast<unsigned short>(lines);
    ASSERT_EQ(::openpty(&master_, &slave_, nullptr, nullptr, &size), 0);
    ::fcntl(master_, F_SETFL, O_NONBLOCK);
    terminal_ = std::make_unique<Terminal>(columns, lines);
    screen_ = std::make_unique<Screen>(slave_);
  }
  ~ScreenOnTerminal() override {
    screen_.reset();
    if (master_ >= 0) ::close(master_);
    if (slave_ >= 0) ::close(slave_);
  }
  std::string shown() {
    char buffer[4096];
    for (ssize_t got = 0; (got = ::read(master_, buffer, sizeof buffer)) > 0;)
      terminal_->take(std::string(buffer, static_cast<std::size_t>(got)));
    return terminal_->text();
  }
  int master_ = -1, slave_ = -1;
  std::unique_ptr<Terminal> terminal_;
  std::unique_ptr<Screen> screen_;
};

TEST_F(ScreenOnTerminal, RedrawsInPlaceWhenTheBlockGetsShorter) {
  open(40, 10);
  screen_->show({"one", "a long line", "three"});
  EXPECT_EQ(shown(), "one\na long line\nthree\n");
  screen_->show({"ONE", "short"});
  EXPECT_EQ(shown(), "ONE\nshort\n");
}

TEST_F(ScreenOnTerminal, PrintsWholeLogLinesAboveTheBlock) {
  open(40, 10);
  std::string wanted;
  for (int i = 0; i < 30; ++i) {  // more lines than the terminal has
    screen_->show({"block " + std::to_string(i), "\033[32mgreen\033[0m"});
    screen_->log("a log line that is longer than the block " + std::to_string(i) + "\n");
    wanted += "a log line that is longer than the block\n " + std::to_string(i) + "\n";  // the terminal breaks this line
  }
  EXPECT_EQ(shown(), wanted + "block 29\ngreen\n");
}

TEST_F(ScreenOnTerminal, LeavesNothingBehindWhenTheTerminalBecomesNarrower) {
  open(40, 12);
  screen_->show({std::string(39, 'a'), std::string(39, 'b')});
  (void)shown();
  winsize size{};
  size.ws_col = 20, size.ws_row = 12;
  ASSERT_EQ(::ioctl(master_, TIOCSWINSZ, &size), 0);
  // When a terminal becomes narrower, it breaks lines that are too long.
  *terminal_ = Terminal(20, 12);
  terminal_->take(std::string(39, 'a') + "\r\n" + std::string(39, 'b') + "\r\n");
  screen_->show({"x", "y"});
  EXPECT_EQ(shown(), "x\ny\n");
}

TEST_F(ScreenOnTerminal, KeepsLinesWholeWhenManyThreadsLog) {
  open(80, 24);
  init_log(0, 1, "info");
  route_log([&](std::string_view line) { screen_->log(line); });
  std::atomic<bool> reading{true};
  std::thread reader([&] {
    while (reading) (void)shown();
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 100; ++i) spdlog::warn("thread {} line {} end", t, i);
    });
  }
  for (int i = 0; i < 200; ++i) screen_->show({"block", std::to_string(i)});
  for (auto& thread : threads) thread.join();
  reading = false;
  reader.join();
  route_log({});
  for (int i = 0; i < 100; ++i) {  // later redraws write what the terminal did not accept at once
    screen_->show({"last", "block"});
    (void)shown();
  }
  const std::string text = shown();
  std::size_t lines = 0, whole = 0;
  for (std::size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos; at = end + 1, ++lines) {
    const std::string line = text.substr(at, end - at);
    whole += line.find("thread ") != std::string::npos && line.ends_with(" end") ? 1 : 0;
  }
  EXPECT_EQ(whole, 400U);
  EXPECT_EQ(lines, 402U);
  EXPECT_TRUE(text.ends_with("last\nblock\n"));
}

TEST_F(ScreenOnTerminal, DoesNotBlockOnATerminalThatAcceptsNothing) {
  open(80, 24);
  // Nobody reads: the pseudo terminal's buffer fills up.
  for (int i = 0; i < 3000; ++i) screen_->log("line " + std::to_string(i) + "\n");
  for (int i = 0; i < 100; ++i) screen_->show({"block"});
  for (int i = 0; i < 100; ++i) {  // now it accepts text again, as much as its buffer holds
    (void)shown();
    screen_->show({"block"});
  }
  const std::string text = shown();
  EXPECT_NE(text.find("line 0\n"), std::string::npos);
  EXPECT_TRUE(text.ends_with("line 2999\nblock\n")) << text.substr(text.size() - 200);
}

TEST_F(ScreenOnTerminal, DoesNotBlockOnATerminalThatIsGone) {
  open(80, 24);
  ::close(master_);
  master_ = -1;
  for (int i = 0; i < 100; ++i) {
    screen_->log("line\n");
    screen_->show({"block"});
  }
}

}  // namespace
}  // namespace dmoerm::watch
