#include "report/mlflow_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "report/accuracies.h"

namespace dmoerm::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// A text in YAML's single quotes, without line ends.
std::string quoted(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  for (std::size_t at = 0; (at = text.find('\'', at)) != std::string::npos; at += 2) text.insert(at, "'");
  return "'" + text + "'";
}

/// A name as MLflow allows it for metrics: letters, digits, and _ - . space /; other characters become _.
std::string metric_name(std::string name) {
  for (char& c : name) {
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                         std::string_view("_-. ").find(c) != std::string_view::npos;
    if (!allowed) c = '_';
  }
  return name.empty() || name[0] == '.' ? "_" + name : name;
}

std::string id_of(const std::string& what) { return sha256_hex(what).substr(0, 32); }

/// A whole number that MLflow takes for the id of an experiment; the same name has the same id.
std::string experiment_id(const std::string& name) {
  return std::to_string(100'000'000'000'000'000ULL +
                        std::stoull(sha256_hex("experiment " + name).substr(0, 15), nullptr, 16) % 900'000'000'000'000'000ULL);
}

struct Times {
  std::int64_t began = 0, ended = 0;  ///< Milliseconds since 1970
};

class Store {
 public:
  Store(const Run& run, fs::path store)
      : run_(run), directory_(directory_of(run)), experiment_(experiment_id(run.name)), folder_(std::move(store) / experiment_) {
    const double began = run.starts.empty() ? 0 : run.starts.front().began,
                 ended = run.starts.empty() ? 0 : run.starts.back().ended;
    times_ = {static_cast<std::int64_t>(1000 * began), static_cast<std::int64_t>(1000 * ended)};
  }

  std::size_t write() {
    remove_earlier();
    fs::create_directories(folder_);
    write_file_atomically(
        folder_ / "meta.yaml",
        fmt::format("artifact_location: {}\ncreation_time: {}\nexperiment_id: '{}'\nlast_update_time: {}\nlifecycle_stage: "
                    "active\nname: {}\n",
                    quoted(fs::absolute(folder_).string()), times_.began, experiment_, times_.ended, quoted(run_.name)));
    for (const Training& t : run_.trainings) {
      if (!t.lines.empty()) write_training(t);
    }
    write_accuracies();
    return runs_;
  }

 private:
  /// Removes what was written for this directory before. Other runs in the experiment stay: those of a directory whose run has
  /// the same name, and those that people logged.
  void remove_earlier() const {
    std::error_code failed;
    std::vector<fs::path> earlier;
    for (const auto& entry : fs::directory_iterator(folder_, failed)) {
      const fs::path tag = entry.path() / "tags" / "run_directory";
      if (fs::is_regular_file(tag, failed) && fs::weakly_canonical(read_file(tag), failed) == directory_)
        earlier.push_back(entry.path());
    }
    for (const fs::path& folder : earlier) fs::remove_all(folder, failed);
  }

  fs::path begin_run(const std::string& name, const Times& times) {
    const std::string id = id_of(directory_.string() + "\n" + name);
    const fs::path folder = folder_ / id;
    for (const char* part : {"metrics", "params", "tags", "artifacts"}) fs::create_directories(folder / part);
    // 3: finished; 4: a local source, as MLflow numbers them.
    write_file_atomically(
        folder / "meta.yaml",
        fmt::format(
            "artifact_uri: {}\nend_time: {}\nentry_point_name: ''\nexperiment_id: '{}'\nlifecycle_stage: active\nrun_id: {}\n"
            "run_name: {}\nrun_uuid: {}\nsource_name: dmoerm\nsource_type: 4\nsource_version: ''\nstart_time: {}\nstatus: "
            "3\ntags: "
            "[]\nuser_id: ''\n",
            quoted(fs::absolute(folder / "artifacts").string()), times.ended, experiment_, id, quoted(name), id, times.began));
    write_file_atomically(folder / "tags" / "mlflow.runName", name);
    write_file_atomically(folder / "tags" / "run_directory", directory_.string());
    ++runs_;
    return folder;
  }

  /// When ranks worked on the task of a training.
  [[nodiscard]] Times times_of(const Training& t) const {
    Times times = times_;
    bool found = false;
    for (const Start& start : run_.starts) {
      for (const Period& p : start.periods) {
        if (p.task != t.task && !t.task.starts_with(p.task + "/")) continue;
        if (!found) times.began = static_cast<std::int64_t>(1000 * p.start);
        found = true, times.ended = static_cast<std::int64_t>(1000 * p.end);
      }
    }
    return times;
  }

  void write_training(const Training& t) {
    const Times times = times_of(t);
    const fs::path folder = begin_run(t.task, times);
    std::map<std::string, std::string> metrics;
    for (const json& line : t.lines) {
      const double seconds = line.contains("seconds") && line["seconds"].is_number() ? line["seconds"].get<double>() : 0;
      const auto at = times.began + static_cast<std::int64_t>(1000 * seconds);
      for (const auto& [key, value] : line.items()) {
        if (key != "step" && value.is_number())
          metrics[metric_name(key)] +=
              fmt::format("{} {} {}\n", at, value.get<double>(), static_cast<std::int64_t>(line["step"].get<double>()));
      }
    }
    for (const auto& [name, values] : metrics) write_file_atomically(folder / "metrics" / name, values);
    for (const auto& [name, value] : {std::pair{"kind", t.kind}, {"category", t.category}, {"point", t.point}}) {
      if (!value.empty()) write_file_atomically(folder / "params" / name, value);
    }
    add_train_settings(t, folder);
  }

  /// The settings of the training by its task's manifest.
  void add_train_settings(const Training& t, const fs::path& folder) const {
    for (const std::string& task : {t.task, fs::path(t.task).parent_path().generic_string()}) {
      const auto manifest = run_.manifests.find(task);
      if (manifest == run_.manifests.end() || !manifest->second.there()) continue;
      const json settings = manifest->second.value.value("settings", json::object());
      const json train = settings.is_object() ? settings.value("train", json::object()) : json::object();
      for (const auto& [name, value] : train.items())
        write_file_atomically(folder / "params" / metric_name("train." + name),
                              value.is_string() ? value.get<std::string>() : value.dump());
      return;
    }
  }

  void write_accuracies() {
    const Accuracies accuracies = accuracies_of(run_);
    if (accuracies.empty()) return;
    const fs::path folder = begin_run("test prompts", times_);
    for (const std::string& row : accuracies.rows) {
      for (const ModelName& model : kModels) {
        if (const auto accuracy = accuracies.accuracy(row, model.key))
          write_file_atomically(folder / "metrics" / metric_name(fmt::format("accuracy.{}.{}", row, model.key)),
                                fmt::format("{} {} 0\n", times_.ended, accuracy->value));
      }
    }
  }

  const Run& run_;
  fs::path directory_;
  std::string experiment_;
  fs::path folder_;
  Times times_;
  std::size_t runs_ = 0;
};

/// Refuses a folder that is something else than a file store: other things in it could be mistaken for experiments.
void expect_store(const fs::path& store) {
  std::error_code failed;
  if (!fs::exists(store, failed)) return;
  if (!fs::is_directory(store, failed))
    throw ConfigError("output-is-another-file", fmt::format("--mlflow {}: this is a file; name a folder", store.string()));
  for (const auto& entry : fs::directory_iterator(store)) {
    const std::string name = entry.path().filename().string();
    const bool known =
        name.starts_with('.') || name == "models" || std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
    if (!known)
      throw ConfigError("output-is-another-file",
                        fmt::format("--mlflow {}: {} is nothing that an MLflow file store holds; name a new folder, or the store",
                                    store.string(), name));
  }
}

}  // namespace

std::size_t write_mlflow(const Run& run, const fs::path& store) {
  expect_store(store);
  return Store(run, store).write();
}

}  // namespace dmoerm::report
