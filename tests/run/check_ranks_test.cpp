#include "run/check_ranks.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "config/writer.h"
#include "support/scratch.h"

namespace dmoerm::run {
namespace {

std::vector<RankFacts> two_ranks() {
  RankFacts one;
  one.host = "node", one.machine = "node 1234", one.binary = std::string(64, 'a'), one.processor = "P", one.gpu = "0000:01:00.0";
  config::RunConfig config;
  config.backbone.dir = "model";
  config.data.inputs.push_back({"rows.jsonl", "auto", "", config::InputSplit::own, 1.0});
  config.categories.push_back({"chat", {"tone"}, 0.0});
  one.config = config::to_yaml(config);
  RankFacts other = one;
  other.rank = 1;
  return {one, other};
}

TEST(CheckRanks, RefusesTwoRanksOnOneGpu) {
  const std::string said = test::message_of<ConfigError>([] { check_rank_facts(two_ranks()); });
  EXPECT_NE(said.find("rank 1 on node and rank 0 would share the GPU 0000:01:00.0"), std::string::npos) << said;
}

TEST(CheckRanks, MachinesWithTheSameNameHaveGpusOfTheirOwn) {
  std::vector<RankFacts> facts = two_ranks();
  facts[1].machine = "node 5678";
  EXPECT_NO_THROW(check_rank_facts(facts));
}

TEST(CheckRanks, NamesTheRankWhoseBuildDiffers) {
  std::vector<RankFacts> facts = two_ranks();
  facts[1].gpu = "", facts[1].binary[0] = 'b';
  const std::string said = test::message_of<ConfigError>([&] { check_rank_facts(facts); });
  EXPECT_NE(said.find("rank 1 on node runs another build of dmoerm than rank 0 on node"), std::string::npos) << said;
}

}  // namespace
}  // namespace dmoerm::run
