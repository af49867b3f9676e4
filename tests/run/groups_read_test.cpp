// Tests that judges are asked only about groups whose verdicts training reads, and that a labelling without the token store finds
// the same groups as a run with it.
#include "run/groups_read.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "data/group_selection.h"
#include "data/ingest.h"
#include "label/targets.h"
#include "support/scratch.h"
#include "synth/synth.h"
#include "tokenizer/chat_template.h"
#include "train/training_set.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;

class GroupsRead : public test::Scratch {
 protected:
  GroupsRead() {
    synth::SynthOptions options;
    options.groups = 120;
    options.categories = 2;
    options.responses = 3;
    config_.data.inputs.push_back(
        {write("rows.jsonl", synth::synthesize(options).jsonl), "auto", "", config::InputSplit::own, 1.0});
    config_.data.max_length = 120;  // some prompts are cut
    config_.backbone.dir = (directory_ / "model").string();
    config_.backbone.chat_template = "plain";
    config_.experts.train.eval_groups_max = 3;
    fs::create_directories(config_.backbone.dir);
    fs::copy_file(DMOERM_SOURCE "/tests/golden/tokenizers/tiny_split_bytelevel.json",
                  fs::path(config_.backbone.dir) / "tokenizer.json");
    const auto tokenizer = tokenizer::Tokenizer::load(fs::path(config_.backbone.dir) / "tokenizer.json");
    const tokenizer::ChatTemplate chat_template("plain", tokenizer, config_.data.special_tokens_in_text);
    data::ingest_for_run(config_, tokenizer, chat_template, directory_ / "store.h5");
    store_ = std::make_unique<data::TokenStore>(data::TokenStore::open(directory_ / "store.h5"));
    data::write_selected_groups(config_, directory_ / "groups.jsonl");
    groups_ = std::make_unique<label::GroupFile>(directory_ / "groups.jsonl");
  }

  [[nodiscard]] std::ptrdiff_t count(const std::vector<bool>& read, preference::Split split) const {
    std::ptrdiff_t sum = 0;
    for (std::size_t i = 0; i < read.size(); ++i) sum += read[i] && groups_->entries()[i].split == split ? 1 : 0;
    return sum;
  }

  config::RunConfig config_;
  std::unique_ptr<data::TokenStore> store_;
  std::unique_ptr<label::GroupFile> groups_;
};

TEST_F(GroupsRead, AreThoseOfPhase1AndSoManyOfTheValidationSplit) {
  const std::vector<bool> read = groups_read(config_, *groups_, store_.get());
  EXPECT_EQ(count(read, preference::Split::train), std::ssize(train::groups_of(*store_, -1, train::Subset::phase1, config_)));
  EXPECT_LT(count(read, preference::Split::train), std::ssize(train::groups_of(*store_, -1, train::Subset::train, config_)));
  EXPECT_EQ(count(read, preference::Split::validation), 6) << "eval_groups_max of each of two categories";
  EXPECT_EQ(count(read, preference::Split::test), 0);
  config_.experts.train.eval_groups_max = 0;
  EXPECT_EQ(count(groups_read(config_, *groups_, store_.get()), preference::Split::validation),
            std::ssize(train::groups_of(*store_, -1, train::Subset::validation, config_)))
      << "0: all of them";
}

TEST_F(GroupsRead, AreTheSameWithTheTokenStoreAndWithoutIt) {
  EXPECT_EQ(groups_read(config_, *groups_, nullptr), groups_read(config_, *groups_, store_.get()));
  config_.seed = 5;
  EXPECT_EQ(groups_read(config_, *groups_, nullptr), groups_read(config_, *groups_, store_.get()));
}

TEST_F(GroupsRead, AreTheSameWithoutATokenizer) {
  fs::remove(fs::path(config_.backbone.dir) / "tokenizer.json");
  EXPECT_EQ(groups_read(config_, *groups_, nullptr), groups_read(config_, *groups_, store_.get()));
}

TEST_F(GroupsRead, AreTheOnlyOnesWhosePairsAreChosen) {
  const std::vector<bool> read = groups_read(config_, *groups_, store_.get());
  const std::string category = groups_->categories().front();
  const auto chosen = label::choose_pairs(config_, *groups_, {category, "any"}, {}, read);
  EXPECT_FALSE(chosen.empty());
  for (const label::GroupPairs& pairs : chosen) EXPECT_TRUE(read[pairs.group]);
}

}  // namespace
}  // namespace dmoerm::run
