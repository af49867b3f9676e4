#include "run/start.h"

#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/stop.h"
#include "comm/deadline.h"
#include "comm/heartbeat.h"
#include "comm/init_world.h"
#include "config/reader.h"
#include "config/writer.h"
#include "plan/graph_builder.h"
#include "plan/task_id.h"
#include "run/check_labels.h"
#include "run/check_ranks.h"
#include "run/imported_experts.h"
#include "run/label_rounds.h"
#include "run/owner_file.h"
#include "run/pipeline.h"
#include "run/run_watch.h"
#include "run/stage_ingest.h"
#include "run/stage_label.h"
#include "run/training_task.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;

/// Makes a folder and its missing parents. Unless they are kept, it removes those that it made, so that a refused input or
/// configuration leaves nothing behind.
class MadeFolders {
 public:
  explicit MadeFolders(const fs::path& folder) {
    for (fs::path path = folder; !path.empty() && !fs::exists(path); path = path.parent_path()) made_.push_back(path);
    fs::create_directories(folder);
  }
  ~MadeFolders() {
    std::error_code ignored;
    if (!made_.empty()) fs::remove_all(made_.front(), ignored);
    for (const fs::path& path : made_) fs::remove(path, ignored);  // removes only empty folders
  }
  MadeFolders(const MadeFolders&) = delete;
  MadeFolders& operator=(const MadeFolders&) = delete;
  void keep() { made_.clear(); }

 private:
  std::vector<fs::path> made_;  ///< Folders made, innermost first
};

/// Wraps an error of the first rank after the other ranks have received it; all ranks leave together.
class ToldToAll : public std::exception {};

/// Run `work` on the first rank, however long it takes. If it fails, all ranks leave together with its exit code, and only the
/// first reports the error.
/// @throws ToldToAll around what `work` throws, on the first rank; ReportedByOther on the others
template <class Work>
void on_first_rank(comm::World& world, const Work& work) {
  constexpr int kPatienceMs = 1000;
  if (world.rank() != 0) {
    std::optional<comm::ControlMessage> message;
    while (!message) message = world.receive_control(false, kPatienceMs);
    if (const int code = std::stoi(message->text); code != 0) throw ReportedByOther(code);
    return;
  }
  const auto tell = [&](int code) {
    for (int rank = 1; rank < world.size(); ++rank) world.send_control(rank, false, std::to_string(code));
  };
  try {
    work();
  } catch (const std::exception& e) {
    tell(failure_of(e).exit_code);
    std::throw_with_nested(ToldToAll());
  }
  tell(0);
}

/// A configuration, or why it cannot be read.
struct ReadConfig {
  std::optional<config::RunConfig> config;
  std::string problem;
  std::exception_ptr error;  ///< the problem, as it was thrown
  std::vector<std::string> warnings = {};
};

ReadConfig read_config(const RunRequest& request) {
  try {
    ReadConfig read;
    read.config = config::read_run_config(request.config_file, request.overrides, &read.warnings);
    return read;
  } catch (const Error& e) {
    return {std::nullopt, e.what(), std::current_exception()};
  }
}

/// Make sure that all ranks have read the same configuration.
config::RunConfig agree_on_config(comm::World& world, const ReadConfig& own) {
  init_log(world.rank(), world.size(), own.config ? config::word(own.config->log_level) : "info");
  const std::vector<RankFacts> facts = gather_rank_facts(world, own.config, own.problem);
  on_first_rank(world, [&] {
    if (own.error) std::rethrow_exception(own.error);
    check_rank_facts(facts);
    for (const std::string& warning : own.warnings) spdlog::warn("[config] {}", warning);
  });
  return *own.config;
}

/// Calls a function at the end of its scope.
struct AtEnd {
  std::function<void()> call;
  ~AtEnd() { call(); }
};

/// One run, from the inputs to the bundle. Collective over the world.
class Run {
 public:
  Run(const config::RunConfig& config, bool update, comm::World& world, comm::Heartbeat& heartbeat)
      : config_(config),
        update_(update),
        world_(world),
        heartbeat_(heartbeat),
        directory_(fs::path(config.runs_dir) / config.name, begun_training) {}

  int run(const std::function<void(const RunEnd&)>& show) {
    heartbeat_.doing(first() ? "reading the inputs" : "waiting for rank 0 to read the inputs");
    on_first_rank(world_, [&] { prepare(); });
    // Log lines of other ranks would disturb the first rank's screen, which shows their progress anyway.
    if (comm::largest_of(world_.all(), watch_ && watch_->on_screen() ? 1 : 0) == 1 && !first())
      spdlog::set_level(spdlog::level::warn);
    const data::TokenStore store = data::TokenStore::open(token_store_path(directory_));
    RunContext context(config_, store, directory_);
    heartbeat_.doing("waiting for tasks");
    const RunSummary summary = run_pipeline(context, world_, hooks());
    on_first_rank(world_, [&] {  // the other ranks wait, even for a slow terminal
      show({summary, label_end_, directory_.task(plan::TaskId::report()) / "report.md", directory_.task(plan::TaskId::bundle())});
    });
    if (summary.complete()) return 0;
    return summary.failed.empty() && summary.stopped ? Stopped("").exit_code() : summary.exit_code;
  }

