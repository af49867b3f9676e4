#include "preference/group_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/rng.h"
#include "support/scratch.h"

namespace dmoerm::preference {
namespace {

using nlohmann::json;

class GroupReaderFile : public test::Scratch {
 protected:
  std::vector<Group> read(const std::string& text, const std::string& format = "auto", std::int64_t unknown_max = 0) {
    dropped_.clear();
    GroupReader reader(
        write("f.jsonl", text), format, [&](const Dropped& d) { dropped_.push_back(d); }, unknown_max);
    std::vector<Group> groups;
    while (auto group = reader.next()) groups.push_back(std::move(*group));
    return groups;
  }
  std::vector<Dropped> dropped_;
};

const std::string kGood = R"({"prompt":"p","chosen":"a","rejected":"b"})";

TEST_F(GroupReaderFile, GivesGroupsWithTheirLines) {
  const auto groups =
      read("\xEF\xBB\xBF" + kGood + "\r\n\r\n  \n" + R"({"prompt":"q","chosen":"a","rejected":"b","id":"seven"})");
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_TRUE(dropped_.empty());
  EXPECT_EQ(groups[0].id, "f.jsonl:1");
  EXPECT_EQ(groups[1].id, "seven");
  EXPECT_EQ(groups[1].line, 4);
}

TEST_F(GroupReaderFile, AMergedPromptBelongsToWhatAnyOfItsRowsNames) {
  std::string text;
  for (const auto& [response, cluster] :
       std::vector<std::pair<std::string, json>>{{"a", "x"}, {"b", 7}, {"c", "x"}, {"d", "y"}, {"e", ""}, {"f", "z"}})
    text +=
        json{{"prompt", response < "d" ? "p" : "q"}, {"response", response}, {"helpfulness", 1}, {"of", cluster}}.dump() + "\n";
  GroupReader reader(write("f.jsonl", text), "helpsteer", [](const Dropped&) {});
  reader.read_cluster("of");
  const std::optional<Group> whole = reader.next(), lacking = reader.next();
  ASSERT_TRUE(whole && lacking);
  EXPECT_EQ(whole->clusters, (std::vector<std::string>{"x", "7"}));
  EXPECT_NO_THROW(expect_cluster(*whole, "of"));
  EXPECT_TRUE(lacking->clusters.empty()) << "its second row says nothing";
  EXPECT_THROW(expect_cluster(*lacking, "of"), DataError);
}

/// Everything that a reader gives, in order: groups by line and text, dropped rows with their reasons, and the error at the end.
std::vector<std::string> all_of(const std::string& file, Workers* workers) {
  std::vector<std::string> all;
  GroupReader reader(
      file, "auto", [&](const Dropped& d) { all.push_back(fmt::format("{} {} {}", d.line, d.reason, d.code.text())); }, 1000);
  if (workers != nullptr) reader.read_on(*workers);
  try {
    while (const auto group = reader.next())
      all.push_back(fmt::format("{} {} {}", group->line, group->id, group->responses[0].text));
  } catch (const Error& e) {
    all.push_back(e.what());
  }
  return all;
}

TEST_F(GroupReaderFile, GivesTheSameInTheSameOrderOnSeveralThreads) {
  Rng rng(3);
  std::string pairs = "no JSON\n", scored;
  for (int i = 0; i < 4000; ++i) {
    const std::string long_text(1 + rng.next() % 300, 'x');
    if (i % 7 == 0) pairs += "\n";
    if (i % 11 == 0) pairs += "{\"prompt\":\n";
    if (i % 13 == 0) pairs += R"({"prompt":"p","chosen":"same","rejected":"same"})" + std::string("\n");
    pairs += json{{"prompt", fmt::format("p{}", i)}, {"chosen", long_text}, {"rejected", "b"}}.dump() + "\n";
    scored += json{{"prompt", fmt::format("p{}", i / 3)},
                   {"response", fmt::format("{}{}", long_text, i)},
                   {"helpfulness", i % 5},
                   {"correctness", 1},
                   {"coherence", 1},
                   {"complexity", 1},
                   {"verbosity", 1}}
                  .dump() +
              "\n";
  }
  const std::string broken = pairs.substr(0, pairs.size() / 2) + std::string((std::size_t{64} << 20) + 1, 'x');
  for (const std::string& text :
       {pairs, scored, pairs + kGood, broken, std::string(), std::string("{}\n"), std::string("x\ny\n")}) {
    const std::string file = write("f.jsonl", text);
    const std::vector<std::string> alone = all_of(file, nullptr);
    for (const int threads : {0, 1, 3}) {
      Workers workers(threads, "a thread of a test", 0);
      EXPECT_EQ(all_of(file, &workers), alone) << threads << " threads, " << text.substr(0, 60);
    }
  }
}

TEST_F(GroupReaderFile, ReportsBadLinesAndReadsTheRest) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"prompt":"a b","chosen":"c"})", "expected a row of the format standard"},
      {R"({"prompt":" ","chosen":"c","rejected":"d"})", "expected a prompt, found an empty one"},
      {R"({"prompt":"a","chosen":"\t","rejected":"d"})", "expected a text in response 0, found an empty one"},
      {R"({"prompt":"a","chosen":"c","rejected":"\f\u000b"})", "expected a text in response 1, found an empty one"},
      {R"({"prompt":"a","chosen":"c","rejected":"d","margin":1e999})", "expected finite numbers: the number 1e999 is too large"},
      {R"({"prompt":"a","chosen":"c","rejected":"d","margin":NaN})", "expected finite numbers, found NaN at column 52"},
      {R"({"prompt":"a","responses":[{"text":"c","overall":-Infinity},{"text":"d"}]})",
       "expected finite numbers, found Infinity"},
      {R"({"prompt":"a","chosen":"c",)", "expected one JSON object"},
      {"{\"prompt\":\"a\",\"chosen\":\"\xc4\xe3\xba\xc3\xa3\xac\",\"rejected\":\"d\"}",
       "bytes that are not UTF-8, but of another encoding"},
      {"{\"prompt\":\"a\",\"chosen\":\"caf\xe9 au lait\",\"rejected\":\"d\"}", "iconv -f WINDOWS-1252"},
      {"{\"prompt\":\"\xe4\xbd\xa0\xe5\xa5\xbd\",\"chosen\":\"\xff\",\"rejected\":\"d\"}", "among characters that are"},
      {R"({"prompt":"a","chosen":"\ud800","rejected":"d"})", "half of a character"},
      {std::string("{\"prompt\":\"a\0\"}", 14), "expected one JSON object"},
      {kGood + kGood, "found another value after the first: write one a line, as jq -c . FILE does"},
      {R"({"prompt":"a","chosen":"c","rejected":"d","prompt":"e"})", "the key \"prompt\" stands twice in the row"},
      {R"({"prompt":[{"role":"user","content":"a","content":"b"}],"chosen":"c","rejected":"d"})",
       "the key \"content\" stands twice in one object of the row"},
      {R"({"prompt":"a","chosen":"c","rejected":"d","meta":[{"x":{"y":1,"y":1}}]})", "the key \"y\" stands twice in one object"},
      {R"({"prompt":"[{\"role\":\"user\",\"content\":\"a\",\"content\":\"b\"}]","chosen":"c","rejected":"d"})",
       "\"prompt\": the key \"content\" stands twice in one object of the JSON in this text"},
      {R"({"prompt":"a","chosen":"[{\"type\":\"text\",\"text\":\"c\",\"text\":\"e\"}]","rejected":"d"})",
       "\"chosen\": the key \"text\" stands twice"},
      {R"({"prompt":"a","responses":"[{\"text\":\"a\",\"text\":\"b\"}]"})", "the key \"text\" stands twice"},
      {std::string(600, '\0'), "600 zero bytes, as a power cut"},
      {R"({'prompt': 'a'})", "single quotes, as Python prints them"},
      {R"({"prompt":"a",} )", "a comma before the closing bracket"},
      {R"({"prompt":"a" // note)", "a comment"},
      {R"({"prompt":None})", "None, as Python prints it"},
      {std::string(200000, '['), "nested deeper than 64"},
      {std::string(200000, '{'), "expected one JSON object"},
      {"[1]", "found the keys none: it is [1]"},
  };
  for (const auto& [line, expected] : cases) {
    const auto groups = read(kGood + "\n" + line + "\n" + R"({"prompt":"z","chosen":"a","rejected":"b"})" + "\n");
    EXPECT_EQ(groups.size(), 2U) << line.substr(0, 80);
    ASSERT_EQ(dropped_.size(), 1U) << line.substr(0, 80);
    EXPECT_TRUE(dropped_[0].bad);
    EXPECT_EQ(dropped_[0].line, 2);
    EXPECT_NE(dropped_[0].reason.find(expected), std::string::npos) << "wanted " << expected << " in " << dropped_[0].reason;
    EXPECT_LT(dropped_[0].reason.size(), 400U) << "a message must not quote whole texts";
  }
}

