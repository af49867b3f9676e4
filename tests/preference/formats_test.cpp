// Every data format by a row as its authors write it.
#include "preference/formats.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "preference/formats_of_pairs.h"
#include "preference/row_error.h"
#include "preference/rows.h"

namespace dmoerm::preference {

bool operator==(const StatedPair& a, const StatedPair& b) {
  return a.label == b.label && a.winner == b.winner && a.loser == b.loser && a.margin == b.margin;
}

namespace {

using nlohmann::json;
using test::prompt_of;
using test::read;

std::string refusal(const char* row) {
  const json value = json::parse(row);
  const Format* format = detect_format(value);
  if (format == nullptr) return "no format";
  try {
    format->parse(value);
  } catch (const RowError& e) {
    return (e.bad() ? "bad: " : "unusable: ") + std::string(e.what());
  }
  return "";
}

const StatedPair kFirst{std::string(kOverall), 0, 1, 0.0};

TEST(Formats, ReadsTrlStandard) {
  Group g = read("standard", R"({"prompt":"The sky is","chosen":" blue.","rejected":" green.","margin":0.5})");
  EXPECT_EQ(prompt_of(g), "user: The sky is");
  EXPECT_EQ(g.responses.at(0).text, " blue.");
  EXPECT_EQ(g.pairs, (std::vector<StatedPair>{{"overall", 0, 1, 0.5}}));
  g = read("standard-implicit", R"({"chosen":"The sky is blue.","rejected":"The sky is green."})");
  EXPECT_EQ(prompt_of(g), "user: The sky is");
  EXPECT_EQ(g.responses.at(0).text, " blue.");
  EXPECT_EQ(g.responses.at(1).text, " green.");
  g = read("standard-implicit", R"({"chosen":"Say it: blue","rejected":"Say it: black"})");
  EXPECT_EQ(g.responses.at(1).text, " black") << "cut at the border of a word";
  g = read("standard-implicit", R"({"text_chosen":"Q: a b","text_rejected":"Q: a c"})");
  EXPECT_EQ(prompt_of(g), "user: Q: a");
}

TEST(Formats, ReadsTrlConversational) {
  Group g = read("conversational", R"({"prompt":[{"role":"system","content":"S"},{"role":"user","content":"Hi"}],
      "chosen":[{"role":"assistant","content":"Hello"}],"rejected":[{"role":"assistant","content":"No"}]})");
  EXPECT_EQ(prompt_of(g), "system: S | user: Hi");
  EXPECT_EQ(g.responses.at(1).text, "No");
  EXPECT_EQ(g.pairs, std::vector<StatedPair>{kFirst});
  g = read("conversational-implicit", R"({"chosen":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}],
      "rejected":[{"role":"user","content":"Hi"},{"role":"assistant","content":"No"}]})");
  EXPECT_EQ(prompt_of(g), "user: Hi");
  EXPECT_EQ(g.responses.at(0).text, "Hello");
}

TEST(Formats, JoinsConversationsThatContinueOrRepeatThePrompt) {
  const char* const turn = R"({"prompt":[{"role":"user","content":"1"}],
      "chosen":[{"role":"assistant","content":"2"},{"role":"user","content":"3"},{"role":"assistant","content":"4"}],
      "rejected":[{"role":"assistant","content":"2"},{"role":"user","content":"3"},{"role":"assistant","content":"5"}]})";
  EXPECT_EQ(prompt_of(read("conversational", turn)), "user: 1 | assistant: 2 | user: 3");
  const char* const repeats = R"({"prompt":"Hi","chosen":[{"role":"user","content":"Hi"},{"role":"assistant","content":"a"}],
      "rejected":[{"role":"user","content":"Hi"},{"role":"assistant","content":"b"}],"score_chosen":8.0,"score_rejected":6.5})";
  const Group g = read("standard", repeats);
  EXPECT_EQ(prompt_of(g), "user: Hi");
  EXPECT_EQ(g.responses.at(0).overall, 8.0);
  EXPECT_EQ(g.responses.at(1).overall, 6.5);
  EXPECT_EQ(refusal(R"({"chosen":[{"role":"user","content":"Hi"},{"role":"assistant","content":"a"}],
      "rejected":[{"role":"user","content":"Ho"},{"role":"assistant","content":"b"}]})"),
            "unusable: \"chosen\" and \"rejected\" part before their last message: a group holds one prompt");
  EXPECT_NE(refusal(R"({"prompt":"Ha","chosen":[{"role":"user","content":"Hi"},{"role":"assistant","content":"a"}],
      "rejected":[{"role":"user","content":"Hi"},{"role":"assistant","content":"b"}]})")
                .find("repeat \"prompt\""),
            std::string::npos);
}

