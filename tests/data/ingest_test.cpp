#include "data/ingest.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"
#include "data/group_layout.h"
#include "data/token_store.h"
#include "support/word_renderer.h"

namespace dmoerm::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class IngestFolder : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / ("dmoerm_ingest_" + std::to_string(::getpid()));
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(directory_ / name, std::ios::binary) << text;
    return (directory_ / name).string();
  }
  IngestRequest request(const std::vector<std::string>& files) const {
    IngestRequest request;
    for (const std::string& file : files) request.data.inputs.push_back({file, "auto", "", "", 1.0});
    request.renderer = test::word_renderer(500);
    request.output = directory_ / "store.h5";
    return request;
  }
  std::string refusal(const IngestRequest& r) const {
    try {
      ingest(r);
    } catch (const Error& e) {
      EXPECT_EQ(e.exit_code(), 2);
      std::size_t left = 0;
      for (const auto& entry : fs::directory_iterator(directory_)) left += entry.path().filename().string().starts_with("store") ? 1 : 0;
      EXPECT_EQ(left, 0U) << "something was left behind";
      return e.what();
    }
    return "";
  }
  fs::path directory_;
};

const char* const kPairs =
    "{\"prompt\":\"one two three\",\"chosen\":\"good answer here\",\"rejected\":\"bad answer\",\"margin\":0.5,\"split\":\"train\"}\n"
    "\n"
    "{\"prompt\":\"four five\",\"chosen\":\"yes\",\"rejected\":\"no\",\"split\":\"test\"}\n";

TEST_F(IngestFolder, WritesWhatItReadAndGivesItBack) {
  const IngestReport report = ingest(request({write("p.jsonl", kPairs)}));
  EXPECT_EQ(report.inputs.at(0).form, "standard");
  const TokenStore store = TokenStore::open(directory_ / "store.h5");
  ASSERT_EQ(store.size(), 2);
  const TokenGroup group = store.group(0);
  EXPECT_EQ(group.id, "p.jsonl:1");
  EXPECT_EQ(group.split, pair::Split::train);
  const auto full = test::word_renderer(500).render(std::vector<pair::Message>{{"user", "one two three"}}, "good answer here");
  std::vector<std::int32_t> joined(group.prefix.begin(), group.prefix.end());
  joined.insert(joined.end(), group.responses[0].begin(), group.responses[0].end());
  EXPECT_EQ(joined, full);
  EXPECT_EQ(group.prefix.size(), 4U);  // three words and the mark: "good" and "bad" differ
  EXPECT_EQ(std::vector<std::int32_t>(group.prompt.begin(), group.prompt.end()), std::vector<std::int32_t>(full.begin(), full.begin() + 4));
  EXPECT_EQ(store.preferences(0, pair::kOverall, 0), (std::vector<Preference>{{0, 1, 0.5F}}));
}

TEST_F(IngestFolder, EqualInputGivesAnEqualDigestAndOtherLabelsAnother) {
  ingest(request({write("p.jsonl", kPairs)}));
  const std::string first = TokenStore::open(directory_ / "store.h5").digest();
  ingest(request({(directory_ / "p.jsonl").string()}));
  EXPECT_EQ(TokenStore::open(directory_ / "store.h5").digest(), first);
  std::string other = kPairs;
  other.replace(other.find("0.5"), 3, "0.6");
  ingest(request({write("p.jsonl", other)}));
  EXPECT_NE(TokenStore::open(directory_ / "store.h5").digest(), first);
}

