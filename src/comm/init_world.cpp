#include "comm/init_world.h"

#include "comm/mpi_world.h"
#include "comm/single_process.h"

namespace dmoerm::comm {

std::unique_ptr<World> init_world() { return launched_by_mpi() ? make_mpi_world() : make_single_world(); }

}  // namespace dmoerm::comm
