// dmoerm inspect checkpoint: shows the checkpoints of a task, or of all tasks of a run.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/text_table.h"
#include "cli/verbs.h"
#include "train/checkpoint.h"

namespace dmoerm::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// The folders in `root`, itself included, that hold checkpoints, in alphabetical order.
std::set<fs::path> folders_with_checkpoints(const fs::path& root) {
  std::set<fs::path> folders;
  const auto look = [&](const fs::path& file) {
    const std::string name = file.filename().string();
    if (name.starts_with("checkpoint-") && name.ends_with(".json")) folders.insert(file.parent_path());
  };
  for (const auto& entry : fs::recursive_directory_iterator(root)) look(entry.path());
  return folders;
}

std::string megabytes(std::uintmax_t bytes) { return fmt::format("{:.1f}", static_cast<double>(bytes) / 1e6); }

std::string number(const json& value, const char* format) {
  return value.is_number() ? fmt::format(fmt::runtime(format), value.get<double>()) : "-";
}

/// Prints one line for each trainee, and the tensors with their norms if `tensors` is set.
void print_content(const fs::path& folder, const train::CheckpointInfo& info, bool tensors) {
  const auto reader = train::find_checkpoint(folder, info.manifest.value("key", ""));
  if (!reader || reader->step() != info.step) return;
  std::vector<std::vector<std::string>> rows{{"trains", "evaluated at step", "best step", "accuracy", "loss", "state"}};
  for (const json& trainee : reader->state().at("courses")) {
    const std::string failure = trainee.at("failure");
    rows.push_back({trainee.at("name"), std::to_string(trainee.at("steps").get<std::int64_t>()),
                    std::to_string(trainee.at("best_step").get<std::int64_t>()), number(trainee.at("accuracy"), "{:.4f}"),
                    number(trainee.at("loss"), "{:.4f}"),
                    !failure.empty()                   ? "failed: " + failure
                    : trainee.at("active").get<bool>() ? "under way"
                                                       : "ended"});
  }
  fmt::print("{}", markdown_table(rows));
  if (!tensors) return;
  for (const std::string& name : reader->names()) {
    const at::Tensor values = reader->load(name);
    fmt::print("  {}  {} elements  norm {:.6g}\n", name, values.numel(), values.norm().item<double>());
  }
}

void inspect(const std::string& path, bool tensors) {
  if (!fs::is_directory(path))
    throw ConfigError("not-a-directory", path + ": not a directory; give a run's directory or a task's folder in it");
  const auto folders = folders_with_checkpoints(path);
  if (folders.empty()) {
    fmt::print("{}: no checkpoints; a finished task keeps none, its results are in its folder\n", path);
    return;
  }
  for (const fs::path& folder : folders) {
    fmt::print("{}\n", folder.string());
    const auto infos = train::list_checkpoints(folder);
    std::vector<std::vector<std::string>> rows{{"step", "MB", "shards", "readable"}};
    for (const train::CheckpointInfo& info : infos) {
      rows.push_back({std::to_string(info.step), megabytes(info.bytes), fmt::format("{}/{}", info.shards_found, info.shards),
                      info.problem.empty() ? "yes" : "no: " + info.problem});
    }
    fmt::print("{}", markdown_table(rows));
    const auto newest = std::ranges::find(infos, "", &train::CheckpointInfo::problem);
    if (newest != infos.end()) {
      fmt::print("step {}, from which the next run continues:\n", newest->step);
      print_content(folder, *newest, tensors);
    }
  }
}

}  // namespace

void add_inspect_checkpoint(CLI::App& inspect_verb) {
  struct Options {
    std::string path;
    bool tensors = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      inspect_verb.add_subcommand("checkpoint", "Show the checkpoints of a run or a task, and whether they can be read");
  verb->footer(example("inspect checkpoint runs/quickstart/expert/story_opening/mystery --tensors"));
  verb->add_option("path", options->path, "Directory of a run, or folder of a task in it")->type_name(kFolder)->required();
  verb->add_flag("--tensors", options->tensors, "List the tensors of the newest readable checkpoint, with their norms");
  verb->callback([options] { inspect(options->path, options->tensors); });
}

}  // namespace dmoerm::cli
