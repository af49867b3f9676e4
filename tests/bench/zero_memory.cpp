// Trains a model for a few steps, alone or under mpirun, and tells what each rank's memory and time were. Output: one JSON line
// of the first rank.
#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "comm/init_world.h"
#include "support/word_renderer.h"
#include "synth/synth.h"
#include "train/reward_trainer.h"

namespace {

using namespace dmoerm;
namespace fs = std::filesystem;

/// A line of /proc/self/status in MiB.
double status_mib(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return std::stod(line.substr(name.size() + 1)) / 1024;
  }
  return 0;
}

void make_store(const fs::path& store, std::int64_t vocab) {
  synth::SynthOptions options;
  options.groups = 60, options.categories = 2, options.responses = 3;
  std::ofstream(store.string() + ".jsonl") << synth::synthesize(options).jsonl;
  data::IngestRequest request;
  request.data.inputs.push_back({store.string() + ".jsonl", "auto", "", config::InputSplit::own, 1.0});
  request.renderer = test::word_renderer(vocab);
  request.output = store;
  data::ingest(request);
}

}  // namespace

int main(int argc, char** argv) {
  std::string model_dir, folder;
  bool adapter = false;
  config::TrainConfig train;
  config::ComputeConfig compute;
  train.lr = 1e-5, train.groups_per_step = 8, train.steps_max = 2, train.eval_every_steps = 1, train.eval_groups_max = 2;
  train.patience = 1 << 20;
  train.checkpoint_every_s = 1e9, compute.micro_batch_tokens = 1;  // a group each
  CLI::App app{"Memory and time of training all weights, in shards or whole, or an adapter"};
  app.add_option("--model", model_dir)->required();
  app.add_option("--folder", folder, "the first rank's token store and metrics go there")->required();
  app.add_flag("--shard", train.shard);
  app.add_flag("--recompute", train.gradient_checkpointing);
  app.add_option("--micro-batch-tokens", compute.micro_batch_tokens);
  app.add_option("--steps", train.steps_max);
  app.add_option("--groups-per-step", train.groups_per_step);
  app.add_option("--checkpoint-every-s", train.checkpoint_every_s);
  app.add_flag("--adapter", adapter, "train an adapter instead of all weights");
  CLI11_PARSE(app, argc, argv);
  at::set_num_threads(1);
  spdlog::set_default_logger(spdlog::stderr_logger_mt("bench"));
  spdlog::set_level(spdlog::level::debug);  // says when a checkpoint is written
  const auto world = comm::init_world();
  comm::Communicator& group = world->all();
  const fs::path store_file = fs::path(folder) / "store.h5";

  std::vector<train::Trainee> trainees(1);
  train::Trainee& t = trainees[0];
  t.name = "single";
  const auto backbone = nn::Backbone::load(model_dir, at::kCPU);
  t.model = adapter ? nn::RewardModel(backbone, nn::LoraSpec{}) : nn::RewardModel(backbone);
  if (adapter) t.model.adapter()->initialise(17);
  at::Tensor(t.model.head().w_D).copy_(at::arange(backbone->spec().width).sub(100).mul(1e-4));
  if (group.rank() == 0) make_store(store_file, backbone->spec().vocab);
  group.barrier();
  const auto store = data::TokenStore::open(store_file);
  config::RunConfig config;
  for (const std::string& name : store.categories()) config.categories.push_back({name, {}, 0.0});
  t.training = labelled_groups(store, -1, train::Subset::train, preference::kOverall, config);
  t.validation = labelled_groups(store, -1, train::Subset::validation, preference::kOverall, config);

  const double before = status_mib("VmRSS");
  std::ofstream("/proc/self/clear_refs") << "5";  // VmHWM begins anew
  train::TrunkCache trunks(0);
  const auto outcome =
      train_rewards({store, train, compute, 17, group, fs::path(folder) / "out", "key", trunks, {}, {}}, trainees);
  const double own[] = {before, status_mib("VmHWM"), outcome[0].state_mib, outcome[0].traffic.seconds,
                        static_cast<double>(outcome[0].traffic.bytes)};
  const auto all = group.all_gather(std::as_bytes(std::span(own)));
  if (group.rank() != 0) return 0;
  nlohmann::json ranks = nlohmann::json::array();
  for (const auto& bytes : all) {
    double values[std::size(own)];
    std::memcpy(values, bytes.data(), sizeof values);
    ranks.push_back({{"loaded_mib", values[0]},
                     {"peak_mib", values[1]},
                     {"state_mib", values[2]},
                     {"comm_seconds", values[3]},
                     {"comm_bytes", values[4]}});
  }
  const nn::Weights& weights = t.model.backbone().weights();
  const auto mib = [](std::int64_t floats) { return static_cast<double>(floats) * sizeof(float) / (1 << 20); };
  fmt::print("{}\n", nlohmann::json{{"ranks", ranks},
                                    {"seconds", outcome[0].seconds},
                                    {"tokens", outcome[0].tokens},
                                    {"weights_mib", mib(weights.flat.numel())},
                                    {"layer_mib", mib(weights.slice(1).numel())},
                                    {"embeddings_mib", mib(weights.slice(weights.slices() - 1).numel())}}
                         .dump());
  return 0;
}
