#include "report/run_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "base/counted.h"
#include "base/error.h"
#include "base/files.h"
#include "plan/task_id.h"
#include "report/run_directory.h"
#include "watch/status_file.h"
#include "watch/timeline.h"

namespace dmoerm::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using plan::TaskKind;

std::vector<json> lines_of(const fs::path& file) {
  std::vector<json> lines;
  std::ifstream in(file, std::ios::binary);
  for (std::string line; std::getline(in, line);) {
    json read = json::parse(line, nullptr, false);
    if (read.is_object() && read.contains("step") && read["step"].is_number()) lines.push_back(std::move(read));
  }
  return lines;
}

/// Kind, category and point of a training by its folder; nothing for folders of other things.
std::optional<Training> training_of(const std::string& folder) {
  auto id = plan::TaskId::parse(folder);
  std::string point;
  if (!id) {  // an expert's own folder below its set's
    const fs::path path(folder);
    id = plan::TaskId::parse(path.parent_path().string());
    point = path.filename().string();
  }
  if (!id || !plan::trains(id->kind)) return std::nullopt;
  if (point.empty() && id->kind == TaskKind::expert_set && id->points.size() == 1) point = id->points.front();
  return Training{folder, std::string(plan::kind_text(id->kind)), id->category, point, {}};
}

void read_folders(Run& run) {
  std::error_code failed;
  std::vector<fs::path> files;
  for (fs::recursive_directory_iterator it(run.folder, fs::directory_options::skip_permission_denied, failed), end;
       !failed && it != end; it.increment(failed)) {
    if (it->path().filename() == "bundle" && it.depth() == 0) it.disable_recursion_pending();
    const std::string name = it->path().filename().string();
    if (name == "metrics.jsonl" || name == "manifest.json") files.push_back(it->path());
  }
  std::ranges::sort(files);
  for (const fs::path& file : files) {
    const std::string task = file.parent_path().lexically_relative(run.folder).generic_string();
    if (file.filename() == "manifest.json") {
      run.manifests[task] = read_part(file, "");
    } else if (auto training = training_of(task)) {
      training->lines = lines_of(file);
      run.trainings.push_back(std::move(*training));
    }
  }
}

void add_category(Run& run, const std::string& name) {
  if (std::ranges::find(run.categories, name) == run.categories.end()) run.categories.push_back(name);
}

/// Categories and points by external.json, which has them in the order of the configuration; else by the folders of the tasks.
void find_categories(Run& run) {
  const Part external = read_part(run.folder / "external.json", "");
  try {
    for (const json& c : external.value.at("ingest").at("categories")) {
      const std::string name = c.at("name");
      run.points[name] = c.at("points").get<std::vector<std::string>>();
      add_category(run, name);
    }
  } catch (const json::exception&) {  // a file of another version or a damaged one: the folders say what there is
  }
  for (const auto& [task, manifest] : run.manifests) {
    const auto id = plan::TaskId::parse(task);
    if (id && !id->category.empty()) add_category(run, id->category);
  }
  for (const Training& t : run.trainings) {
    if (!t.category.empty()) add_category(run, t.category);
    if (t.point.empty() || t.kind != plan::kind_text(TaskKind::expert_set)) continue;
    std::vector<std::string>& points = run.points[t.category];
    if (std::ranges::find(points, t.point) == points.end()) points.push_back(t.point);
  }
}

class TimelineReader {
 public:
  explicit TimelineReader(std::vector<Start>& starts) : starts_(starts) {}

  void take(const json& event) {
    const double at = event.at("at");
    const std::string what = event.at("event");
    if (what == "run") {
      close();
      Start& start = starts_.emplace_back();
      start.began = start.ended = at;
      std::vector<std::string> hosts;
      for (const json& rank : event.at("ranks")) {
        const std::string host = rank.at("host");
        auto known = std::ranges::find(hosts, host);
        if (known == hosts.end()) known = hosts.insert(hosts.end(), host);
        start.nodes.push_back(static_cast<int>(known - hosts.begin()));
      }
    }
    if (starts_.empty()) return;
    starts_.back().ended = std::max(starts_.back().ended, at);
    if (what == "start") {
      end(event.at("task"), at, "");
      open_[event.at("task")] = {event.at("task"), "", event.at("ranks").get<std::vector<int>>(), at, at};
    } else if (what == "end") {
      end(event.at("task"), at, event.at("outcome"));
    }
  }

  /// Periods whose end is not told last until the last event.
  void close() {
    if (starts_.empty()) return;
    const double at = starts_.back().ended;
    while (!open_.empty()) end(std::string(open_.begin()->first), at, "");
  }

