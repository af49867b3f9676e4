// A world of one process, without MPI.
#pragma once
#include <memory>

#include "comm/world.h"

namespace dmoerm::comm {

std::unique_ptr<World> make_single_world();

}  // namespace dmoerm::comm
