#include "run/device_checks.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/captured_log.h"
#include "support/scratch.h"

namespace dmoerm::run {
namespace {

TEST(DeviceChecks, GradientsInBfloat16AreRefusedBetweenGpusOnly) {
  config::ClusterConfig cluster;
  EXPECT_NO_THROW(check_gradient_dtype(cluster, true));
  cluster.gradient_dtype = config::Dtype::bfloat16;
  EXPECT_NO_THROW(check_gradient_dtype(cluster, false));
  EXPECT_NE(test::message_of<ConfigError>([&] { check_gradient_dtype(cluster, true); }).find("set it to float32 on GPUs"),
            std::string::npos);
}

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
