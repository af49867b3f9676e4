// dmoerm plan: simulates a run on a cluster, which need not exist.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/counted.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hub_name.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/verbs.h"
#include "config/reader.h"
#include "plan/calibration.h"
#include "plan/cpu_rate.h"
#include "plan/device_choice.h"
#include "plan/disk_need.h"
#include "plan/gantt.h"
#include "plan/graph_builder.h"
#include "plan/plan_report.h"
#include "run/device_peak.h"
#include "run/model_shape.h"
#include "run/plan_tasks.h"
#include "run/slurm_script.h"
#include "run/store_sizes.h"

namespace dmoerm::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string config, device, shape, store, run, svg, json;
  std::vector<std::string> overrides;
  int nodes = 0, per_node = 0, ranks = 0;
  double reached = 0, memory_gib = -1, cores = -1;
  double mtbf_hours = 0, checkpoint_every_s = 0, restart_s = 180, stops_from = 0.3;
  std::uint64_t seed = 17;
  plan::StatedNumbers stated;
  bool is_stated = false;  ///< Whether the command line states the numbers, instead of a store
  std::size_t lines = 60;
};

std::string joined(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ", ")); }

/// Simulates the run and prints the plan with its assumptions.
class Planning {
 public:
  explicit Planning(const Options& options)
      : options_(options), config_(config::read_run_config(options.config, options.overrides)) {
    choose_device();
    choose_cluster();
    choose_shape();
    choose_source();
    choose_simulation();
  }

  void print() {
    plan::PlannedRun run = planned(config_.experts.per_task);
    const plan::Price price{config_.cluster.cost_per_device_hour, config_.cluster.currency};
    const std::vector<plan::FuseChoice> choices = options_.run.empty() ? compare_fuse() : std::vector<plan::FuseChoice>{};
    const std::string title = fmt::format("{}: {} on {} x {}, makespan {}", config_.name, shape_.name, run.cluster.size(),
                                          device_.name, duration_text(run.simulation.makespan));
    fmt::print("# Plan of {}\n\n", title);
    for (const std::string& assumption : assumptions_) fmt::print("- {}\n", assumption);
    const std::int64_t kept = std::max(config_.base.checkpoints_kept, config_.experts.train.checkpoints_kept);
    const plan::DiskNeed need = plan::disk_need(run.graph, {}, shape_, device_, static_cast<int>(run.cluster.size()), kept);
    fmt::print("\n{}\n", plan::summary_text(run, price));
    fmt::print("disk           about {:.2f} GiB of results, up to {:.2f} GiB of checkpoints at a time{}\n\n", need.results / 1024,
               need.checkpoints / 1024, room_text(need));
    if (!choices.empty()) fmt::print("{}\n", plan::fuse_text(choices, config_.experts.per_task));
    if (options_.lines > 0) fmt::print("{}\n", plan::schedule_text(run, options_.lines));
    if (!options_.svg.empty())
      write_file_atomically(options_.svg, plan::gantt_svg(run.graph, run.simulation, run.cluster, title));
    if (!options_.json.empty()) {
      nlohmann::json json = plan::plan_json(run, assumptions_, choices, price);
      if (!options_.run.empty()) json["measured"] = {{"ranks", measured_.ranks}, {"seconds", measured_.seconds}};
      write_json_atomically(options_.json, json);
    }
  }

 private:
  /// What is free where the run would write.
  [[nodiscard]] std::string room_text(const plan::DiskNeed& need) const {
    fs::path folder = fs::absolute(config_.runs_dir);
    while (!fs::exists(folder)) folder = folder.parent_path();
    const double free = static_cast<double>(fs::space(folder).available) / (1024.0 * 1024.0);
    return fmt::format("; {:.2f} GiB are free in {}{}", free / 1024, folder.string(),
                       need.results > free ? ": too little"
                       : need.all() > free ? ": too little for all checkpoints"
                                           : "");
  }