TEST_F(GroupReaderFile, RefusesAnUnknownFormatAndNamesTheKeys) {
  const std::string said = test::message_of<DataError>([&] { (void)read("{\"text\":\"a\",\"stars\":3}\n"); });
  EXPECT_NE(said.find("f.jsonl:1: expected a row of a known data format, found one with the keys stars, text"), std::string::npos)
      << said;
  EXPECT_EQ(test::message_of<DataError>([&] { (void)read(""); }), "");
}

TEST_F(GroupReaderFile, SkipsRowsOfNoFormatBeforeTheFirstOfOne) {
  const std::string note = "{\"exported\":\"today\"}\n", good = kGood + "\n";
  EXPECT_EQ(read(note + "5\n" + good + good, "auto", 2).size(), 2U);
  ASSERT_EQ(dropped_.size(), 2U);
  EXPECT_TRUE(dropped_[0].bad);
  EXPECT_EQ(dropped_[1].line, 2);
  EXPECT_EQ(dropped_[0].reason, "expected a row of a known data format, found one with the keys exported");
  EXPECT_STREQ(dropped_[0].code.text(), "no-known-format");
  const auto said = [&](const std::string& text, std::int64_t unknown_max) {
    return test::message_of<DataError>([&] { (void)read(text, "auto", unknown_max); });
  };
  EXPECT_NE(said(note + note + good, 1)
                .find("f.jsonl:1: expected a row of a known data format, found one with the keys exported; 2 "
                      "rows were tried, and none of them is of a known format; `dmoerm ingest --formats`"),
            std::string::npos);
  EXPECT_NE(said(note + note, 5).find("2 rows were tried"), std::string::npos) << "a file without any row of a format";
  EXPECT_NE(said(note + good, 0).find("found one with the keys exported; `dmoerm"), std::string::npos);
}

