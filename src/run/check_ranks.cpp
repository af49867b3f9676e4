#include "run/check_ranks.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "base/host.h"
#include "base/json_text.h"
#include "base/log.h"
#include "config/reader.h"
#include "config/writer.h"
#include "nn/device.h"

namespace dmoerm::run {
namespace {

using nlohmann::json;
constexpr double kClockGapS = 1.0;

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(':') + 2));
  }
  return "";
}

std::string who(const RankFacts& facts) { return fmt::format("rank {} on {}", facts.rank, facts.host); }

config::RunConfig parse(const RankFacts& facts) {
  std::vector<std::string> said_at_the_start;
  return config::parse_run_config(facts.config, who(facts), "/", {}, &said_at_the_start);
}

}  // namespace

std::vector<RankFacts> gather_rank_facts(comm::World& world, const std::optional<config::RunConfig>& config,
                                         const std::string& problem) {
  json own{{"host", world.host()},
           {"machine", host_identity()},
           {"binary", sha256_file("/proc/self/exe")},
           {"config", config ? config::to_yaml(*config) : ""},
           {"problem", problem},
           {"processor", processor_name()},
           {"gpu", ""}};
  try {
    if (config) own["gpu"] = nn::gpu_address(nn::pick_device(config::word(config->compute.device), "compute.device"));
  } catch (const Error& e) {
    own["problem"] = e.what();
  }
  world.all().barrier();
  own["clock"] = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::vector<RankFacts> all;
  for (const std::string& text : world.all().gather_text(json_line(own))) {
    const json facts = json::parse(text);
    all.push_back({static_cast<int>(all.size()), facts["host"], facts["machine"], facts["binary"], facts["config"],
                   facts["problem"], facts["processor"], facts["gpu"], facts["clock"]});
  }
  return all;
}

void check_rank_facts(const std::vector<RankFacts>& facts) {
  const RankFacts& first = facts.front();
  std::map<std::string, const RankFacts*> gpus;
  for (const RankFacts& own : facts) {
    if (!own.problem.empty())
      throw ConfigError("rank-cannot-work", own.rank == 0 ? own.problem : fmt::format("{}: {}", who(own), own.problem));
    if (own.binary != first.binary) {
      throw ConfigError(
          "builds-differ",
          fmt::format("{} runs another build of dmoerm than {}: SHA-256 {} and {}; install the same one on all hosts", who(own),
                      who(first), own.binary.substr(0, 16), first.binary.substr(0, 16)));
    }
    if (own.config != first.config) {
      throw ConfigError("configurations-differ",
                        fmt::format("{} read another configuration than {}; start all ranks with the same file and options:\n{}",
                                    who(own), who(first), config::difference(parse(first), parse(own))));
    }
    if (own.processor != first.processor) {
      spdlog::warn("[run] {} has a {}, {} a {}: the results' bits may differ from those of one kind of processor", who(own),
                   own.processor, who(first), first.processor);
    }
    if (std::abs(own.clock_s - first.clock_s) > kClockGapS) {
      spdlog::warn("[run] the clock of {} is {:+.1f} s off that of {}: use NTP; the result does not depend on clocks", who(own),
                   own.clock_s - first.clock_s, who(first));
    }
    if (own.gpu.empty()) continue;
    const auto [other, is_new] = gpus.emplace(own.machine + " " + own.gpu, &own);
    if (!is_new && !parse(first).cluster.share_gpu) {
      throw ConfigError(
          "gpu-shared",
          fmt::format("{} and rank {} would share the GPU {}: start at most one rank per GPU, or set cluster.share_gpu: true",
                      who(own), other->second->rank, own.gpu));
    }
  }
}

}  // namespace dmoerm::run
