#include "label_store/store_lock.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <ctime>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/file_lock.h"
#include "base/host.h"

namespace dmoerm::label_store {
namespace {

constexpr std::string_view kRows = "journal_rows: ", kHolder = "holder: ";
constexpr std::string_view kInFlight = "in_flight: ", kUncertain = "uncertain: ";
constexpr std::size_t kCommandMax = 300;
// A reader that tests the lock holds it for a moment, so a writer tries more than once.
constexpr int kTries = 20;
constexpr std::chrono::milliseconds kTryAgain{25};

/// First line of the file, of constant length so that it can be overwritten.
std::string rows_line(std::int64_t rows) { return fmt::format("{}{:020}\n", kRows, rows); }

/// A line of constant length with a cost.
std::string usage_line(std::string_view name, const judge::Usage& usage) {
  return fmt::format("{}{:020} {:020} {:020} {:020}\n", name, usage.requests, usage.prompt_tokens, usage.completion_tokens,
                     usage.cost_micros);
}

/// The cost in such a line after its name; zeros if it has none.
judge::Usage usage_in(std::string_view line) {
  judge::Usage usage;
  for (std::int64_t* number : {&usage.requests, &usage.prompt_tokens, &usage.completion_tokens, &usage.cost_micros}) {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    line.remove_prefix(
        static_cast<std::size_t>(std::from_chars(line.data(), line.data() + line.size(), *number).ptr - line.data()));
  }
  return usage;
}

std::string user_name() {
  passwd entry{}, *found = nullptr;
  char buffer[4096];
  if (::getpwuid_r(::getuid(), &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr) return found->pw_name;
  return std::to_string(::getuid());
}

/// This process, described for others.
std::string describe_self() {
  std::ifstream words("/proc/self/cmdline", std::ios::binary);
  std::string command((std::istreambuf_iterator<char>(words)), std::istreambuf_iterator<char>());
  while (!command.empty() && command.back() == '\0') command.pop_back();
  std::ranges::replace_if(
      command, [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  if (command.size() > kCommandMax) command = command.substr(0, kCommandMax) + "...";
  return fmt::format("pid {} of user {} on host {}, since {:%Y-%m-%d %H:%M:%S} UTC ({})", ::getpid(), user_name(), host_name(),
                     fmt::gmtime(std::time(nullptr)), command);
}

void write_at(int fd, const std::string& text, off_t at) {
  // The lock does not depend on the text. If the disk is full, what may have been charged counts in this process alone.
  if (::pwrite(fd, text.data(), text.size(), at) < 0) return;
}

}  // namespace

std::filesystem::path lock_file(const std::filesystem::path& directory) { return directory / "LOCK"; }

StoreLock::StoreLock(const std::filesystem::path& directory) {
  const std::filesystem::path path = lock_file(directory);
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) {
    throw IoError("label-store-not-writable",
                  fmt::format("{}: cannot open for writing: {}; the user who labels must be able to write to the label store",
                              path.string(), std::strerror(errno)));
  }
  try {
    take(directory);
  } catch (...) {
    ::close(fd_);
    throw;
  }
  const auto before = read(directory);  // keeps the number of rows in the journal
  if (before) (uncertain_ = before->uncertain) += before->in_flight;
  const std::string text = rows_line(before ? before->journal_rows : 0) + usage_line(kInFlight, {}) +
                           usage_line(kUncertain, uncertain_) + std::string(kHolder) + describe_self() + "\n";
  write_at(fd_, text, 0);  // before the rest is cut off, so that no kill in between loses what may have been charged
  if (::ftruncate(fd_, static_cast<off_t>(text.size())) != 0) return;  // then the earlier holder's line may go on behind
}

void StoreLock::take(const std::filesystem::path& directory) const {
  LockOutcome outcome = take_lock(fd_, lock_file(directory));
  for (int tries = 1; outcome == LockOutcome::held_elsewhere && tries < kTries; ++tries) {
    std::this_thread::sleep_for(kTryAgain);
    outcome = take_lock(fd_, lock_file(directory));
  }
  if (outcome == LockOutcome::taken) return;
  if (outcome == LockOutcome::not_supported) {
    throw ConfigError("label-store-no-locks",
                      fmt::format("{}: {}, which a label store needs to keep a second labeller away: {}", directory.string(),
                                  without_locks(directory), advice_on_locks("labels.store (or --store)")));
  }
  const auto note = read(directory);
  throw ConfigError("label-store-in-use",
                    fmt::format("{}: the label store is in use by {}; wait until that is done or stop it", directory.string(),
                                note && !note->holder.empty() ? note->holder : "another process"));
}

StoreLock::~StoreLock() { ::close(fd_); }

void StoreLock::note_journal_rows(std::int64_t rows) const { write_at(fd_, rows_line(rows), 0); }

void StoreLock::note_in_flight(const judge::Usage& most) const {
  write_at(fd_, usage_line(kInFlight, most), static_cast<off_t>(rows_line(0).size()));
}

void StoreLock::add_uncertain(const judge::Usage& used) {
  uncertain_ += used;
  write_at(fd_, usage_line(kUncertain, uncertain_), static_cast<off_t>(rows_line(0).size() + usage_line(kInFlight, {}).size()));
}

std::optional<LockNote> StoreLock::read(const std::filesystem::path& directory) {
  const int fd = ::open(lock_file(directory).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  char buffer[2048];
  const ssize_t got = ::pread(fd, buffer, sizeof buffer, 0);
  LockNote note;
  try {
    note.held = take_lock(fd, lock_file(directory), true) == LockOutcome::held_elsewhere;
  } catch (const IoError&) {  // nobody holds a lock that cannot be taken
  }
  ::close(fd);  // which also releases the lock if this call has taken it
  const std::string_view text(buffer, got > 0 ? static_cast<std::size_t>(got) : 0);
  const auto after = [&](std::string_view word) {
    const std::size_t at = text.find(word);
    if (at == std::string_view::npos) return std::string_view();
    const std::string_view rest = text.substr(at + word.size());
    return rest.substr(0, rest.find('\n'));
  };
  note.holder = after(kHolder);
  note.in_flight = usage_in(after(kInFlight));
  note.uncertain = usage_in(after(kUncertain));
  const std::string_view rows = after(kRows);
  std::from_chars(rows.data(), rows.data() + rows.size(), note.journal_rows);
  return note;
}

}  // namespace dmoerm::label_store
