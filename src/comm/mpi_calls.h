// Checked calls of MPI, and waiting with a time limit. Only files of src/comm include this header.
#pragma once
#include <mpi.h>

#include <atomic>
#include <string>
#include <vector>

namespace dmoerm::comm {

/// Check the result of a call. @throws CommError naming call, rank and place unless `code` is MPI_SUCCESS
void check_mpi(int code, const char* call, const char* file, int line);
#define DMOERM_MPI(call) ::dmoerm::comm::check_mpi((call), #call, __FILE__, __LINE__)

/// The value of DMOERM_COMM_TIMEOUT_S if it is set, or else `seconds`.
double limit_or(double seconds);
constexpr double kDefaultLimitS = 600;

/// How long a rank waits for others.
struct Patience {
  double limit_s = kDefaultLimitS;
  std::vector<int> others = {};                 ///< World ranks; while one of them works, the wait goes on
  const std::atomic<bool>* given_up = nullptr;  ///< null, or a flag that becomes true once another rank has failed
  [[nodiscard]] bool over(double waited_s) const;
};

/// Wait for requests without occupying a core: spin for a short time, then sleep.
/// @param who  name of this rank, for the message
/// @throws CommError when the patience is over, or once `given_up` is true
void wait_all(std::vector<MPI_Request>& requests, const char* what, const std::string& who, const Patience& patience);

}  // namespace dmoerm::comm