  void choose_device() {
    const plan::DeviceChoice choice = plan::choose_device(
        config_, {.option = options_.device, .gpus_per_node = options_.per_node > 0, .gpu_here = run::gpu_name()});
    if (!plan::find_device(choice.name))
      throw ConfigError("unknown-device",
                        fmt::format("--device {}: not known; known are {}", choice.name, joined(plan::device_names())));
    config::ComputeConfig compute = config_.compute;
    const bool cpu = choice.name == "cpu";
    compute.device = cpu ? config::Device::cpu : config::Device::cuda;
    if (!cpu && !options_.device.empty()) compute.peak_tflops = 0;  // of the run's device, not of the one that is named
    plan::PeakSource source = compute.peak_tflops > 0 ? plan::PeakSource::setting : plan::PeakSource::table;
    if (const auto measured = cpu && compute.peak_tflops <= 0 ? plan::multiply_adds_here() : std::nullopt) {
      compute.peak_tflops = *measured * static_cast<double>(compute.threads);
      source = plan::PeakSource::measured;
    }
    device_ = plan::device_of(compute, choice.name);
    if (options_.reached > 0) device_.reached = options_.reached;
    if (config_.cluster.memory_gib > 0) device_.memory_mib = 1024 * config_.cluster.memory_gib;
    if (options_.memory_gib >= 0) device_.memory_mib = 1024 * options_.memory_gib;
    assumptions_.push_back(fmt::format("priced device {}: {}", device_.name, choice.reason));
    assumptions_.push_back(
        fmt::format("device {}: peak {:.3g} TFLOP/s in {}, {} of it reached in long passes, half of that with {:.0f} tokens a "
                    "pass; memory {}; links {} GB/s inside a node, {} between nodes",
                    device_.name, device_.peak_tflops, device_.weight_bytes == 2 ? "bfloat16" : "float32",
                    fmt::format("{:.0f} %", 100 * device_.reached), device_.half_tokens,
                    device_.memory_mib > 0 ? fmt::format("{:.0f} GiB", device_.memory_mib / 1024) : "not limited",
                    device_.inside_gb_s, device_.across_gb_s));
    if (options_.run.empty())
      assumptions_.push_back(plan::rate_text(device_, plan::cpu_kind_here(), source, options_.reached > 0));
  }

  void choose_cluster() {
    if (options_.ranks > 0 && (options_.nodes > 0 || options_.per_node > 0))
      throw ConfigError(
          "cluster-size-given-twice",
          "--ranks already says the size of the cluster: give --ranks (of one node), or --nodes and --gpus-per-node");
    nodes_ = options_.ranks > 0 ? 1 : options_.nodes > 0 ? options_.nodes : static_cast<int>(config_.slurm.nodes);
    per_node_ = options_.ranks > 0      ? options_.ranks
                : options_.per_node > 0 ? options_.per_node
                                        : static_cast<int>(std::max<std::int64_t>(1, config_.slurm.ranks_per_node));
    cluster_ = plan::even_cluster(nodes_, per_node_, device_.memory_mib);
    if (device_.name == "cpu") {
      const double cores = options_.cores >= 0  ? options_.cores
                           : options_.ranks > 0 ? static_cast<double>(std::thread::hardware_concurrency())
                                                : 0;
      simulation_.ranks_at_speed = cores / static_cast<double>(config_.compute.threads);
      if (cores > 0) assumptions_.push_back(fmt::format("{:.0f} cores a node; ranks beyond them share them", cores));
    }
    simulation_.cluster = cluster_;
  }

