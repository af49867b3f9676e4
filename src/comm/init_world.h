// The world that a program was started in.
#pragma once
#include <memory>

#include "comm/world.h"

namespace dmoerm::comm {

/// The world of this process: that of MPI if a launcher started the process (mpirun, srun --mpi=pmix), else a world of one rank.
/// @throws CommError
std::unique_ptr<World> init_world();

}  // namespace dmoerm::comm