TEST(Formats, FindsThePromptInColumnsOfOtherNames) {
  const char* const orca = R"({"system":"Be kind","question":"What is 2+2?","chosen":"It is four.","rejected":"It is five."})";
  Group g = read("standard", orca);
  EXPECT_EQ(prompt_of(g), "system: Be kind | user: What is 2+2?");
  EXPECT_EQ(g.responses.at(0).text, "It is four.");
  g = read("standard", R"({"instruction":"Add","input":"2 2","history":[["Hi","Hello"]],"chosen":"4","rejected":"5"})");
  EXPECT_EQ(prompt_of(g), "user: Hi | assistant: Hello | user: Add\n2 2");
  g = read("conversational", R"({"context_messages":[{"role":"user","content":"Hi"}],"chosen":"a","rejected":"b"})");
  EXPECT_EQ(prompt_of(g), "user: Hi");
  g = read("standard",
           R"({"question":"Q","chosen":[{"role":"assistant","content":"a"}],"rejected":[{"role":"assistant","content":"b"}]})");
  EXPECT_EQ(prompt_of(g), "user: Q");
  const char* const whole = R"({"context":"source 7","chosen":[{"role":"user","content":"Hi"},{"role":"assistant","content":"a"}],
      "rejected":[{"role":"user","content":"Hi"},{"role":"assistant","content":"b"}]})";
  EXPECT_EQ(prompt_of(read("standard", whole)), "user: Hi") << "a whole conversation needs no other column";
  const char* const with_system = R"({"prompt":[{"role":"system","content":"S"},{"role":"user","content":"Hi"}],
      "chosen":[{"role":"user","content":"Hi"},{"role":"assistant","content":"a"}],
      "rejected":[{"role":"user","content":"Hi"},{"role":"assistant","content":"b"}]})";
  EXPECT_EQ(prompt_of(read("conversational", with_system)), "system: S | user: Hi");
  EXPECT_EQ(prompt_of(read("helpsteer", R"({"system":"S","prompt":"p","response":"a","helpfulness":1})")), "system: S | user: p");
  EXPECT_EQ(prompt_of(read("dmoerm-ranked", R"({"system":"S","src":["q"],"response":["a","b"],"rank":[1,2]})")),
            "system: S | user: q");
  EXPECT_EQ(detect_format(json::parse(R"({"prompt":{"role":"user"},"chosen":"a b","rejected":"a c"})")), nullptr)
      << "a prompt is there, so none is taken from the responses";
}

TEST(Formats, ReadsTranscriptsAsTurns) {
  const char* const row = R"({"chosen":"\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Sure?\n\nAssistant: I'm not sure",
      "rejected":"\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Sure?\n\nAssistant: I'm not going"})";
  Group g = read("standard-implicit", row);
  EXPECT_EQ(prompt_of(g), "user: Hi | assistant: Hello | user: Sure?");
  EXPECT_EQ(g.responses.at(0).text, "I'm not sure");
  EXPECT_EQ(g.responses.at(1).text, "I'm not going");
  g = read("standard", R"({"prompt":"\n\nHuman: Hi\n\nAssistant:","chosen":" a","rejected":" b"})");
  EXPECT_EQ(prompt_of(g), "user: Hi");
  EXPECT_EQ(refusal(R"({"chosen":"\n\nHuman: Hi\n\nAssistant: a","rejected":"\n\nHuman: Ho\n\nAssistant: b"})"),
            "unusable: \"chosen\" and \"rejected\" part before their last message: a group holds one prompt");
  EXPECT_EQ(prompt_of(read("standard-implicit", R"({"chosen":"天空是蓝色","rejected":"天空是绿色"})")), "user: 天空是")
      << "without white space, at the border of a character";
}

TEST(Formats, DoesNotGuessAPrompt) {
  EXPECT_EQ(refusal(R"({"id":"Who?","chosen":"That cat sat","rejected":"This dog ran"})"),
            "bad: expected a column \"prompt\", or \"chosen\" and \"rejected\" that begin with the same prompt; found neither");
  EXPECT_EQ(refusal(R"({"instruction":[],"input":"x","chosen":"a b","rejected":"c d"})"),
            "bad: \"instruction\": expected a prompt, found an empty list");
  EXPECT_EQ(
      refusal(R"({"chosen":"\n\nHuman: a\n\nAssistant: b\n\nHuman: c","rejected":"\n\nHuman: a\n\nAssistant: b\n\nHuman: d"})"),
      "unusable: \"chosen\" is a transcript that does not end with a turn of the assistant");
  EXPECT_EQ(read("standard-implicit", R"({"chosen":"\n\nHuman: a\n\nAssistant: b","rejected":"\n\nHuman: a\n\nAssistant:"})")
                .responses.at(1)
                .text,
            "")
      << "the reader reports the empty response";
}

