// A group and a world of one process, without MPI.
#pragma once
#include <memory>

#include "comm/world.h"

namespace dmoerm::comm {

/// A group of this process alone.
std::unique_ptr<Communicator> single();
std::unique_ptr<World> make_single_world();

}  // namespace dmoerm::comm