TEST_F(GroupReaderFile, SaysHowTreesOfMessagesAreConverted) {
  for (const char* row : {R"({"message_id":"m","parent_id":null,"text":"Hi","role":"prompter","lang":"en","rank":null})",
                          R"({"message_tree_id":"m","prompt":{"message_id":"m","text":"Hi","role":"prompter","replies":[]}})"}) {
    const std::string said = test::message_of<DataError>([&] { (void)read(std::string(row) + "\n"); });
    EXPECT_NE(said.find("of OASST: the ranked replies to one message are a group"), std::string::npos) << said;
    EXPECT_NE(said.find("docs/data.md"), std::string::npos) << said;
  }
}

TEST_F(GroupReaderFile, MakesGroupsOfUnpairedRowsThatShareAPrompt) {
  const auto row = [](const char* prompt, const char* text, const char* label) {
    return fmt::format("{{\"prompt\":\"{}\",\"completion\":\"{}\",\"label\":{}}}\n", prompt, text, label);
  };
  const auto groups = read(row("p", "a", "true") + row("p", "b", "false") + row("q", "c", "true") + row("r", "d", "false"));
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_GT(groups[0].responses.at(0).overall, groups[0].responses.at(1).overall);
  ASSERT_EQ(dropped_.size(), 2U);
  EXPECT_FALSE(dropped_[0].bad);
  EXPECT_NE(dropped_[0].reason.find("nothing to prefer it to"), std::string::npos);
}

TEST_F(GroupReaderFile, JoinsTheRowsOfAPostOfShp) {
  const auto row = [](const char* a, const char* b, int label) {
    return fmt::format("{{\"history\":\"h\",\"human_ref_A\":\"{}\",\"human_ref_B\":\"{}\",\"labels\":{}}}\n", a, b, label);
  };
  const auto groups = read(row("x", "y", 1) + row("z", "x", 0));
  ASSERT_EQ(groups.size(), 1U);
  ASSERT_EQ(groups[0].responses.size(), 3U);
  ASSERT_EQ(groups[0].pairs.size(), 2U);
  EXPECT_EQ(groups[0].responses.at(static_cast<std::size_t>(groups[0].pairs[1].winner)).text, "x");
  EXPECT_EQ(groups[0].responses.at(static_cast<std::size_t>(groups[0].pairs[1].loser)).text, "z");
}

TEST_F(GroupReaderFile, SaysHowAWholeTableInOneObjectIsConverted) {
  const auto said = [&](const std::string& text, const std::string& format = "auto") {
    return test::message_of<DataError>([&] { (void)read(text, format); });
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"prompt":["p","q"],"chosen":["a","b"],"rejected":["c","d"]})", "pd.read_json(NAME).to_json(OTHER"},
      {R"({"prompt":{"0":"p","1":"q"},"chosen":{"0":"a","1":"b"},"rejected":{"0":"c","1":"d"}})",
       "pd.read_json(NAME).to_json(OTHER"},
      {R"({"info":[{"post":"p"},{"post":"q"}],"summaries":[[{"text":"a"},{"text":"b"}],[{"text":"c"},{"text":"d"}]],"choice":[0,1]})",
       "pd.read_json(NAME).to_json(OTHER"},
      {R"({"chosen":[[{"role":"user","content":"p"},{"role":"assistant","content":"a"}]],)"
       R"("rejected":[[{"role":"user","content":"p"},{"role":"assistant","content":"b"}]]})",
       "pd.read_json(NAME).to_json(OTHER"},
      {R"({"columns":["prompt","chosen","rejected"],"index":[0],"data":[["p","a","b"]]})", "orient=\"split\""},
      {R"({"data":[)" + kGood + "]}", R"(jq -c '.["data"][]' FILE)"},
      {R"({"features":[],"rows":[{"row_idx":0,"row":)" + kGood + "}]}", R"(jq -c '.["rows"][].row' FILE)"},
      {R"({"train":[)" + kGood + R"(],"test":[]})", R"(jq -c '.["train"][]' FILE (keys: test (empty), train))"},
      {json(kGood).dump(), "a text that holds JSON"},
  };
  for (const auto& [text, advice] : cases) {
    EXPECT_NE(said(text).find(advice), std::string::npos) << text << "\n" << said(text);
    EXPECT_NE(said(text, "standard").find(advice), std::string::npos) << text;
  }
  (void)read(R"({"chosen":[{"role":"referee","content":"a"}],"rejected":[{"role":"referee","content":"b"}]})");
  ASSERT_EQ(dropped_.size(), 1U);
  EXPECT_NE(dropped_[0].reason.find("expected the role"), std::string::npos) << "a row with a fault, and no table";
  EXPECT_EQ(read(R"({"src":["p","r"],"tgt":["q","s"],"response":["a","b"],"rank":[1,2]})").size(), 1U) << "lists of one length";
}