TEST(Formats, NamesTheCallOfATool) {
  EXPECT_EQ(refusal(R"({"prompt":[{"role":"assistant","content":"","tool_calls":[{"id":1}]}],"chosen":"a","rejected":"b"})"),
            "unusable: \"tool_calls\" beside the text: no chat template here writes them");
}

TEST(Formats, ReadsLowerRanksAsBetter) {
  Group g = read("dmoerm-ranked", R"({"src":["q1","q2"],"tgt":["a1"],"response":["w","x","y"],"rank":[1,2,2],"label":"chat"})");
  EXPECT_EQ(prompt_of(g), "user: q1 | assistant: a1 | user: q2");
  EXPECT_EQ(g.category, "chat");
  EXPECT_GT(g.responses.at(0).overall, g.responses.at(1).overall) << "lower rank = better";
  EXPECT_EQ(g.responses.at(1).overall, g.responses.at(2).overall);
  g = read("nemo", R"({"context":[{"role":"user","content":"Hi"}],"task_name":"math","completions":[
      {"rank":1,"completion":[{"role":"assistant","content":"b"}]},{"rank":0,"completion":[{"role":"assistant","content":"a"}]}]})");
  EXPECT_EQ(g.category, "math");
  EXPECT_LT(g.responses.at(0).overall, g.responses.at(1).overall);
  g = read("dmoerm-points", R"({"query":"q","responses":["a","b"],"rank":[2,1],"point":"logic"})");
  EXPECT_EQ(g.pairs, (std::vector<StatedPair>{{"logic", 1, 0, 0.0}}));
  EXPECT_TRUE(read("dmoerm-points", R"({"query":"q","responses":["a","b"],"rank":[1,1],"point":"logic"})").pairs.empty());
}

TEST(Formats, ReadsUltraFeedback) {
  Group g = read("ultrafeedback", R"({"instruction":"do","completions":[
      {"response":"a","annotations":{"helpfulness":{"Rating":"2"},"honesty":{"Rating":"N/A"}},"overall_score":7.5},
      {"response":"b","annotations":{"helpfulness":{"Rating":"5"},"honesty":{"Rating":"4"}}}]})");
  EXPECT_EQ(g.responses.at(0).scores.at("helpfulness"), 2);
  EXPECT_TRUE(std::isnan(g.responses.at(0).scores.at("honesty")));
  EXPECT_EQ(g.responses.at(0).overall, 7.5);
  EXPECT_EQ(g.responses.at(1).overall, 4.5) << "the mean of its aspects";
  g = read("ultrafeedback", R"({"instruction":"do","completions":[
      {"response":"a","annotations":{"helpfulness":[{"Rating":"2"}]},"overall_score":null,"fine-grained_score":3.5}]})");
  EXPECT_EQ(g.responses.at(0).scores.at("helpfulness"), 2) << "a list, as in its first release";
  EXPECT_EQ(g.responses.at(0).overall, 3.5);
  EXPECT_NE(refusal(R"({"instruction":"do","completions":[{"response":"a","annotations":{"honesty":[1,2]}}]})")
                .find("expected one rating, found a list of 2"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"instruction":"do","completions":[{"response":"a","annotations":{"honesty":{"Rating":"NaN"}}}]})")
                .find("\"honesty.Rating\": expected a finite number or N/A, found \"NaN\""),
            std::string::npos);
}

TEST(Formats, ReadsHelpSteer) {
  Group g = read("helpsteer",
                 R"({"prompt":"p","response":"r","helpfulness":3,"correctness":2,"coherence":4,"complexity":1,"verbosity":0})");
  EXPECT_EQ(g.responses.at(0).overall, 3);
  EXPECT_EQ(g.responses.at(0).scores.size(), 5U);
  g = read("helpsteer-preference",
           R"({"prompt":"p","response_1":"a","response_2":"b","preference_strength":-2,"split":"validation"})");
  EXPECT_EQ(g.pairs, std::vector<StatedPair>{kFirst});
  EXPECT_EQ(g.split, Split::validation);
  EXPECT_TRUE(
      read("helpsteer-preference", R"({"prompt":"p","response_1":"a","response_2":"b","preference_strength":0})").pairs.empty());
}

TEST(Formats, ReadsHelpSteer3) {
  const Group g = read("helpsteer3", R"({"domain":"stem","language":"english","context":[{"role":"user","content":"1"},
      {"role":"assistant","content":"2"},{"role":"user","content":"3"}],"response1":"a","response2":"b","overall_preference":2})");
  EXPECT_EQ(prompt_of(g), "user: 1 | assistant: 2 | user: 3");
  EXPECT_EQ(g.category, "stem");
  EXPECT_EQ(g.pairs, (std::vector<StatedPair>{{"overall", 1, 0, 0.0}}));
}

