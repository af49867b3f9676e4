// The world of an MPI launcher: mpirun, or srun --mpi=pmix.
#pragma once
#include <memory>

#include "comm/world.h"

namespace dmoerm::comm {

/// Whether a launcher started this process: its environment variables are set.
bool launched_by_mpi();
/// Whether the launcher that started this process (mpirun, its daemon, slurmstepd) has died.
bool launcher_gone();
/// Initialise MPI with full thread support and make its world. @throws CommError
std::unique_ptr<World> make_mpi_world();

}  // namespace dmoerm::comm
