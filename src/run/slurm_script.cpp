#include "run/slurm_script.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace dmoerm::run {
namespace {

constexpr long long kSignalBeforeMax = 65535;  // Slurm stores it in 16 bits

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }
bool has_control(std::string_view text) { return std::any_of(text.begin(), text.end(), is_control); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_safe(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("_.,:@/+=-%").find(c) != std::string_view::npos;
}

std::optional<long long> number(std::string_view digits) {
  long long value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool whole = error == std::errc() && end == digits.data() + digits.size() && !digits.empty() && is_digit(digits.front());
  return whole && digits.size() <= 9 ? std::optional(value) : std::nullopt;
}

/// An amount of memory as Slurm reads it, "64G": a whole number, then nothing (MB) or a unit, of which Slurm looks at the first
/// letter. GB and GiB are G, of 1024 MB each. Slurm itself takes no blank before the unit. Nothing if it is no such amount.
std::optional<std::string> memory_of(std::string_view text) {
  text = trim(text);
  const auto end = static_cast<std::size_t>(std::ranges::find_if_not(text, is_digit) - text.begin());
  const std::string_view digits = text.substr(0, end);
  const std::string unit = lower(trim(text.substr(end)));
  if (!number(digits)) return std::nullopt;
  if (unit.empty()) return std::string(digits);
  const bool known = std::string_view("kmgt").find(unit.front()) != std::string_view::npos &&
                     std::ranges::all_of(unit, [](char c) { return c >= 'a' && c <= 'z'; });
  return known ? std::optional(fmt::format("{}{}", digits, static_cast<char>(unit.front() - 'a' + 'A'))) : std::nullopt;
}

/// What to write in place of an amount of memory that Slurm does not read: "1536G" for "1.5T"; "64G" for others.
std::string memory_example(std::string_view text) {
  double amount = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), amount);
  const std::string unit = lower(trim(text.substr(static_cast<std::size_t>(end - text.data()))));
  constexpr std::string_view kUnits = "KMGT";
  const std::size_t at = unit.empty() ? std::string_view::npos : std::string_view("kmgt").find(unit.front());
  const double smaller = amount * 1024;
  if (error != std::errc() || at == std::string_view::npos || at == 0 || !(smaller >= 1 && smaller < 1e9)) return "64G";
  return fmt::format("{:.0f}{}", std::ceil(smaller), kUnits[at - 1]);
}

/// Whether an option of sbatch, such as --mem-per-cpu=64G, has an amount of memory that Slurm does not read as it stands.
bool has_odd_memory(std::string_view option) {
  const std::size_t equals = option.find('=');
  if (!option.starts_with("--mem") || option.starts_with("--mem-bind") || equals == std::string_view::npos) return false;
  const std::string_view value = option.substr(equals + 1);
  return !memory_of(value) || value.find(' ') != std::string_view::npos;
}

