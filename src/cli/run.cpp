// dmoerm run: the whole pipeline, from preference data to a bundle, alone or under mpirun / srun.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/stop.h"
#include "cli/verbs.h"
#include "comm/deadline.h"
#include "comm/heartbeat.h"
#include "comm/world.h"
#include "data/group_selection.h"
#include "data/ingest.h"
#include "data/token_store_schema.h"
#include "run/check_ranks.h"
#include "run/label_job.h"
#include "run/make_bundle.h"
#include "run/owner_file.h"
#include "run/pipeline.h"
#include "run/run_watch.h"
#include "tokenizer/chat_template.h"

namespace dmoerm::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Options {
  std::string config;
  std::vector<std::string> overrides;
  bool update = false;
};

/// What the token store depends on.
run::TaskIdentity ingest_identity(const config::RunConfig& config, const tokenizer::Tokenizer& tokenizer,
                                  const tokenizer::ChatTemplate& chat_template) {
  const config::DataConfig& d = config.data;
  json settings = data::selection_settings(config);
  settings.update({{"schema", data::kStoreSchema},
                   {"tokenizer", tokenizer.digest()},
                   {"template", chat_template.digest()},
                   {"seed", config.seed},
                   {"data",
                    {{"max_length", d.max_length},
                     {"min_prompt_tokens", d.min_prompt_tokens},
                     {"bad_lines_max", d.bad_lines_max},
                     {"responses_per_group_max", d.responses_per_group_max},
                     {"groups_per_category_max", d.groups_per_category_max},
                     {"validation_share", d.validation_share},
                     {"test_share", d.test_share},
                     {"special_tokens_in_text", d.special_tokens_in_text}}}});
  return {settings, {}};
}

/// Makes a folder and those it lies in. Unless kept, the ones it made go again: what is wrong with the input or the configuration
/// leaves nothing that a corrected run would have to get past.
class MadeFolders {
 public:
  explicit MadeFolders(const fs::path& folder) {
    for (fs::path path = folder; !path.empty() && !fs::exists(path); path = path.parent_path()) made_.push_back(path);
    fs::create_directories(folder);
  }
  ~MadeFolders() {
    std::error_code ignored;
    if (!made_.empty()) fs::remove_all(made_.front(), ignored);
    for (const fs::path& path : made_) fs::remove(path, ignored);  // only if empty
  }
  MadeFolders(const MadeFolders&) = delete;
  MadeFolders& operator=(const MadeFolders&) = delete;
  void keep() { made_.clear(); }

 private:
  std::vector<fs::path> made_;  ///< innermost first
};

/// Tokenise the inputs unless a store of the same inputs is there. @return path of the store
fs::path ingest(const config::RunConfig& config, const run::RunDirectory& directory, bool update) {
  const tokenizer::Tokenizer tokenizer = tokenizer::Tokenizer::load(fs::path(config.backbone.dir) / "tokenizer.json");
  const tokenizer::ChatTemplate chat_template(config.backbone.chat_template, tokenizer, config.data.special_tokens_in_text);
  const run::TaskIdentity identity = ingest_identity(config, tokenizer, chat_template);
  const fs::path store = directory.task("ingest") / "store.h5";
  if (directory.done("ingest", identity)) return store;
  if (const auto change = directory.change("ingest", identity); change && !update) {
    std::string differences;
    for (const std::string& difference : change->differences) differences += "\n  ingest: " + difference;
    throw ConfigError(
        fmt::format("{} was made with other data or another configuration:{}\nrun with --update to ingest again and redo what "
                    "depends on it, or give the run another name",
                    directory.root().string(), differences));
  }
  data::ingest_for_run(config, tokenizer, chat_template, store);
  directory.complete("ingest", identity, {"store.h5"}, json::object());
  return store;
}

/// An error that all ranks know of, nested: they leave together.
class AllKnow : public std::exception {};

