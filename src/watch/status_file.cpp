#include "watch/status_file.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/host.h"
#include "base/json_text.h"
#include "base/text.h"
#include "watch/json_fields.h"
#include "watch/timeline.h"

namespace dmoerm::watch {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
constexpr int kSchema = 1;
constexpr double kClocksS = 2;  // clocks that differ by less count as equal

std::string first_line(const char* file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

/// A field of /proc/<pid>/stat behind the name, counted from 1; "" if there is none.
std::string stat_field(int pid, int wanted) {
  std::string line = first_line(fmt::format("/proc/{}/stat", pid).c_str());
  const std::size_t name_end = line.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) return "";
  std::size_t at = name_end;
  for (int field = 2; field < wanted && at != std::string::npos; ++field) at = line.find(' ', at + 1);
  return at == std::string::npos ? "" : line.substr(at + 1, line.find(' ', at + 1) - at - 1);
}

/// Start time of a process, as the kernel writes it.
std::string start_of(int pid) { return stat_field(pid, 22); }
/// Whether the process has ended, but its parent has not collected its exit status.
bool is_zombie(int pid) { return stat_field(pid, 3) == "Z"; }

double seconds_of(fs::file_time_type time) {
  const auto system = std::chrono::file_clock::to_sys(time);
  return std::chrono::duration<double>(system.time_since_epoch()).count();
}

std::string ago(double seconds) { return clock_text(std::max(0.0, seconds)); }

/// How long ago the status was written, by the clock of this machine, and which clocks contradict each other.
std::string age_text(const Status& status, const Place& here) {
  const double now = wall_clock(), age = now - status.written_at;
  std::string text = fmt::format("written {} ago", ago(age));
  const double ahead = std::isnan(status.file_time) ? 0 : status.written_at - status.file_time;
  if (status.place.host != here.host && age < -kClocksS)
    text += fmt::format(" (the clock of {} is at least {} ahead of {}'s)", status.place.host, ago(-age), here.host);
  else if (std::abs(ahead) > kClocksS + status.every_s)
    text += fmt::format(" (the clocks of {} and of the file server differ by {})", status.place.host, ago(std::abs(ahead)));
  return text;
}

fs::path owner_path(const fs::path& run_directory) { return run_directory / "owner.json"; }

/// Whether the process id of an owner is valid here. Earlier versions wrote the host only.
bool is_here(const Owner& owner) {
  const Place here = this_place();
  return owner.place.boot.empty() ? owner.place.host == here.host : owner.place == here;
}

bool wrote(const Owner& owner, const Status& status) {
  const bool same_start =
      owner.process.started.empty() || status.process.started.empty() || owner.process.started == status.process.started;
  return owner.process.pid == status.process.pid && owner.place.host == status.place.host && same_start;
}

}  // namespace

double wall_clock() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

Place this_place() {
  std::error_code ignored;
  return {host_name(), first_line("/proc/sys/kernel/random/boot_id"), fs::read_symlink("/proc/self/ns/pid", ignored).string()};
}

Process this_process() { return {::getpid(), start_of(::getpid())}; }

bool is_there(const Process& process) {
  if (process.pid <= 0 || (::kill(process.pid, 0) != 0 && errno == ESRCH)) return false;
  if (is_zombie(process.pid)) return false;
  const std::string started = start_of(process.pid);
  return started.empty() || process.started.empty() || started == process.started;
}

fs::path status_path(const fs::path& run_directory) { return run_directory / "status.json"; }

void write_status(const fs::path& run_directory, const Status& status) {
  json all = status.state.to_json();
  all.update({{"schema", kSchema},
              {"written_at", status.written_at},
              {"every_s", status.every_s},
              {"writes", status.writes},
              {"host", status.place.host},
              {"boot", status.place.boot},
              {"pid_namespace", status.place.pid_namespace},
              {"pid", status.process.pid},
              {"pid_started", status.process.started},
              {"page", status.page}});
  write_file_atomically(status_path(run_directory), json_line(all) + "\n");
}

std::optional<Status> read_status(const fs::path& run_directory) {
  const fs::path path = status_path(run_directory);
  std::error_code missing;
  const auto time = fs::last_write_time(path, missing);
  if (missing) return std::nullopt;
  const json all = read_json(path);
  if (const auto schema = integer_field(all, "schema"); schema != kSchema)
    throw DataError("unknown-schema", fmt::format("{}: expected schema {}, found {}: use the version of dmoerm that wrote it",
                                                  path.string(), kSchema, schema));
  Status status;
  try {
    status.state = RunState::from_json(all);
  } catch (const DataError& e) {
    throw DataError(e.code(), fmt::format("{}: {}", path.string(), e.what()));
  }
  status.written_at = number_field(all, "written_at");
  status.file_time = seconds_of(time);
  status.every_s = number_field(all, "every_s", 1);
  status.writes = integer_field(all, "writes");
  status.place = {text_field(all, "host"), text_field(all, "boot"), text_field(all, "pid_namespace")};
  status.process = {static_cast<int>(integer_field(all, "pid")), text_field(all, "pid_started")};
  status.page = text_field(all, "page");
  return status;
}

