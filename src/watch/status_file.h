// status.json: the state of a run for other processes, and whether the job that wrote it is still alive.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "watch/run_state.h"

namespace dmoerm::watch {

/// Where a process runs. Its process id is valid only there.
struct Place {
  std::string host, boot, pid_namespace;
  bool operator==(const Place&) const = default;
};
Place this_place();

/// A process, identified so that it cannot be mistaken for a later one with the same process id.
struct Process {
  int pid = 0;
  std::string started;  ///< start time in clock ticks after boot
};
Process this_process();
/// Whether the process exists. Call this only in the place where it runs.
bool is_there(const Process& process);

/// The content of status.json.
struct Status {
  RunState state;
  double written_at = kUnknown;  ///< time of writing by the clock of the writer
  double file_time = kUnknown;   ///< time of writing by the clock of the file server
  double every_s = 1;            ///< usual number of seconds between two writes
  std::int64_t writes = 0;       ///< number of writes; a change means that the writer is alive
  Place place;
  Process process;
  std::string page;  ///< address of the status page; "" = none
};

std::filesystem::path status_path(const std::filesystem::path& run_directory);
/// @throws IoError
void write_status(const std::filesystem::path& run_directory, const Status& status);
/// @return nothing if there is no such file. @throws IoError, DataError if it cannot be used
std::optional<Status> read_status(const std::filesystem::path& run_directory);

/// The state that a run directory without status.json shows: that of timeline.jsonl, otherwise the tasks that have a manifest or
/// were begun.
RunState state_from_directory(const std::filesystem::path& run_directory);

enum class Life { ended, alive, dead, silent };
struct Liveness {
  Life life = Life::silent;
  std::string text;  ///< sentence for people
};
/// Find out whether the writer is alive. In the place where it runs, its process decides. Elsewhere the file is read again for up
/// to `patience_s` seconds; the writer is alive if `writes` changes, whatever the clocks say.
/// @param status  replaced by a newer status if one is found
Liveness find_liveness(const std::filesystem::path& run_directory, Status& status, double patience_s);

/// The process that works in a run directory, from its file owner.json.
struct Owner {
  Place place;
  Process process;
  std::string since;  ///< time of its start, for people
};
/// @return nothing if there is no such file, or no owner in it
std::optional<Owner> read_owner(const std::filesystem::path& run_directory);
/// Find out whether a process is starting in the run directory or died while it did: one that owns the directory and has not
/// written its first status.json. In the place where it runs, its process decides. Elsewhere the file is looked at for up to
/// `patience_s` seconds, since a live owner touches it (run/owner_file.h).
/// @param status  the status in the directory, if there is one
/// @return nothing if there is no such process
std::optional<Liveness> find_starting(const std::filesystem::path& run_directory, const std::optional<Status>& status,
                                      double patience_s);

/// Seconds since 1970.
double wall_clock();

}  // namespace dmoerm::watch
