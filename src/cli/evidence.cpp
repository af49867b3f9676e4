// dmoerm evidence: the experiment on frozen states, and the data and tables of the same one with whole runs.
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/passing_file.h"
#include "base/stop.h"
#include "cli/verbs.h"
#include "comm/init_world.h"
#include "config/reader.h"
#include "data/group_selection.h"
#include "evidence/contrasts.h"
#include "evidence/draw.h"
#include "evidence/experiment.h"
#include "evidence/noise_ceiling.h"
#include "evidence/run_cells.h"
#include "evidence/state_cache.h"
#include "evidence/tables.h"
#include "nn/device.h"
#include "run/stage_ingest.h"

namespace dmoerm::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string config, out;
  std::vector<std::string> overrides, groups;
  std::vector<std::int64_t> depths;
  std::vector<std::string> readings, regimes = {"80-rater"};
  evidence::ExperimentSettings experiment;
  std::optional<std::uint64_t> seed;
  std::string primary = "80-rater";
  std::int64_t prompts_min = 300;
  bool test = false;
  evidence::DrawSettings draw;
  std::int64_t draws = 3;
  std::vector<std::string> runs, contrasts, planned;
};

/// "250" for every category, or "NAME=250" for one.
evidence::GroupChoice choice_of(const Options& options, std::uint64_t seed) {
  evidence::GroupChoice choice{.test = options.test, .seed = seed};
  for (const std::string& text : options.groups) {
    const std::size_t equals = text.find('=');
    const std::string number = equals == std::string::npos ? text : text.substr(equals + 1);
    std::int64_t value = -1;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    if (error != std::errc() || end != number.data() + number.size() || value < 0)
      throw ConfigError("not-a-number-of-groups", fmt::format("--groups {}: expected a whole number, or NAME=NUMBER", text));
    (equals == std::string::npos ? choice.of_all : choice.by_category[text.substr(0, equals)]) = value;
  }
  return choice;
}

/// The file of the token store in the folder of an experiment.
fs::path store_path(const fs::path& out) { return run::token_store_path(run::RunDirectory(out)); }

/// The ranks of this program. They meet only before and behind work that takes one much longer than another; if one is gone,
/// mpirun ends the others.
std::unique_ptr<comm::World> world_of_long_waits() {
  constexpr double kLongestS = 86'400;
  auto world = comm::init_world();
  world->all().limit_waits(kLongestS);
  init_log(world->rank(), world->size(), "info");
  return world;
}

/// The token store of the configuration and its data, made by the first rank, and again when one of them has changed.
data::TokenStore store_of(const config::RunConfig& config, const fs::path& out, comm::World& world) {
  if (world.rank() == 0) (void)run::run_ingest(config, run::RunDirectory(out), true);
  world.all().barrier();
  return data::TokenStore::open(store_path(out));
}

void compute_states(const Options& options) {
  const auto world = world_of_long_waits();
  catch_stop_signals();
  const config::RunConfig config = config::read_run_config(options.config, options.overrides);
  at::set_num_threads(static_cast<int>(config.compute.threads));
  const evidence::GroupChoice choice = choice_of(options, config.seed);  // refused before anything is read
  const data::TokenStore store = store_of(config, options.out, *world);
  const auto groups = evidence::choose_groups(store, choice);
  const auto left_out = evidence::untestable(config, store, groups, options.test, options.experiment);
  for (const auto& [category, why] : left_out) {
    if (world->rank() == 0) spdlog::warn("[evidence] no cells will be made of {}: it {}", category, why);
  }
  const auto backbone =
      nn::Backbone::load(config.backbone.dir, nn::pick_device(config::word(config.compute.device), "compute.device"),
                         config.backbone.layers, nn::pick_dtype(config::word(config.compute.dtype)));
  const std::int64_t layers = backbone->spec().layers;
  const std::vector<std::int64_t> depths = options.depths.empty() ? evidence::usual_depths(layers) : options.depths;
  evidence::check_depths(depths, layers);
  const at::Tensor weights = backbone->weights().flat.cpu();
  const std::string model = sha256_hex({static_cast<const char*>(weights.const_data_ptr()), weights.nbytes()});
  if (world->rank() == 0)
    write_json_atomically(fs::path(options.out) / "states.json", {{"model", model}, {"layers", layers}, {"depths", depths}});
  const evidence::StateCache cache(fs::path(options.out) / "states", store, depths, model);
  const auto start = std::chrono::steady_clock::now();
  const std::int64_t tokens = cache.fill(*backbone, groups, config.compute.micro_batch_tokens, world->all());
  world->all().barrier();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  spdlog::info("[evidence] {} tokens in {:.0f} s on this rank", tokens, seconds);
}

