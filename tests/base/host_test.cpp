#include "base/host.h"

#include <gtest/gtest.h>

namespace dmoerm {
namespace {

TEST(OwnMachine, IsLocalhostAndTheLoopbackAndNoNameThatLooksLikeThem) {
  for (const char* own : {"localhost", "rm.localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]", "[::ffff:127.0.0.1]"})
    EXPECT_TRUE(is_own_machine(own)) << own;
  for (const char* other :
       {"", "127.evil.example", "127.0.0.1.evil.example", "localhost.example", "10.0.0.1", "[::2]", "example.com"})
    EXPECT_FALSE(is_own_machine(other)) << other;
}

}  // namespace
}  // namespace dmoerm
