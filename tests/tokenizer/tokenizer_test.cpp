// Compares the tokenizer with golden ids of the `tokenizers` package, and tests that it refuses files that it cannot support.
#include "tokenizer/tokenizer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "support/shared.h"
#include "tokenizer/model.h"
#include "tokenizer/unicode.h"

namespace dmoerm::tokenizer {
namespace {

using Ids = std::vector<std::int32_t>;
using nlohmann::json;

std::filesystem::path golden() { return test::golden("tokenizers"); }

/// The directory of a real tokenizer, from the environment or where the set-up script puts it.
std::filesystem::path real(const char* variable, const char* folder) {
  if (const char* given = std::getenv(variable)) return std::filesystem::path(given) / "tokenizer.json";
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home == nullptr ? "" : home) / ".cache/dmoerm/models" / folder / "tokenizer.json";
}

void expect_golden_ids(const std::string& name, const std::filesystem::path& path) {
  const Tokenizer tokenizer = Tokenizer::load(path);
  std::ifstream lines(golden() / "strings.jsonl");
  int compared = 0;
  for (std::string line; std::getline(lines, line); ++compared) {
    const json row = json::parse(line);
    const std::string text = row["text"];
    ASSERT_EQ(tokenizer.encode(text, true), row["ids"][name].get<Ids>()) << row["text"];
    if (row["ids_special"].contains(name)) {
      ASSERT_EQ(tokenizer.encode_with_post_processor(text, true), row["ids_special"][name].get<Ids>()) << row["text"];
    }
  }
  EXPECT_EQ(compared, 327);
}

class GoldenTokenizer : public testing::TestWithParam<const char*> {};

TEST(WordCache, HoldsFourWordsOfOneHash) {
  WordCache cache;
  const std::vector<std::string> words = {"one", "two", "three", "four", "five"};
  for (std::size_t w = 0; w < words.size(); ++w) {
    const Ids ids(w + 1, static_cast<std::int32_t>(w));
    cache.keep(words[w], 17, ids.data(), ids.size());
  }
  std::size_t count = 0;
  EXPECT_EQ(cache.find("one", 17, count), nullptr) << "the oldest one went";
  for (std::size_t w = 1; w < words.size(); ++w) {
    const std::int32_t* ids = cache.find(words[w], 17, count);
    ASSERT_NE(ids, nullptr) << words[w];
    EXPECT_EQ(Ids(ids, ids + count), Ids(w + 1, static_cast<std::int32_t>(w)));
  }
  EXPECT_EQ(cache.find("two", 18, count), nullptr);
  EXPECT_EQ(cache.find("", 18, count), nullptr) << "an empty place is no word";
}

TEST_P(GoldenTokenizer, GivesTheIdsOfTheTokenizersPackage) {
  DMOERM_NEEDS(golden());
  expect_golden_ids(GetParam(), golden() / fmt::format("{}.json", GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Tiny, GoldenTokenizer,
                         testing::Values("tiny_digits_bytelevel", "tiny_split_bytelevel", "tiny_spm_bytefallback",
                                         "tiny_wordpiece"));

TEST(GoldenRealTokenizer, GivesTheIdsOfSmolLM2) {
  const auto path = real("DMOERM_SMOLLM2", "smollm2-135m-instruct");
  DMOERM_NEEDS(golden());
  DMOERM_NEEDS(path);
  expect_golden_ids("smollm2", path);
}

TEST(GoldenRealTokenizer, GivesTheIdsOfMiniLM) {
  const auto path = real("DMOERM_MINILM", "minilm-l6");
  DMOERM_NEEDS(golden());
  DMOERM_NEEDS(path);
  expect_golden_ids("minilm", path);
}

/// A small byte pair encoding over characters: a b c ab abc.
json small() {
  return {
      {"added_tokens", json::array()},
      {"normalizer", nullptr},
      {"pre_tokenizer", nullptr},
      {"post_processor", nullptr},
      {"model",
       {{"type", "BPE"},
        {"unk_token", "<unk>"},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"vocab", {{"<unk>", 0}, {"a", 1}, {"b", 2}, {"c", 3}, {"ab", 4}, {"abc", 5}, {" ", 6}, {"<0xC3>", 7}, {"<0xA9>", 8}}},
        {"merges", json::array({"a b", json::array({"ab", "c"})})}}}};
}

json added(std::int32_t id, const char* content, json flags) {
  json token = {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", false}};
  token.update(flags);
  return token;
}

Ids encode(const json& file, std::string_view text, bool special = true) {
  return Tokenizer::parse(file.dump(), "t.json").encode(text, special);
}

TEST(Tokenizer, MergesTheLowestRankFirst) {
  EXPECT_EQ(encode(small(), "abcab"), (Ids{5, 4}));
  EXPECT_EQ(encode(small(), "aabc"), (Ids{1, 5}));
}

TEST(Tokenizer, MergesLongWordsAsShortOnes) {
  json file = small();
  for (const std::size_t length : {1, 15, 16, 17, 300}) {
    std::string text;
    Ids expected;
    for (std::size_t i = 0; i < length; ++i) {
      text += "abcb";
      expected.insert(expected.end(), {5, 2});
    }
    EXPECT_EQ(encode(file, text), expected);
  }
}

TEST(Tokenizer, FusesUnknownCharactersOnlyWithFuseUnk) {
  json file = small();
  EXPECT_EQ(encode(file, "axyb"), (Ids{1, 0, 0, 2}));
  file["model"]["fuse_unk"] = true;
  EXPECT_EQ(encode(file, "axyb"), (Ids{1, 0, 2}));
}

TEST(Tokenizer, FallsBackToBytesWhereItHasThem) {
  json file = small();
  file["model"]["byte_fallback"] = true;
  EXPECT_EQ(encode(file,
                   "a\xC3\xA9"
                   "b"),
            (Ids{1, 7, 8, 2}));
  EXPECT_EQ(encode(file,
                   "a\xC3\xA8"
                   "b"),
            (Ids{1, 0, 2}));  // no <0xA8>
}

TEST(Tokenizer, ReadsInvalidUtf8AsReplacementCharacters) {
  json file = small();
  file["model"]["vocab"]["\uFFFD"] = 9;
  EXPECT_EQ(encode(file,
                   "a\xFF"
                   "b"),
            (Ids{1, 9, 2}));
  EXPECT_EQ(encode(file, "a\xE2\x82"), (Ids{1, 9}));        // a truncated character becomes one U+FFFD
  EXPECT_EQ(encode(file, "\xED\xA0\x80"), (Ids{9, 9, 9}));  // a surrogate becomes three
  EXPECT_EQ(encode(file, "\xC3\x28"), (Ids{9, 0}));
}

TEST(Tokenizer, ReadsSpecialTokensAsDataByDefault) {
  json file = small();
  file["added_tokens"] = {added(20, "<end>", {{"special", true}}), added(21, "<x>", json::object())};
  EXPECT_EQ(encode(file, "a<end>b<x>c", true), (Ids{1, 20, 2, 21, 3}));
  EXPECT_EQ(encode(file, "a<end>b<x>c", false), (Ids{1, 0, 0, 0, 0, 0, 2, 21, 3}));
}

TEST(Tokenizer, FindsTheLongestAddedToken) {
  json file = small();
  file["added_tokens"] = {added(20, "ab", json::object()), added(21, "abca", json::object())};
  file["added_tokens"][0]["id"] = 4;
  EXPECT_EQ(encode(file, "abcab"), (Ids{21, 2}));
  EXPECT_EQ(encode(file, "abcb"), (Ids{4, 3, 2}));
}

TEST(Tokenizer, HonoursTheFlagsOfAddedTokens) {
  json file = small();
  file["added_tokens"] = {added(20, "L", {{"lstrip", true}}), added(21, "R", {{"rstrip", true}}),
                          added(22, "W", {{"single_word", true}})};
  EXPECT_EQ(encode(file, "a  L b"), (Ids{1, 20, 6, 2}));
  EXPECT_EQ(encode(file, "a R  b"), (Ids{1, 6, 21, 2}));
  EXPECT_EQ(encode(file, "a W"), (Ids{1, 6, 22}));
  EXPECT_EQ(encode(file, "aW"), (Ids{1, 0}));
}

TEST(Tokenizer, MatchesNormalizedTokensBehindTheNormalizer) {
  json file = small();
  file["normalizer"] = {{"type", "Lowercase"}};
  file["added_tokens"] = {added(20, "XY", {{"normalized", true}}), added(21, "ZZ", json::object())};
  EXPECT_EQ(encode(file, "AxyBxY"), (Ids{1, 20, 2, 20}));
  EXPECT_EQ(encode(file, "zzZZ"), (Ids{0, 0, 21}));
}

TEST(Tokenizer, KnowsItsTokens) {
  json file = small();
  file["added_tokens"] = {added(20, "<end>", {{"special", true}})};
  const Tokenizer tokenizer = Tokenizer::parse(file.dump(), "t.json");
  EXPECT_EQ(tokenizer.id_of("<end>"), 20);
  EXPECT_EQ(tokenizer.id_of("abc"), 5);
  EXPECT_EQ(tokenizer.id_of("abcd"), std::nullopt);
  EXPECT_EQ(tokenizer.token_of(20), "<end>");
  EXPECT_EQ(tokenizer.token_of(10), "");
  EXPECT_EQ(tokenizer.vocab_size(), 21);
  EXPECT_EQ(tokenizer.digest().size(), 64U);
}

TEST(Tokenizer, GivesEveryThreadTheSameIds) {
  const Tokenizer tokenizer = Tokenizer::parse(small().dump(), "t.json");
  const auto work = [&](Ids& ids) {
    for (int i = 0; i < 500; ++i) ids = tokenizer.encode(std::string(static_cast<std::size_t>(i), 'a') + "bcabcab", true);
  };
  std::vector<Ids> results(4);
  std::vector<std::thread> threads;
  for (Ids& ids : results) threads.emplace_back(work, std::ref(ids));
  for (std::thread& thread : threads) thread.join();
  for (const Ids& ids : results) EXPECT_EQ(ids, results.front());
}

/// The message with which a file is refused, or "" if it is not.
std::string refusal(const std::string& text) {
  try {
    Tokenizer::parse(text, "t.json");
    return "";
  } catch (const DataError& e) {
    return e.what();
  }
}

TEST(TokenizerRefuses, EveryUnsupportedPartByName) {
  const std::vector<std::pair<json::json_pointer, json>> changes = {
      {"/normalizer"_json_pointer, {{"type", "Precompiled"}}},
      {"/normalizer"_json_pointer, {{"type", "Sequence"}, {"normalizers", {{{"type", "Nmt"}}}}}},
      {"/pre_tokenizer"_json_pointer, {{"type", "UnicodeScripts"}}},
      {"/pre_tokenizer"_json_pointer, {{"type", "Split"}, {"behavior", "Sideways"}, {"pattern", {{"String", "a"}}}}},
      {"/post_processor"_json_pointer, {{"type", "Mystery"}}},
      {"/model/type"_json_pointer, "Unigram"},
      {"/model/dropout"_json_pointer, 0.1},
  };
  for (const auto& [where, value] : changes) {
    json file = small();
    file[where] = value;
    const std::string message = refusal(file.dump());
    EXPECT_NE(message.find("is not supported; supported: "), std::string::npos) << value << " -> " << message;
    EXPECT_EQ(message.rfind("t.json: ", 0), 0U) << message;
  }
}

TEST(TokenizerRefuses, PatternsItWouldReadDifferently) {
  for (const char* pattern : {"[a&&b]", "[[:alpha:]]", "\\bword", "\\p{Greek}", "a{1,2}+", "(?m:.)", "(?<name>a)", "[\\S]", "a*",
                              "(", "\\x{110000}", "\\h"}) {
    json file = small();
    file["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
    EXPECT_NE(refusal(file.dump()).find("pre_tokenizer.pattern.Regex"), std::string::npos) << pattern;
  }
}

TEST(TokenizerRefuses, ContradictionsInsideTheFile) {
  json file = small();
  file["model"]["merges"].push_back("a d");
  EXPECT_NE(refusal(file.dump()).find("merge 2: \"d\" is not in the vocabulary"), std::string::npos);
  file = small();
  file["model"]["vocab"]["z"] = 1;
  EXPECT_NE(refusal(file.dump()).find("id 1 belongs to \"a\" and to \"z\""), std::string::npos);
  file = small();
  file["added_tokens"] = {added(77, "ab", json::object())};
  EXPECT_NE(refusal(file.dump()).find("\"ab\" has id 77 here and 4 in the vocabulary"), std::string::npos);
  for (const json& id : {json(-1), json(1 << 24), json(1.5), json("1"), json(UINT64_MAX)}) {
    file = small();
    file["model"]["vocab"]["z"] = id;
    EXPECT_NE(refusal(file.dump()).find("model.vocab[\"z\"]"), std::string::npos) << id;
  }
}

TEST(TokenizerRefuses, EveryTruncationAndEveryWrongType) {
  const json whole = small();
  const std::string text = whole.dump();
  for (std::size_t length = 0; length < text.size(); ++length) EXPECT_NE(refusal(text.substr(0, length)), "") << length;
  const json flat = whole.flatten();
  for (const auto& [key, value] : flat.items()) {
    json file = whole;
    file[json::json_pointer(key)] = json::array({json::object()});
    refusal(file.dump());  // refused or not, it must not crash
  }
}

TEST(TokenizerRefuses, EndlessNesting) {
  std::string nested = R"({"model":{"vocab":{},"type":"BPE","merges":[]},"pre_tokenizer":)";
  for (int i = 0; i < 20000; ++i) nested += R"({"type":"Sequence","pretokenizers":[)";
  nested += "null";
  for (int i = 0; i < 20000; ++i) nested += "]}";
  EXPECT_NE(refusal(nested + "}").find("nested too deeply"), std::string::npos);
}

TEST(Unicode, GivesTheNormalFormsOfThePackage) {
  const auto form = [](const char* text, unicode::Form f) {
    std::string out;
    unicode::append_normalized(out, text, f);
    return out;
  };
  EXPECT_EQ(form("e\u0301 \u1112\u1161\u11ab", unicode::Form::nfc), "\u00e9 \ud55c");
  EXPECT_EQ(form("\u00e9\u0316", unicode::Form::nfd), "e\u0316\u0301");
  EXPECT_EQ(form("\ufb01\u00bd", unicode::Form::nfkc), "fi1\u20442");
  EXPECT_EQ(form("\U00011938", unicode::Form::nfd), "\U00011938");  // newer than the package's tables
  EXPECT_EQ(form("\U000107b7\ufef1", unicode::Form::nfkc), "\U000107b7\u064a");
}

}  // namespace
}  // namespace dmoerm::tokenizer
