#include "data/token_store.h"

#include <cmath>
#include <set>

#include "base/error.h"
#include "base/file_seal.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/rng.h"
#include "data/preference_rule.h"
#include "data/store_builder.h"
#include "data/token_store_hdf5.h"
#include "support/scratch.h"
#include "support/shared.h"

namespace dmoerm::data {
namespace {

class TokenStoreFile : public test::Scratch {
 protected:
  [[nodiscard]] std::filesystem::path path() const { return directory_ / "store.h5"; }

  static preference::Group group(const std::string& id, std::size_t responses) {
    preference::Group g;
    g.id = id, g.category = "chat", g.file = "f.jsonl", g.line = 3;
    g.responses.resize(responses);
    return g;
  }
  /// The prefix 5 6 7 and responses of one to three tokens. The prompt is 5 6.
  static GroupLayout layout(std::size_t responses) {
    GroupLayout l;
    l.prefix = {5, 6, 7};
    for (std::size_t i = 0; i < responses; ++i) l.responses.emplace_back(1 + i % 3, static_cast<std::int32_t>(10 + i));
    return l;
  }
  TokenStore store_of(const std::vector<preference::Group>& groups, const config::ScoreGap& score_gap_min = 0) {
    StoreBuilder builder(path(), {"chat", "code"}, 1);
    for (const preference::Group& g : groups) {
      builder.add(g, {}, layout(g.responses.size()), {5, 6}, preference::Split::validation, 2.0, score_gap_min);
    }
    counted_ = builder.pairs();
    without_ = builder.groups_without_pairs();
    builder.finish(R"({"made":"here"})", 1);
    return TokenStore::open(path());
  }
  PairCounts counted_;
  std::int64_t without_ = 0;
};

using Pairs = std::vector<preference::Preference>;

TEST_F(TokenStoreFile, GivesBackTheGroupsPutIn) {
  StoreBuilder builder(path(), {"chat", "code"}, 1);
  builder.add(group("one", 3), {11, 12}, layout(3), {5, 6}, preference::Split::validation, 2.0, 0);
  preference::Group other = group("två", 2);
  other.category = "code";
  builder.add(other, {13, 14}, layout(2), {5, 9, 9, 9}, preference::Split::test, 1.0, 0);
  builder.finish(R"({"made":"here"})", 1);
  const TokenStore store = TokenStore::open(path());
  ASSERT_EQ(store.size(), 2);
  const TokenGroup a = store.group(0), b = store.group(1);
  EXPECT_EQ(a.id, "one");
  EXPECT_EQ(b.id, "två");
  EXPECT_EQ(a.category, 0);
  EXPECT_EQ(b.category, 1);
  EXPECT_EQ(a.split, preference::Split::validation);
  EXPECT_EQ(a.weight, 2.0F);
  EXPECT_EQ(a.prompt_key, 11U);
  EXPECT_EQ(b.session_key, 14U);
  EXPECT_EQ(std::vector<int>(a.prefix.begin(), a.prefix.end()), (std::vector<int>{5, 6, 7}));
  EXPECT_EQ(std::vector<int>(a.prompt.begin(), a.prompt.end()), (std::vector<int>{5, 6})) << "the prefix begins with it";
  EXPECT_EQ(std::vector<int>(b.prompt.begin(), b.prompt.end()), (std::vector<int>{5, 9, 9, 9})) << "it is stored separately";
  ASSERT_EQ(a.responses.size(), 3U);
  EXPECT_EQ(std::vector<int>(a.responses[2].begin(), a.responses[2].end()), (std::vector<int>{12, 12, 12}));
  ASSERT_EQ(b.responses.size(), 2U);
  EXPECT_EQ(std::vector<int>(b.responses[0].begin(), b.responses[0].end()), (std::vector<int>{10}));
  EXPECT_EQ(store.provenance(), R"({"made":"here"})");
  EXPECT_EQ(store.head_tokens(), 1);
  EXPECT_EQ(store.labels(), std::vector<std::string>{"overall"});
  EXPECT_EQ(store.label_index(0, "overall"), 0);
  EXPECT_EQ(store.label_index(0, "logic"), -1);
  EXPECT_TRUE(store.preferences(0, "logic", 0).empty());
}

TEST_F(TokenStoreFile, StoresMoreThanOneChunkOfEveryColumn) {
  std::vector<preference::Group> groups;
  Rng rng(7);
  for (int i = 0; i < 30000; ++i) {
    groups.push_back(group("group " + std::to_string(i), 3));
    for (auto& r : groups.back().responses) r.overall = static_cast<double>(rng.below(3));
  }
  const TokenStore store = store_of(groups);
  ASSERT_EQ(store.size(), 30000);
  EXPECT_EQ(store.group(29999).id, "group 29999");
  EXPECT_EQ(store.group(17).responses[1].size(), 2U);
  std::int64_t pairs = 0;
  for (std::int64_t i = 0; i < store.size(); ++i) pairs += static_cast<std::int64_t>(store.preferences(i, "overall", 0).size());
  EXPECT_EQ(pairs, counted_["chat"]["overall"][1]);
  EXPECT_NEAR(static_cast<double>(pairs), 60000, 1000);  // two of three pairs differ
  for (const int threads : {0, 1, 3}) EXPECT_EQ(verify_store(path(), threads), store.digest());
}

TEST_F(TokenStoreFile, OrdersScoresByTheirGap) {
  preference::Group g = group("g", 4);
  g.responses[0].overall = 1, g.responses[1].overall = 2.5, g.responses[2].overall = 2.5;  // the last has none
  g.responses[0].scores["logic"] = 3, g.responses[3].scores["logic"] = 2;
  const TokenStore store = store_of({g});
  EXPECT_EQ(store.preferences(0, "overall", 0), (Pairs{{1, 0, 0}, {2, 0, 0}}));
  EXPECT_EQ(store.preferences(0, "overall", 1.5), (Pairs{{1, 0, 0}, {2, 0, 0}})) << "a gap equal to the margin counts";
  EXPECT_EQ(store.preferences(0, "overall", 1.6), Pairs{});
  EXPECT_EQ(store.preferences(0, "logic", 0), (Pairs{{0, 3, 0}}));
  EXPECT_EQ(store.preferences(0, "overall", 1.6, preference::Ties::all), (Pairs{{1, 2, 0, 0.5F}}))
      << "equal scores are a tie, a gap below the margin is not";
  EXPECT_EQ(store.preferences(0, "overall", 1.6, preference::Ties::judged), Pairs{}) << "no judge gave it";
}

TEST_F(TokenStoreFile, CountsPairsByTheGapOfEachLabel) {
  preference::Group g = group("g", 2);
  g.responses[0].overall = 1, g.responses[1].overall = 2;
  for (const char* label : {"logic", "tone"}) g.responses[0].scores[label] = 1, g.responses[1].scores[label] = 2;
  config::ScoreGap gap;
  gap.by_label = {{"overall", 3}, {"logic", 1}};
  store_of({g}, gap);
  EXPECT_EQ(counted_["chat"]["overall"][1], 0);
  EXPECT_EQ(counted_["chat"]["logic"][1], 1);
  EXPECT_EQ(counted_["chat"]["tone"][1], 1) << "a label without a gap counts every difference";
}

TEST_F(TokenStoreFile, PrefersStatedPairsToVerdictsAndVerdictsToScores) {
  preference::Group g = group("g", 4);
  for (int i = 0; i < 4; ++i) g.responses[static_cast<std::size_t>(i)].scores["s"] = i;  // scores say 3 > 2 > 1 > 0
  g.pairs = {{"s", 0, 1, 0.5}, {"s", 0, 1, 0.5}, {"s", 2, 3, 0}, {"s", 3, 2, 0}};        // 0 > 1; (2, 3) contradicts itself
  g.verdicts = {{"s", 1, 0, preference::Verdict::first, preference::Verdict::second},    // stated otherwise
                {"s", 0, 2, preference::Verdict::first, preference::Verdict::second},    // against the scores
                {"s", 3, 0, preference::Verdict::tie, preference::Verdict::tie},         // no preference
                {"s", 1, 2, preference::Verdict::first, preference::Verdict::first},     // position bias
                {"other", 1, 3, preference::Verdict::first, preference::Verdict::second}};
  const TokenStore store = store_of({g});
  EXPECT_EQ(store.preferences(0, "s", 0), (Pairs{{0, 1, 0.5F}, {0, 2, 0}, {3, 1, 0}}));
  EXPECT_EQ(store.preferences(0, "other", 0), (Pairs{{1, 3, 0}}));
  EXPECT_EQ(counted_["chat"]["s"][1], 3);
}

TEST_F(TokenStoreFile, TellsTheTiesOfJudgesFromOthers) {
  using enum preference::Verdict;
  preference::Group g = group("g", 4);
  for (preference::Response& r : g.responses) r.scores["s"] = 2;  // all equal
  g.responses[0].scores["s"] = 3;
  g.pairs = {{"s", 0, 1, 0}, {"s", 1, 0, 0}};  // contradict each other
  g.verdicts = {{"s", 0, 1, tie, tie},         // stated, if not clearly
                {"s", 0, 2, first, first},     // position bias
                {"s", 1, 2, tie, tie},
                {"s", 1, 3, first, second},
                {"s", 3, 1, first, second}};  // says the contrary of the verdict before
  const TokenStore store = store_of({g});
  const auto pairs = [&](preference::Ties ties) { return store.preferences(0, "s", 0, ties); };
  EXPECT_EQ(pairs(preference::Ties::left_out), (Pairs{{0, 3, 0}}));
  EXPECT_EQ(pairs(preference::Ties::judged), (Pairs{{0, 2, 0, 0.5F}, {1, 2, 0, 0.5F}, {1, 3, 0, 0.5F}, {0, 3, 0}}));
  EXPECT_EQ(pairs(preference::Ties::all),
            (Pairs{{0, 1, 0, 0.5F}, {0, 2, 0, 0.5F}, {1, 2, 0, 0.5F}, {1, 3, 0, 0.5F}, {0, 3, 0}, {2, 3, 0, 0.5F}}));
}

TEST_F(TokenStoreFile, UsesAVerdictAskedTwiceOnlyIfBothAgree) {
  preference::Group g = group("g", 2);
  g.verdicts = {{"s", 0, 1, preference::Verdict::first, preference::Verdict::second},
                {"s", 1, 0, preference::Verdict::second, preference::Verdict::first}};  // the same said from the other side
  EXPECT_EQ(store_of({g}).preferences(0, "s", 0), (Pairs{{0, 1, 0}}));
  g.verdicts[1] = {"s", 1, 0, preference::Verdict::first, preference::Verdict::second};
  EXPECT_EQ(store_of({g}).preferences(0, "s", 0), Pairs{});
  EXPECT_EQ(without_, 1);
}

TEST_F(TokenStoreFile, RefusesADamagedStore) {
  (void)store_of({group("one", 3), group("two", 2)});
  const std::string whole = read_file(path());
  Rng rng(11);
  for (int i = 0; i < 200; ++i) {
    std::string bytes = whole;
    const std::size_t at = rng.below(bytes.size());
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.below(8)));
    (void)write("store.h5", bytes);
    EXPECT_THROW((void)TokenStore::open(path()), DataError) << "seed 11, byte " << at;
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{100}, whole.size() / 2, whole.size() - 1}) {
    (void)write("store.h5", whole.substr(0, size));
    EXPECT_THROW((void)TokenStore::open(path()), DataError) << size;
  }
}