/// Run `work` on the first rank, however long it takes; all ranks leave together with its exit code if it fails, and only the
/// first speaks.
/// @throws AllKnow what `work` throws on the first rank, and RuntimeError on the others
template <class Work>
void on_first_rank(comm::World& world, const Work& work) {
  constexpr int kPatienceMs = 1000;
  if (world.rank() != 0) {
    std::optional<comm::ControlMessage> message;
    while (!message) message = world.receive_control(false, kPatienceMs);
    if (const int code = std::stoi(message->text); code != 0) throw CLI::RuntimeError(code);
    return;
  }
  const auto tell = [&](int code) {
    for (int rank = 1; rank < world.size(); ++rank) world.send_control(rank, false, std::to_string(code));
  };
  try {
    work();
  } catch (const std::exception& e) {
    tell(failure_of(e).exit_code);
    std::throw_with_nested(AllKnow());
  }
  tell(0);
}

/// A configuration, or why there is none.
struct ReadConfig {
  std::optional<config::RunConfig> config;
  std::string problem;
};

ReadConfig read_config(const Options& options) {
  try {
    return {config::read_run_config(options.config, options.overrides), ""};
  } catch (const Error& e) {
    return {std::nullopt, e.what()};
  }
}

/// Every rank has read the configuration; all go on with the same one, or none.
config::RunConfig agree_on_config(comm::World& world, const ReadConfig& own) {
  init_log(world.rank(), world.size(), own.config ? own.config->log_level : "info");
  const std::vector<run::RankFacts> facts = run::gather_rank_facts(world, own.config, own.problem);
  on_first_rank(world, [&] { run::check_rank_facts(facts); });
  return *own.config;
}

/// Calls a function at the end of its scope.
struct AtEnd {
  std::function<void()> call;
  ~AtEnd() { call(); }
};

/// Everything from the inputs to the bundle. Collective over the world.
int run_all(const config::RunConfig& config, const Options& options, comm::World* world, comm::Heartbeat& heartbeat) {
  const run::RunDirectory directory(fs::path(config.runs_dir) / config.name);
  std::unique_ptr<run::OwnerFile> owner;
  std::unique_ptr<run::LabelJob> labelling;
  std::unique_ptr<run::RunWatch> watch;
  std::string label_end;
  heartbeat.doing(world->rank() == 0 ? "reading the inputs" : "waiting for rank 0 to read the inputs");
  on_first_rank(*world, [&] {
    auto own = std::make_unique<run::OwnerFile>(directory.root());
    MadeFolders folders(directory.task("ingest"));           // goes first: only the owner removes anything
    const run::ComputedOn on = run::check_backbone(config);  // before the inputs are read, which may take long
    remove_stale_temporaries(directory.root());
    const fs::path store_path = ingest(config, directory, options.update);
    const data::TokenStore store = data::TokenStore::open(store_path);
    if (!config.labels.judges.empty()) {
      labelling = std::make_unique<run::LabelJob>(config, directory, std::vector<std::string>{});
      run::save_label_plan(directory, labelling->identities());
      if (labelling->any_open()) labelling->open();
    }
    run::check_run_directory(run::RunContext(config, store, directory), on, options.update);
    watch = std::make_unique<run::RunWatch>(config, directory, heartbeat);
    write_file_atomically(directory.root() / "config.yaml", config::to_yaml(config));
    owner = std::move(own);
    folders.keep();
  });
  // Lines of other ranks come past the first one's screen and would shift it; what they say is on it.
  if (comm::largest_of(world->all(), watch && watch->on_screen() ? 1 : 0) == 1 && world->rank() != 0)
    spdlog::set_level(spdlog::level::warn);
  const data::TokenStore store = data::TokenStore::open(directory.task("ingest") / "store.h5");
  run::RunContext context(config, store, directory);
  const auto label = [&](const std::set<std::string>& open, const std::function<void(const std::string&)>& done) {
    run::LabelJob::Run how;
    how.tasks = open, how.stop = stop_requested, how.point_done = done;
    how.progress = [&](const label::LabelProgress& progress) { watch->label(progress); };
    const label::LabellingEnd end = labelling->run(how);
    label_end = end.message;
    if (end.why == label::LabellingEnd::Why::complete) return;
    spdlog::error("[label] labelling ended early: {}", end.message);
    if (end.exit_code() == ConfigError("").exit_code()) throw ConfigError(end.message);  // mend it: running again does not help
  };
  heartbeat.doing("waiting for tasks");
  run::PipelineHooks hooks;
  hooks.label = label;
  hooks.doing = [&](const std::string& what) { heartbeat.doing(what); };
  if (watch) hooks.observe = [&](const json& event) { watch->hear(event); };
  const run::PipelineSummary summary = run::run_pipeline(context, *world, hooks);
  if (summary.complete) {
    heartbeat.doing(world->rank() == 0 ? "making the bundle" : "waiting for rank 0 to make the bundle");
    on_first_rank(*world, [&] {
      const fs::path bundle = [&] {
        try {
          return run::make_bundle(context);
        } catch (const std::exception& e) {
          watch->finish(failure_of(e).exit_code);
          throw;
        }
      }();
      watch->finish(0);
      const std::string result = fmt::format(
          "{}\nThe model: {}\nScore a response of your own:\n  launch/dmoerm score --bundle {} --prompt \"...\" --response "
          "\"...\"\n",
          read_file(directory.task("report") / "report.md"), bundle.string(), bundle.string());
      std::fwrite(result.data(), 1, result.size(), stdout);
      std::fflush(stdout);
      if (std::ferror(stdout) != 0 && std::freopen("/dev/null", "w", stdout) == nullptr)
        spdlog::warn("[run] the report could not be shown");  // if the terminal is gone, it is on the disk all the same
    });
    return 0;
  }
  if (world->rank() == 0) {
    for (const std::string& failure : summary.failed) fmt::print(stderr, "dmoerm: failed: {}\n", failure);
    if (summary.stopped) {
      fmt::print(stderr, "dmoerm: {}; {} tasks are left: run the same command again to continue\n",
                 stop_requested() || label_end.empty() ? fmt::format("stopped by {}", stop_signal())
                                                       : "labelling ended early: " + label_end,
                 summary.skipped.size());
    } else {
      for (const std::string& task : summary.skipped)
        fmt::print(stderr, "dmoerm: not started, because a task it needs failed: {}\n", task);
    }
  }
  return summary.failed.empty() && summary.stopped ? Stopped("").exit_code() : summary.exit_code;
}

