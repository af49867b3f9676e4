// The ranks of a job as placement sees them: on which node each is, and how much its device holds.
#pragma once
#include <vector>

namespace dmoerm::plan {

struct Device {
  int node = 0;           ///< Number of the node, from 0 without gaps
  double memory_mib = 0;  ///< Memory of the rank's device; 0 = no limit known
};

/// Devices by rank. If empty, ranks are added as they report: on one node, without limits.
using Cluster = std::vector<Device>;

/// `nodes` nodes of `per_node` equal devices, ranks numbered node by node.
inline Cluster even_cluster(int nodes, int per_node, double memory_mib) {
  Cluster cluster;
  for (int rank = 0; rank < nodes * per_node; ++rank) cluster.push_back({rank / per_node, memory_mib});
  return cluster;
}

}  // namespace dmoerm::plan