/// "2-01:30:00".
std::string duration_of(long long seconds) {
  const std::string clock = fmt::format("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
  return seconds < 86400 ? clock : fmt::format("{}-{}", seconds / 86400, clock);
}

/// "25 hours beside days", if a part of the duration that is not its first exceeds what the part before counts; "" if none does.
std::string overflow_of(std::string_view time) {
  struct Part {
    std::string_view digits;
    int unit;  ///< 0 = days, 1 = hours, 2 = minutes, 3 = seconds
  };
  constexpr std::array<const char*, 4> kUnits = {"days", "hours", "minutes", "seconds"};
  constexpr std::array<long long, 4> kMost = {0, 23, 59, 59};
  std::vector<Part> parts;
  const std::size_t dash = time.find('-');
  if (dash != std::string_view::npos) parts.push_back({time.substr(0, dash), 0});
  std::string_view rest = dash == std::string_view::npos ? time : time.substr(dash + 1);
  const bool from_hours = dash != std::string_view::npos || std::ranges::count(rest, ':') == 2;
  for (int unit = from_hours ? 1 : 2;; ++unit) {
    const std::size_t colon = rest.find(':');
    parts.push_back({rest.substr(0, colon), unit});
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const auto unit = static_cast<std::size_t>(parts[i].unit);
    const auto value = number(parts[i].digits);
    if (value && *value > kMost.at(unit)) return fmt::format("{} {} beside {}", *value, kUnits.at(unit), kUnits.at(unit - 1));
  }
  return "";
}

/// A value of an #SBATCH option in quotes. sbatch reads a quoted word like the shell, but without quotes inside.
std::string option_value(std::string_view what, std::string_view value) {
  if (!value.empty() && std::all_of(value.begin(), value.end(), is_safe)) return std::string(value);
  if (has_control(value) || value.find_first_of("\"\\") != std::string_view::npos)
    throw ConfigError("value-unfit-for-script",
                      fmt::format("{} {} cannot be written into a job script: it has a quote, a backslash or a control character",
                                  what, value));
  return fmt::format("\"{}\"", value);
}

/// '%' begins a pattern in Slurm's file names.
std::string without_patterns(std::string_view path) {
  std::string escaped;
  for (const char c : path) escaped.append(c == '%' ? 2 : 1, c);
  return escaped;
}

/// Replace the lines between "# >>> NAME" (to its line's end) and "# <<< NAME".
std::string with_block(std::string_view text, std::string_view name, std::string_view block) {
  const std::size_t begin = text.find(fmt::format("\n# >>> {}", name));
  const std::size_t begin_line_end = begin == std::string_view::npos ? begin : text.find('\n', begin + 1);
  const std::size_t end = text.find(fmt::format("\n# <<< {}", name), begin == std::string_view::npos ? 0 : begin);
  if (begin_line_end == std::string_view::npos || end == std::string_view::npos || end < begin_line_end)
    throw DataError("script-without-marks",
                    fmt::format("launch/slurm/dmoerm.sbatch has no lines \"# >>> {0}\" and \"# <<< {0}\", between which the "
                                "configuration's values go",
                                name));
  return fmt::format("{}\n{}{}", text.substr(0, begin_line_end), block, text.substr(end));
}

std::string options_of(const config::RunConfig& config, const SlurmJob& job) {
  const config::SlurmConfig& s = config.slurm;
  std::vector<std::string> options = {"--job-name=dmoerm-" + config.name};
  const auto add = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) options.push_back(fmt::format("--{}={}", name, option_value(fmt::format("--{}", name), value)));
  };
  add("partition", s.partition);
  add("account", s.account);
  add("qos", s.qos);
  add("constraint", s.constraint);
  options.push_back(fmt::format("--nodes={}", s.nodes));
  options.push_back(fmt::format("--ntasks-per-node={}", s.ranks_per_node));
  options.push_back(fmt::format("--cpus-per-task={}", cpus_of_a_rank(config)));
  if (s.gpus_per_node > 0) options.push_back(fmt::format("--gres=gpu:{}", s.gpus_per_node));
  add("mem", memory_of(s.memory).value_or(""));
  add("time", s.time);
  options.push_back(fmt::format("--signal=B:USR2@{}", s.signal_before_s));
  options.emplace_back(s.requeue ? "--requeue" : "--no-requeue");
  options.emplace_back("--open-mode=append");
  add("chdir", job.working_directory);
  const std::size_t number_at = job.log_file.rfind("%j");
  add("output", number_at == std::string::npos ? without_patterns(job.log_file)
                                               : without_patterns(job.log_file.substr(0, number_at)) + "%j" +
                                                     without_patterns(job.log_file.substr(number_at + 2)));
  for (const std::string& option : s.options) options.push_back(option);
  return fmt::format("#SBATCH {}", fmt::join(options, "\n#SBATCH "));
}

