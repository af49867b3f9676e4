// Tests that judges are asked only about groups whose verdicts training reads, and that a labelling without the token store finds
// the same groups as a run with it.
#include "run/groups_read.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <tuple>

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

TEST_F(GroupsRead, AreTheWholeTrainSplitWithFolds) {
  config_.folds = 3;
  const std::vector<bool> read = groups_read(config_, *groups_, store_.get());
  EXPECT_EQ(count(read, preference::Split::train), std::ssize(train::groups_of(*store_, -1, train::Subset::train, config_)));
  EXPECT_EQ(groups_read(config_, *groups_, nullptr), read);
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

/// The pairs of three rounds, each with gaps that grow with the group's number.
class Rounds : public GroupsRead {
 protected:
  using Pairs = std::set<std::tuple<std::size_t, int, int>>;

  Rounds() : read_(groups_read(config_, *groups_, store_.get())), target_{groups_->categories().front(), "any"} {
    config_.labels.pairs.choose = config::PairChoice::uncertain;
    config_.labels.pairs.per_group = 2;
    for (const std::size_t number : groups_->of(target_.category, config_.labels.splits)) {
      if (!read_[number]) continue;
      (groups_->entries()[number].split == preference::Split::train ? train_ : validation_).push_back(number);
      for (const label::ResponsePair& pair : label::all_pairs(groups_->entries()[number].responses))
        gaps_[number][pair] = static_cast<double>(number) + 0.1 * pair.a + 0.01 * pair.b;
    }
  }

  [[nodiscard]] std::vector<label::GroupPairs> choose(int round, int rounds, const std::vector<label::GroupPairs>& before) const {
    return label::choose_pairs_of_round(config_, *groups_, target_, {round, rounds}, before, round == 1 ? label::Gaps{} : gaps_,
                                        read_);
  }
  [[nodiscard]] Pairs flat(const std::vector<label::GroupPairs>& chosen, preference::Split split) const {
    Pairs pairs;
    for (const label::GroupPairs& group : chosen) {
      if (groups_->entries()[group.group].split != split) continue;
      for (const auto& [a, b] : group.pairs) EXPECT_TRUE(pairs.emplace(group.group, a, b).second) << "a pair is asked once";
    }
    return pairs;
  }

  std::vector<bool> read_;
  label::Target target_;
  std::vector<std::size_t> train_, validation_;
  label::Gaps gaps_;
};

TEST_F(Rounds, KeepEarlierPairsAndAskAboutAnEqualShareEach) {
  std::vector<label::GroupPairs> before;
  Pairs train, validation;
  for (int round = 1; round <= 3; ++round) {
    const auto chosen = choose(round, 3, before);
    const Pairs now = flat(chosen, preference::Split::train), drawn = flat(chosen, preference::Split::validation);
    EXPECT_EQ(now.size(), (2 * train_.size() * static_cast<std::size_t>(round) + 2) / 3) << "two pairs of each group in all";
    EXPECT_EQ(drawn.size(), (2 * validation_.size() * static_cast<std::size_t>(round) + 2) / 3);
    EXPECT_TRUE(std::ranges::includes(now, train) && std::ranges::includes(drawn, validation)) << round;
    before = chosen, train = now, validation = drawn;
  }
  EXPECT_EQ(flat(choose(1, 1, {}), preference::Split::validation), validation) << "those of other splits are drawn by the seed";
}

TEST_F(Rounds, AskAboutTheSmallestGapsFromTheSecondOn) {
  const Pairs first = flat(choose(1, 2, {}), preference::Split::train);
  const Pairs both = flat(choose(2, 2, choose(1, 2, {})), preference::Split::train);
  const auto gap = [&](const std::tuple<std::size_t, int, int>& pair) {
    return gaps_.at(std::get<0>(pair)).at({std::get<1>(pair), std::get<2>(pair)});
  };
  std::map<std::size_t, int> taken;
  double largest = 0;
  for (const auto& pair : both) {
    ++taken[std::get<0>(pair)];
    if (!first.contains(pair)) largest = std::max(largest, gap(pair));
  }
  for (const std::size_t group : train_) {
    for (const label::ResponsePair& pair : label::all_pairs(groups_->entries()[group].responses)) {
      const std::tuple<std::size_t, int, int> known{group, pair.a, pair.b};
      EXPECT_TRUE(both.contains(known) || taken[group] == 2 || gap(known) > largest)
          << "a pair with a smaller gap was left out, of a group with room for it";
    }
  }
}

TEST_F(Rounds, ShareALimitAmongTheSplits) {
  config_.labels.pairs.pairs_max = 10;
  const auto first = choose(1, 2, {});
  const auto both = choose(2, 2, first);
  const std::size_t train = flat(both, preference::Split::train).size(),
                    validation = flat(both, preference::Split::validation).size();
  EXPECT_EQ(train + validation, 10U);
  EXPECT_GE(validation, 1U);
  EXPECT_EQ(flat(first, preference::Split::train).size(), (train + 1) / 2);
  EXPECT_EQ(flat(first, preference::Split::validation).size(), (validation + 1) / 2);
}

}  // namespace
}  // namespace dmoerm::run
