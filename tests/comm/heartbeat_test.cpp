// Tests the heartbeat's own failure; that silent ranks are noticed is tested under a launcher (dispatch_program.cpp).
#include "comm/heartbeat.h"

#include <gtest/gtest.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <thread>

#include "base/error.h"
#include "comm/single_process.h"

namespace dmoerm::comm {
namespace {

/// The second of two ranks, whose MPI fails when it looks for messages.
class BrokenWorld final : public World {
 public:
  [[nodiscard]] int rank() const override { return 1; }
  [[nodiscard]] int size() const override { return 2; }
  [[nodiscard]] std::string host() const override { return "node7"; }
  Communicator& all() override { return *all_; }
  std::unique_ptr<Communicator> make_group(const std::vector<int>&, int) override { return single(); }
  void send_control(int, bool, const std::string&) override {}
  std::optional<ControlMessage> receive_control(bool, int) override { return std::nullopt; }
  bool send_beat(int, const std::string&) override { return true; }
  std::vector<ControlMessage> receive_beats() override {
    if (++looks_ == 5) throw CommError("mpi-call-failed", "MPI_Improbe failed on rank 1: a link is down");
    return {};
  }
  [[noreturn]] void abort(int exit_code) override { std::_Exit(exit_code); }

 private:
  std::unique_ptr<Communicator> all_ = single();
  int looks_ = 0;
};

TEST(HeartbeatDeathTest, EndsTheJobNamingItsRankWhenItFailsItself) {
  EXPECT_EXIT(
      {
        spdlog::set_default_logger(std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::stderr_sink_mt>()));
        BrokenWorld world;
        Heartbeat heartbeat(world, 5);
        heartbeat.doing("step 41 of a test");
        for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
      },
      testing::ExitedWithCode(1),
      "heartbeat of rank 1 on node7 failed while the rank did this: step 41 of a test; the job ends.*a link is down");
}

}  // namespace
}  // namespace dmoerm::comm