std::string settings_of(const config::RunConfig& config, const SlurmJob& job) {
  const config::SlurmConfig& s = config.slurm;
  std::string text =
      fmt::format("root={}\nstart={}\nrequeue={}\n", shell_quoted(job.project), config::word(s.start), s.requeue ? "yes" : "no");
  if (!s.container.empty()) {
    text += fmt::format("export DMOERM_CONTAINER={}\n", shell_quoted(s.container));
    if (s.gpus_per_node > 0) text += "export DMOERM_CONTAINER_OPTIONS=\"${DMOERM_CONTAINER_OPTIONS---nv}\"\n";
  }
  text += "setup() {\n";
  for (const std::string& line : s.setup) text += fmt::format("  {}\n", line);
  if (s.setup.empty()) text += "  :\n";
  text += "}\n";
  text += fmt::format("arguments=(run --config {}", shell_quoted(job.config_file));
  for (const std::string& override : job.overrides) text += fmt::format(" --set {}", shell_quoted(override));
  return text + ")";
}

}  // namespace

std::optional<long long> slurm_seconds(std::string_view time) {
  if (const std::string word = lower(time); word == "unlimited" || word == "infinite") return 0;
  long long days = 0;
  const std::size_t dash = time.find('-');
  const bool with_days = dash != std::string_view::npos;
  if (with_days) {
    const auto given = number(time.substr(0, dash));
    if (!given) return std::nullopt;
    days = *given;
    time.remove_prefix(dash + 1);
  }
  std::array<long long, 3> parts{};  // numbers in the order of the text
  std::size_t count = 0;
  for (bool more = true; more;) {
    const std::size_t colon = time.find(':');
    more = colon != std::string_view::npos;
    const auto part = number(time.substr(0, colon));
    if (!part || count == parts.size()) return std::nullopt;
    parts.at(count++) = *part;
    if (more) time.remove_prefix(colon + 1);
  }
  // With days, the first part is hours; without days, one or two parts begin with minutes.
  const std::array<long long, 3> units =
      with_days || count == 3 ? std::array<long long, 3>{3600, 60, 1} : std::array<long long, 3>{60, 1, 0};
  long long seconds = days * 86400;
  for (std::size_t i = 0; i < count; ++i) seconds += parts.at(i) * units.at(i);
  return seconds;
}

std::string shell_quoted(std::string_view text) {
  if (!text.empty() && std::all_of(text.begin(), text.end(), is_safe)) return std::string(text);
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'')
      quoted += "'\\''";
    else
      quoted += c;
  }
  return quoted + "'";
}

std::int64_t cpus_of_a_rank(const config::RunConfig& config) {
  return config.slurm.cpus_per_rank > 0 ? config.slurm.cpus_per_rank : config.compute.threads + 1;
}

