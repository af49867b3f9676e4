// dmoerm slurm: writes the job script of a run, and submits it.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/counted.h"
#include "base/dangling_link.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hub_name.h"
#include "base/log.h"
#include "base/program_files.h"
#include "cli/verbs.h"
#include "config/reader.h"
#include "nn/device.h"
#include "run/slurm_script.h"

namespace dmoerm::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string config;
  std::vector<std::string> overrides;
  std::string out;
  bool submit = false;
};

struct Answer {
  int exit_code = 0;
  std::string text;  ///< stdout and stderr, without the last line end
};

/// Run a program found in PATH. @throws IoError if it cannot be started
Answer answer_of(const std::vector<std::string>& words) {
  std::string command;
  for (const std::string& word : words) command += run::shell_quoted(word) + " ";
  FILE* pipe = popen((command + "2>&1 </dev/null").c_str(), "r");
  if (pipe == nullptr) throw IoError("cannot-start-program", fmt::format("cannot start {}", words.front()));
  Answer answer;
  std::array<char, 4096> part{};
  for (std::size_t n = 0; (n = fread(part.data(), 1, part.size(), pipe)) > 0;) answer.text.append(part.data(), n);
  const int status = pclose(pipe);
  answer.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  while (!answer.text.empty() && answer.text.back() == '\n') answer.text.pop_back();
  return answer;
}

bool in_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const std::size_t colon = rest.find(':');
    if (access((fs::path(rest.substr(0, colon)) / program).c_str(), X_OK) == 0) return true;
    rest.remove_prefix(colon == std::string_view::npos ? rest.size() : colon + 1);
  }
  return false;
}

/// The file system of a disk of this machine alone, by name; "" if it may be shared, or is not known.
std::string local_file_system(const fs::path& path) {
  struct statfs found {};
  if (statfs(path.c_str(), &found) != 0) return "";
  switch (static_cast<unsigned long>(found.f_type)) {
    case 0xEF53:
      return "ext4";
    case 0x58465342:
      return "xfs";
    case 0x9123683E:
      return "btrfs";
    case 0x01021994:
      return "tmpfs, in memory";
    case 0x794C7630:
      return "overlay, of a container";
    default:
      return "";
  }
}

/// What must be there before a job waits for hours in a queue. @throws ConfigError with all that is wrong
void check(const config::RunConfig& config, const fs::path& run) {
  std::vector<std::string> problems = run::slurm_problems(config);
  for (const config::InputConfig& input : config.data.inputs) {
    if (!fs::exists(input.path))
      problems.push_back(fmt::format("data.inputs: there is no {}{}", input.path, dangling_link(input.path)));
  }
  for (std::size_t c = 0; c < config.categories.size(); ++c) {
    const config::CategoryConfig& category = config.categories[c];
    for (std::size_t i = 0; i < category.imported_experts.size(); ++i) {
      const config::ImportedExpertConfig& expert = category.imported_experts[i];
      if (!fs::exists(expert.dir))
        problems.push_back(fmt::format("categories.{}.imported_experts.{} ({}/{}): {}: {}", c, i, category.name, expert.point,
                                       expert.dir, no_such_directory(expert.dir)));
    }
  }
  if (!fs::exists(fs::path(config.backbone.dir) / "config.json"))
    problems.push_back(
        fmt::format("backbone.dir: {}: {}", config.backbone.dir,
                    fs::exists(config.backbone.dir) ? "there is no config.json in it" : no_such_directory(config.backbone.dir)));
  if (!config.slurm.container.empty() && !fs::exists(config.slurm.container))
    problems.push_back(fmt::format("slurm.container: there is no {}", config.slurm.container));
  fs::path there = run;
  while (!fs::exists(there)) there = there.parent_path();
  if (!fs::is_directory(there) || access(there.c_str(), W_OK) != 0)
    problems.push_back(fmt::format("runs_dir: {} cannot be made: {} is not writable", run.string(), there.string()));
  if (!problems.empty()) throw ConfigError("no-job-script", fmt::format("no job script:\n  {}", fmt::join(problems, "\n  ")));

  std::vector<std::string> hints = run::slurm_hints(config);
  if (const std::string local = local_file_system(there); config.slurm.nodes > 1 && !local.empty())
    hints.push_back(
        fmt::format("runs_dir: {} lies on a disk of this machine ({}); every node must see it", there.string(), local));
  if (config.slurm.gpus_per_node > 0 && config.slurm.container.empty() && !nn::built_for_cuda())
    hints.push_back(
        "slurm.gpus_per_node asks for GPUs, but this build does not use them: the ranks would compute on processors; build with "
        "launch/build.sh -DDMOERM_CUDA=ON");
  for (const std::string& hint : hints) fmt::print(stderr, "dmoerm: hint: {}\n", hint);
}

