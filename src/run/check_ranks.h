// Checks that the ranks of a run are the same program with the same settings on the same kind of machine.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "comm/world.h"
#include "config/run_config.h"

namespace dmoerm::run {

/// Facts that a rank reports about itself.
struct RankFacts {
  int rank = 0;
  std::string host;
  std::string machine;    ///< host_identity() of its host
  std::string binary;     ///< SHA-256 of the running program
  std::string config;     ///< Configuration as to_yaml() gives it; "" if it could not be read
  std::string problem;    ///< Why it could not be read
  std::string processor;  ///< Model name of the processor
  std::string gpu;        ///< Address of its GPU on the bus; "" = none
  double clock_s = 0;     ///< Unix time, taken by all ranks at about the same moment
};

/// Gathers the facts of all ranks, in the order of ranks. Collective over the world.
/// @param config  nullopt if it could not be read, for the reason `problem`
std::vector<RankFacts> gather_rank_facts(comm::World& world, const std::optional<config::RunConfig>& config,
                                         const std::string& problem);

/// Warns about clocks that differ, which make the hosts' times incomparable, and about processors that differ, which may change
/// the results' bits.
/// @throws ConfigError naming the rank and host whose configuration cannot be read or differs, that runs another binary, or that
/// shares a GPU with another rank although cluster.share_gpu is false
void check_rank_facts(const std::vector<RankFacts>& facts);

}  // namespace dmoerm::run