TEST_F(GroupReaderFile, SaysWhatKeepsARowFromItsFormat) {
  const auto said = [&](const std::string& text) { return test::message_of<DataError>([&] { (void)read(text); }); };
  EXPECT_NE(said(R"({"Prompt":"p","Chosen":"a"," Rejected":"b"})").find("it would be of the format standard: rename them"),
            std::string::npos);
  EXPECT_NE(said(R"({"prompt":5,"chosen":"a","rejected":"b"})").find("\"prompt\" is 5 and no text"), std::string::npos);
  const std::vector<std::pair<const char*, const char*>> cases = {
      {R"({"prompt":"p","accepted":"a","rejected":"b"})", "rename \"accepted\" to \"chosen\", if"},
      {R"({"prompt":"p","response_chosen":"a","response_rejected":"b"})", "and \"response_rejected\" to \"rejected\""},
      {R"({"instruction":"i","input":"","output":"o"})", "training on one answer"},
      {R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]})", "training on one answer"},
      {R"({"prompt":"p","completion":"a"})", "training on one answer"},
      {R"({"prompt":"p","completion":"a","label":"maths"})", "training on one answer"},
      {R"({"prompt":"p","response":"a","label":true})", "rename \"response\" to \"completion\", if \"label\" says true or false"},
      {R"({"prompt":"p","output":"a","kto_tag":"good"})", "rename \"output\" to \"completion\", if \"kto_tag\" says"},
      {R"({"question":"q","answer_chosen":"a","answer_rejected":"b"})",
       R"(rename "answer_chosen" to "chosen" and "answer_rejected" to "rejected")"},
      {R"({"row_idx":0,"row":{"prompt":"p","chosen":"a","rejected":"b"},"truncated_cells":[]})", R"(jq -c '.["row"]' FILE)"},
      {R"({"instruction":"i","generations":["a","b"],"ratings":[1,2]})", "jq -c '{prompt: .instruction, responses: [["},
      {R"({"0":{"prompt":"p","chosen":"a","rejected":"b"},"1":{"prompt":"q","chosen":"a","rejected":"b"}})", "jq -c '.[]' FILE"},
      {R"({"prompt":"p","response_a":"a","response_b":"b","winner_model_a":1,"winner_model_b":0,"winner_tie":0})",
       "jq -c '{prompt, response_1: .response_a"},
      {R"({"prompt":"p","response_j":"a","response_k":"b"})", "rename \"response_j\" to \"chosen\" and \"response_k\" to"},
      {R"({"instruction":"i","input":"","output":["a","b"]})", "{chosen: .output[0], rejected: .output[1]}"},
      {R"({"input":{"messages":[{"role":"user","content":"q"}]},"preferred_output":[{"role":"assistant","content":"a"}],)"
       R"("non_preferred_output":[{"role":"assistant","content":"b"}]})",
       "jq -c '{messages: .input.messages, chosen: .preferred_output"},
      {R"({"contents":[{"role":"user","parts":[{"text":"q"}]}],)"
       R"("completions":[{"score":1.0,"completion":{"role":"model","parts":[{"text":"a"}]}}]})",
       "jq -c '{prompt: .contents, responses: [.completions[]"},
      {R"({"conv_A":[{"role":"user","content":"q"}],"conv_B":[{"role":"user","content":"q"}],"conv_A_rating":5,"conv_B_rating":1})",
       "jq -c '{conversation_a: .conv_A, conversation_b: .conv_B"},
      {R"({"prompt":{"S":"q"},"chosen":{"S":"a"},"rejected":{"S":"b"}})", "jq -c 'map_values(.S // .N // .)' FILE"},
      {R"({"error":"Invalid username or password."})", "the error of a server that sent no data, \"Invalid username"},
      {R"({"error":{"message":"Not Found","code":404}})", "sent no data, \"Not Found\""},
      {R"({"detail":"Not authenticated"})", "sent no data, \"Not authenticated\""},
      {"- prompt: p\n  chosen: a\n", "YAML document"},
      {"---\nprompt: p\n", "YAML document"},
      {"<<<<<<< HEAD\n", "merge conflict"},
      {"\x89PNG\r\n\x1A\n", "an image"},
  };
  for (const auto& [text, words] : cases) EXPECT_NE(said(text).find(words), std::string::npos) << text << "\n" << said(text);
  EXPECT_EQ(said(R"({"a":1})").find("one answer"), std::string::npos);
}