TEST_F(TokenStoreFile, RefusesAStoreThatWasDamagedBeforeItWasSealed) {
  // The seal matches the damaged content, but HDF5's checksums and the content digest still show the damage.
  (void)store_of({group("one", 3), group("two", 2)});
  const std::string whole = read_file(path());
  const std::size_t names = whole.find("\"schema\":3"), digest = whole.find("\"digest\":\"") + 10, id = whole.find("overall");
  for (const auto& [at, byte] : {std::pair(names + 9, '9'), std::pair(digest, 'x'), std::pair(id, 'O')}) {
    std::string bytes = whole;
    bytes.at(at) = byte;
    write_seal(write("store.h5", bytes), kTokenStoreSeal);
    EXPECT_THROW((void)TokenStore::open(path()), DataError) << at;
  }
  std::string bytes = whole;
  bytes.at(names + 9) = '9';
  write_seal(write("store.h5", bytes), kTokenStoreSeal);
  EXPECT_NE(
      test::message_of<DataError>([&] { (void)TokenStore::open(path()); }).find("expected a token store of schema 3, found 9"),
      std::string::npos);
  write_seal(write("store.h5", whole), kTokenStoreSeal);
  EXPECT_EQ(TokenStore::open(path()).size(), 2);
}

TEST_F(TokenStoreFile, IsMappedAndNotReadAgainWhileItStaysAsItIs) {
  namespace fs = std::filesystem;
  std::vector<preference::Group> groups{group("one", 3), group("two", 2)};
  groups[0].responses[0].overall = 1, groups[0].responses[1].overall = 2;
  groups[0].responses[1].scores["logic"] = 4;
  groups[1].pairs = {{"logic", 0, 1, 0.5}};
  groups[1].verdicts = {{"tone", 1, 0, preference::Verdict::first, preference::Verdict::second}};
  const TokenStore read = store_of(groups);
  const fs::path columns = path().string() + ".columns";
  const auto same = [&](const TokenStore& mapped) {
    ASSERT_EQ(mapped.size(), read.size());
    EXPECT_EQ(mapped.digest(), read.digest());
    EXPECT_EQ(mapped.labels(), read.labels());
    EXPECT_EQ(mapped.head_tokens(), read.head_tokens());
    EXPECT_EQ(mapped.provenance(), read.provenance());
    for (std::int64_t i = 0; i < read.size(); ++i) {
      const TokenGroup a = read.group(i), b = mapped.group(i);
      EXPECT_EQ(b.id, a.id);
      EXPECT_EQ(b.prompt_key, a.prompt_key);
      EXPECT_TRUE(std::ranges::equal(b.prefix, a.prefix) && std::ranges::equal(b.prompt, a.prompt));
      ASSERT_EQ(b.responses.size(), a.responses.size());
      for (std::size_t r = 0; r < a.responses.size(); ++r) EXPECT_TRUE(std::ranges::equal(b.responses[r], a.responses[r]));
      EXPECT_EQ(mapped.source(i), read.source(i));
      for (const char* label : {"overall", "logic", "tone"})
        EXPECT_EQ(mapped.preferences(i, label, 0), read.preferences(i, label, 0));
    }
  };
  same(TokenStore::open(path(), 0));
  EXPECT_FALSE(fs::exists(columns)) << "the store changed in this moment, so a change could not be told later";
  const auto long_ago = fs::last_write_time(path()) - std::chrono::hours(1);
  fs::last_write_time(path(), long_ago);
  same(TokenStore::open(path(), 0));
  ASSERT_TRUE(fs::exists(columns));
  const std::string whole = read_file(path()), kept = read_file(columns);
  std::fstream(path(), std::ios::in | std::ios::out | std::ios::binary).seekp(600).put('x');  // in place: the same size and inode
  fs::last_write_time(path(), long_ago);
  same(TokenStore::open(path(), 0));
  fs::last_write_time(path(), long_ago + std::chrono::seconds(1));
  EXPECT_THROW((void)TokenStore::open(path(), 0), DataError) << "it has changed, so it is verified";
  EXPECT_THROW((void)TokenStore::open(path()), DataError) << "a small store is read";
  (void)write("store.h5", whole);
  fs::last_write_time(path(), long_ago);
  for (const std::string& damaged : {std::string(), kept.substr(0, kept.size() / 2), kept.substr(kept.size() / 2), kept + "x"}) {
    std::ofstream(columns, std::ios::binary) << damaged;
    same(TokenStore::open(path(), 0));
    EXPECT_EQ(read_file(columns).size(), kept.size()) << "it is made again";
  }
}

