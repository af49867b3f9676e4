// Events of an imaginary run, for tests.
#pragma once
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "watch/run_state.h"

namespace dmoerm::test {

inline constexpr double kBegan = 1'700'000'000;

/// A run of two categories, each with base -> experts -> aggregator, with one label task and two ranks on two hosts.
inline nlohmann::json run_event(double at = 0, const std::vector<std::string>& done = {}) {
  nlohmann::json tasks = nlohmann::json::array();
  const auto add = [&](const std::string& id, double cost, std::vector<std::string> inputs, bool elsewhere = false) {
    tasks.push_back({{"id", id},
                     {"cost", cost},
                     {"inputs", inputs},
                     {"elsewhere", elsewhere},
                     {"done", std::find(done.begin(), done.end(), id) != done.end()}});
  };
  add("router", 1, {});
  add("label/chat/logic", 1, {}, true);
  for (const std::string c : {"chat", "text"}) {
    add("base/" + c, 4, {});
    add("expert/" + c + "/logic", 2,
        c == "chat" ? std::vector<std::string>{"base/" + c, "label/chat/logic"} : std::vector{"base/" + c});
    add("expert/" + c + "/style", 2, {"base/" + c});
    add("aggregator/" + c, 1, {"expert/" + c + "/logic", "expert/" + c + "/style"});
  }
  return {{"at", kBegan + at},
          {"event", "run"},
          {"name", "try"},
          {"tasks", tasks},
          {"ranks", {{{"rank", 0}, {"host", "left"}}, {{"rank", 1}, {"host", "right"}}}}};
}

inline nlohmann::json start_event(double at, const std::string& task, std::vector<int> ranks = {0}) {
  return {{"at", kBegan + at}, {"event", "start"}, {"task", task}, {"ranks", ranks}};
}

inline nlohmann::json end_event(double at, const std::string& task, const std::string& outcome, const std::string& message = "") {
  return {{"at", kBegan + at}, {"event", "end"}, {"task", task}, {"outcome", outcome}, {"message", message}};
}

inline nlohmann::json progress_event(double at, const std::string& task, double fraction, double seconds,
                                     std::vector<int> ranks = {0}) {
  return {{"at", kBegan + at},    {"event", "progress"},    {"task", task},       {"step", static_cast<int>(fraction * 200)},
          {"steps_max", 200},     {"fraction", fraction},   {"train_loss", 0.5},  {"validation_accuracy", 0.75},
          {"tokens", 1000},       {"validation_loss", 0.6}, {"lr", 1e-4},         {"gradient_norm", 1.5},
          {"tokens_per_s", 1234}, {"flops_per_s", 0.25e12}, {"seconds", seconds}, {"ranks", ranks}};
}

inline const watch::TaskState& task_of(const watch::RunState& state, const std::string& id) {
  for (const watch::TaskState& task : state.tasks()) {
    if (task.id == id) return task;
  }
  throw std::logic_error("no task " + id);
}

/// A run of `tasks` experts in `categories`, every tenth running, a third done.
inline watch::RunState large_run(int tasks, int categories) {
  nlohmann::json list = nlohmann::json::array();
  const auto id = [&](int i) { return fmt::format("expert/category_{}/point_{}", i % categories, i); };
  for (int i = 0; i < tasks; ++i)
    list.push_back({{"id", id(i)}, {"cost", 1}, {"inputs", nlohmann::json::array()}, {"done", i % 3 == 0}});
  watch::RunState state;
  state.apply(
      {{"at", kBegan}, {"event", "run"}, {"name", "large"}, {"tasks", list}, {"ranks", {{{"rank", 0}, {"host", "left"}}}}});
  for (int i = 1; i < tasks; i += 10) {
    if (i % 3 != 0) state.apply(start_event(1, id(i), {0}));
  }
  return state;
}

}  // namespace dmoerm::test