TEST_F(IngestFolder, BadLinesAreNamedWithFileAndLine) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{\"prompt\":\"a b\",\"chosen\":\"c\"}", ":4:"},
      {"{\"prompt\":\"a b\",\"chosen\":\"c\",\"rejected\":7}", "expected a string"},
      {"{\"prompt\":\" \",\"chosen\":\"c\",\"rejected\":\"d\"}", "prompt is empty"},
      {"{\"prompt\":\"a\",\"chosen\":\"\",\"rejected\":\"d\"}", "response 0 is empty"},
      {"{\"prompt\":\"a\",\"chosen\":\"c\",\"rejected\":\"d\",\"margin\":1e999}", "JSON"},
      {"{\"prompt\":\"a\",\"chosen\":\"c\",\"rejected\":\"d\",\"margin\":\"NaN\"}", "expected a number"},
      {"{\"prompt\":\"a\",\"chosen\":\"c\",\"rejected\":\"d\",\"split\":\"later\"}", "train, validation or test"},
      {"{\"prompt\":\"a\",\"chosen\":\"c\",", "JSON"},
      {"{\"prompt\":\"a\",\"chosen\":\"\xff\xfe\",\"rejected\":\"d\"}", "JSON"},
      {std::string(200000, '['), "nested deeper"},
      {"[1]", "expected a row of form standard"},
  };
  for (const auto& [line, expected] : cases) {
    const std::string message = refusal(request({write("p.jsonl", std::string(kPairs) + line + "\n")}));
    EXPECT_NE(message.find("p.jsonl:4:"), std::string::npos) << message;
    EXPECT_NE(message.find(expected), std::string::npos) << "wanted " << expected << " in " << message;
  }
  IngestRequest tolerant = request({(directory_ / "p.jsonl").string()});
  tolerant.data.bad_lines_max = 1;
  const IngestReport report = ingest(tolerant);
  EXPECT_EQ(report.dropped.at("bad line"), 1);
  EXPECT_NE(read_file(report.dropped_file).find("\"line\":4"), std::string::npos);
}

TEST_F(IngestFolder, EveryFormIsDetectedAndMeansWhatItsAuthorsMean) {
  struct Case {
    const char *form, *row;
    std::vector<Preference> overall;
  };
  const std::vector<Case> cases = {
      {"standard", R"({"prompt":"The sky is","chosen":" blue.","rejected":" green."})", {{0, 1, 0}}},
      {"standard-implicit", R"({"chosen":"The sky is blue.","rejected":"The sky is green.","margin":2})", {{0, 1, 2}}},
      {"conversational", R"({"prompt":[{"role":"user","content":"Hi"}],"chosen":[{"role":"assistant","content":"Hello"}],"rejected":[{"role":"assistant","content":"No"}]})", {{0, 1, 0}}},
      {"conversational-implicit",
       R"({"chosen":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}],"rejected":[{"role":"user","content":"Hi"},{"role":"assistant","content":"No"}]})", {{0, 1, 0}}},
      {"dmoerm-ranked", R"({"src":["q1","q2"],"tgt":["a1"],"response":["w","x","y","z"],"rank":[1,2,2,3],"label":"chat"})", {{0, 1, 0}, {0, 2, 0}, {0, 3, 0}, {1, 3, 0}, {2, 3, 0}}},
      {"nemo", R"({"context":[{"role":"user","content":"Hi"}],"completions":[{"rank":1,"completion":[{"role":"assistant","content":"b"}]},{"rank":0,"completion":[{"role":"assistant","content":"a"}]}]})",
       {{1, 0, 0}}},
      {"swift", R"({"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"good"}],"rejected_response":"bad"})", {{0, 1, 0}}},
      {"helpsteer-preference", R"({"prompt":"p","response_1":"a","response_2":"b","preference_strength":-2})", {{0, 1, 0}}},
      {"ultrafeedback",
       R"({"instruction":"do","completions":[{"response":"a","annotations":{"helpfulness":{"Rating":"2"},"honesty":{"Rating":"N/A"}}},{"response":"b","annotations":{"helpfulness":{"Rating":"5"},"honesty":{"Rating":"4"}}}]})",
       {{1, 0, 0}}},
      {"native", R"({"prompt":"p","responses":[{"text":"a","overall":1,"scores":{}},{"text":"b","overall":3,"scores":{}}],"preferences":[[0,1,"a"]]})", {{0, 1, 0}}},
  };
  for (const Case& c : cases) {
    const IngestReport report = ingest(request({write("f.jsonl", std::string(c.row) + "\n")}));
    EXPECT_EQ(report.inputs.at(0).form, c.form);
    EXPECT_EQ(TokenStore::open(directory_ / "store.h5").preferences(0, pair::kOverall, 0), c.overall) << c.form;
  }
}