TEST(TokenStoreOf01, IsMappedNever) {
  const TokenStore store = TokenStore::open(test::golden("earlier/store.h5"), 0);
  EXPECT_EQ(store.size(), 6);
  EXPECT_FALSE(std::filesystem::exists(test::golden("earlier/store.h5.columns")));
}

TEST(TokenStoreOf01, IsReadWithKeysFromItsStoredPrompts) {
  const TokenStore store = TokenStore::open(test::golden("earlier/store.h5"));
  ASSERT_EQ(store.size(), 6);
  EXPECT_EQ(store.head_tokens(), 1) << "it stood among the provenance";
  std::set<std::uint64_t> keys;
  for (std::int64_t i = 0; i < store.size(); ++i) {
    const TokenGroup g = store.group(i);
    EXPECT_EQ(g.prompt_key, stable_hash({reinterpret_cast<const char*>(g.prompt.data()), g.prompt.size_bytes()}));
    EXPECT_EQ(g.session_key, g.prompt_key);
    keys.insert(g.prompt_key);
  }
  EXPECT_EQ(keys.size(), 6);
  EXPECT_EQ(store.preferences(0, "overall", 0).size(), 1);
}

TEST_F(TokenStoreFile, NamesFilesThatAreNotStores) {
  EXPECT_NE(test::message_of<IoError>([&] { (void)TokenStore::open(directory_ / "absent.h5"); }).find("absent.h5"),
            std::string::npos);
  const std::string text = write("text.h5", "hello");
  EXPECT_NE(test::message_of<DataError>([&] { (void)TokenStore::open(text); }).find("not a token store"), std::string::npos);
}

