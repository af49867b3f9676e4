// Which ready task goes to which idle ranks. A pure function, shared by the program that trains and the one that simulates.
#pragma once
#include <string>
#include <vector>

namespace dmoerm::plan {

struct ReadyTask {
  std::string id;
  double priority = 0;  ///< longest chain from here on: placed first, and given more ranks
  double cost = 1;
  int ranks_max = 1;
};

struct Placed {
  std::string id;
  std::vector<int> ranks;  ///< ascending; a power of two of them
};

/// Place tasks on idle ranks: the highest priority first, one rank each; ranks left over when every ready task has one double the
/// groups that then would take longest. Deterministic in its arguments.
std::vector<Placed> place(std::vector<ReadyTask> ready, std::vector<int> idle, double efficiency_per_doubling = 0.9);

}  // namespace dmoerm::plan
