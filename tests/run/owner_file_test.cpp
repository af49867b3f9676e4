#include "run/owner_file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "support/captured_log.h"
#include "support/scratch.h"

namespace dmoerm::run {
namespace {

class OwnerFileOf : public test::Scratch {
 protected:
  void write_owner(const std::string& text) const {
    std::filesystem::create_directories(run_);
    std::ofstream(run_ / "owner.json") << text;
  }
  const std::filesystem::path run_ = directory_ / "run";
};

TEST_F(OwnerFileOf, NamesTheLiveOwnerAndIsGoneWithIt) {
  {
    const OwnerFile owner(run_);
    const std::string said = test::message_of<ConfigError>([&] { const OwnerFile second(run_); });
    EXPECT_NE(said.find("process " + std::to_string(::getpid()) + " on host "), std::string::npos) << said;
  }
  EXPECT_FALSE(std::filesystem::exists(run_ / "owner.json"));
}

TEST_F(OwnerFileOf, TakesADirectoryWhoseOwnerFileSaysNothingUseful) {
  for (const char* text :
       {"", "{}", "[1]", "\x01\xff", R"({"host": 5, "pid": "x", "job": null, "since": []})", R"({"pid": 7})"}) {
    write_owner(text);
    const test::CapturedLog log;
    { const OwnerFile owner(run_); }
    EXPECT_EQ(log.text(), "") << text;
  }
}

TEST_F(OwnerFileOf, SaysThatTheLastOwnerWasKilled) {
  const pid_t child = ::fork();
  if (child == 0) {
    const OwnerFile owner(run_);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  const test::CapturedLog log;
  { const OwnerFile owner(run_); }
  EXPECT_TRUE(log.has("was killed or lost its host")) << log.text();
  const test::CapturedLog again;
  { const OwnerFile owner(run_); }
  EXPECT_EQ(again.text(), "") << "the next one was not";
}

}  // namespace
}  // namespace dmoerm::run
