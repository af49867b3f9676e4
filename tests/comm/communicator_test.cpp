#include "comm/communicator.h"

#include <gtest/gtest.h>

#include "comm/single_process.h"

namespace dmoerm::comm {
namespace {

TEST(Communicator, GathersTextsWithTheirLengths) {
  const auto group = single();
  EXPECT_EQ(group->gather_text(std::string_view("a\0b", 3)), std::vector<std::string>{std::string("a\0b", 3)});
  EXPECT_EQ(group->gather_text(""), std::vector<std::string>{""});
}

}  // namespace
}  // namespace dmoerm::comm