TEST_F(GroupReaderFile, KnowsTheRefusalOfAServer) {
  for (const char* text :
       {"Entry not found", "404: Not Found", "Invalid username or password.", "Access to dataset x is restricted."}) {
    (void)read(kGood + "\n" + text);
    ASSERT_EQ(dropped_.size(), 1U) << text;
    EXPECT_NE(dropped_[0].reason.find("perhaps the error of a server that sent no data: download"), std::string::npos)
        << dropped_[0].reason;
  }
  (void)read(kGood + "\nHello");
  EXPECT_EQ(dropped_.at(0).reason, "expected one JSON object in one line, found the text \"Hello\"");
}

TEST_F(GroupReaderFile, SaysWhichReasoningItDidNotRead) {
  const auto row = [](json first, json second) {
    first["role"] = second["role"] = "assistant";
    return json{{"prompt", {{{"role", "user"}, {"content", "p"}}}}, {"chosen", {first}}, {"rejected", {second}}}.dump() + "\n";
  };
  const json details = json::array({{{"type", "reasoning.text"}, {"text", "z"}}});
  auto groups = read(row({{"content", "a"}, {"thinking", "T"}}, {{"content", "b"}, {"reasoning_details", details}}) +
                     row({{"content", "a"}, {"reasoning_content", ""}}, {{"content", "c"}, {"reasoning_content", nullptr}}) +
                     R"({"prompt":[{"role":"user","content":"q"}],"chosen":"a","rejected":"b","reasoning":"a is shorter"})");
  ASSERT_EQ(groups.size(), 3U);
  EXPECT_EQ(groups[0].unread, (std::vector<std::string>{"thinking", "reasoning_details"}));
  EXPECT_TRUE(groups[1].unread.empty()) << "nothing is in it";
  EXPECT_TRUE(groups[2].unread.empty()) << "a column of the row is about the pair";
  groups = read(R"({"prompt":"p","responses":[{"text":"a","reasoning":"R"},{"text":"b"}]})");
  EXPECT_EQ(groups.at(0).unread, std::vector<std::string>{"reasoning"});
  groups = read(R"({"prompt":"p","completion":{"role":"assistant","content":"a"},"label":true})"
                "\n"
                R"({"prompt":"p","completion":{"role":"assistant","content":"b","thinking":"T"},"label":false})");
  EXPECT_EQ(groups.at(0).unread, std::vector<std::string>{"thinking"}) << "a row that is joined to another";
  EXPECT_TRUE(read(row({{"content", "a"}, {"reasoning_content", "A"}}, {{"content", "a"}, {"reasoning_content", "B"}})).empty());
  EXPECT_EQ(dropped_.at(0).reason, "expected different responses, found 2 equal ones; \"reasoning_content\" is not read");
  EXPECT_TRUE(read(row({{"content", "a"}}, {{"content", ""}, {"reasoning", "B"}})).empty());
  EXPECT_EQ(dropped_.at(0).reason, "expected a text in response 1, found an empty one; \"reasoning\" is not read");
}

TEST_F(GroupReaderFile, CallsOfToolsInMarksAreLeftOut) {
  for (const char* text : {"<tool_call>\n{}\n</tool_call>", " [TOOL_CALLS] [{}]", "<|python_tag|>f()", "<tool_response>1"}) {
    const std::string row = json{{"prompt", "p"}, {"chosen", text}, {"rejected", "b"}}.dump();
    EXPECT_TRUE(read(row).empty()) << text;
    ASSERT_EQ(dropped_.size(), 1U);
    EXPECT_FALSE(dropped_[0].bad) << text;
    EXPECT_STREQ(dropped_[0].code.text(), "tool-call-in-text");
  }
  EXPECT_EQ(read(json{{"prompt", "What is <tool_call>?"}, {"chosen", "a"}, {"rejected", "b"}}.dump()).size(), 1U) << "spoken of";
}

