#include "moe/fit_keeper.h"

#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "moe/category_router.h"

namespace dmoerm::moe {
namespace {

/// Keeps parts in memory. Its stop() says yes after the given number of calls.
class Memory final : public PartKeeper {
 public:
  std::optional<nn::NamedTensors> load(const std::string& name) override {
    const auto found = parts_.find(name);
    return found == parts_.end() ? std::nullopt : std::optional(found->second);
  }
  bool keep(const std::string& name, const nn::NamedTensors& tensors) override {
    nn::NamedTensors copies;
    for (const auto& [tensor, values] : tensors) copies.emplace_back(tensor, values.clone());
    parts_[name] = copies;
    return true;
  }
  bool stop() override { return --left_ < 0; }
  void stop_after(int calls) { left_ = calls; }

 private:
  std::map<std::string, nn::NamedTensors> parts_;
  int left_ = 0;
};

std::vector<std::int32_t> labels(std::size_t count) {
  std::vector<std::int32_t> all;
  for (std::size_t i = 0; i < count; ++i) all.push_back(static_cast<std::int32_t>(i % 3));
  return all;
}

TEST(KeptFits, AFitThatIsBrokenOffAgainAndAgainEndsWithTheSameBits) {
  const at::Tensor train_ND = at::randn({60, 8}), validation_MD = at::randn({30, 8});
  config::RouterConfig config;
  config.steps_max = 57;
  const auto fit = [&] {
    return CategoryRouter::fit({"a", "b", "c"}, {train_ND, labels(60), {}}, {validation_MD, labels(30), {}}, config);
  };
  const Route expected = fit().route(validation_MD[0]);
  Memory memory;
  int stops = 0;
  for (;;) {
    try {
      memory.stop_after(10);
      const KeptFits kept(memory);
      EXPECT_EQ(fit().route(validation_MD[0]).probabilities, expected.probabilities);
      break;
    } catch (const Stopped&) {
      ++stops;
    }
  }
  EXPECT_GE(stops, 3);
  memory.stop_after(0);  // a fit that has ended is not done again
  const KeptFits kept(memory);
  EXPECT_EQ(fit().route(validation_MD[0]).probabilities, expected.probabilities);
}

}  // namespace
}  // namespace dmoerm::moe
