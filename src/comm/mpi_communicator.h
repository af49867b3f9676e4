// The collectives of a group over MPI, in the memory of the host.
#pragma once
#include <mpi.h>

#include <memory>
#include <vector>

#include "comm/communicator.h"

namespace dmoerm::comm {

/// @param comm  freed in the end @param ranks  of the world, for messages
std::unique_ptr<Communicator> make_mpi_communicator(MPI_Comm comm, const std::vector<int>& ranks);

}  // namespace dmoerm::comm