RunState state_from_directory(const fs::path& run_directory) {
  RunState state;
  read_timeline(run_directory / "timeline.jsonl", [&](const json& event) { state.apply(event); });
  if (!state.tasks().empty()) return state;
  std::set<std::string> done, begun;
  for (const auto& entry : fs::recursive_directory_iterator(run_directory)) {
    const std::string name = entry.path().filename().string();
    const std::string task = entry.path().parent_path().lexically_relative(run_directory).generic_string();
    if (name == "manifest.json") done.insert(task);
    if (name == "metrics.jsonl" || (name.starts_with("checkpoint-") && name.ends_with(".json"))) begun.insert(task);
  }
  begun.insert(done.begin(), done.end());
  json tasks = json::array();
  for (const std::string& task : begun) tasks.push_back({{"id", task}, {"done", done.contains(task)}});
  state.apply({{"event", "run"}, {"name", run_directory.filename().string()}, {"tasks", tasks}});
  state.apply({{"event", "finish"}});
  return state;
}

Liveness find_liveness(const fs::path& run_directory, Status& status, double patience_s) {
  const Place here = this_place();
  const std::string who = fmt::format("pid {} on {}", status.process.pid, status.place.host);
  if (status.state.finished()) {
    const int code = status.state.exit_code();
    return {Life::ended, fmt::format("ended with code {}{}", code, code == 3 ? ": stopped, the same command continues" : "")};
  }
  if (status.place == here) {
    if (is_there(status.process)) return {Life::alive, fmt::format("alive: {}, {}", who, age_text(status, here))};
    return {Life::dead, fmt::format("dead: {} is gone, {}; the same command continues", who, age_text(status, here))};
  }
  const double until = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count() + patience_s;
  const auto before = status.writes;
  const auto process = status.process;
  do {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    if (auto newer = read_status(run_directory)) status = std::move(*newer);
    if (status.writes != before || status.process.pid != process.pid || status.process.started != process.started)
      return {Life::alive, fmt::format("alive: pid {} on {}, {}", status.process.pid, status.place.host, age_text(status, here))};
  } while (std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count() < until);
  return {Life::silent,
          fmt::format("silent: {} has written nothing for the {:.0f} s that this looked, {}; if it is gone, the same "
                      "command continues",
                      who, patience_s, age_text(status, here))};
}

std::optional<Owner> read_owner(const fs::path& run_directory) {
  json all;
  try {
    all = read_json(owner_path(run_directory));
  } catch (const std::exception&) {
    return std::nullopt;  // there is none, or it is being written
  }
  Owner owner;
  owner.place = {text_field(all, "host"), text_field(all, "boot"), text_field(all, "pid_namespace")};
  owner.process = {static_cast<int>(integer_field(all, "pid")), text_field(all, "pid_started")};
  owner.since = text_field(all, "since");
  if (owner.place.host.empty() || owner.process.pid <= 0) return std::nullopt;
  return owner;
}

std::optional<Liveness> find_starting(const fs::path& run_directory, const std::optional<Status>& status, double patience_s) {
  const auto owner = read_owner(run_directory);
  if (!owner || (status && wrote(*owner, *status))) return std::nullopt;
  const std::string who = fmt::format("process {} on {}", owner->process.pid, owner->place.host);
  const Liveness alive{Life::alive, fmt::format("{} has been starting here since {}: it is reading its inputs and has not listed "
                                                "its tasks yet; this is the state before it started",
                                                who, owner->since)};
  // Without a status.json it may have listed its tasks before the file was lost.
  const char* const shown = status ? "it had not listed its tasks; this is the state before it started"
                                   : "there is no status.json: this is what the directory holds";
  if (is_here(*owner)) {
    if (is_there(owner->process)) return alive;
    return Liveness{Life::dead, fmt::format("dead: {}, which started at {}, is gone; {}; the same command continues", who,
                                            owner->since, shown)};
  }
  std::error_code missing;
  const auto before = fs::last_write_time(owner_path(run_directory), missing);
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(patience_s);
  do {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    (void)read_owner(run_directory);  // opening makes a network file system look for changes
    const auto now = fs::last_write_time(owner_path(run_directory), missing);
    if (missing) return std::nullopt;  // it left by itself
    if (now != before) return alive;
  } while (std::chrono::steady_clock::now() < until);
  return Liveness{
      Life::silent,
      fmt::format("silent: {}, which started at {}, has not touched owner.json for the {:.0f} s that this looked; {}; "
                  "if it is gone, the same command continues",
                  who, owner->since, patience_s, shown)};
}

}  // namespace dmoerm::watch