  void choose_shape() {
    if (!options_.shape.empty()) {
      const auto known = plan::find_shape(options_.shape);
      if (!known)
        throw ConfigError("unknown-shape",
                          fmt::format("--shape {}: not known; known are {}", options_.shape, joined(plan::shape_names())));
      shape_ = *known;
    } else {
      if (!fs::exists(fs::path(config_.backbone.dir) / "config.json")) {
        throw ConfigError(
            "no-backbone-config",
            fmt::format("backbone.dir {}: {}: point it at the backbone, or name a shape for the plan with --shape ({})",
                        config_.backbone.dir,
                        fs::exists(config_.backbone.dir) ? "it has no config.json" : no_such_directory(config_.backbone.dir),
                        joined(plan::shape_names())));
      }
      shape_ = run::shape_of(config_);
      shape_.name = fs::path(config_.backbone.dir).filename().string();
    }
    assumptions_.push_back(fmt::format("backbone {}: {:.3g} parameters, {:.3g} multiply-adds a token in linear layers",
                                       shape_.name, shape_.parameters, shape_.linear_macs));
  }

  void choose_source() {
    const fs::path directory = options_.run.empty() ? fs::path(config_.runs_dir) / config_.name : fs::path(options_.run);
    if (!options_.is_stated) {
      store_ = options_.store.empty() ? directory / "ingest" / "store.h5" : fs::path(options_.store);
      if (!fs::exists(store_)) {
        throw ConfigError(
            "no-token-store",
            fmt::format(
                "no token store at {}: make one (launch/dmoerm ingest --config {} --out FILE, then --store FILE), or state how "
                "much data there will be: --groups-per-category N --tokens-per-group T [--labels-per-point L]",
                store_.string(), run::shell_quoted(options_.config)));
      }
      assumptions_.push_back(fmt::format("tokens as in {}", store_.string()));
    } else {
      assumptions_.push_back(fmt::format(
          "stated: {:.0f} train groups a category of {:.0f} tokens each (prompt once, all {:.0f} responses), {} of phase 1's "
          "labelled a point",
          options_.stated.groups_per_category, options_.stated.tokens_per_group, options_.stated.responses_per_group,
          options_.stated.labels_per_point > 0 ? fmt::format("at most {:.0f}", options_.stated.labels_per_point) : "all"));
    }
    assumptions_.push_back("the inputs are ingested and labelled: neither takes time in the plan");
    if (config_.folds > 0)
      assumptions_.push_back(fmt::format(
          "base and experts are trained {} more times for the aggregator (folds); folds: 0 leaves that out", config_.folds));
    if (options_.run.empty()) {
      const bool measured = fs::exists(directory / "timeline.jsonl");
      assumptions_.push_back(fmt::format("costs are modelled, not measured (--run {} takes them from {})",
                                         measured ? run::shell_quoted(directory.string()) : "DIR",
                                         measured ? "what was measured there" : "a real run"));
      return;
    }
    if (options_.is_stated)
      throw ConfigError("sizes-given-twice", "--run takes sizes from the run's own token store: give no --groups-per-category");
    measured_ = plan::calibrate(directory / "timeline.jsonl", graph_of(config_.experts.per_task), simulation_.ranks_at_speed);
    calibrated_ = true;
    assumptions_.push_back(
        fmt::format("costs{} measured in {}: {} on {}, {:.2f} times what the model says; early stops as they were there",
                    measured_.speedup.empty() ? "" : " and speed-up of groups", directory.string(),
                    duration_text(measured_.seconds), counted(measured_.ranks, "rank"), measured_.of_all));
  }

