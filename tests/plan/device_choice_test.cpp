#include "plan/device_choice.h"

#include <gtest/gtest.h>

#include <string>

namespace dmoerm::plan {
namespace {

class ChoosingADevice : public testing::Test {
 protected:
  std::string name(config::Device device, const DeviceHints& hints = {}) {
    config_.compute.device = device;
    return choose_device(config_, hints).name;
  }
  std::string reason(config::Device device, const DeviceHints& hints = {}) {
    config_.compute.device = device;
    return choose_device(config_, hints).reason;
  }
  static bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
  config::RunConfig config_;
};

TEST_F(ChoosingADevice, AutoTakesTheGpusThatARunWouldFind) {
  EXPECT_EQ(name(config::Device::automatic), "cpu");
  EXPECT_EQ(name(config::Device::automatic, {.gpu_here = "NVIDIA A100-SXM4-80GB"}), "a100");
  EXPECT_EQ(name(config::Device::automatic, {.gpu_here = "NVIDIA T4"}), "h100");
  EXPECT_TRUE(says(reason(config::Device::automatic, {.gpu_here = "NVIDIA T4"}), "NVIDIA T4, not a known one"));
  config_.slurm.gpus_per_node = 8;
  EXPECT_EQ(name(config::Device::automatic), "h100");
  EXPECT_EQ(name(config::Device::automatic, {.gpu_here = "NVIDIA A100-SXM4-80GB"}), "h100") << "a cluster is elsewhere";
  EXPECT_TRUE(says(reason(config::Device::automatic), "slurm.gpus_per_node: 8"));
  EXPECT_EQ(name(config::Device::cpu), "cpu") << "the run would leave these GPUs idle";
}

TEST_F(ChoosingADevice, SaysWhichSettingsDecideAndWhichChangeIt) {
  const std::string none = reason(config::Device::automatic);
  for (const char* part : {"compute.device: auto", "slurm.gpus_per_node", "compute.device: cuda", "--device"})
    EXPECT_TRUE(says(none, part)) << none;
  EXPECT_EQ(name(config::Device::cuda), "h100");
  EXPECT_EQ(name(config::Device::cuda, {.gpu_here = "NVIDIA GeForce RTX 4090"}), "rtx4090");
  EXPECT_EQ(name(config::Device::cpu, {.gpus_per_node = true}), "h100");
  EXPECT_TRUE(says(reason(config::Device::cpu, {.gpus_per_node = true}), "compute.device: cpu a run computes on the CPU"));
  EXPECT_EQ(name(config::Device::automatic, {.option = "l40s"}), "l40s");
  EXPECT_TRUE(says(reason(config::Device::automatic, {.option = "l40s"}), "without it cpu: compute.device: auto"));
  EXPECT_EQ(reason(config::Device::cpu, {.option = "cpu"}), "--device");
}

TEST(GpuKind, IsReadFromTheDriversName) {
  EXPECT_EQ(gpu_kind("NVIDIA H100 80GB HBM3"), "h100");
  EXPECT_EQ(gpu_kind("NVIDIA H100 PCIe"), "h100");
  EXPECT_EQ(gpu_kind("NVIDIA H200"), "h200");
  EXPECT_EQ(gpu_kind("NVIDIA L40S"), "l40s");
  for (const char* other : {"", "unknown", "NVIDIA GH200 480GB", "NVIDIA L40", "NVIDIA GeForce RTX 3090"})
    EXPECT_EQ(gpu_kind(other), "") << other;
}

TEST(DeviceOf, TheGpuOfARunAndNotOnlyThatOfCuda) {
  const config::ComputeConfig automatic{.device = config::Device::automatic, .threads = 4};
  EXPECT_EQ(device_of(automatic).name, "cpu");
  EXPECT_EQ(device_of(automatic, nearest_gpu("NVIDIA T4")).name, "h100");
  const DeviceModel a100 =
      device_of({.device = config::Device::automatic, .dtype = config::Dtype::bfloat16, .peak_tflops = 156}, "a100");
  EXPECT_DOUBLE_EQ(a100.peak_tflops, 156);
  EXPECT_DOUBLE_EQ(a100.float32_tflops, 19.5 / 2);
  EXPECT_EQ(device_of({.device = config::Device::cpu}, "a100").name, "cpu");
}

TEST(RateText, SaysWhatIsMeasuredAndWhatIsAssumed) {
  const DeviceModel cpu = *find_device("cpu"), gpu = *find_device("h100");
  const auto says = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  EXPECT_TRUE(says(rate_text(cpu, CpuKind::other, PeakSource::table, false), "the peak is assumed"));
  EXPECT_TRUE(says(rate_text(cpu, CpuKind::other, PeakSource::table, false), "of it is assumed"));
  for (const CpuKind kind : {CpuKind::avx512, CpuKind::avx2, CpuKind::avx2_in_halves}) {
    EXPECT_TRUE(says(rate_text(cpu, kind, PeakSource::measured, false), "measured just now"));
    EXPECT_FALSE(says(rate_text(cpu, kind, PeakSource::measured, false), "assumed"));
  }
  EXPECT_TRUE(says(rate_text(cpu, CpuKind::other, PeakSource::setting, true),
                   "compute.peak_tflops; what long passes reach of it is that of --"));
  EXPECT_TRUE(
      says(rate_text(gpu, CpuKind::avx512, PeakSource::table, false), "maker's figure; what long passes reach of it is assumed"));
}

}  // namespace
}  // namespace dmoerm::plan