evidence::Reading reading_of(const std::string& name, const std::vector<std::int64_t>& depths, std::int64_t layers) {
  std::vector<std::string> names;
  for (const evidence::Reading& reading : evidence::readings_of(depths, layers)) {
    if (reading.name() == name) return reading;
    names.push_back(reading.name());
  }
  throw ConfigError("unknown-reading", fmt::format("--readings {}: the states hold {}", name, fmt::join(names, ", ")));
}

void compute_cells(const Options& options) {
  const auto world = world_of_long_waits();
  catch_stop_signals();
  const config::RunConfig config = config::read_run_config(options.config, options.overrides);
  at::set_num_threads(static_cast<int>(config.compute.threads));
  const fs::path out = options.out;
  std::vector<evidence::Regime> regimes;  // refused before anything is read, as the groups
  for (const std::string& name : options.regimes) regimes.push_back(evidence::regime_from(name));
  evidence::GroupChoice choice = choice_of(options, config.seed);
  if (!fs::exists(out / "states.json"))
    throw DataError("no-states", fmt::format("{}: there are no states: run `dmoerm evidence states` with the same settings first",
                                             out.string()));
  const data::TokenStore store = store_of(config, out, *world);
  const nlohmann::json about = read_json(out / "states.json");
  const auto depths = about.at("depths").get<std::vector<std::int64_t>>();
  const evidence::StateCache cache(out / "states", store, depths, about.at("model"));
  evidence::ExperimentSettings settings = options.experiment;
  settings.seed = options.seed.value_or(config.seed);
  const auto layers = about.at("layers").get<std::int64_t>();
  for (const std::string& name : options.readings.empty() ? evidence::usual_readings(depths, layers) : options.readings)
    settings.readings.push_back(reading_of(name, depths, layers));
  const evidence::StoreScores scores(store_path(out));
  choice.test = false;
  const auto groups = evidence::choose_groups(store, choice);
  choice.test = true;
  evidence::Experiment experiment(
      config, store, scores, cache, groups,
      options.test ? evidence::choose_groups(store, choice) : std::vector<std::vector<std::int64_t>>{}, settings);
  experiment.run(regimes, out / (options.test ? "cells-test" : "cells"), world->all());
  world->all().barrier();
}

/// Categories of the configuration with many prompts, and the others.
void divide_categories(const data::TokenStore& store, const config::RunConfig& config, std::int64_t prompts_min,
                       evidence::TableRequest& request) {
  const auto groups = evidence::choose_groups(store, {.seed = config.seed});
  for (const config::CategoryConfig& category : config.categories) {
    const auto found = std::ranges::find(store.categories(), category.name);
    if (found == store.categories().end()) continue;
    const bool many = std::ssize(groups[static_cast<std::size_t>(found - store.categories().begin())]) >= prompts_min;
    (many ? request.main : request.small).push_back(category.name);
  }
}

/// The file in which `data` says what `tables` needs to know of the draws.
fs::path draws_path(const fs::path& out) { return out / "draws" / "draws.json"; }

