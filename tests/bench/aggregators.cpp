// Seconds to fit and cross-validate each kind of aggregator: bench_aggregators PROMPTS EXPERTS WIDTH RESPONSES THREADS KIND...
// Prints one line for each kind as it ends, and one JSON line at the end.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "moe/held_out.h"

namespace {

using namespace dmoerm;
using Clock = std::chrono::steady_clock;

/// Groups whose pairs follow a sum of rewards, states and noise.
moe::ExpertFeatures synthetic(std::int64_t prompts, std::int64_t experts, std::int64_t width, std::int64_t responses,
                              std::uint64_t seed) {
  Rng rng(seed, "bench");
  const auto fill = [&](at::IntArrayRef shape) {
    at::Tensor values = at::empty(shape);
    for (float* v = values.data_ptr<float>(); v != values.data_ptr<float>() + values.numel(); ++v)
      *v = static_cast<float>(rng.uniform() - 0.5);
    return values;
  };
  const std::int64_t n = prompts * responses;
  moe::ExpertFeatures f{fill({n, experts, width}), fill({n, experts})};
  f.base_N = fill({n}), f.length_N = fill({n}), f.prompts_GH = fill({prompts, width});
  std::vector<double> quality;
  for (std::int64_t i = 0; i < n; ++i)
    quality.push_back(f.rewards_NK[i][0].item<double>() + 0.5 * f.rewards_NK[i][1].item<double>() + 0.3 * rng.normal());
  for (std::int64_t g = 0; g < prompts; ++g) {
    f.groups.push_back({g * responses, responses, {}, g});
    for (std::int32_t i = 0; i < responses; ++i) {
      for (std::int32_t j = i + 1; j < responses; ++j) {
        const bool first =
            quality[static_cast<std::size_t>(g * responses + i)] > quality[static_cast<std::size_t>(g * responses + j)];
        f.groups.back().pairs.push_back({first ? i : j, first ? j : i});
      }
    }
  }
  return f;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 7) return 2;
  const auto number = [&](int i) { return std::strtoll(argv[i], nullptr, 10); };
  at::set_num_threads(static_cast<int>(number(5)));
  const moe::ExpertFeatures train = synthetic(number(1), number(2), number(3), number(4), 1),
                            validation = synthetic(std::min<std::int64_t>(200, number(1)), number(2), number(3), number(4), 2);
  const config::AggregatorConfig config;
  nlohmann::json seconds, cpu_seconds, accuracy;
  for (int i = 6; i < argc; ++i) {
    const std::string kind = argv[i];
    const auto began = Clock::now();
    const std::clock_t worked = std::clock();
    moe::fit_aggregator(kind, train, validation, config, 1);
    if (kind != "paper_mlp") accuracy[kind] = moe::held_out(kind, train, validation, config, 1).accuracy();
    seconds[kind] = std::chrono::duration<double>(Clock::now() - began).count();
    cpu_seconds[kind] = static_cast<double>(std::clock() - worked) / CLOCKS_PER_SEC;
    fmt::print("{}: {:.1f} s, {:.1f} s of processors\n", kind, seconds[kind].get<double>(), cpu_seconds[kind].get<double>());
    std::fflush(stdout);
  }
  fmt::print("{}\n", nlohmann::json{{"bench", "aggregators"},
                                    {"prompts", number(1)},
                                    {"experts", number(2)},
                                    {"width", number(3)},
                                    {"responses", number(4)},
                                    {"threads", number(5)},
                                    {"seconds", seconds},
                                    {"cpu_seconds", cpu_seconds},
                                    {"held_out_accuracy", accuracy}}
                         .dump());
  return 0;
}
