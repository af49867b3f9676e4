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

/// The value of DMOERM_COMM_TIMEOUT_S, or 600.
double default_limit_s();

/// Wait for requests without occupying a core: spin for a short time, then sleep.
/// @param who       name of this rank, for the message
/// @param given_up  null, or a flag that becomes true once another rank has failed
/// @throws CommError after the time limit, or once `given_up` is true
void wait_all(std::vector<MPI_Request>& requests, const char* what, const std::string& who, double limit_s,
              const std::atomic<bool>* given_up = nullptr);

}  // namespace dmoerm::comm
