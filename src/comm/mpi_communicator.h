// The collectives of a group over MPI, on data in the memory of the host.
#pragma once
#include <mpi.h>

#include <memory>
#include <vector>

#include "comm/communicator.h"

namespace dmoerm::comm {

/// @param comm   communicator of MPI, which the result frees
/// @param ranks  world ranks of the group, for messages
std::unique_ptr<Communicator> make_mpi_communicator(MPI_Comm comm, const std::vector<int>& ranks);

}  // namespace dmoerm::comm