  void choose_simulation() {
    simulation_.regroup = config_.cluster.regroup;
    if (config_.cluster.checkpoint_mib_s > 0) simulation_.checkpoint_mib_s = config_.cluster.checkpoint_mib_s;
    if (!std::isfinite(options_.mtbf_hours))
      throw ConfigError("not-a-number-of-hours", "--node-mtbf-hours: expected a number of hours");
    simulation_.node_mtbf_s = 3600 * options_.mtbf_hours;
    simulation_.restart_s = options_.restart_s;
    simulation_.seed = options_.seed;
    simulation_.checkpoint_every_s =
        options_.checkpoint_every_s > 0 ? options_.checkpoint_every_s : config_.experts.train.checkpoint_every_s;
    if (!calibrated_) {
      assumptions_.push_back(
          options_.stops_from < 1
              ? fmt::format(
                    "early stops: each model ends at a share of its longest training drawn evenly from {:.2f} to 1 (seed {})",
                    options_.stops_from, options_.seed)
              : "no early stops");
    }
    if (options_.mtbf_hours > 0) {
      assumptions_.push_back(fmt::format(
          "a node fails every {:.3g} h on average (seed {}); the job restarts {:.0f} s later from checkpoints of every {:.0f} s",
          options_.mtbf_hours, options_.seed, options_.restart_s, simulation_.checkpoint_every_s));
    }
  }

  [[nodiscard]] std::vector<plan::TaskNode> nodes(std::int64_t fuse) const {
    config::RunConfig config = config_;
    config.experts.per_task = fuse;
    if (options_.is_stated) return plan::GraphBuilder(config, plan::StatedSizes(config, options_.stated)).build();
    const data::TokenStore store = data::TokenStore::open(store_);
    run::check_data(config, store);
    return plan::GraphBuilder(config, run::StoreSizes(config, store)).build();
  }

  [[nodiscard]] plan::TaskGraph graph_of(std::int64_t fuse) const {
    return plan::priced_graph(nodes(fuse), shape_, device_, config_.compute.micro_batch_tokens);
  }

  [[nodiscard]] plan::PlannedRun planned(std::int64_t fuse) const {
    plan::PlannedRun run{graph_of(fuse), cluster_, {}};
    plan::SimulationOptions how = simulation_;
    if (calibrated_) {
      run.graph = plan::calibrated(run.graph, measured_);
      how.share = measured_.share;
    } else if (options_.stops_from < 1) {
      how.share = plan::draw_early_stops(run.graph, options_.seed, options_.stops_from);
    }
    run.simulation = plan::simulate(run.graph, how);
    return run;
  }

  [[nodiscard]] std::vector<plan::FuseChoice> compare_fuse() const {
    std::size_t most = 1;
    for (const config::CategoryConfig& c : config_.categories) most = std::max(most, c.points.size());
    std::vector<plan::FuseChoice> choices;
    for (std::int64_t fuse = 1; fuse <= static_cast<std::int64_t>(most); ++fuse) {
      plan::FuseChoice choice;
      choice.fuse = fuse;
      try {
        const plan::PlannedRun run = planned(fuse);
        choice.makespan = run.simulation.makespan;
        choice.rank_hours = run.simulation.busy_s / 3600;
        for (const plan::TaskInterval& interval : run.simulation.intervals) {
          const plan::Task& task = run.graph.tasks()[interval.task];
          if (const auto id = plan::TaskId::parse(task.id); id && id->kind == plan::TaskKind::expert_set)
            choice.memory_mib = std::max(choice.memory_mib, plan::memory_mib(task, static_cast<int>(interval.ranks.size())));
        }
      } catch (const ConfigError& e) {
        choice.refusal = e.what();
      }
      choices.push_back(choice);
    }
    return choices;
  }

  const Options& options_;
  config::RunConfig config_;
  plan::DeviceModel device_;
  plan::ModelShape shape_;
  plan::Cluster cluster_;
  int nodes_ = 1, per_node_ = 1;
  fs::path store_;
  plan::SimulationOptions simulation_;
  plan::Calibration measured_;
  bool calibrated_ = false;
  std::vector<std::string> assumptions_;
};

}  // namespace

