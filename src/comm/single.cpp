#include "comm/communicator.h"

namespace dmoerm::comm {
namespace {

class Single final : public Communicator {
 public:
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return 1; }
  void tree_sum(std::span<float> /*values*/, int /*contributors*/) override {}
  void broadcast(std::span<std::byte> /*bytes*/, int /*root*/) override {}
  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> bytes) override { return {{bytes.begin(), bytes.end()}}; }
  void barrier() override {}
};

}  // namespace

std::unique_ptr<Communicator> single() { return std::make_unique<Single>(); }

}  // namespace dmoerm::comm
