#include "base/stop.h"

#include <atomic>
#include <csignal>
#include <initializer_list>

namespace dmoerm {
namespace {

std::atomic<int> came{0}, interrupts{0};
static_assert(std::atomic<int>::is_always_lock_free, "set from a signal handler");

void on_signal(int signal) {
  if (signal == SIGINT && ++interrupts > 1) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
  came = signal;
}

}  // namespace

void catch_stop_signals() {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2}) {
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(signal, &action, nullptr);
  }
}

bool stop_requested() { return came != 0; }

const char* stop_signal() {
  switch (came) {
    case 0:
      return "";
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    case SIGUSR1:
      return "SIGUSR1";
    default:
      return "SIGUSR2";
  }
}

int stop_signal_number() { return came; }

void request_stop(int signal) { came = signal; }

}  // namespace dmoerm
