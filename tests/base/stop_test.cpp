#include "base/stop.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <initializer_list>
#include <string_view>
#include <utility>

namespace dmoerm {
namespace {

/// Raise the signals one after the other, then exit with code 7 if a stop was requested. Called in a process of its own.
void receive(std::initializer_list<int> signals) {
  catch_stop_signals();
  for (const int signal : signals) std::raise(signal);
  std::_Exit(stop_requested() ? 7 : 1);
}

TEST(StopSignals, EndTheProcessAtTheSecondInterrupt) {
  EXPECT_EXIT(receive({SIGINT, SIGINT}), testing::KilledBySignal(SIGINT), "");
}

TEST(StopSignals, EndTheProcessAtTheSecondInterruptAfterAnotherSignal) {
  EXPECT_EXIT(receive({SIGINT, SIGTERM, SIGINT}), testing::KilledBySignal(SIGINT), "");
}

TEST(StopSignals, RequestAStopAtOneInterruptAndAnyNumberOfOtherSignals) {
  EXPECT_EXIT(receive({SIGTERM, SIGINT, SIGTERM, SIGUSR2, SIGUSR2}), testing::ExitedWithCode(7), "");
}

TEST(StopSignals, EachOfThemAsksByItsName) {
  for (const auto& [signal, name] : {std::pair(SIGTERM, "SIGTERM"), std::pair(SIGINT, "SIGINT"), std::pair(SIGUSR1, "SIGUSR1"),
                                     std::pair(SIGUSR2, "SIGUSR2")}) {
    const auto named = [signal = signal, name = name] {
      catch_stop_signals();
      std::raise(signal);
      std::_Exit(std::string_view(stop_signal()) == name && stop_signal_number() == signal ? 7 : 1);
    };
    EXPECT_EXIT(named(), testing::ExitedWithCode(7), "") << name;
  }
}

}  // namespace
}  // namespace dmoerm