TEST(StoreIndex, RefusesColumnsThatDoNotFitTogether) {
  StoreColumns good;
  good.tokens = {1, 2, 3, 4};
  good.prefix_length = {2}, good.response_count = {2}, good.prompt_shared = {1}, good.prompt_extra = {0};
  good.category = {0}, good.id_length = {1}, good.file = {0}, good.line = {1}, good.prompt_key = {7}, good.session_key = {7},
  good.split = {0}, good.weight = {1.0F}, good.id_bytes = {'a'};
  good.response_length = {1, 1}, good.overall = {1, 2};
  good.score_response = {0, 1}, good.score_label = {0, 0}, good.score_value = {1, 2};
  good.pair_group = {0}, good.pair_label = {0}, good.pair_winner = {0}, good.pair_loser = {1}, good.pair_margin = {0};
  good.verdict_group = {0}, good.verdict_label = {0}, good.verdict_a = {0}, good.verdict_b = {1}, good.verdict_outcome = {6};
  const StoreAttributes names{{"c"}, {"f"}, {"overall"}, "{}"};
  EXPECT_NO_THROW(StoreIndex(good, names));
  int refused = 0;
  const auto refuse = [&](auto StoreColumns::*column, auto value) {
    StoreColumns bad = good;
    (bad.*column).back() = static_cast<typename std::decay_t<decltype(good.*column)>::value_type>(value);
    EXPECT_THROW(StoreIndex(bad, names), DataError) << "case " << refused;
    ++refused;
  };
  using C = StoreColumns;
  refuse(&C::tokens, -1), refuse(&C::prefix_length, 3), refuse(&C::prefix_length, -1), refuse(&C::response_count, 0);
  refuse(&C::response_count, 3), refuse(&C::prompt_shared, 3), refuse(&C::prompt_extra, 1), refuse(&C::category, 1);
  refuse(&C::id_length, 2), refuse(&C::file, 1), refuse(&C::split, 3), refuse(&C::weight, 0), refuse(&C::response_length, 0);
  refuse(&C::response_length, 2), refuse(&C::score_response, 2), refuse(&C::score_label, 1), refuse(&C::pair_group, 1);
  refuse(&C::pair_label, -1), refuse(&C::pair_winner, 1), refuse(&C::pair_loser, 2), refuse(&C::verdict_group, -1);
  refuse(&C::verdict_a, 2), refuse(&C::verdict_b, 0), refuse(&C::verdict_outcome, 7);
  StoreColumns unsorted = good;
  unsorted.score_response = {1, 0};
  EXPECT_THROW(StoreIndex(unsorted, names), DataError);
  EXPECT_THROW(StoreIndex(good, {{"c"}, {"f"}, {"c/x"}, "{}"}), DataError);
  StoreColumns::each(  // one value more or less in any column
      [&](const char* name, auto& column) {
        const auto kept = column;
        column.push_back(column.back());
        EXPECT_THROW(StoreIndex(good, names), DataError) << name;
        column = kept;
        column.pop_back();
        EXPECT_THROW(StoreIndex(good, names), DataError) << name;
        column = kept;
      },
      good);
}

}  // namespace
}  // namespace dmoerm::data