/// The regime of the draws, checked before anything is read.
evidence::Regime draw_regime(const Options& options) {
  evidence::Regime regime = evidence::regime_from(options.primary);
  if (regime.draws_points() || regime.taught != evidence::Regime::Taught::order)
    throw ConfigError(
        "regime-of-states-only",
        fmt::format("--regime {}: a draw decides about overall labels alone; leave out what stands behind the noise, "
                    "and set experts.train.ties: all or experts.train.soft_gaps of the runs instead",
                    options.primary));
  return regime;
}

void print_draw(const fs::path& file, const std::vector<evidence::DrawnCategory>& drawn) {
  for (const evidence::DrawnCategory& category : drawn) {
    const auto count = [&](preference::Split split, bool labelled) {
      std::int64_t groups = 0;
      for (std::size_t g = 0; g < category.groups.size(); ++g)
        groups += category.split[g] == split && (!labelled || !category.overall[g].empty()) ? 1 : 0;
      return groups;
    };
    using enum preference::Split;
    fmt::print("{}: {}: {} prompts to train and {} to validate, of which {} and {} have overall labels; {} to test\n",
               file.string(), category.name, count(train, false), count(validation, false), count(train, true),
               count(validation, true), count(test, false));
  }
}

void write_draws(const Options& options) {
  const auto world = world_of_long_waits();
  if (world->size() > 1)
    throw ConfigError("one-rank-only", fmt::format("evidence data runs on one rank, not on {}: leave --np out", world->size()));
  const config::RunConfig config = config::read_run_config(options.config, options.overrides);
  const evidence::Regime regime = draw_regime(options);
  evidence::DrawSettings settings = options.draw;
  settings.seed = config.seed;
  const fs::path out = options.out, draws = draws_path(out).parent_path();
  const data::TokenStore store = store_of(config, out, *world);
  const evidence::StoreScores scores(store_path(out));
  fs::create_directories(draws);
  const PassingFile texts(draws / "groups.jsonl");
  data::write_selected_groups(config, texts.path());
  const auto chosen = evidence::choose_prompts(config, store, settings);
  nlohmann::json about{
      {"regime", regime.name()}, {"blocks", evidence::tested_blocks(chosen, store)}, {"seeds", nlohmann::json::array()}};
  if (!settings.cluster.empty()) about["cluster"] = settings.cluster;
  for (std::int64_t d = 0; d < options.draws; ++d) {
    const std::uint64_t seed = config.seed + static_cast<std::uint64_t>(d);
    const fs::path file = draws / std::to_string(seed) / "data.jsonl";
    fs::create_directories(file.parent_path());
    const auto drawn = evidence::draw_labels(config, store, scores, chosen, regime, seed);
    evidence::write_draw(drawn, store, texts.path(), file);
    about["seeds"].push_back(seed);
    about["data"].push_back(sha256_file(file));
    print_draw(file, drawn);
  }
  write_json_atomically(draws_path(out), about);
}

/// Whether the data that a run read are those of one of these draws. @param run  its directory
bool read_a_draw(const run::RunDirectory& run, const nlohmann::json& draws) {
  const std::string read = read_json(run.task(plan::TaskId::ingest()) / "manifest.json").at("settings").at("data").dump();
  return std::ranges::any_of(draws.at("data"),
                             [&](const nlohmann::json& sha) { return read.find(sha.get<std::string>()) != std::string::npos; });
}