void submit(const config::RunConfig& config, const fs::path& script, const fs::path& run, const std::string& log_file) {
  const Answer answer = answer_of({"sbatch", "--parsable", script.string()});
  if (answer.exit_code != 0)
    throw ConfigError("sbatch-refused", fmt::format("sbatch refused {}: {}", script.string(), answer.text));
  // Warnings may stand above; the number may be followed by ";cluster".
  const std::string last = answer.text.substr(answer.text.rfind('\n') + 1);
  const std::string job = last.substr(0, last.find(';'));
  std::string log = log_file;
  if (const std::size_t at = log.rfind("%j"); at != std::string::npos) log.replace(at, 2, job);
  fmt::print("submitted: job {} ({} x {}, {} at most{})\n", job, counted(config.slurm.nodes, "node"),
             counted(config.slurm.ranks_per_node, "rank"), config.slurm.time,
             config.slurm.requeue ? ", then again until it is done" : "");
  fmt::print("watch:  squeue --job={}   tail -F {}   launch/dmoerm status {}\n", job, run::shell_quoted(log),
             run::shell_quoted(run.string()));
  fmt::print("end:    scancel {}   (the run saves; submit again to continue)\n", job);
}

void write_script(const Options& options) {
  init_log(0, 1, "warn");
  const config::RunConfig config = config::read_run_config(options.config, options.overrides);
  const fs::path run = fs::absolute(fs::path(config.runs_dir) / config.name).lexically_normal();
  if (options.submit && !in_path("sbatch"))
    throw ConfigError(
        "no-sbatch-here",
        "--submit: there is no sbatch here: use a login node of the cluster, or leave out --submit and hand the script to sbatch "
        "there");
  check(config, run);

  const fs::path folder = run / "slurm";
  const run::SlurmJob job = {program_folder().string(), fs::current_path().string(),
                             fs::absolute(options.config).lexically_normal().string(), options.overrides,
                             (folder / "%j.log").string()};
  const fs::path template_file = program_folder() / "launch" / "slurm" / "dmoerm.sbatch";
  const std::string text = run::slurm_script(config, job, read_file(template_file));
  fs::create_directories(folder);  // Slurm does not make the log's folder
  const fs::path script = options.out.empty() ? folder / "job.sbatch" : fs::path(options.out);
  const fs::path draft = folder / "draft.sbatch";
  write_file_atomically(draft, text);
  const Answer syntax = answer_of({"bash", "-n", draft.string()});
  fs::remove(draft);
  if (syntax.exit_code != 0)
    throw ConfigError("setup-is-not-shell", fmt::format("slurm.setup is not valid shell: {}", syntax.text));
  write_file_atomically(script, text);
  fmt::print("written: {}\n", script.string());
  if (options.submit)
    submit(config, script, run, job.log_file);
  else
    fmt::print("submit:  sbatch {}\n", run::shell_quoted(script.string()));
}

}  // namespace

void add_slurm(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand(
      "slurm", "Write the Slurm job script of a run from the section `slurm` of its configuration; --submit also submits it");
  verb->footer(example("slurm --config my.yaml --set slurm.nodes=4 --submit"));
  verb->add_option("--config", options->config, "YAML configuration of the run")->type_name(kFile)->required();
  verb->add_option("--set", options->overrides, "Override a key: --set slurm.time=12:00:00");
  verb->add_option("--out", options->out, "File of the script; default: slurm/job.sbatch in the run's directory")
      ->type_name(kFile);
  verb->add_flag("--submit", options->submit, "Submit the script with sbatch");
  verb->callback([options] { write_script(*options); });

  CLI::App* old_name = app.add_subcommand("launch", "")->group("");  // not listed
  old_name->prefix_command();
  old_name->callback([] {
    throw ConfigError("renamed-verb",
                      "the verb `launch --slurm` is now called slurm: launch/dmoerm slurm --config my.yaml --submit");
  });
}

}  // namespace dmoerm::cli