TEST_F(IngestFolder, ConsecutiveHelpSteerRowsOfOnePromptAreOneGroup) {
  const auto row = [](const char* prompt, const char* response, int help) {
    return json{{"prompt", prompt}, {"response", response}, {"helpfulness", help}, {"correctness", 4 - help}, {"coherence", 4}, {"complexity", 1}, {"verbosity", 2}}.dump() + "\n";
  };
  ingest(request({write("h.jsonl", row("a", "x", 1) + row("a", "y", 3) + row("b", "x", 2) + row("b", "z", 0))}));
  const TokenStore store = TokenStore::open(directory_ / "store.h5");
  ASSERT_EQ(store.size(), 2);
  EXPECT_EQ(store.preferences(0, pair::kOverall, 0), (std::vector<Preference>{{1, 0, 0}}));
  EXPECT_EQ(store.preferences(0, "correctness", 0), (std::vector<Preference>{{0, 1, 0}}));
  EXPECT_TRUE(store.preferences(0, "coherence", 0).empty());
}

TEST_F(IngestFolder, VerdictsCountOnlyWhenBothOrdersAgreeAndMarginsCutScores) {
  const std::string row = R"({"prompt":"p","responses":[{"text":"a","scores":{"s":1}},{"text":"b","scores":{"s":2}},{"text":"c","scores":{"s":4}}],"verdicts":[)"
                          R"({"point":"s","a":0,"b":1,"first_order":"first","second_order":"second"},{"point":"s","a":1,"b":2,"first_order":"first","second_order":"first"}]})";
  ingest(request({write("v.jsonl", row + "\n")}));
  const TokenStore store = TokenStore::open(directory_ / "store.h5");
  // The judge overrules the score of (0, 1), disagrees with itself about (1, 2), and said nothing of (0, 2).
  EXPECT_EQ(store.preferences(0, "s", 0), (std::vector<Preference>{{0, 1, 0}, {2, 0, 0}}));
  EXPECT_EQ(store.preferences(0, "s", 3.5), (std::vector<Preference>{{0, 1, 0}}));
}

TEST_F(IngestFolder, APromptNeverStandsInTwoSplitsAndDuplicatesGo) {
  std::string text;
  Rng rng(3);
  for (int i = 0; i < 400; ++i) {
    text += json{{"prompt", "prompt " + std::to_string(rng.below(60))}, {"chosen", "w" + std::to_string(rng.below(9))}, {"rejected", "x" + std::to_string(rng.below(9))}}.dump() + "\n";
  }
  IngestRequest r = request({write("d.jsonl", text)});
  r.renderer = test::word_renderer(1 << 30);  // no two prompts with the same ids
  const IngestReport report = ingest(r);
  EXPECT_GT(report.dropped.at("duplicate: same prompt and responses as an earlier row"), 0);
  const TokenStore store = TokenStore::open(directory_ / "store.h5");
  std::map<std::vector<std::int32_t>, std::set<int>> splits;
  std::set<int> all;
  for (std::int64_t i = 0; i < store.size(); ++i) {
    const TokenGroup g = store.group(i);
    splits[{g.prompt.begin(), g.prompt.end()}].insert(static_cast<int>(g.split));
    all.insert(static_cast<int>(g.split));
  }
  for (const auto& [prompt, in] : splits) EXPECT_EQ(in.size(), 1U);
  EXPECT_EQ(all.size(), 3U);
}

TEST_F(IngestFolder, ADamagedStoreIsRefused) {
  ingest(request({write("p.jsonl", kPairs)}));
  const fs::path file = directory_ / "store.h5";
  const std::string whole = read_file(file);
  Rng rng(11);
  int refused = 0, tried = 0;
  for (int i = 0; i < 200; ++i, ++tried) {
    std::string bytes = whole;
    const std::size_t at = rng.below(bytes.size());
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.below(8)));
    std::ofstream(file, std::ios::binary) << bytes;
    try {
      EXPECT_EQ(TokenStore::open(file).size(), 2);  // an unused byte: then the content is intact
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
  for (const std::size_t size : {std::size_t{0}, std::size_t{100}, whole.size() / 2, whole.size() - 1}) {
    std::ofstream(file, std::ios::binary) << whole.substr(0, size);
    EXPECT_THROW((void)TokenStore::open(file), Error) << size;
  }
}

