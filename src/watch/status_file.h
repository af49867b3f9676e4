// status.json: the state of a run for other processes, and whether the job that wrote it still lives.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "watch/run_state.h"

namespace dmoerm::watch {

/// Where a process lives, so that its number means something only there.
struct Place {
  std::string host, boot, pid_namespace;
  bool operator==(const Place&) const = default;
};
Place this_place();

/// A process that cannot be mistaken for a later one with its number.
struct Process {
  int pid = 0;
  std::string started;  ///< clock ticks after boot
};
Process this_process();
/// Whether it is there, seen from the place it lives in.
bool is_there(const Process& process);

/// One writing of status.json.
struct Status {
  RunState state;
  double written_at = kUnknown;  ///< by the writer's clock
  double file_time = kUnknown;   ///< by the file server's
  double every_s = 1;            ///< it is written about so often
  std::int64_t writes = 0;       ///< counts up: another one than before means that the writer lives
  Place place;
  Process process;
  std::string page;  ///< address of the status page; "" = none
};

std::filesystem::path status_path(const std::filesystem::path& run_directory);
/// @throws IoError
void write_status(const std::filesystem::path& run_directory, const Status& status);
/// @return nothing if there is none. @throws IoError, DataError if it cannot be used
std::optional<Status> read_status(const std::filesystem::path& run_directory);

/// What a run directory without status.json shows: its timeline.jsonl, else the tasks that have a manifest or were begun.
RunState state_from_directory(const std::filesystem::path& run_directory);

enum class Life { ended, alive, dead, silent };
struct Liveness {
  Life life = Life::silent;
  std::string text;  ///< one sentence for people
};
/// Whether the writer lives. In its own place by its process; elsewhere by looking again for up to `patience_s` seconds whether
/// `writes` goes up, which no clock can spoil.
/// @param status  is replaced by a newer one if that is found
Liveness find_liveness(const std::filesystem::path& run_directory, Status& status, double patience_s);

/// Seconds since 1970.
double wall_clock();

}  // namespace dmoerm::watch
