#include "comm/mpi_calls.h"

#include <fmt/format.h>
#include <sched.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/error.h"

namespace dmoerm::comm {

void check_mpi(int code, const char* call, const char* file, int line) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0, rank = -1;
  MPI_Error_string(code, text, &length);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  throw CommError("mpi-call-failed", fmt::format("{} failed on rank {}: {} ({}:{})", call, rank, text, file, line));
}

double default_limit_s() {
  const char* text = std::getenv("DMOERM_COMM_TIMEOUT_S");
  return text != nullptr && std::atof(text) > 0 ? std::atof(text) : 600.0;
}

void wait_all(std::vector<MPI_Request>& requests, const char* what, const std::string& who, double limit_s,
              const std::atomic<bool>* given_up) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  for (;;) {
    int done = 0;
    DMOERM_MPI(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE));
    if (done != 0) return;
    if (given_up != nullptr && *given_up)
      throw CommError("rank-failed", fmt::format("{} on {} cannot end: another rank of the group has failed", what, who));
    const double waited = std::chrono::duration<double>(Clock::now() - start).count();
    if (waited < 50e-6) {
      ::sched_yield();
    } else if (waited > limit_s) {
      throw CommError(
          "wait-too-long",
          fmt::format(
              "{} took longer than {} s on {}: a rank of the group is gone or stuck (DMOERM_COMM_TIMEOUT_S sets the limit)", what,
              limit_s, who));
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(waited < 0.01 ? 20 : 200));
    }
  }
}

}  // namespace dmoerm::comm