/// Writes the cells of runs over draws, for the categories that all of them have, and makes them those of the request.
void collect_runs(const Options& options, evidence::TableRequest& request) {
  const fs::path draws = draws_path(options.out);
  if (!fs::exists(draws))
    throw IoError("no-cells", fmt::format("{}: there are no draws: run `dmoerm evidence data` first", draws.string()));
  const nlohmann::json about = read_json(draws);
  std::map<std::string, std::vector<evidence::RunOfCategory>> runs;
  for (const std::string& run : options.runs) {
    const run::RunDirectory directory(run);
    const fs::path report = directory.task(plan::TaskId::report()) / "report.json";
    if (!fs::exists(report))
      throw ConfigError("no-such-run", fmt::format("--runs {}: there is no finished run: {} is missing", run, report.string()));
    if (std::ranges::count(options.runs, run) > 1)
      throw ConfigError("run-given-twice", fmt::format("--runs {}: name each run once", run));
    if (!read_a_draw(directory, about))
      throw DataError("runs-of-other-prompts",
                      fmt::format("--runs {}: its data are none of the {} draws that {} names; they may be of an earlier call of "
                                  "`evidence data`, with another --regime",
                                  run, about.at("data").size(), draws.string()));
    const nlohmann::json routes = read_json(report).at("routes");
    for (const auto& [category, blocks] : about.at("blocks").items()) {
      if (routes.contains(category))
        runs[category].push_back({directory.task(plan::TaskId::eval(category)) / "scores.json",
                                  routes[category].value("aggregator", std::string("-"))});
    }
  }
  std::erase_if(runs, [&](const auto& of_runs) { return of_runs.second.size() < options.runs.size(); });
  if (runs.empty())
    throw DataError("runs-of-other-prompts",
                    fmt::format("--runs: no category of the draws in {} is one of every run", draws.string()));
  evidence::write_run_cells(about, runs, request.folder);
  request.primary = about.at("regime");
  for (auto* names : {&request.main, &request.small})
    std::erase_if(*names, [&](const std::string& name) { return !runs.contains(name); });
}

/// The contrasts that --contrast names. @param primary  the regime where none is named
std::vector<evidence::Contrast> contrasts_of(const Options& options, const std::string& primary) {
  std::vector<evidence::Contrast> contrasts;
  for (const std::string& text : options.contrasts) contrasts.push_back(evidence::contrast_from(text, primary));
  return contrasts;
}

/// What the names of the folder of cells, of the tables and of the figures end with.
std::string ending_of(const Options& options) { return !options.runs.empty() ? "-runs" : options.test ? "-test" : ""; }

/// The regimes that have a folder among the cells.
std::vector<std::string> regimes_in(const fs::path& cells) {
  std::vector<std::string> regimes;
  if (!fs::is_directory(cells)) return regimes;
  for (const auto& entry : fs::directory_iterator(cells)) {
    if (entry.is_directory()) regimes.push_back(entry.path().filename().string());
  }
  std::ranges::sort(regimes);
  return regimes;
}

/// Refuses a contrast of a regime that neither has cells nor will get them.
void check_planned(const Options& options) {
  std::vector<std::string> regimes = regimes_in(fs::path(options.out) / ("cells" + ending_of(options)));
  for (const std::string& name : options.planned) {
    (void)evidence::regime_from(name, "--planned");
    if (std::ranges::find(regimes, name) == regimes.end()) regimes.push_back(name);
  }
  for (const evidence::Contrast& contrast : contrasts_of(options, options.primary)) evidence::expect_regime(contrast, regimes);
}

void print_tables(const Options& options) {
  init_log(0, 1, "warn");
  (void)contrasts_of(options, options.primary);  // refuses what is none before anything is read
  if (!options.planned.empty()) return check_planned(options);
  const config::RunConfig config = config::read_run_config(options.config, options.overrides);
  const fs::path out = options.out;
  const bool of_runs = !options.runs.empty();
  const std::string ending = ending_of(options);
  evidence::TableRequest request{.folder = out / ("cells" + ending),
                                 .main = {},
                                 .small = {},
                                 .prompts_min = options.prompts_min,
                                 .regimes = {},
                                 .primary = options.primary,
                                 .folds = ending.empty() ? evidence::kOuterFolds : 1};
  const data::TokenStore store = data::TokenStore::open(store_path(out));
  divide_categories(store, config, options.prompts_min, request);
  if (of_runs) collect_runs(options, request);
  request.contrasts = contrasts_of(options, request.primary);
  request.ceilings = evidence::noise_ceilings(store, config, options.test);
  if (!fs::is_directory(request.folder))
    throw IoError("no-cells", fmt::format("{}: there are no cells: run `dmoerm evidence cells` first", request.folder.string()));
  request.regimes = regimes_in(request.folder);
  const evidence::Tables tables = evidence::make_tables(request);
  write_file_atomically(out / ("tables" + ending + ".md"), tables.markdown);
  write_json_atomically(out / ("figures" + ending + ".json"), tables.figures);
  if (!tables.curves_svg.empty()) write_file_atomically(out / ("labels" + ending + ".svg"), tables.curves_svg);
  if (!tables.best_of_svg.empty()) write_file_atomically(out / ("best-of-n" + ending + ".svg"), tables.best_of_svg);
  nlohmann::json line;
  for (const char* key :
       {"categories", "minus_single", "minus_pooled", "minus_own", "minus_ensemble", "p_holm", "p_pooled_apart"})
    line[key] = tables.figures[key];
  fmt::print("{}\n{}\n", tables.markdown, line.dump());
}

