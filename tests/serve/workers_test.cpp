// The order in which workers do their jobs.
#include "serve/workers.h"

#include <gtest/gtest.h>

#include <future>
#include <string>

namespace dmoerm::serve {
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

}  // namespace
}  // namespace dmoerm::serve