TEST_F(IngestFolder, ACategoryWithoutDataIsNamed) {
  IngestRequest r = request({write("p.jsonl", kPairs)});
  r.categories = {{"chat", {"x"}, 0}, {"code", {"y"}, 0}};
  r.data.inputs[0].category = "chat";
  const std::string message = refusal(r);
  EXPECT_NE(message.find("without any data: code; the inputs hold: chat"), std::string::npos) << message;
}

TEST_F(IngestFolder, TheRealDataGiveTheCountsOfTheirReadme) {
  const fs::path data = fs::path(DMOERM_SHARED) / "data";
  if (!fs::exists(data)) GTEST_SKIP() << "skipped: no ../shared";
  IngestRequest r = request({(data / "capability.jsonl.gz").string()});
  r.data.max_length = 100000;
  ingest(r);
  const TokenStore store = TokenStore::open(directory_ / "store.h5");
  const auto pairs = [&](const std::string& category, const std::string& label, double margin, int split) {
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < store.size(); ++i) {
      const TokenGroup g = store.group(i);
      if (store.categories()[static_cast<std::size_t>(g.category)] == category && (split < 0 || static_cast<int>(g.split) == split)) count += static_cast<std::int64_t>(store.preferences(i, label, margin).size());
    }
    return count;
  };
  EXPECT_EQ(pairs("summarization", "coherence", 0, -1), 10010);
  EXPECT_EQ(pairs("summarization", "coherence", 0.5, 0), 6372);
  EXPECT_EQ(pairs("summarization", "overall", 0.5, -1), 5708);
  EXPECT_EQ(pairs("summarization", "consistency", 0.5, 2), 334);
  EXPECT_EQ(pairs("data_to_text", "naturalness", 1, 1), 61);
  EXPECT_EQ(pairs("story_writing", "originality", 3, -1), 17866);
  EXPECT_EQ(pairs("grounded_dialogue", "engagingness", 0.5, 0), 379);
}

TEST(LayOutGroup, CutsTheSameFromTheStartOfThePromptForAll) {
  const auto ids = [](std::int32_t from, std::int32_t n) {
    std::vector<std::int32_t> v;
    for (std::int32_t i = 0; i < n; ++i) v.push_back(from + i);
    return v;
  };
  const auto join = [](std::vector<std::int32_t> a, const std::vector<std::int32_t>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  };
  const auto prompt = ids(0, 50);
  GroupLayout layout = lay_out_group({join(prompt, ids(100, 10)), join(prompt, ids(200, 30))}, 50, {60, 5, 1});
  EXPECT_EQ(layout.prompt_cut, 20);
  EXPECT_EQ(layout.responses_cut, 0);
  EXPECT_EQ(layout.prefix, join({0}, ids(21, 29)));  // the head stays
  EXPECT_EQ(layout.responses[0], ids(100, 10));
  EXPECT_EQ(layout.responses[1], ids(200, 30));

  layout = lay_out_group({join(prompt, ids(100, 10)), join(prompt, ids(200, 80))}, 50, {60, 5, 1});
  EXPECT_EQ(layout.prompt_cut, 44);  // down to the head and min_prompt_tokens
  EXPECT_EQ(layout.responses_cut, 1);
  EXPECT_EQ(layout.prefix.size() + layout.responses[1].size(), 60U);
  EXPECT_EQ(layout.responses[1].back(), 279);  // the end mark stays
  EXPECT_EQ(layout.responses[0], ids(100, 10));
}

TEST(LayOutGroup, EqualAndNestedTextsKeepATokenEach) {
  const GroupLayout layout = lay_out_group({{1, 2, 3}, {1, 2, 3, 4}, {1, 2, 3}}, 2, {100, 1, 0});
  EXPECT_EQ(layout.prefix, (std::vector<std::int32_t>{1, 2}));
  EXPECT_EQ(layout.responses[0], std::vector<std::int32_t>{3});
  EXPECT_EQ(layout.responses[1], (std::vector<std::int32_t>{3, 4}));
}

}  // namespace
}  // namespace dmoerm::data