/// What stays in one fold: lines of a data file, or what the rows say.
void add_blocks(CLI::App& verb, std::int64_t& lines, std::string& cluster) {
  CLI::Option* of_lines =
      verb.add_option("--block-lines", lines, "Lines of a data file that are in one fold, as they may be of one document")
          ->check(kPositive)
          ->capture_default_str();
  verb.add_option(
          "--cluster", cluster,
          "Key of the rows by which they are clustered, such as a document: a cluster is in one fold, and is resampled as "
          "a whole; default: blocks of lines")
      ->excludes(of_lines);
}

}  // namespace

void add_evidence(CLI::App& app) {
  CLI::App* verb = app.add_subcommand("evidence", "Compare the method with its baselines on the states of a frozen backbone");
  verb->require_subcommand(1);
  verb->footer(example("--np 2 evidence states --config configs/evidence/categories.yaml --out runs/evidence"));
  auto options = std::make_shared<Options>();
  CLI::App* states = verb->add_subcommand("states", "Compute the states of every response once; the same command continues");
  states->footer(example("--np 2 evidence states --config configs/evidence/categories.yaml --out DIR"));
  states->add_option("--config", options->config, "YAML configuration of a run: backbone, data, categories")
      ->type_name(kFile)
      ->required();
  states->add_option("--set", options->overrides, "Override a key: --set data.max_length=512");
  states->add_option("--out", options->out, "Folder of the experiment")->type_name(kFolder)->required();
  states->add_option("--groups", options->groups, "Groups of each category, or NAME=NUMBER for one; 0 = all");
  states
      ->add_option("--depths", options->depths,
                   "Numbers of layers after which states are kept, ascending; default: a half, two thirds, five sixths, all")
      ->delimiter(',');
  add_blocks(*states, options->experiment.block_lines, options->experiment.cluster);
  states->add_flag("--test", options->test, "The test split instead of train and validation");
  states->callback([options] { compute_states(*options); });

  CLI::App* cells = verb->add_subcommand("cells", "Train and test all arms on the states; the same command continues");
  cells->footer(example("--np 2 evidence cells --config configs/evidence/categories.yaml --out DIR --regimes 80-rater,20-rater"));
  cells->add_option("--config", options->config, "YAML configuration that the states were computed with")
      ->type_name(kFile)
      ->required();
  cells->add_option("--set", options->overrides, "Override a key: --set seed=18");
  cells->add_option("--out", options->out, "Folder of the experiment")->type_name(kFolder)->required();
  cells->add_option("--groups", options->groups, "Groups of each category, or NAME=NUMBER for one; 0 = all");
  cells
      ->add_option("--regimes", options->regimes,
                   "Overall labels: PROMPTS-NOISE, as 80-rater, all-none, 20-flip40; followed by changes to the points' labels: "
                   "-points30 (30 % of their pairs flipped), -scored40 (labels of 40 prompts only), -ties or -soft")
      ->delimiter(',')
      ->capture_default_str();
  cells
      ->add_option("--readings", options->readings,
                   "States that heads read: mean.DEPTH or last.DEPTH; default: the means after two thirds and five sixths of the "
                   "layers, the last tokens after a half and all")
      ->delimiter(',');
  cells->add_option("--seed", options->seed,
                    "Seed of folds, labelled prompts and noise; default: that of the configuration, which also chose the prompts "
                    "that have states");
  cells->add_option("--components", options->experiment.components, "Principal components that heads read")
      ->check(kPositive)
      ->capture_default_str();
  cells->add_option("--seeds", options->experiment.seeds, "Draws of labelled prompts and noise")
      ->check(kPositive)
      ->capture_default_str();
  add_blocks(*cells, options->experiment.block_lines, options->experiment.cluster);
  cells->add_flag("--test", options->test, "Train on train and validation, and test on the test split: once, at the end");
  cells->add_flag("--inner", options->experiment.inner,
                  "Add the inner layer alone: experts over all categories that have their point, and no router");
  cells->callback([options] { compute_cells(*options); });

  CLI::App* draws = verb->add_subcommand("data",
                                         "Write data for several whole runs: few and noisy overall labels, drawn separately for "
                                         "each run, and the same test prompts");
  draws->footer(example("evidence data --config configs/evidence/categories.yaml --out DIR --draws 3"));
  draws->add_option("--config", options->config, "YAML configuration of a run: backbone, data, categories")
      ->type_name(kFile)
      ->required();
  draws->add_option("--set", options->overrides, "Override a key: --set seed=18");
  draws->add_option("--out", options->out, "Folder of the experiment; the files are draws/SEED/data.jsonl in it")
      ->type_name(kFolder)
      ->required();
  draws->add_option("--regime", options->primary, "Overall labels: PROMPTS-NOISE, as 80-rater, all-none, 20-flip40")
      ->capture_default_str();
  draws->add_option("--draws", options->draws, "Number of draws; their seeds begin at that of the configuration")
      ->check(kPositive)
      ->capture_default_str();
  draws->add_option("--trained", options->draw.trained, "Prompts of a category to learn from; 0 = four fifths of all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  draws->add_option("--tested", options->draw.tested, "Prompts of a category to test; 0 = a fifth of all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_blocks(*draws, options->draw.block_lines, options->draw.cluster);
  draws->callback([options] { write_draws(*options); });

  CLI::App* tables = verb->add_subcommand("tables", "Print the tables of all cells, and the figures as a last line of JSON");
  tables->footer(example("evidence tables --config configs/evidence/categories.yaml --out DIR"));
  tables->add_option("--config", options->config, "YAML configuration that the states were computed with")
      ->type_name(kFile)
      ->required();
  tables->add_option("--set", options->overrides, "Override a key: --set seed=18");
  tables->add_option("--out", options->out, "Folder of the experiment")->type_name(kFolder)->required();
  tables->add_option("--primary", options->primary, "Regime of the main table and the contrasts")->capture_default_str();
  tables
      ->add_option("--prompts-min", options->prompts_min,
                   "Prompts of train and validation with which a category is in the average; if none has as many, all are")
      ->check(kPositive)
      ->capture_default_str();
  tables
      ->add_option(
          "--contrast", options->contrasts,
          "Difference of two arms to print beside DMoERM's: ARM:ARM, as stack:stack_split, or REGIME/ARM:ARM; may be repeated")
      ->type_name("ARM:ARM");
  tables
      ->add_option("--planned", options->planned,
                   "Print no tables: check --contrast, for regimes whose cells are yet to be computed")
      ->type_name("REGIMES")
      ->delimiter(',');
  CLI::Option* test = tables->add_flag("--test", options->test, "The tables of the test split");
  tables
      ->add_option("--runs", options->runs, "Runs over the draws of `evidence data`: their tables instead, with a run as a seed")
      ->type_name(kFolder)
      ->excludes(test);
  tables->callback([options] { print_tables(*options); });
}

}  // namespace dmoerm::cli
