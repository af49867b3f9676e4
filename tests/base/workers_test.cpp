#include "base/workers.h"

#include <gtest/gtest.h>

#include <future>
#include <numeric>
#include <string>

#include "base/error.h"

namespace dmoerm {
namespace {

TEST(Workers, DoUrgentJobsBeforeTheOthersAndAllAtTheEnd) {
  std::string order;
  std::promise<void> begun, open;
  {
    Workers workers(1, "a thread of a test");
    workers.post([&] {
      begun.set_value();
      open.get_future().wait();
    });
    begun.get_future().wait();
    workers.post([&] { order += "a"; });
    workers.post_first([&] { order += "1"; });
    workers.post([&] { order += "b"; });
    workers.post_first([&] { order += "2"; });
    open.set_value();
  }
  EXPECT_EQ(order, "12ab");
}

TEST(Workers, GiveResultsInTheOrderOfThePieces) {
  for (const int threads : {0, 1, 4}) {
    Workers workers(threads, "a thread of a test", 0);
    InOrder<int> squares(workers, 5);
    std::vector<int> found;
    for (int i = 0; i < 1000; ++i) {
      squares.give([i] { return i * i; });
      if (squares.full()) found.push_back(squares.take());
    }
    while (!squares.empty()) found.push_back(squares.take());
    ASSERT_EQ(found.size(), 1000U);
    for (int i = 0; i < 1000; ++i) EXPECT_EQ(found[static_cast<std::size_t>(i)], i * i) << threads;
  }
}

TEST(Workers, ThrowWhatAPieceThrewInItsTurn) {
  for (const int threads : {0, 3}) {
    Workers workers(threads, "a thread of a test", 0);
    InOrder<int> numbers(workers, 10);
    for (int i = 0; i < 4; ++i) {
      numbers.give([i]() -> int {
        if (i == 2) throw DataError("number-is-two");
        return i;
      });
    }
    EXPECT_EQ(numbers.take(), 0);
    EXPECT_EQ(numbers.take(), 1);
    EXPECT_THROW(numbers.take(), DataError);
    EXPECT_EQ(numbers.take(), 3);
  }
}

TEST(Workers, DropWhatNobodyTakes) {
  std::atomic<int> done = 0;
  {
    Workers workers(2, "a thread of a test");
    InOrder<std::unique_ptr<int>> pieces(workers, 100);
    for (int i = 0; i < 100; ++i) {
      pieces.give([&done, own = std::make_unique<int>(i)]() mutable {  // work and results may be objects that only move
        ++done;
        return std::move(own);
      });
    }
    EXPECT_EQ(*pieces.take(), 0);
  }
  const int then = done;
  EXPECT_GE(then, 1);
  EXPECT_LE(then, 100);
}

TEST(Workers, CountAtLeastOneProcessor) { EXPECT_GE(processors(), 1); }

}  // namespace
}  // namespace dmoerm