TEST(Formats, ReadsTwoLabelsFromSafeRlhf) {
  Group g =
      read("safe-rlhf", R"({"prompt":"p","response_0":"a","response_1":"b","is_response_0_safe":false,"is_response_1_safe":true,
      "better_response_id":0,"safer_response_id":1})");
  EXPECT_EQ(g.pairs, (std::vector<StatedPair>{{"overall", 0, 1, 0.0}, {"safety", 1, 0, 0.0}}));
  g = read("safe-rlhf", R"({"prompt":"p","response_0":"a","response_1":"b","safer_response_id":-1})");
  EXPECT_TRUE(g.pairs.empty());
  EXPECT_EQ(refusal(R"({"prompt":"p","response_0":"a","response_1":"b","safer_response_id":2})"),
            "bad: \"safer_response_id\": expected 0, 1 or -1, found 2");
  EXPECT_NE(refusal(R"({"prompt":"p","response_0":"a","response_1":"b","is_response_0_safe":true,"is_response_1_safe":false,
                        "better_response_id":0,"safer_response_id":1})")
                .find("\"safer_response_id\": expected 0"),
            std::string::npos);
}

TEST(Formats, ReadsArenaVotes) {
  const auto row = [](const char* winner) {
    return std::string(R"({"conversation_a":[{"role":"user","content":"Hi"},{"role":"assistant","content":"a"}],
        "conversation_b":[{"role":"user","content":[{"type":"text","text":"Hi"}]},{"role":"assistant","content":"b"}],"winner":")") +
           winner + "\"}";
  };
  const Group g = read("arena", row("model_b").c_str());
  EXPECT_EQ(prompt_of(g), "user: Hi");
  EXPECT_EQ(g.responses.at(1).text, "b");
  EXPECT_EQ(g.pairs, (std::vector<StatedPair>{{"overall", 1, 0, 0.0}}));
  for (const char* none : {"tie", "tie (bothbad)", "both_bad"}) EXPECT_TRUE(read("arena", row(none).c_str()).pairs.empty());
  EXPECT_EQ(refusal(row("A").c_str()), "bad: \"winner\": expected model_a, model_b, both_bad or tie, found \"A\"");
  EXPECT_EQ(refusal(R"({"conversation_a":[{"role":"user","content":"Hi"},{"role":"assistant","content":"a"}],
      "conversation_b":[{"role":"user","content":"Ho"},{"role":"assistant","content":"b"}],"winner":"tie"})"),
            "unusable: \"conversation_a\" and \"conversation_b\" part before their last message: a group holds one prompt");
}

TEST(Formats, ReadsPostsOfShp) {
  Group g = read("shp", R"({"post_id":"x1","domain":"askculinary_validation","upvote_ratio":0.9,"history":"Why salt?",
      "c_root_id_A":"a","c_root_id_B":"b","score_A":30,"score_B":4,"human_ref_A":"Taste.","human_ref_B":"Habit.","labels":1,
      "score_ratio":7.5})");
  EXPECT_EQ(prompt_of(g), "user: Why salt?");
  EXPECT_EQ(g.category, "askculinary");
  EXPECT_EQ(g.split, Split::validation);
  EXPECT_EQ(g.pairs, (std::vector<StatedPair>{kFirst})) << "1 means that A is better";
  g = read("shp", R"({"history":"h","human_ref_A":"a","human_ref_B":"b","labels":0,"domain":"askscience_test","split":"train"})");
  EXPECT_EQ(g.pairs, (std::vector<StatedPair>{{"overall", 1, 0, 0.0}}));
  EXPECT_EQ(g.split, Split::train) << "what the row states counts";
  EXPECT_EQ(refusal(R"({"history":"h","human_ref_A":"a","human_ref_B":"b","labels":2})"),
            "bad: \"labels\": expected 0 or 1, found 2");
  EXPECT_NE(refusal(R"({"history":"h","human_ref_A":"a","human_ref_B":"b","labels":1,"score_A":1,"score_B":99})")
                .find("\"labels\": expected 0, as \"score_A\" is 1 and \"score_B\" is 99"),
            std::string::npos);
  EXPECT_EQ(refusal(R"({"history":"h","human_ref_A":"a","human_ref_B":"b","labels":0,"score_A":5,"score_B":5})"), "");
}