TEST_F(GroupReaderFile, ATablesNameShowsItWithoutNamesOfColumns) {
  for (const auto& [name, separator] :
       {std::pair("pairs.csv", "read_csv(NAME)"), std::pair("Pairs.TSV", "sep=\"\\t\""), std::pair("pairs.tab", "sep=\"\\t\"")}) {
    const auto path = write(name, "What is it? A test,\"a\",b\n");
    const auto on_dropped = [](const Dropped&) {};
    const std::string said = test::message_of<DataError>([&] { (void)GroupReader(path, "auto", on_dropped).next(); });
    EXPECT_NE(said.find("its first line must name the columns"), std::string::npos) << said;
    EXPECT_NE(said.find(separator), std::string::npos) << said;
  }
  const auto path = write("really.csv", kGood + "\n");
  EXPECT_TRUE(GroupReader(path, "auto", [](const Dropped&) {}).next()) << "only the name is a table's";
}

TEST_F(GroupReaderFile, ShowsTheTextOfALineThatIsNoJson) {
  (void)read("hello world\n" + kGood + "\n");
  ASSERT_EQ(dropped_.size(), 1U);
  EXPECT_EQ(dropped_[0].reason, "expected one JSON object in one line, found the text \"hello world\"");
}

TEST_F(GroupReaderFile, SaysHowAFileOfAnotherLayoutIsConverted) {
  const auto said = [&](const std::string& text) { return test::message_of<DataError>([&] { (void)read(text); }); };
  EXPECT_NE(said("[\n" + kGood + "]\n").find("the beginning of a list"), std::string::npos);
  EXPECT_NE(said("[\"p?\",\"Banana\",\"Stone\"]\n").find("jq -c '{prompt: .[0], chosen: .[1], rejected: .[2]}' FILE"),
            std::string::npos);
  EXPECT_NE(said("[[\"p?\",\"Banana\",\"Stone\"],[\"q?\",\"a\",\"b\"]]\n").find("jq -c '.[] | {prompt: .[0],"),
            std::string::npos);
  EXPECT_NE(said("{\n  \"prompt\": \"p\"\n}\n")
                .find("f.jsonl:1: expected one JSON object per line, found the beginning of an object over several lines; "
                      "convert it with jq -c . FILE"),
            std::string::npos);
  EXPECT_NE(said("{\"prompt\": \"p\",\n\"chosen\": \"a\"}\n").find("over several lines"), std::string::npos);
  EXPECT_NE(said("\n\"prompt\",\"chosen\",\"rejected\"\np,a,b\n")
                .find("f.jsonl:2: expected one JSON object per line, found the names of a table's columns; convert it in pandas "
                      "with pd.read_csv(NAME).to_json("),
            std::string::npos);
  EXPECT_NE(said("prompt\tchosen\n").find("pd.read_csv(NAME, sep=\"\\t\")"), std::string::npos);
  EXPECT_NE(said("prompt;chosen\n").find("sep=\";\""), std::string::npos);
  EXPECT_NE(said("prompt|chosen\n").find("sep=\"|\""), std::string::npos);
  EXPECT_NE(said("data: " + kGood + "\n").find("server-sent events"), std::string::npos);
  EXPECT_NE(said("5\n").find("found 5;"), std::string::npos);
  EXPECT_TRUE(read(kGood + ",\n").empty()) << "a comma after an object is a bad line";
  EXPECT_NE(dropped_.at(0).reason.find("a comma after the value: remove it"), std::string::npos);
  EXPECT_TRUE(read(kGood + "\r" + kGood + "\r").empty());
  EXPECT_NE(dropped_.at(0).reason.find("a line end of old Macs"), std::string::npos);
}

TEST_F(GroupReaderFile, ReadsTextsAndMessagesInOneFile) {
  const std::string messages =
      R"({"prompt":[{"role":"user","content":"q"}],"chosen":[{"role":"assistant","content":"a"}],"rejected":[{"role":"assistant","content":"b"}]})";
  EXPECT_EQ(read(kGood + "\n" + messages + "\n").size(), 2U);
  EXPECT_EQ(read(messages + "\n" + kGood + "\n").size(), 2U);
  EXPECT_EQ(read(kGood + "\n" + messages + "\n", "standard").size(), 1U) << "a named format counts";
  EXPECT_NE(dropped_.at(0).reason.find("found one of the format conversational"), std::string::npos);
  EXPECT_EQ(
      read(
          R"({"prompt":"q","chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"x"},{"role":"user","content":"r"},{"role":"assistant","content":"a"}],)"
          R"("rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"x"},{"role":"user","content":"r"},{"role":"assistant","content":"b"}]})")
          .at(0)
          .prompt.size(),
      3U)
      << "the prompt is the first question of the conversation";
}

TEST_F(GroupReaderFile, DropsRowsThatAreNotOfTheNamedFormat) {
  EXPECT_TRUE(read(kGood + "\n", "swift").empty());
  EXPECT_EQ(dropped_.size(), 1U);
}

