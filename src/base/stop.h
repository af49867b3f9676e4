// A request to stop: SIGTERM, SIGINT or the preemption signal ask the run to save what it has and leave; running it again
// continues.
#pragma once

namespace dmoerm {

/// Let SIGTERM, SIGINT and SIGUSR2 (which schedulers send ahead of a preemption) set a flag instead of ending the process. A
/// second SIGINT ends it at once, whatever came between.
void catch_stop_signals();
/// True once such a signal has come.
bool stop_requested();
/// Name of the signal that came, e.g. "SIGTERM"; "" if none.
const char* stop_signal();
/// Its number; 0 if none.
int stop_signal_number();
/// As if the signal had come.
void request_stop(int signal);

}  // namespace dmoerm
