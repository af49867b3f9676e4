// The test judge as a process of its own, and what its log witnesses.
#pragma once
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"

namespace dmoerm::test {

/// The test judge, for as long as the object lives.
class JudgeProcess {
 public:
  JudgeProcess(const std::filesystem::path& folder, std::vector<std::string> options)
      : folder_(folder), port_file_(folder / fmt::format("port{}", ++number_)) {
    options.insert(options.begin(), {DMOERM_JUDGE_SERVER, "--port-file", port_file_.string()});
    pid_ = ::fork();
    if (pid_ == 0) {
      std::vector<char*> arguments;
      for (std::string& option : options) arguments.push_back(option.data());
      arguments.push_back(nullptr);
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int null = ::open("/dev/null", O_WRONLY);
      ::dup2(null, 2);
      ::execv(arguments[0], arguments.data());
      ::_exit(127);
    }
    while (!std::filesystem::exists(port_file_)) {
      if (::waitpid(pid_, nullptr, WNOHANG) != 0) throw Error("the test judge does not start");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    std::ifstream(port_file_) >> port_;
  }
  ~JudgeProcess() { stop(); }
  JudgeProcess(const JudgeProcess&) = delete;
  JudgeProcess& operator=(const JudgeProcess&) = delete;

  void stop() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] std::string url(const std::string& scheme = "http", const std::string& host = "127.0.0.1") const {
    return fmt::format("{}://{}:{}/v1", scheme, host, port_);
  }

 private:
  static inline int number_ = 0;
  std::filesystem::path folder_, port_file_;
  pid_t pid_ = -1;
  int port_ = 0;
};

}  // namespace dmoerm::test