TEST_F(GroupReaderFile, MergesEqualTextsWithTheirLabels) {
  const auto merged = read(
      R"({"prompt":"p","responses":[{"text":"a","scores":{"s":1}},{"text":"b"},{"text":"a","scores":{"s":9,"t":2},"overall":4},{"text":"c"}],)"
      R"("preferences":[[2,1,"a"],[0,2,"a"],[3,2,"b"]],"verdicts":[{"point":"s","a":3,"b":2,"first_order":"first","second_order":"second"},)"
      R"({"point":"s","a":0,"b":2,"first_order":"first","second_order":"second"}]})");
  ASSERT_EQ(merged.size(), 1U);
  const Group& g = merged[0];
  ASSERT_EQ(g.responses.size(), 3U);
  EXPECT_EQ(g.responses[2].text, "c");
  EXPECT_EQ(g.merged, 1);
  EXPECT_EQ(g.responses[0].scores.at("s"), 5) << "the mean of 1 and 9";
  EXPECT_EQ(g.responses[0].scores.at("t"), 2);
  EXPECT_EQ(g.responses[0].overall, 4);
  ASSERT_EQ(g.pairs.size(), 2U);
  EXPECT_EQ(g.pairs[0].winner, 0);
  EXPECT_EQ(g.pairs[1].winner, 0);
  EXPECT_EQ(g.pairs[1].loser, 2);
  ASSERT_EQ(g.verdicts.size(), 1U);
  EXPECT_EQ(g.verdicts[0].a, 2);
  EXPECT_EQ(g.verdicts[0].b, 0);
}

TEST_F(GroupReaderFile, EqualTextsHaveTheMeanOfTheirScoresInAnyOrder) {
  const auto dup = [](const json& score, const json& raters) {
    return json{{"text", "dup"}, {"overall", score}, {"overall_raters", raters}, {"scores", {{"s", score}}}};
  };
  const std::vector<json> responses = {dup(0.1, {1, 2}), dup(0.7, {4, 3}), dup(0.2, {1, 9}), {{"text", "x"}, {"overall", 0.3}}};
  const double mean = (0.1 + 0.2 + 0.7) / 3;
  std::vector<std::size_t> order = {0, 1, 2, 3};
  do {
    json row{{"prompt", "p"}, {"responses", json::array()}};
    for (const std::size_t i : order) row["responses"].push_back(responses[i]);
    const auto groups = read(row.dump());
    ASSERT_EQ(groups.size(), 1U);
    ASSERT_EQ(groups[0].responses.size(), 2U);
    EXPECT_EQ(groups[0].merged, 2);
    const Response& one = groups[0].responses[groups[0].responses[0].text == "dup" ? 0 : 1];
    EXPECT_EQ(one.overall, mean);
    EXPECT_EQ(one.scores.at("s"), mean);
    EXPECT_EQ(one.scores.at("first_rater"), 2) << "the mean of the first rater's scores";
    EXPECT_EQ(one.raters.at("overall"), 2);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_F(GroupReaderFile, EqualTextsWithEqualScoresKeepThemToTheLastBit) {
  const auto groups = read(json{{"prompt", "p"},
                                {"responses",
                                 {{{"text", "a"}, {"overall", 0.1}, {"scores", {{"s", nullptr}}}},
                                  {{"text", "a"}, {"overall", 0.1}},
                                  {{"text", "a"}, {"overall", 0.1}},
                                  {{"text", "b"}, {"overall", nullptr}}}}}
                               .dump());
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].responses[0].overall, 0.1) << "and not (0.1 + 0.1 + 0.1) / 3";
  EXPECT_TRUE(std::isnan(groups[0].responses[0].scores.at("s")));
  EXPECT_TRUE(std::isnan(groups[0].responses[1].overall));
  EXPECT_EQ(groups[0].merged, 2);
}

TEST_F(GroupReaderFile, OfRowsThatRepeatResponsesOnlyOtherScoresAreCountedAsMerged) {
  const auto row = [](const char* response, bool good) {
    return json{{"prompt", "p"}, {"completion", response}, {"label", good}}.dump() + "\n";
  };
  const auto alike = read(row("a", true) + row("b", false) + row("a", true));
  ASSERT_EQ(alike.size(), 1U);
  EXPECT_EQ(alike[0].merged, 0);
  EXPECT_EQ(alike[0].responses[0].overall, 1);
  const auto apart = read(row("a", true) + row("b", false) + row("a", false));
  ASSERT_EQ(apart.size(), 1U);
  EXPECT_EQ(apart[0].merged, 1);
  EXPECT_EQ(apart[0].responses[0].overall, 0.5);
}

TEST_F(GroupReaderFile, ReportsAGroupOfEqualTextsAsABadLine) {
  EXPECT_TRUE(read(R"({"prompt":"p","chosen":"a","rejected":"a"})").empty());
  ASSERT_EQ(dropped_.size(), 1U);
  EXPECT_TRUE(dropped_[0].bad);
  EXPECT_EQ(dropped_[0].reason, "expected different responses, found 2 equal ones");
}

