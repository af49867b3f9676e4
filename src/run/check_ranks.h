// Before the ranks of a run work together: are they the same program with the same settings on the same kind of machine?
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "comm/world.h"
#include "config/run_config.h"

namespace dmoerm::run {

/// What a rank says of itself.
struct RankFacts {
  int rank = 0;
  std::string host;
  std::string binary;     ///< SHA-256 of the running program
  std::string config;     ///< as to_yaml() gives it; "" if it could not be read
  std::string problem;    ///< why it could not
  std::string processor;  ///< model name
  std::string gpu;        ///< address of its GPU on the bus; "" = none
  double clock_s = 0;     ///< unix time, taken by all ranks at about the same moment
};

/// Collective over the world; every rank gets all, by rank.
/// @param config  nullopt: could not be read, for `problem`
std::vector<RankFacts> gather_rank_facts(comm::World& world, const std::optional<config::RunConfig>& config,
                                         const std::string& problem);

/// Clocks and processors that differ are warnings: times that hosts write are not comparable then, and results may differ in
/// bits.
/// @throws ConfigError naming the rank and host whose configuration cannot be read or differs, that runs another binary, or that
/// shares a GPU with another rank although cluster.share_gpu is false
void check_rank_facts(const std::vector<RankFacts>& facts);

}  // namespace dmoerm::run