int run(const Options& options) {
  constexpr double kStartLimits = 5;  // programs are loaded, hosts reached
  const ReadConfig own = read_config(options);
  const double limit_s = own.config ? own.config->cluster.limit_s : config::ClusterConfig().limit_s;
  catch_stop_signals();
  comm::Deadline deadline;
  deadline.begin(kStartLimits * limit_s, "not all ranks have started");
  const auto world = comm::init_world();
  const AtEnd leaving{[&] { deadline.begin(limit_s, "not all ranks have left"); }};  // goes before the world
  try {
    const config::RunConfig config = agree_on_config(*world, own);
    comm::Heartbeat heartbeat(*world, config.cluster.limit_s);
    deadline.end();
    try {
      return run_all(config, options, world.get(), heartbeat);
    } catch (const AllKnow&) {
      throw;
    } catch (const CLI::RuntimeError&) {
      throw;
    } catch (const std::exception& e) {
      if (world->size() == 1) throw;
      const Failure failure = failure_of(e);  // the others wait for this rank
      fmt::print(stderr, "dmoerm: rank {} on {}: {}\n", world->rank(), world->host(), failure.message);
      world->abort(failure.exit_code);
      return failure.exit_code;
    }
  } catch (const AllKnow& e) {
    std::rethrow_if_nested(e);
    throw;
  }
}

}  // namespace

void add_run(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand(
      "run", "Ingest, train router, bases, experts and aggregators, evaluate, and write the bundle; run again to continue");
  verb->footer("Example: launch/dmoerm --np 2 run --config configs/quickstart.yaml --set base.lr=1e-4");
  verb->add_option("--config", options->config, "YAML configuration")->required();
  verb->add_option("--set", options->overrides, "override a key: --set experts.train.lr=1e-4");
  verb->add_flag("--update", options->update,
                 "redo what changed settings or inputs touch, instead of refusing the run directory");
  verb->callback([options] {
    if (const int code = run(*options); code != 0) throw CLI::RuntimeError(code);
  });
}

}  // namespace dmoerm::cli