void add_plan(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand(
      "plan",
      "Simulate a run on a cluster: which ranks run which task when, how long it takes, what it costs, and what limits it");
  verb->footer(
      example("plan --config configs/gpu/llama3-8b.yaml --shape llama3-8b --nodes 8 --gpus-per-node 8 \\\n"
              "  --groups-per-category 20000 --tokens-per-group 1200 --svg plan.svg"));
  verb->add_option("--config", options->config, "YAML configuration of the run")->type_name(kFile)->required();
  verb->add_option("--set", options->overrides, "Override a key: --set cluster.gradient_dtype=bfloat16");
  verb->add_option("--nodes", options->nodes, "Number of nodes; default: slurm.nodes")->check(CLI::Range(1, 10000));
  verb->add_option("--gpus-per-node", options->per_node, "Ranks per node, one per GPU; default: slurm.ranks_per_node")
      ->check(CLI::Range(1, 1024));
  verb->add_option("--ranks", options->ranks, "Number of ranks on one node, instead of nodes and GPUs")
      ->check(CLI::Range(1, 1024));
  verb->add_option("--device", options->device,
                   "Device type of each rank, by default that of a run: " + joined(plan::device_names()));
  verb->add_option("--reached", options->reached, "Share of the device's peak speed that long passes reach")
      ->check(number_in(0.001, 1.0));
  verb->add_option("--memory-gib", options->memory_gib, "Memory per device in GiB; 0 = unlimited")->check(kNonNegative);
  verb->add_option("--cores", options->cores,
                   "Cores per node, where ranks compute on the CPU; default with --ranks: those of this machine")
      ->check(kNonNegative);
  verb->add_option("--shape", options->shape, "Shape of the backbone, to plan without its files: " + joined(plan::shape_names()));
  verb->add_option("--store", options->store, "Token store of `dmoerm ingest`; default: the run directory's")->type_name(kFile);
  CLI::Option* groups = verb->add_option("--groups-per-category", options->stated.groups_per_category,
                                         "Train groups per category, to plan without data")
                            ->check(number_in(1.0, 1e9));
  CLI::Option* tokens = verb->add_option("--tokens-per-group", options->stated.tokens_per_group,
                                         "Tokens per group, its prompt counted once, to plan without data")
                            ->check(number_in(1.0, 1e6));
  tokens->needs(groups), groups->needs(tokens);
  verb->add_option("--responses-per-group", options->stated.responses_per_group, "Responses per group, to plan without data")
      ->check(number_in(2.0, 1e4))
      ->needs(groups);
  verb->add_option("--labels-per-point", options->stated.labels_per_point,
                   "Groups with labels per point, to plan without data; 0 = all of phase 1")
      ->needs(groups)
      ->check(number_in(0.0, 1e9));
  verb->add_option("--run", options->run, "Directory of a run whose timeline.jsonl says how long its tasks took")
      ->type_name(kFolder);
  verb->add_option("--stops-from", options->stops_from,
                   "Smallest share of its longest training at which a model may stop early, drawn at random; 1 = no early stops")
      ->check(number_in(0.0, 1.0))
      ->capture_default_str();
  verb->add_option("--node-mtbf-hours", options->mtbf_hours, "Mean hours between two failures of a node; 0 = nodes do not fail")
      ->check(number_in(0.0, 1e9));
  verb->add_option("--checkpoint-every-s", options->checkpoint_every_s,
                   "Seconds between checkpoints; default: experts.train.checkpoint_every_s")
      ->check(kPositive);
  verb->add_option("--restart-s", options->restart_s, "Seconds from a failure until the ranks work again")
      ->check(kNonNegative)
      ->capture_default_str();
  verb->add_option("--seed", options->seed, "Seed of early stops and failures")->capture_default_str();
  verb->add_option("--lines", options->lines, "Lines of the schedule to print; 0 = none")->capture_default_str();
  verb->add_option("--svg", options->svg, "File for a drawing of the schedule (SVG)")->type_name(kFile);
  verb->add_option("--json", options->json, "File for the whole plan (JSON)")->type_name(kFile);
  verb->callback([options, groups] {
    init_log(0, 1, "warn");
    options->is_stated = groups->count() > 0;
    Planning(*options).print();
  });
}

}  // namespace dmoerm::cli
