// Requests to stop. SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 ask a run to save its work and end; the same command continues it.
#pragma once

namespace dmoerm {

/// Let SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 (which schedulers send before a preemption) set a flag instead of ending the process.
/// A second SIGINT ends it at once, even if other signals came in between.
void catch_stop_signals();
/// Whether such a signal has arrived.
bool stop_requested();
/// Name of the signal that arrived, as in "SIGTERM"; "" if none did.
const char* stop_signal();
/// Number of the signal that arrived; 0 if none did.
int stop_signal_number();
/// Act as if the signal had arrived.
void request_stop(int signal);

}  // namespace dmoerm