TEST(Formats, ReadsComparisonsOfWebGpt) {
  Group g = read("webgpt", R"({"question":{"dataset":"eli5","id":"3","full_text":"Why is ice slippery?"},
      "quotes_0":{"title":[],"extract":[]},"answer_0":"Water.","tokens_0":"","score_0":-0.5,
      "quotes_1":{"title":[],"extract":[]},"answer_1":"A film of water [1].","tokens_1":"","score_1":0.5})");
  EXPECT_EQ(prompt_of(g), "user: Why is ice slippery?");
  EXPECT_EQ(g.pairs, (std::vector<StatedPair>{{"overall", 1, 0, 0.0}}));
  g = read("webgpt", R"({"question":"q","answer_0":"a","answer_1":"b","score_0":0.0,"score_1":0.0})");
  EXPECT_TRUE(g.pairs.empty());
  EXPECT_EQ(refusal(R"({"question":{"id":"3"},"answer_0":"a","answer_1":"b","score_0":0,"score_1":1})"),
            "bad: expected the key \"full_text\", found {\"id\":\"3\"}");
}

TEST(Formats, ReadsComparisonsOfSummaries) {
  Group g = read("summarize-from-feedback", R"({"info":{"id":"t3","post":"Long story.","title":"My day","subreddit":"tifu",
      "site":null,"article":null},"split":"valid1","summaries":[{"text":" A day.","policy":"sup2","note":null},
      {"text":" I did it.","policy":"ref","note":null}],"choice":1,"worker":"w","batch":"b","extra":{"confidence":8}})");
  EXPECT_EQ(prompt_of(g), "user: SUBREDDIT: tifu\n\nTITLE: My day\n\nPOST: Long story.\n\nTL;DR:");
  EXPECT_EQ(g.split, Split::validation);
  EXPECT_EQ(g.responses.at(1).text, " I did it.");
  EXPECT_EQ(g.pairs, (std::vector<StatedPair>{{"overall", 1, 0, 0.0}}));
  g = read("summarize-from-feedback",
           R"({"info":{"article":"News.","title":null},"summaries":[{"text":"a"},{"text":"b"}],"choice":0})");
  EXPECT_EQ(prompt_of(g), "user: ARTICLE: News.\n\nTL;DR:");
  EXPECT_EQ(g.pairs, (std::vector<StatedPair>{kFirst}));
  EXPECT_EQ(refusal(R"({"info":{"post":"p"},"summaries":[{"text":"a"},{"text":"b"}],"choice":2})"),
            "bad: \"choice\": expected 0 or 1 of two summaries, found 2 of 2");
}

TEST(Formats, ReadsUnpairedRows) {
  Group g = read("unpaired", R"({"prompt":"p","completion":"good","label":true})");
  EXPECT_EQ(prompt_of(g), "user: p");
  EXPECT_EQ(g.responses.at(0).overall, 1.0);
  EXPECT_EQ(g.category, "") << "the label is no category";
  g = read("unpaired",
           R"({"prompt":[{"role":"user","content":"p"}],"completion":[{"role":"assistant","content":"bad"}],"label":0})");
  EXPECT_EQ(g.responses.at(0).text, "bad");
  EXPECT_EQ(g.responses.at(0).overall, 0.0);
  g = read("unpaired", R"({"messages":[{"role":"user","content":"p"},{"role":"assistant","content":"a"}],"kto_tag":false})");
  EXPECT_EQ(prompt_of(g), "user: p");
  EXPECT_EQ(g.responses.at(0).overall, 0.0);
  EXPECT_EQ(detect_format(json::parse(R"({"prompt":"p","completion":"a","label":"chat"})")), nullptr);
}

TEST(Formats, ReadsNectar) {
  const Group g = read("nectar", R"({"prompt":"\n\nHuman: Hi\n\nAssistant: ","answers":[{"answer":"b","rank":2.0,"model":"x"},
      {"answer":"a","rank":1.0},{"answer":"c","rank":2.0}]})");
  EXPECT_EQ(prompt_of(g), "user: Hi");
  EXPECT_GT(g.responses.at(1).overall, g.responses.at(0).overall) << "lower rank = better";
  EXPECT_EQ(g.responses.at(0).overall, g.responses.at(2).overall);
}

TEST(Formats, PrefersStatedPairsToTheColumnsTheyWereMadeOf) {
  const char* const both =
      R"({"prompt":"p","chosen":"a","rejected":"b","answers":[{"text":"x"}],"response_0":"b","response_1":"a",
      "better_response_id":1})";
  EXPECT_EQ(read("standard", both).responses.at(0).text, "a");
  const char* const merged =
      R"({"prompt":[{"role":"user","content":"Hi","from":null,"value":null}],"chosen":"a","rejected":"b"})";
  EXPECT_EQ(prompt_of(read("conversational", merged)), "user: Hi");
}