TEST_F(GroupReaderFile, MergesConsecutiveRowsOfOnePrompt) {
  const auto row = [](const char* prompt, const char* response, int help) {
    return json{{"prompt", prompt}, {"response", response}, {"helpfulness", help}, {"coherence", 4}}.dump() + "\n";
  };
  const auto groups =
      read(row("a", "x", 1) + row("a", "y", 3) + "{broken\n" + row("b", "x", 2) + row("b", "z", 0) + row("c", "alone", 1));
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0].responses.size(), 2U);
  EXPECT_EQ(groups[1].line, 4);
  EXPECT_EQ(groups[1].responses[1].overall, 0);
  ASSERT_EQ(dropped_.size(), 2U);
  EXPECT_EQ(dropped_[1].line, 6);
  EXPECT_FALSE(dropped_[1].bad) << "the row is well-formed, but has no second response";
  EXPECT_EQ(
      dropped_[1].reason,
      "a single response: nothing to prefer it to (rows of one prompt are one group only where they follow each other: sort the "
      "file by prompt)");
}

TEST_F(GroupReaderFile, KeepsCategoryAndTestSplitOfMergedRows) {
  const auto row = [](const char* response, const char* split, const char* category) {
    return fmt::format(R"({{"prompt":"p","response":"{}","helpfulness":1,"split":"{}","category":"{}"}})", response, split,
                       category) +
           "\n";
  };
  const auto groups = read(row("a", "train", "A") + row("b", "test", "A") + row("c", "train", "B") + row("d", "train", "B"));
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0].split, Split::test);
  EXPECT_EQ(groups[1].category, "B");
}

TEST_F(GroupReaderFile, RefusesAListAndSaysHowToConvertIt) {
  EXPECT_NE(test::message_of<DataError>([&] {
              (void)read("[\n{\"chosen\":\"a b\"}]");
            }).find(":1: expected one JSON object per line, found the beginning of a list"),
            std::string::npos);
}

TEST_F(GroupReaderFile, MergesRowsOfSeveralPoints) {
  const auto row = [](const char* a, const char* b, int first, const char* point) {
    return json{{"query", "q"}, {"responses", {a, b}}, {"rank", {first, 3 - first}}, {"point", point}}.dump() + "\n";
  };
  const auto groups = read(row("x", "y", 1, "logic") + row("y", "z", 2, "logic") + row("x", "z", 1, "style"));
  ASSERT_EQ(groups.size(), 1U);
  ASSERT_EQ(groups[0].responses.size(), 3U);
  ASSERT_EQ(groups[0].pairs.size(), 3U);
  EXPECT_EQ(groups[0].pairs[1].winner, 2);  // z
  EXPECT_EQ(groups[0].pairs[1].loser, 1);   // y
  EXPECT_EQ(groups[0].pairs[2].label, "style");
  EXPECT_EQ(groups[0].pairs[2].loser, 2);
}

TEST_F(GroupReaderFile, RefusesTooManyResponses) {
  json row{{"prompt", "p"}};
  for (std::size_t i = 0; i <= kResponsesMax; ++i) row["responses"].push_back({{"text", std::to_string(i)}});
  EXPECT_TRUE(read(row.dump()).empty());
  EXPECT_NE(dropped_.at(0).reason.find("expected at most 4096 responses, found 4097"), std::string::npos);
}

TEST_F(GroupReaderFile, GivesNoBrokenGroupAfterRandomDamage) {
  const std::string row =
      R"({"id":"x","category":"c","split":"test","prompt":[{"role":"user","content":"p"}],"responses":[{"rid":0,"text":"a","scores":{"s":1}},)"
      R"({"rid":1,"text":"b","overall":5}],"preferences":[[0,1,"b"]],"verdicts":[{"point":"s","a":0,"b":1,"first_order":"first","second_order":"tie"}]})";
  Rng rng(29);
  int whole = 0;
  for (int round = 0; round < 200; ++round) {
    std::string text = row + "\n";
    for (int i = 0; i < 20; ++i) {
      std::string line = row;
      for (int hit = 0; hit < 3; ++hit) line[rng.below(line.size())] = R"([]{}",:0a\)"[rng.below(10)];
      text += line + "\n";
    }
    const auto groups = read(text);
    EXPECT_EQ(groups.size() + dropped_.size(), 21U) << "seed 29, round " << round;
    for (const Group& g : groups) {
      ++whole;
      EXPECT_GE(g.responses.size(), 2U);
      EXPECT_FALSE(g.prompt.empty());
      for (const StatedPair& p : g.pairs)
        EXPECT_TRUE(p.winner != p.loser && p.winner >= 0 && p.loser >= 0 && p.winner < 2 && p.loser < 2);
    }
  }
  EXPECT_GT(whole, 200) << "the damage hits nothing but syntax";
}

}  // namespace
}  // namespace dmoerm::preference