 private:
  void end(const std::string& task, double at, const std::string& outcome) {
    const auto found = open_.find(task);
    if (found == open_.end()) return;
    Period period = found->second;
    open_.erase(found);
    period.end = at, period.outcome = outcome;
    if (!period.ranks.empty()) starts_.back().periods.push_back(std::move(period));
  }

  std::vector<Start>& starts_;
  std::map<std::string, Period> open_;
};

void read_starts(Run& run) {
  TimelineReader reader(run.starts);
  watch::read_timeline(run.folder / "timeline.jsonl", [&](const json& event) {
    try {
      reader.take(event);
    } catch (const json::exception&) {  // an event of another version is left out
    }
  });
  reader.close();
}

void read_state(Run& run) {
  try {
    const auto status = watch::read_status(run.folder);
    run.state = status ? status->state : watch::state_from_directory(run.folder);
  } catch (const Error&) {  // a damaged status.json hides only the state
  }
}

}  // namespace

Part read_part(const fs::path& file, const std::string& otherwise) {
  std::error_code failed;
  if (!fs::exists(file, failed))
    return {json(), otherwise.empty() ? fmt::format("{} does not exist.", file.string()) : otherwise};
  try {
    Part part{read_json(file), ""};
    if (!part.value.is_object())
      return {json(), fmt::format("The file {} is damaged: it holds no JSON object.", file.string()), true};
    return part;
  } catch (const Error& e) {
    return {json(), fmt::format("The file cannot be read: {}", e.what()), true};
  }
}

std::string Run::unfinished() const {
  if (!state || state->tasks().empty()) return "";
  const auto done = state->count(watch::TaskStatus::done);
  const auto all = std::ssize(state->tasks());
  if (done == all) return "";
  const auto failed = state->count(watch::TaskStatus::failed);
  return fmt::format("{} of {} done{}", done, counted(all, "task is", "tasks are"),
                     failed > 0 ? fmt::format(" and {} failed", failed) : "");
}

Run read_run(const fs::path& folder) {
  std::error_code failed;
  expect_run_directory(folder);
  Run run;
  run.folder = folder;
  read_folders(run);
  find_categories(run);
  try {
    run.config = read_file(folder / "config.yaml");
  } catch (const IoError&) {  // its section says that it is missing
  }
  const std::string not_yet = "The run has not come to this task yet.";
  run.report = read_part(folder / "report" / "report.json", not_yet);
  run.cost = read_part(folder / "report" / "cost.json", not_yet);
  run.ingest = read_part(folder / "ingest" / "store.h5.report.json", not_yet);
  run.labels = read_part(folder / "label" / "report.json",
                         "No judge was asked in this run: the labels came with the data, or a label store gave all of them.");
  run.bundle = read_part(folder / "bundle" / "dmoerm.json", "The bundle has not been written yet.");
  for (const std::string& c : run.categories) {
    const fs::path eval = folder / plan::TaskId::eval(c).text();
    run.results[c] = read_part(eval / "results.json", "The category has not been evaluated yet.");
    run.scores[c] = read_part(eval / "scores.json",
                              run.results[c].there()
                                  ? "An earlier version evaluated this run and kept no scores. Start the run again to have them."
                                  : "The category has not been evaluated yet.");
  }
  read_starts(run);
  read_state(run);
  run.name =
      run.state && !run.state->name().empty() ? run.state->name() : fs::weakly_canonical(folder, failed).filename().string();
  return run;
}

std::filesystem::path directory_of(const Run& run) {
  std::filesystem::path directory = std::filesystem::weakly_canonical(run.folder);
  return directory.has_filename() ? directory : directory.parent_path();
}

std::string imported_experts_text(const Run& run) {
  std::string text;
  for (const auto& [task, manifest] : run.manifests) {
    const auto id = plan::TaskId::parse(task);
    if (!id || id->kind != plan::TaskKind::expert_set || !manifest.there()) continue;
    const json metrics = manifest.value.value("metrics", json::object());
    for (const auto& [point, of_point] : metrics.items()) {
      if (!of_point.is_object() || !of_point.contains("imported_from")) continue;
      text += fmt::format("{}{}/{} ({})", text.empty() ? "" : ", ", id->category, point,
                          of_point["imported_from"].get<std::string>());
    }
  }
  return text.empty() ? "" : fmt::format("Taken over from elsewhere, not trained by this run: {}.", text);
}

}  // namespace dmoerm::report