TEST(Formats, ReadsMessagesOfShareGptAndMessagesInParts) {
  Group g = read("conversational", R"({"conversations":[{"from":"system","value":"S"},{"from":"human","value":"Hi"}],
      "chosen":{"from":"gpt","value":"a"},"rejected":{"from":"gpt","value":"b"}})");
  EXPECT_EQ(prompt_of(g), "system: S | user: Hi");
  EXPECT_EQ(g.responses.at(0).text, "a");
  g = read("conversational", R"({"prompt":[{"role":"user","content":[{"type":"text","text":"H"},{"type":"text","text":"i"}]}],
      "chosen":"a","rejected":"b"})");
  EXPECT_EQ(prompt_of(g), "user: Hi");
  EXPECT_EQ(
      refusal(R"({"prompt":[{"role":"user","content":[{"type":"image_url","image_url":"x"}]}],"chosen":"a","rejected":"b"})"),
      "unusable: \"content\" with a part of type image_url: only text is read");
  EXPECT_EQ(refusal(R"({"prompt":[{"from":"tool","value":"x"}],"chosen":"a","rejected":"b"})"),
            "unusable: a message of the role tool: no chat template here writes tools");
  EXPECT_EQ(refusal(R"({"prompt":[{"from":"narrator","value":"x"}],"chosen":"a","rejected":"b"})"),
            "bad: \"prompt\": expected the role system, user or assistant (human, gpt), found \"narrator\"");
}

TEST(Formats, ReadsSwiftAndRewardBench) {
  Group g = read("swift", R"({"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"good"}],
      "rejected_response":"bad","margin":1})");
  EXPECT_EQ(prompt_of(g), "user: Hi");
  EXPECT_EQ(g.responses.at(0).text, "good");
  const Group lists = read("swift", R"({"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"good"}],
      "rejected_messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"bad"}]})");
  EXPECT_EQ(prompt_of(lists), "user: Hi");
  EXPECT_EQ(lists.responses.at(1).text, "bad");
  EXPECT_EQ(g.pairs, (std::vector<StatedPair>{{"overall", 0, 1, 1.0}}));
  g = read("rewardbench",
           R"({"prompt":"p","chosen":"a","rejected":"b","chosen_model":"x","rejected_model":"y","subset":"refusals","id":30})");
  EXPECT_EQ(g.category, "refusals");
  EXPECT_EQ(g.id, "30");
}

TEST(Formats, FindsNativeResponsesByTheirRid) {
  const Group g = read("native", R"({"id":"x","category":"c","split":"test","prompt":"p","responses":[
      {"rid":7,"text":"a","scores":{"s":1,"t":null,"overall":3}},{"rid":2,"text":"b","scores":{"s":2},"overall":5},{"rid":0,"text":"c"}],
      "preferences":[[7,2,"b"],[2,0,"tie"],[0,7,"a"]],
      "verdicts":[{"point":"s","a":2,"b":7,"first_order":"first","second_order":"tie"}]})");
  EXPECT_EQ(g.pairs, (std::vector<StatedPair>{{"overall", 1, 0, 0.0}, {"overall", 2, 0, 0.0}}));
  EXPECT_EQ(g.verdicts.at(0).a, 1);
  EXPECT_EQ(g.verdicts.at(0).b, 0);
  EXPECT_EQ(g.verdicts.at(0).second_order, Verdict::tie);
  EXPECT_EQ(g.responses.at(0).overall, 3) << "a score named overall is the overall score";
  EXPECT_EQ(g.responses.at(0).scores.size(), 2U);
  EXPECT_TRUE(std::isnan(g.responses.at(2).overall));
}

