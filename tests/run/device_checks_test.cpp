#include "run/device_checks.h"

#include <gtest/gtest.h>

#include "support/captured_log.h"

namespace dmoerm::run {
namespace {

TEST(DeviceChecks, AGpuThatComputesInFloat32IsWarnedOf) {
  const test::CapturedLog log;
  config::ComputeConfig compute;
  warn_if_slow(compute, {c10::kCPU});
  compute.dtype = config::Dtype::bfloat16;
  warn_if_slow(compute, {c10::kCUDA, 0});
  EXPECT_EQ(log.text(), "");
  compute.dtype = config::Dtype::float32;
  warn_if_slow(compute, {c10::kCUDA, 0});
  EXPECT_TRUE(log.has("set it to bfloat16")) << log.text();
}

}  // namespace
}  // namespace dmoerm::run
