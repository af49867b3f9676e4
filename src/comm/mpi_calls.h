// Checked calls of MPI and waiting with a time limit. Only files of src/comm include this.
#pragma once
#include <mpi.h>

#include <atomic>
#include <string>
#include <vector>

namespace dmoerm::comm {

/// @throws CommError naming call, rank and place, unless `code` is MPI_SUCCESS
void check_mpi(int code, const char* call, const char* file, int line);
#define DMOERM_MPI(call) ::dmoerm::comm::check_mpi((call), #call, __FILE__, __LINE__)

/// DMOERM_COMM_TIMEOUT_S, or 600.
double default_limit_s();

/// Wait without burning a core: spin shortly, then sleep. @param who  for the message
/// @param given_up  null, or true once the others will not come
/// @throws CommError after the time limit, or when it is given up
void wait_all(std::vector<MPI_Request>& requests, const char* what, const std::string& who, double limit_s,
              const std::atomic<bool>* given_up = nullptr);

}  // namespace dmoerm::comm