TEST(Formats, SaysWhatItExpectedAndFoundInBadRows) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {R"({"prompt":"p","responses":[{"text":"a","score":4},{"text":"b","score":2}]})", "found \"score\": 4: rename it"},
      {R"({"prompt":"p","responses":[{"text":"a","rank":1},{"text":"b","rank":2}]})", "with its sign turned round"},
      {R"({"prompt":"p","chosen":"a","rejected":3})", "\"rejected\": expected a string or a list of messages, found 3"},
      {R"({"prompt":"p","chosen":"a","rejected":"b","margin":-1})", "\"margin\": expected a number >= 0, found -1"},
      {R"({"prompt":"p","chosen":"a","rejected":"b","margin":"1.5"})",
       "\"margin\": expected a number, found the text \"1.5\": write 1.5 without quotes"},
      {R"({"instruction":"i","completions":[{"response":"a","annotations":{},"overall_score":"7,5"}]})",
       "write 7.5 without quotes"},
      {R"({"prompt":"p","response_0":"a","response_1":"b","better_response_id":"1"})",
       "\"better_response_id\": expected a number, found the text \"1\""},
      {R"({"prompt":"p","chosen":"a","rejected":"b","margin":"wide"})",
       "\"margin\": expected a finite number, found the text \"wide\""},
      {R"({"prompt":"p","chosen":"a","rejected":"b","margin":" nan"})", "expected a finite number, found the text \" nan\""},
      {R"({"prompt":"p","chosen":"a","rejected":"b","margin":1e39})",
       "\"margin\": expected a number that float32 can hold, found 1e+39"},
      {R"({"prompt":"p","chosen":"a","rejected":"b","score_chosen":1,"score_rejected":2})",
       "\"score_chosen\": expected at least \"score_rejected\" = 2, found 1"},
      {R"({"prompt":"p","chosen":"a","rejected":"b","chosen_rating":2.5,"rejected_rating":5})",
       "\"chosen_rating\": expected at least \"rejected_rating\" = 5, found 2.5"},
      {R"({"prompt":"p","chosen":"a","rejected":"b","chosen_score":"3","rejected_score":"5"})",
       "\"chosen_score\": expected at least \"rejected_score\" = 5, found 3"},
      {R"({"prompt":"p","chosen":"a","rejected":"b","chosen-rating":2,"rejected-rating":5})", "at least \"rejected-rating\" = 5"},
      {R"({"prompt":"p","chosen":"a","rejected":"b","reward_chosen":-1,"reward_rejected":0.5})", "at least \"reward_rejected\""},
      {R"({"messages":[{"role":"user","content":"p"},{"role":"assistant","content":"a"}],"rejected_response":"b",
          "chosen_score":1,"rejected_score":2})",
       "at least \"rejected_score\" = 2, found 1"},
      {R"({"prompt":"p","chosen":"a","rejected":"b","chosen_rank":2,"rejected_rank":1})",
       "at most \"rejected_rank\" = 1, found 2"},
      {R"({"prompt":"p","chosen":"a","rejected":"b","split":"later"})",
       "\"split\": expected train, validation or test, found \"later\""},
      {R"({"prompt":[{"role":"robot","content":"p"}],"chosen":"a","rejected":"b"})",
       "expected the role system, user or assistant, found \"robot\""},
      {R"({"prompt":[{"role":"user"}],"chosen":"a","rejected":"b"})", "expected messages {\"role\", \"content\"}"},
      {R"({"prompt":"p","chosen":[{"role":"user","content":"a"}],"rejected":"b"})", "expected a last message of role assistant"},
      {R"({"src":["q1","q2"],"response":["a","b"],"rank":[1,2]})",
       "\"tgt\": expected a reply to each of the 2 turns except the last, found 0"},
      {R"({"src":["q"],"response":["a","b"],"rank":[1]})", "\"rank\": expected one per response, found 1 for 2"},
      {R"({"src":["q"],"response":["a","b"],"rank":[1,null]})", "\"rank\": expected a finite number, found null"},
      {R"({"src":"q","response":["a","b"],"rank":[1,2]})", "\"src\": expected a list, found \"q\""},
      {R"({"prompt":"p","responses":[{"text":"a"},{"text":"b"}],"preferences":[[0,2,"a"]]})",
       "expected the rid of one of the 2 responses, found 2"},
      {R"({"prompt":"p","responses":[{"text":"a"},{"text":"b"}],"preferences":[[0,0,"a"]]})",
       "expected two different responses, found 0 twice"},
      {R"({"prompt":"p","responses":[{"text":"a"},{"text":"b"}],"preferences":[[0,1,"left"]]})", "expected [rid, rid,"},
      {R"({"prompt":"p","responses":[{"rid":1,"text":"a"},{"rid":1,"text":"b"}]})",
       "\"rid\": expected each number once, found 1 twice"},
      {R"({"prompt":"p","responses":[{"text":"a","scores":[1]}]})", "\"scores\": expected an object of numbers, found [1]"},
      {R"({"prompt":"p","responses":[{"text":"a","overall":true}]})", "\"overall\": expected a finite number, found true"},
      {R"({"prompt":"p","responses":[{"text":"a"},{"text":"b"}],"verdicts":[{"point":"s","a":0,"b":1}]})",
       "expected the key \"first_order\""},
      {R"({"prompt":"p","responses":[{"text":"a"},{"text":"b"}],
          "verdicts":[{"point":"s","a":0,"b":1,"first_order":"A","second_order":"first"}]})",
       "\"first_order\": expected first, second, tie, unparsable, refused or error, found \"A\""},
      {R"({"prompt":"p","responses":[{"text":"a"},3]})", "expected the key \"text\", found 3"},
      {R"({"instruction":"i","completions":[{"response":"a","annotations":[]}]})",
       "\"annotations\": expected an object, found []"},
      {R"({"instruction":"i","completions":[{"response":"a","annotations":{"honesty":{"Rating":"1e39"}}}]})",
       "\"honesty.Rating\": expected a number that float32 can hold"},
      {R"({"prompt":"p","completion":"a","label":"true"})", "\"label\": expected true or false without quotes, found \"true\""},
      {R"({"prompt":"p","completion":"a","label":"Good"})", "\"label\": expected true or false without quotes, found \"Good\""},
      {R"({"prompt":"p","completion":"a","label":-1})", "\"label\": expected true or false, found -1"},
      {R"({"messages":[{"role":"user","content":"p"},{"role":"assistant","content":"a"}],"kto_tag":"0"})",
       "\"kto_tag\": expected true or false without quotes, found \"0\""},
      {R"({"query":"q","responses":["a"],"rank":[1],"point":"x"})", "expected two \"responses\" and two ranks, found 1 and 1"},
  };
  for (const auto& [row, expected] : cases) {
    const std::string said = refusal(row);
    EXPECT_TRUE(said.starts_with("bad: ")) << row << " gives " << said;
    EXPECT_NE(said.find(expected), std::string::npos) << row << " gives " << said;
  }
}

