// What `dmoerm plan` expects of a workload, and charts of it beside what was measured: cost_growth predict | draw FILE.svg. The
// first reads workloads as JSON lines and writes one line each; the second reads one JSON document of panels.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/chart.h"
#include "base/files.h"
#include "plan/cost_model.h"
#include "plan/cpu_rate.h"

namespace {

using namespace dmoerm;
using nlohmann::json;

/// Seconds of a workload and MiB of a rank, from the formulas of the plan.
json predicted(const json& workload) {
  plan::Load load;
  load.steps = workload.at("steps"), load.groups_per_step = workload.at("groups_per_step");
  load.group_tokens = workload.at("group_tokens"), load.plain_group_tokens = workload.at("plain_group_tokens");
  load.responses = workload.at("responses"), load.models = workload.at("experts");
  load.adapter_rank = workload.at("rank"), load.all_weights = workload.at("all_weights"), load.shard = workload.at("shard");
  load.read_groups = workload.at("read_groups");
  const int ranks = workload.at("ranks");
  const std::int64_t threads = workload.at("threads");
  const double peak = plan::multiply_adds_here().value_or(0) * static_cast<double>(threads);
  const plan::DeviceModel device = plan::device_of({.device = config::Device::cpu, .threads = threads, .peak_tflops = peak});
  plan::Task task{"expert/c/p", {}, 1, ranks};
  price(task, load, plan::find_shape(workload.at("shape")).value(), device, workload.at("micro_batch_tokens"));
  return {{"seconds", task.cost / plan::speedup(task, ranks)}, {"mib", task.memory_mib + task.sharded_mib / ranks}};
}

/// A panel: measured and predicted values over places of equal distance.
Chart panel_of(const json& panel) {
  constexpr double kWidth = 300, kHeight = 300;
  const std::vector<std::string> ticks = panel.at("ticks");
  Axis x{panel.at("axis"), -0.3, static_cast<double>(ticks.size()) - 0.7}, y{"", 0, 0};
  for (std::size_t i = 0; i < ticks.size(); ++i) x.ticks.emplace_back(static_cast<double>(i), ticks[i]);
  const std::vector<double> measured = panel.at("measured"), predictions = panel.at("predicted");
  y.high = 1.1 * std::max(std::ranges::max(measured), std::ranges::max(predictions));
  Chart chart(panel.at("title"), "", x, y, kWidth, kHeight);
  const auto points = [](const std::vector<double>& values) {
    std::vector<Chart::Point> all;
    for (const double value : values) all.push_back({static_cast<double>(all.size()), value, value, value});
    return all;
  };
  chart.line(points(measured), 0, Chart::Style::plain);
  chart.line(points(predictions), 1, Chart::Style::dashed);
  return chart;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "predict") == 0) {
    for (std::string line; std::getline(std::cin, line);) fmt::print("{}\n", predicted(json::parse(line)).dump());
  } else if (argc == 3 && std::strcmp(argv[1], "draw") == 0) {
    const json picture = json::parse(std::cin);
    std::vector<Chart> charts;
    for (const json& panel : picture.at("panels")) charts.push_back(panel_of(panel));
    write_file_atomically(argv[2], side_by_side(charts, picture.at("title"), {"measured", "dmoerm plan"}));
  } else {
    fmt::print(stderr, "usage: cost_growth predict < WORKLOADS | draw FILE.svg < PANELS\n");
    return 2;
  }
  return 0;
}