 private:
  [[nodiscard]] bool first() const { return world_.rank() == 0; }

  /// On the first rank, check and prepare everything that the tasks need.
  void prepare() {
    auto owner = std::make_unique<OwnerFile>(directory_.root());
    MadeFolders folders(
        token_store_path(directory_).parent_path());  // after the owner file, as only the owner may remove folders
    // Before reading the inputs, which may take long.
    RunFacts facts{check_backbone(config_, directory_.hashes()), {}};
    facts.on.imported = check_imported_experts(config_, directory_.hashes());
    remove_stale_temporaries(directory_.root());
    facts.external[plan::TaskId::ingest().text()] = run_ingest(config_, directory_, update_);
    const data::TokenStore store = data::TokenStore::open(token_store_path(directory_));
    if (!config_.labels.judges.empty()) {
      labelling_ = std::make_unique<LabelStage>(config_, directory_, std::vector<std::string>{}, &store);
      facts.external[plan::TaskId::selection().text()] = labelling_->selection();
      facts.external.insert(labelling_->identities().begin(), labelling_->identities().end());
      if (plan::label_rounds(config_) > 1) {  // only later rounds read tasks of the ranks
        complete_facts(RunContext(config_, store, directory_), facts);
        labelling_->identify(facts.external);
      }
      if (labelling_->any_open()) prepare_labelling();
    }
    check_run_directory(RunContext(config_, store, directory_), facts, update_);
    warn_of_few_validation_prompts(config_, store);
    watch_ = std::make_unique<RunWatch>(config_, directory_, heartbeat_);
    write_file_atomically(directory_.root() / "config.yaml", config::to_yaml(config_));
    owner_ = std::move(owner);
    folders.keep();
    directory_.hashes().save();
  }

  /// Report problems of labelling before anything is computed. A store that another run uses may be free when it is needed.
  void prepare_labelling() {
    labelling_->choose_first();
    static_cast<void>(open_if_free(*labelling_));
  }

  RunHooks hooks() {
    RunHooks hooks;
    hooks.external = [this](const std::set<std::string>& open, const std::function<void(const std::string&)>& done,
                            TaskBoard& board) { label(open, done, board); };
    hooks.check = [this](const std::function<void()>& work) { on_first_rank(world_, work); };
    hooks.doing = [this](const std::string& what) { heartbeat_.doing(what); };
    if (watch_) hooks.observe = [this](const nlohmann::json& event) { watch_->hear(event); };
    return hooks;
  }

  void label(const std::set<std::string>& open, const std::function<void(const std::string&)>& done, TaskBoard& board) {
    LabelStage::Run how;
    how.tasks = open;
    how.stop = stop_requested;
    how.point_done = done;
    how.progress = [this](const label::LabelProgress& progress, const std::vector<std::string>& tasks) {
      watch_->label(progress, tasks);
    };
    const label::LabellingEnd end = label_in_rounds(*labelling_, how, board);
    label_end_ = end;
    if (end.why == label::LabellingEnd::Why::complete) return;
    spdlog::error("[label] labelling ended early: {}", with_code(end.message, end.code()));
    if (end.exit_code() == ConfigError("").exit_code())
      throw ConfigError(end.code(), end.message);  // running again would not help
  }

  const config::RunConfig& config_;
  bool update_;
  comm::World& world_;
  comm::Heartbeat& heartbeat_;
  RunDirectory directory_;
  // On the first rank:
  std::unique_ptr<OwnerFile> owner_;
  std::unique_ptr<LabelStage> labelling_;
  std::unique_ptr<RunWatch> watch_;
  label::LabellingEnd label_end_;
};

}  // namespace

int run_all(const RunRequest& request, const std::function<void(const RunEnd&)>& show) {
  constexpr double kStartLimits = 5;    // starting takes longer: it loads programs and reaches hosts
  constexpr double kPatientTimes = 10;  // all ranks read the token store and look at the run directory, some sooner than others
  const ReadConfig own = read_config(request);
  const double limit_s = own.config ? own.config->cluster.timeout_s : config::ClusterConfig().timeout_s;
  catch_stop_signals();
  comm::Deadline deadline;
  deadline.begin(kStartLimits * limit_s, "not all ranks have started");
  const auto world = comm::init_world();
  const AtEnd leaving{[&] { deadline.begin(limit_s, "not all ranks have left"); }};  // starts before the world ends
  try {
    const config::RunConfig config = agree_on_config(*world, own);
    std::optional<comm::Heartbeat> heartbeat;
    try {
      heartbeat.emplace(*world, config.cluster.timeout_s);
      world->all().limit_waits(kPatientTimes * config.cluster.timeout_s);
      deadline.end();
      return Run(config, request.update, *world, *heartbeat).run(show);
    } catch (const ToldToAll&) {
      throw;
    } catch (const ReportedByOther&) {
      throw;
    } catch (const std::exception& e) {
      if (world->size() == 1) throw;
      const Failure failure = failure_of(e);  // the others wait for this rank
      fmt::print(stderr, "dmoerm: rank {} on {}: {}\n", world->rank(), world->host(), failure.message);
      world->abort(failure.exit_code);
      return failure.exit_code;
    }
  } catch (const ToldToAll& e) {
    std::rethrow_if_nested(e);
    throw;
  }
}

}  // namespace dmoerm::run
