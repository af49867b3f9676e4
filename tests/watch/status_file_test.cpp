#include "watch/status_file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/json_text.h"
#include "run_events.h"
#include "support/scratch.h"
#include "watch/screen_text.h"
#include "watch/timeline.h"

namespace dmoerm::watch {
namespace {

using nlohmann::json;
using namespace test;  // NOLINT
using StatusFile = test::Scratch;
using TimelineFile = test::Scratch;

Status some_status() {
  Status status;
  status.state.apply(run_event());
  status.written_at = wall_clock(), status.writes = 5, status.place = this_place(), status.process = this_process();
  return status;
}

TEST_F(StatusFile, ReadsBackTheStatusItWrote) {
  EXPECT_FALSE(read_status(directory_).has_value());
  Status status = some_status();
  status.page = "http://127.0.0.1:1/";
  write_status(directory_, status);
  const auto read = read_status(directory_);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->state.to_json(), status.state.to_json());
  EXPECT_EQ(read->place, status.place);
  EXPECT_EQ(read->process.pid, ::getpid());
  EXPECT_EQ(read->page, status.page);
  EXPECT_LT(std::abs(read->file_time - read->written_at), 60);
}

TEST_F(StatusFile, NamesADamagedFileAndOneOfANewerVersion) {
  (void)write("status.json", "{\"schema\": 1, \"tas");
  EXPECT_NE(message_of<DataError>([&] { (void)read_status(directory_); }).find("status.json:1: not valid JSON"),
            std::string::npos);
  (void)write("status.json", "{\"schema\": 99}");
  EXPECT_NE(message_of<DataError>([&] { (void)read_status(directory_); }).find("expected schema 1, found 99"), std::string::npos);
}

TEST_F(StatusFile, FindsAProcessOfThisPlaceAliveUntilItIsGone) {
  Status status = some_status();
  EXPECT_EQ(find_liveness(directory_, status, 0).life, Life::alive);
  status.process.started = "1";  // the process id now belongs to another process
  const Liveness gone = find_liveness(directory_, status, 0);
  EXPECT_EQ(gone.life, Life::dead);
  EXPECT_NE(gone.text.find(std::to_string(::getpid())), std::string::npos) << gone.text;
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  status.process = {child, ""};
  EXPECT_EQ(find_liveness(directory_, status, 0).life, Life::dead);
  status.state.apply({{"at", kBegan + 9}, {"event", "finish"}, {"code", 3}});
  EXPECT_EQ(find_liveness(directory_, status, 0).life, Life::ended);
}

TEST_F(StatusFile, FindsAWriterElsewhereAliveIfItWritesAgain) {
  for (const double wrong : {-86400.0, 0.0, 86400.0}) {
    Status status = some_status();
    status.place.host = "elsewhere";
    status.written_at += wrong;
    write_status(directory_, status);
    const Liveness silent = find_liveness(directory_, status, 0.3);
    EXPECT_EQ(silent.life, Life::silent) << wrong;
    EXPECT_EQ(silent.text.find("-"), std::string::npos) << "a negative age: " << silent.text;
    std::thread writer([&, again = status]() mutable {
      again.writes = 6;
      write_status(directory_, again);
    });
    const Liveness alive = find_liveness(directory_, status, 30);
    writer.join();
    EXPECT_EQ(alive.life, Life::alive) << wrong;
    EXPECT_EQ(status.writes, 6);
    if (wrong > 0) {
      EXPECT_NE(alive.text.find("clock of elsewhere"), std::string::npos) << alive.text;
    }
    if (wrong < 0) {
      EXPECT_NE(alive.text.find("file server differ by 1d"), std::string::npos) << alive.text;
    }
  }
}

json owner_text(const Place& place, const Process& process) {
  return {{"host", place.host},
          {"boot", place.boot},
          {"pid_namespace", place.pid_namespace},
          {"pid", process.pid},
          {"pid_started", process.started},
          {"job", ""},
          {"since", "yesterday"}};
}

/// What a run that ended with code 0 left, before another process started in its directory.
Status ended_status() {
  Status status = some_status();
  status.process.pid = 1;
  status.state.apply({{"at", kBegan + 9}, {"event", "finish"}, {"code", 0}});
  return status;
}

TEST_F(StatusFile, FindsAProcessThatDiedWhileItStartedDead) {
  const Status before = ended_status();
  EXPECT_FALSE(find_starting(directory_, before, 0).has_value()) << "nobody owns the directory";
  const Place here = this_place();
  (void)write("owner.json", owner_text(here, this_process()).dump());
  EXPECT_EQ(find_starting(directory_, before, 0).value().life, Life::alive);
  EXPECT_EQ(find_starting(directory_, std::nullopt, 0).value().life, Life::alive);
  EXPECT_FALSE(find_starting(directory_, some_status(), 0).has_value()) << "it has written its state";
  Process gone = this_process();
  gone.started = "1";  // the process id now belongs to another process
  for (const Process& process : {gone, Process{1 << 30, ""}}) {
    (void)write("owner.json", owner_text(here, process).dump());
    const Liveness dead = find_starting(directory_, before, 0).value();
    EXPECT_EQ(dead.life, Life::dead);
    EXPECT_NE(dead.text.find("the same command continues"), std::string::npos) << dead.text;
  }
  (void)write("owner.json", json{{"host", here.host}, {"pid", ::getpid()}}.dump());
  EXPECT_EQ(find_starting(directory_, before, 0).value().life, Life::alive) << "an earlier version wrote it";
  for (const char* text : {"", "{}", "[1]", R"({"host": 5, "pid": "x"})"}) {
    (void)write("owner.json", text);
    EXPECT_FALSE(find_starting(directory_, before, 0).has_value()) << text;
  }
}

TEST_F(StatusFile, FindsAProcessThatStartsElsewhereAliveIfItTouchesItsFile) {
  Place elsewhere = this_place();
  elsewhere.host = "elsewhere";
  const auto file = write("owner.json", owner_text(elsewhere, this_process()).dump());
  const Liveness silent = find_starting(directory_, ended_status(), 0.3).value();
  EXPECT_EQ(silent.life, Life::silent);
  EXPECT_NE(silent.text.find("if it is gone, the same command continues"), std::string::npos) << silent.text;
  std::jthread toucher([&](const std::stop_token& stop) {
    for (; !stop.stop_requested(); std::this_thread::sleep_for(std::chrono::milliseconds(20)))
      std::filesystem::last_write_time(file, std::filesystem::file_time_type::clock::now());
  });
  EXPECT_EQ(find_starting(directory_, ended_status(), 30).value().life, Life::alive);
}

TEST_F(StatusFile, ReadsTheManifestsIfThereIsNoStatus) {
  for (const char* task : {"base/chat", "expert/chat/logic"}) {
    std::filesystem::create_directories(directory_ / task);
    (void)write(std::string(task) + "/metrics.jsonl", "{}\n");
  }
  (void)write("base/chat/manifest.json", "{}");
  const RunState state = state_from_directory(directory_);
  ASSERT_EQ(state.tasks().size(), 2U);
  EXPECT_EQ(task_of(state, "base/chat").status, TaskStatus::done);
  EXPECT_NE(task_of(state, "expert/chat/logic").status, TaskStatus::done);
  EXPECT_FALSE(state.lists_all_tasks());
  View view;
  view.width = 120;
  const std::vector<std::string> lines = screen_text(state, view);
  ASSERT_GE(lines.size(), 2U);
  EXPECT_NE(lines[0].find("1 done"), std::string::npos) << lines[0];
  EXPECT_NE(lines[0].find("only tasks that have left files are known"), std::string::npos) << lines[0];
  for (const std::string& line : lines) EXPECT_EQ(line.find('%'), std::string::npos) << "a share of what? " << line;
  EXPECT_EQ(lines[1].find("###"), std::string::npos) << lines[1];
}

TEST_F(TimelineFile, SkipsATornLastLineAndBeginsANewOne) {
  const auto file = directory_ / "timeline.jsonl";
  { Timeline(file).append(run_event()); }
  {
    const std::string whole = read_file(file);
    const std::string next = json_line(start_event(1, "base/chat")) + "\n";
    for (std::size_t cut = 0; cut < next.size(); ++cut) {  // killed after any byte
      (void)write("timeline.jsonl", whole + next.substr(0, cut));
      { Timeline(file).append(end_event(2, "base/chat", "done", "caf\xe9")); }
      std::vector<std::string> events;
      read_timeline(file, [&](const json& event) { events.push_back(event.at("event")); });
      // The line is complete even without its line end.
      const std::vector<std::string> wanted =
          cut + 1 == next.size() ? std::vector<std::string>{"run", "start", "end"} : std::vector<std::string>{"run", "end"};
      ASSERT_EQ(events, wanted) << cut;
    }
  }
  EXPECT_EQ(task_of(state_from_directory(directory_), "base/chat").status, TaskStatus::done);
}

TEST_F(TimelineFile, ContinuesWhenTheDiskIsFull) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  Timeline full("/dev/full");
  EXPECT_NO_THROW(full.append(run_event()));
  Timeline nowhere(directory_ / "absent" / "timeline.jsonl");
  EXPECT_NO_THROW(nowhere.append(run_event()));
  std::filesystem::create_directories(directory_ / "absent");
  nowhere.append(run_event());  // the folder is there now
  EXPECT_TRUE(std::filesystem::exists(directory_ / "absent" / "timeline.jsonl"));
}

}  // namespace
}  // namespace dmoerm::watch
