#include "base/stop.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <initializer_list>

namespace dmoerm {
namespace {

/// In a process of its own: these signals come one after the other, then it leaves with the code 7.
void receive(std::initializer_list<int> signals) {
  catch_stop_signals();
  for (const int signal : signals) std::raise(signal);
  std::_Exit(stop_requested() ? 7 : 1);
}

TEST(StopSignals, TheSecondInterruptEndsTheProcessAtOnce) {
  EXPECT_EXIT(receive({SIGINT, SIGINT}), testing::KilledBySignal(SIGINT), "");
}

TEST(StopSignals, TheSecondInterruptEndsTheProcessEvenIfAnotherSignalCameBetween) {
  EXPECT_EXIT(receive({SIGINT, SIGTERM, SIGINT}), testing::KilledBySignal(SIGINT), "");
}

TEST(StopSignals, OneInterruptAndAnyNumberOfOthersOnlyAskToStop) {
  EXPECT_EXIT(receive({SIGTERM, SIGINT, SIGTERM, SIGUSR2, SIGUSR2}), testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace dmoerm