TEST(Formats, TakesRatingsThatDoNotContradictThePairOrSayNothingOfIt) {
  for (const char* more : {R"("chosen_rating":5,"rejected_rating":5)", R"("chosen_rank":1,"rejected_rank":2)",
                           R"("chosen_rating":null,"rejected_rating":5)", R"("chosen_length":3,"rejected_length":9)",
                           R"("chosen_toxicity_score":0.1,"rejected_toxicity_score":0.9)", R"("chosen_rating":2)"}) {
    const std::string row = fmt::format(R"({{"prompt":"p","chosen":"a","rejected":"b",{}}})", more);
    EXPECT_EQ(refusal(row.c_str()), "") << row;
  }
  EXPECT_TRUE(std::isnan(read("standard", R"({"prompt":"p","chosen":"a","rejected":"b","chosen_rating":5,"rejected_rating":1})")
                             .responses[0]
                             .overall))
      << "only score_chosen is read as a score";
}

TEST(Formats, ReadsThePromptsOfUnlabelledRowsAsInTraining) {
  const auto prompt_in = [](const char* row) { return prompt_of(parse_unlabelled(json::parse(row))); };
  EXPECT_EQ(prompt_in(R"({"prompt":"Hi","system":"S","history":[["1","2"]],"responses":["a","b"]})"),
            "system: S | user: 1 | assistant: 2 | user: Hi");
  EXPECT_EQ(prompt_in(R"({"prompt":"\n\nHuman: Hi\n\nAssistant:","response":"a"})"), "user: Hi");
  const Group g = parse_unlabelled(json::parse(R"({"question":"Q","responses":["a",{"role":"assistant","content":"b"}]})"));
  EXPECT_EQ(g.responses.at(1).text, "b");
  EXPECT_TRUE(g.pairs.empty());
  const auto said = [](const char* row) {
    try {
      parse_unlabelled(json::parse(row));
    } catch (const RowError& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_NE(said(R"({"prompt":"Q","responses":["a",null]})").find("\"responses\": expected a string"), std::string::npos);
  EXPECT_NE(said(R"({"prompt":"Q","responses":["a"],"response":"b"})").find("found both"), std::string::npos);
  EXPECT_NE(said(R"({"text":"Q","response":"b"})").find("expected the key \"prompt\", found response, text"), std::string::npos);
}

TEST(Formats, TakesATextOrANumberAsTheCategory) {
  EXPECT_EQ(read("standard", R"({"prompt":"p","chosen":"a","rejected":"b","category":" math "})").category, "math");
  EXPECT_EQ(read("standard", R"({"prompt":"p","chosen":"a","rejected":"b","category":"  "})").category, "");
  EXPECT_EQ(read("standard", R"({"prompt":"p","chosen":"a","rejected":"b","category":3})").category, "3");
  EXPECT_EQ(refusal(R"({"prompt":"p","chosen":"a","rejected":"b","category":["x"]})"),
            "bad: \"category\": expected a text or a whole number, found [\"x\"]");
  EXPECT_EQ(read("standard", R"({"prompt":"p","chosen":"a","rejected":"b","category":null,"label":1})").category, "");
}

TEST(Formats, RefusesAnUnknownNameAndListsTheKnownOnes) {
  EXPECT_EQ(detect_format(json::parse(R"({"text":"a"})")), nullptr);
  EXPECT_EQ(detect_format(json::parse("[]")), nullptr);
  EXPECT_EQ(format_by_name("swift").name, "swift");
  try {
    (void)format_by_name("swfit");
    FAIL() << "an unknown name was taken";
  } catch (const ConfigError& e) {
    for (const Format& format : formats()) EXPECT_NE(std::string(e.what()).find(format.name), std::string::npos) << format.name;
  }
}

}  // namespace
}  // namespace dmoerm::preference