std::vector<std::string> slurm_problems(const config::RunConfig& config) {
  const config::SlurmConfig& s = config.slurm;
  std::vector<std::string> problems;
  const auto problem = [&](const std::string& text) { problems.push_back(text); };

  for (const auto& [key, value] :
       {std::pair("partition", &s.partition), std::pair("account", &s.account), std::pair("qos", &s.qos)}) {
    if (!std::all_of(value->begin(), value->end(), is_safe) || value->starts_with('-'))
      problem(
          fmt::format("slurm.{}: \"{}\" is not a name that Slurm accepts: use only letters, digits and _.,:@/+=-", key, *value));
  }
  if (has_control(s.constraint) || s.constraint.find_first_of(" \"'\\#;`$") != std::string::npos)
    problem(fmt::format("slurm.constraint: \"{}\" is not a list of node features such as h100 or [rack1|rack2]", s.constraint));
  if (!s.memory.empty() && !memory_of(s.memory))
    problem(fmt::format(
        "slurm.memory: \"{}\" is not an amount of memory: write a whole number and K, M, G or T, e.g. {}; 0 = all of the node",
        s.memory, memory_example(s.memory)));

  const auto limit = slurm_seconds(s.time);
  if (!limit) {
    problem(fmt::format(
        "slurm.time: \"{}\" is not a duration: write minutes, hours:minutes:seconds or days-hours:minutes:seconds, e.g. "
        "1-00:00:00 for a day",
        s.time));
  } else if (const std::string overflow = overflow_of(s.time); !overflow.empty()) {
    problem(fmt::format("slurm.time: \"{}\" has {}: write {}, if that is meant", s.time, overflow, duration_of(*limit)));
  } else if (*limit > 0 && s.signal_before_s >= *limit) {
    problem(fmt::format(
        "slurm.signal_before_s: {} s before the end of a job of {} s (slurm.time: {}) leaves no time to train; lower it",
        s.signal_before_s, *limit, s.time));
  }
  if (s.signal_before_s > kSignalBeforeMax)
    problem(fmt::format("slurm.signal_before_s: {} is more than Slurm takes, {}", s.signal_before_s, kSignalBeforeMax));

  if (config.compute.device == config::Device::cuda && s.gpus_per_node == 0)
    problem("compute.device: cuda, and slurm.gpus_per_node: 0 requests none: set it, or compute.device: cpu");
  if (s.gpus_per_node > 0 && s.ranks_per_node > s.gpus_per_node && !config.cluster.share_gpu)
    problem(
        fmt::format("slurm.ranks_per_node: {} ranks for {} GPUs of a node (slurm.gpus_per_node): two would use one; make them "
                    "equal, or allow it with cluster.share_gpu: true",
                    s.ranks_per_node, s.gpus_per_node));
  if (s.cpus_per_rank > 0 && s.cpus_per_rank < config.compute.threads)
    problem(
        fmt::format("slurm.cpus_per_rank: {} for {} threads per rank (compute.threads): the threads would wait for each other; 0 "
                    "= as many as threads need",
                    s.cpus_per_rank, config.compute.threads));
  for (const std::string& option : s.options) {
    if (has_control(option) || !option.starts_with('-') || option.size() < 2)
      problem(fmt::format("slurm.options: \"{}\" is not an option of sbatch, such as --mail-type=END", option));
    if (has_odd_memory(option))
      problem(fmt::format("slurm.options: \"{}\": Slurm reads a whole number and K, M, G or T without a blank, e.g. {}={}",
                          option, option.substr(0, option.find('=')),
                          memory_of(option.substr(option.find('=') + 1)).value_or("64G")));
    if (option.starts_with("--array") || option.starts_with("-a"))
      problem(
          fmt::format("slurm.options: {}: all tasks of the array would share one run directory; use launch/slurm/dmoerm.sbatch "
                      "with name=...@TASK@ (docs/cluster.md)",
                      option));
  }
  return problems;
}

std::vector<std::string> slurm_hints(const config::RunConfig& config) {
  const config::SlurmConfig& s = config.slurm;
  std::vector<std::string> hints;
  if (s.gpus_per_node > s.ranks_per_node)
    hints.push_back(fmt::format("{} of {} GPUs per node would be idle: a rank uses one (slurm.ranks_per_node: {})",
                                s.gpus_per_node - s.ranks_per_node, s.gpus_per_node, s.ranks_per_node));
  if (static_cast<double>(s.signal_before_s) < config.cluster.timeout_s)
    hints.push_back(
        fmt::format("slurm.signal_before_s: {} is less than cluster.timeout_s: {}: a run with a silent rank may not end in time",
                    s.signal_before_s, config.cluster.timeout_s));
  if (slurm_seconds(s.time) == 0)
    hints.push_back(fmt::format(
        "slurm.time: {} asks for no limit, which many partitions refuse or replace by their own; a limit lets the job "
        "start earlier",
        s.time));
  if (s.nodes > 1 && s.constraint.empty())
    hints.emplace_back("slurm.constraint is empty: on nodes with different processors a resumed run may not have the same bits");
  return hints;
}

std::string slurm_script(const config::RunConfig& config, const SlurmJob& job, std::string_view original) {
  const std::string usage = "# Written by `dmoerm slurm`, which replaces it when it is used again. More: docs/cluster.md.";
  const std::string with_options = with_block(with_block(original, "usage", usage), "options", options_of(config, job));
  return with_block(with_options, "settings", settings_of(config, job));
}

}  // namespace dmoerm::run
