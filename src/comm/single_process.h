// A group and a world that consist of this process only, without MPI.
#pragma once
#include <memory>

#include "comm/world.h"

namespace dmoerm::comm {

/// A group of this process only.
std::unique_ptr<Communicator> single();
std::unique_ptr<World> make_single_world();

}  // namespace dmoerm::comm
