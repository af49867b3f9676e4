#include "run/control_message.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"

namespace dmoerm::run {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<TaskOutcome, std::string_view>, 5> kOutcomes = {{{TaskOutcome::done, "done"},
                                                                                {TaskOutcome::failed, "failed"},
                                                                                {TaskOutcome::paused, "paused"},
                                                                                {TaskOutcome::stopped, "stopped"},
                                                                                {TaskOutcome::interrupted, "interrupted"}}};

TaskOutcome outcome_of(std::string_view text) {
  const auto found = std::ranges::find(kOutcomes, text, &std::pair<TaskOutcome, std::string_view>::second);
  DMOERM_CHECK(found != kOutcomes.end(), "an outcome has one of the five words");
  return found->first;
}

json fields_of(const Idle& m) { return {{"kind", "idle"}, {"rank", m.rank}}; }
json fields_of(const Progress& m) { return {{"kind", "progress"}, {"task", m.task}, {"fields", m.fields}}; }
json fields_of(const Broken& m) { return {{"kind", "broken"}, {"tag", m.tag}, {"rank", m.rank}}; }
json fields_of(const PauseRefused& m) { return {{"kind", "pause refused"}, {"task", m.task}}; }
json fields_of(const Left& m) { return {{"kind", "left"}, {"task", m.task}}; }
json fields_of(const Stopping& m) { return {{"kind", "stopping"}, {"signal", m.signal}}; }
json fields_of(const Ended& m) {
  return {{"kind", "ended"},          {"task", m.task},         {"tag", m.tag},       {"message", m.message},
          {"exit_code", m.exit_code}, {"may_pass", m.may_pass}, {"signal", m.signal}, {"outcome", to_string(m.outcome)}};
}
json fields_of(const RunOrder& m) { return {{"kind", "run"}, {"task", m.task}, {"ranks", m.ranks}, {"tag", m.tag}}; }
json fields_of(const PauseOrder& m) { return {{"kind", "pause"}, {"tag", m.tag}}; }
json fields_of(const BreakOrder& m) { return {{"kind", "break"}, {"tag", m.tag}}; }
json fields_of(const StopOrder& m) { return {{"kind", "stop"}, {"signal", m.signal}}; }
json fields_of(const QuitOrder& m) {
  const RunSummary& s = m.summary;
  return {{"kind", "quit"},       {"done", s.done},           {"failed", s.failed},
          {"skipped", s.skipped}, {"exit_code", s.exit_code}, {"stopped", s.stopped}};
}

template <class Message>
std::string text_of(const Message& message) {
  const json fields = std::visit([](const auto& one) { return fields_of(one); }, message);
  return fields.dump(-1, ' ', false, json::error_handler_t::replace);
}

[[noreturn]] void unknown(const std::string& kind) { throw std::logic_error("control message of an unknown kind: " + kind); }

}  // namespace

std::string_view to_string(TaskOutcome outcome) {
  return std::ranges::find(kOutcomes, outcome, &std::pair<TaskOutcome, std::string_view>::first)->second;
}

std::string encode(const ToCoordinator& message) { return text_of(message); }
std::string encode(const ToRank& message) { return text_of(message); }

ToCoordinator decode_to_coordinator(const std::string& text) {
  const json m = json::parse(text);
  const std::string kind = m.at("kind");
  if (kind == "idle") return Idle{m.at("rank")};
  if (kind == "progress") return Progress{m.at("task"), m.at("fields")};
  if (kind == "broken") return Broken{m.at("tag"), m.at("rank")};
  if (kind == "pause refused") return PauseRefused{m.at("task")};
  if (kind == "left") return Left{m.at("task")};
  if (kind == "stopping") return Stopping{m.at("signal")};
  if (kind != "ended") unknown(kind);
  return Ended{.task = m.at("task"),
               .tag = m.at("tag"),
               .outcome = outcome_of(m.at("outcome").get<std::string>()),
               .message = m.at("message"),
               .exit_code = m.at("exit_code"),
               .may_pass = m.at("may_pass"),
               .signal = m.at("signal")};
}

ToRank decode_to_rank(const std::string& text) {
  const json m = json::parse(text);
  const std::string kind = m.at("kind");
  if (kind == "run") return RunOrder{m.at("task"), m.at("ranks").get<std::vector<int>>(), m.at("tag")};
  if (kind == "pause") return PauseOrder{m.at("tag")};
  if (kind == "break") return BreakOrder{m.at("tag")};
  if (kind == "stop") return StopOrder{m.at("signal")};
  if (kind != "quit") unknown(kind);
  return QuitOrder{{.done = m.at("done").get<std::set<std::string>>(),
                    .failed = m.at("failed").get<std::map<std::string, std::string>>(),
                    .skipped = m.at("skipped").get<std::set<std::string>>(),
                    .exit_code = m.at("exit_code"),
                    .stopped = m.at("stopped")}};
}

}  // namespace dmoerm::run
