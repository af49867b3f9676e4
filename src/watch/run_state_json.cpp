// RunState as JSON, for status.json.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "watch/json_fields.h"
#include "watch/run_state.h"

namespace dmoerm::watch {
namespace {

using nlohmann::json;

void put(json& object, const char* key, double value) {
  if (std::isfinite(value)) object[key] = value;
}

void put(json& object, const char* key, std::int64_t value) {
  if (value >= 0) object[key] = value;
}

/// Calls visit(key, member) for every number of a task.
template <class Task, class Visit>
void each_number(Task& task, const Visit& visit) {
  visit("cost", task.cost);
  visit("starts", task.starts);
  visit("step", task.step);
  visit("steps_max", task.steps_max);
  visit("tokens", task.tokens);
  visit("fraction", task.fraction);
  visit("train_loss", task.train_loss);
  visit("validation_loss", task.validation_loss);
  visit("validation_accuracy", task.validation_accuracy);
  visit("lr", task.lr);
  visit("gradient_norm", task.gradient_norm);
  visit("tokens_per_s", task.tokens_per_s);
  visit("flops_per_s", task.flops_per_s);
  visit("seconds", task.seconds);
  visit("labelled", task.labelled);
  visit("label_total", task.label_total);
  visit("label_cost", task.label_cost);
  visit("started", task.started);
  visit("heard", task.heard);
  visit("fraction_before", task.fraction_before);
  visit("paced_at", task.paced_at);
  visit("paced_fraction", task.paced_fraction);
  visit("rank_seconds", task.rank_seconds);
  visit("counted", task.counted);
}

TaskStatus status_of(const std::string& text) {
  const auto found = std::ranges::find_if(kStatuses, [&](TaskStatus s) { return text == to_text(s); });
  if (found == kStatuses.end()) throw DataError("a task's state is \"" + text + "\", which this version does not know");
  return *found;
}

}  // namespace

json RunState::to_json() const {
  json tasks = json::array(), ranks = json::array();
  for (const TaskState& task : tasks_) {
    json entry = {{"id", task.id}, {"state", to_text(task.status)}, {"inputs", task.inputs}};
    if (task.elsewhere) entry["elsewhere"] = true;
    if (!task.ranks.empty()) entry["ranks"] = task.ranks;
    if (!task.message.empty()) entry["message"] = task.message;
    each_number(task, [&](const char* key, const auto& value) { put(entry, key, value); });
    put(entry, "mfu", mfu(task));
    tasks.push_back(std::move(entry));
  }
  for (const RankState& rank : ranks_) {
    json entry = {{"rank", rank.rank}, {"host", rank.host}, {"doing", rank.doing}};
    put(entry, "heard", rank.heard);
    ranks.push_back(std::move(entry));
  }
  json all = {{"name", name_}, {"finished", finished_}, {"exit_code", exit_code_}, {"ranks", ranks}, {"tasks", tasks}};
  put(all, "began", began_);
  put(all, "ended", ended_);
  put(all, "peak_flops_per_s", peak_);
  return all;
}

RunState RunState::from_json(const json& all) {
  if (!field(all, "tasks") || !field(all, "ranks")) throw DataError("no state of a run: \"tasks\" or \"ranks\" is missing");
  RunState state;
  state.name_ = text_field(all, "name");
  state.finished_ = flag_field(all, "finished");
  state.exit_code_ = static_cast<int>(integer_field(all, "exit_code", 0));
  state.began_ = number_field(all, "began"), state.ended_ = number_field(all, "ended");
  state.peak_ = number_field(all, "peak_flops_per_s", 0);
  for (const json& entry : list_field(all, "ranks")) {
    state.ranks_.push_back({static_cast<int>(integer_field(entry, "rank")), text_field(entry, "host"), text_field(entry, "doing"),
                            number_field(entry, "heard")});
  }
  for (const json& entry : list_field(all, "tasks")) {
    TaskState task;
    task.id = text_field(entry, "id");
    task.status = status_of(text_field(entry, "state"));
    task.message = text_field(entry, "message");
    task.elsewhere = flag_field(entry, "elsewhere");
    for (const json& input : list_field(entry, "inputs"))
      task.inputs.push_back(input.is_string() ? input.get<std::string>() : "");
    for (const json& rank : list_field(entry, "ranks")) task.ranks.push_back(rank.is_number_integer() ? rank.get<int>() : -1);
    each_number(task, [&](const char* key, auto& value) {
      if constexpr (std::is_same_v<std::decay_t<decltype(value)>, double>)
        value = number_field(entry, key, value);
      else
        value = integer_field(entry, key, value);
    });
    state.tasks_.push_back(std::move(task));
  }
  state.index();
  return state;
}

}  // namespace dmoerm::watch
