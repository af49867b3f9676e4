#include "comm/mpi_calls.h"

#include <fmt/format.h>
#include <sched.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/error.h"
#include "comm/activity_board.h"

namespace dmoerm::comm {

void check_mpi(int code, const char* call, const char* file, int line) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0, rank = -1;
  MPI_Error_string(code, text, &length);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  throw CommError("mpi-call-failed", fmt::format("{} failed on rank {}: {} ({}:{})", call, rank, text, file, line));
}

double limit_or(double seconds) {
  const char* text = std::getenv("DMOERM_COMM_TIMEOUT_S");
  return text != nullptr && std::atof(text) > 0 ? std::atof(text) : seconds;
}

bool Patience::over(double waited_s) const {
  return waited_s > limit_s && ActivityBoard::of_process().seconds_since(others) > limit_s;
}

void wait_all(std::vector<MPI_Request>& requests, const char* what, const std::string& who, const Patience& patience) {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    int done = 0;
    DMOERM_MPI(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE));
    if (done != 0) return;
    if (patience.given_up != nullptr && *patience.given_up)
      throw CommError("rank-failed", fmt::format("{} on {} cannot end: another rank of the group has failed", what, who));
    const double waited = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (waited < 50e-6) {
      ::sched_yield();
    } else if (patience.over(waited)) {
      throw CommError(
          "wait-too-long",
          fmt::format(
              "{} took longer than {} s on {}, and no other rank of the group did any work meanwhile: one of them is gone or "
              "stuck (cluster.timeout_s, or DMOERM_COMM_TIMEOUT_S, sets the limit)",
              what, patience.limit_s, who));
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(waited < 0.01 ? 20 : 200));
    }
  }
}

}  // namespace dmoerm::comm
