#include "judge/chat_reply.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace dmoerm::judge {
namespace {

using Kind = ChatReply::Kind;
const std::string kGood =
    R"({"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"Verdict: 1"},"logprobs":{"content":[{"token":"1","logprob":-0.1}]},)"
    R"("finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}})";

std::string with_message(const std::string& message, const std::string& finish = "stop") {
  return R"({"choices":[{"message":)" + message + R"(,"finish_reason":")" + finish + R"("}]})";
}

TEST(ChatReply, ReadsTextUsageAndLogprobs) {
  const ChatReply reply = parse_chat_reply(kGood);
  ASSERT_EQ(reply.kind, Kind::ok) << reply.problem;
  EXPECT_EQ(reply.text, "Verdict: 1");
  EXPECT_EQ(reply.finish_reason, "stop");
  EXPECT_EQ(reply.prompt_tokens, 12);
  EXPECT_EQ(reply.completion_tokens, 3);
  EXPECT_EQ(reply.logprobs["content"][0]["token"], "1");
}

/// A whole answer with some members before its choices.
std::string beside(const std::string& members, const std::string& usage = R"({"prompt_tokens":12,"completion_tokens":3})",
                   const std::string& finish = "stop") {
  return "{" + members + R"(,"choices":[{"message":{"content":"Verdict: 1"},"finish_reason":")" + finish + R"("}],"usage":)" +
         usage + "}";
}

TEST(ChatReply, ReadsAPaidAnswerBesideAnErrorFieldThatSaysNothingOrWarns) {
  for (const char* error :
       {R"("")", R"(" ")", "false", "0", "{}", "[]", "null", R"({"message":"","code":null})", R"({"code":0,"message":[]})",
        R"({"message":"warning","code":200})", R"({"message":"cache miss"})", R"("slow")"}) {
    const ChatReply reply = parse_chat_reply(beside(R"("error":)" + std::string(error)));
    ASSERT_EQ(reply.kind, Kind::ok) << error;
    EXPECT_EQ(reply.text, "Verdict: 1");
    EXPECT_EQ(reply.completion_tokens, 3);
  }
  for (const char* error : {R"({"message":"down","code":502})", R"({"message":"slow down","code":"429"})", R"({"status":500})"}) {
    const ChatReply reply = parse_chat_reply(beside(R"("error":)" + std::string(error)));
    EXPECT_EQ(reply.kind, Kind::failed) << error;
    EXPECT_EQ(reply.completion_tokens, 3) << "which were paid for";
  }
  EXPECT_EQ(parse_chat_reply(beside(R"("error":{"message":"no"})", "null")).kind, Kind::failed);
  EXPECT_EQ(parse_chat_reply(beside(R"("error":{"message":"no"})", R"({"completion_tokens":3})", "error")).kind, Kind::failed);
  EXPECT_EQ(parse_chat_reply(beside(R"("base_resp":{"status_code":1027,"status_msg":"sensitive"})")).kind, Kind::failed);
  EXPECT_EQ(parse_chat_reply(R"({"error":"","choices":[]})").kind, Kind::none);
}

TEST(ChatReply, TellsCountsThatAreTooLargeFromMissingOnes) {
  for (const char* count : {"1000000000000000", "1e300", R"("1000000000000000")"}) {
    const ChatReply reply = parse_chat_reply(
        beside(R"("id":"x")", R"({"prompt_tokens":12,"completion_tokens":)" + std::string(count) + R"(,"cost":1e12})"));
    EXPECT_EQ(reply.completion_tokens, -1) << count;
    EXPECT_TRUE(reply.too_many_tokens) << count;
  }
  EXPECT_FALSE(parse_chat_reply(beside(R"("id":"x")", R"({"cost":1e12})")).too_many_tokens);
  EXPECT_FALSE(parse_chat_reply(beside(R"("id":"x")")).too_many_tokens);
}

TEST(ChatReply, ReadsACostInQuotesAndKeepsOneThatCannotBe) {
  const auto cost = [](const std::string& value) {
    return parse_chat_reply(beside(R"("id":"x")", R"({"prompt_tokens":12,"completion_tokens":3,"cost":)" + value + "}"));
  };
  for (const char* value : {"0.01", R"("0.01")", R"(" 1e-2 ")", R"({"total_cost":"0.01"})"}) {
    EXPECT_EQ(cost(value).charged_micros, 10'000) << value;
    EXPECT_EQ(cost(value).odd_cost, "") << value;
  }
  EXPECT_EQ(cost("null").odd_cost, "");
  for (const char* value : {"-1", "1e12", R"("much")", R"("-0.5")", R"("nan")"}) {
    EXPECT_EQ(cost(value).charged_micros, -1) << value;
    EXPECT_NE(cost(value).odd_cost, "") << value;
  }
}

TEST(ChatReply, RecognisesBothFormsOfRefusal) {
  const ChatReply refusal = parse_chat_reply(with_message(R"({"content":null,"refusal":"I cannot."})"));
  EXPECT_EQ(refusal.kind, Kind::refused);
  EXPECT_EQ(refusal.text, "I cannot.");
  EXPECT_EQ(parse_chat_reply(with_message(R"({"content":"I"})", "content_filter")).kind, Kind::refused);
  EXPECT_EQ(parse_chat_reply(with_message(R"({"content":"2","refusal":null})")).kind, Kind::ok);
}

TEST(ChatReply, RecognisesWhatProvidersWithhold) {
  for (const char* body : {
           R"({"promptFeedback":{"blockReason":"SAFETY","safetyRatings":[]},"usageMetadata":{}})",
           R"({"choices":[],"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"}})",
           R"({"choices":[],"prompt_filter_results":[{"content_filter_results":{"hate":{"filtered":true}}}]})",
           R"({"choices":[{"index":0,"message":null,"finish_reason":"PROHIBITED_CONTENT"}]})",
           R"({"choices":[{"index":0,"message":{"role":"assistant"},"finish_reason":"content_filter"}]})",
           R"({"choices":[{"index":0,"message":{"content":""},"finish_reason":"sensitive"}]})",
           R"({"choices":[{"index":0,"message":{"content":"Sorry."},"finish_reason":"guardrail_intervened"}]})",
           R"({"choices":[{"message":{"content":"Sorry."},"finish_reason":"content_filtered"}]})",
           R"({"choices":[{"message":{"content":""},"finish_reason":"stop","native_finish_reason":"refusal"}]})",
           R"({"choices":[{"message":{"content":null},"finish_reason":null,"stop_reason":"refusal"}]})",
       })
    EXPECT_EQ(parse_chat_reply(body).kind, Kind::refused) << body;
  EXPECT_EQ(
      parse_chat_reply(R"({"choices":[],"prompt_filter_results":[{"content_filter_results":{"hate":{"filtered":false}}}]})").kind,
      Kind::none);
  EXPECT_EQ(parse_chat_reply(R"({"choices":[{"message":null,"finish_reason":"stop"}]})").kind, Kind::bad);
  EXPECT_EQ(
      parse_chat_reply(R"({"choices":[{"message":{"content":"Verdict: 1"},"finish_reason":"stop","stop_reason":"refusal"}]})")
          .kind,
      Kind::ok)
      << "a stop string of the request";
}

TEST(ChatReply, RecognisesErrorsWhereverTheyStand) {
  for (
      const char* body : {
          R"([{"error":{"code":429,"message":"Resource exhausted","status":"RESOURCE_EXHAUSTED"}}])",
          R"({"choices":[{"error":{"code":502,"message":"Provider returned error"},"finish_reason":"error","message":{"content":""}}]})",
          R"({"choices":null,"base_resp":{"status_code":1026,"status_msg":"input new_sensitive"}})",
      })
    EXPECT_EQ(parse_chat_reply(body).kind, Kind::failed) << body;
  EXPECT_EQ(parse_api_problem(R"([{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED"}}])").status, 429);
  EXPECT_EQ(parse_api_problem(R"({"choices":[{"error":{"code":502,"message":"down"}}]})").status, 502);
  EXPECT_EQ(parse_api_problem(R"({"base_resp":{"status_code":1026,"status_msg":"input new_sensitive"}})").message,
            "input new_sensitive");
  EXPECT_EQ(
      parse_chat_reply(
          R"({"choices":[{"message":{"content":"1"},"finish_reason":"stop"}],"base_resp":{"status_code":0,"status_msg":""}})")
          .kind,
      Kind::ok);
}

TEST(ChatReply, ReadsAWholeStream) {
  const std::string chunks =
      ": ping\n\ndata: "
      "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\r\n\r\n"
      "event: message\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Verdict:\"}}]}\n\n"
      "data:{\"choices\":[{\"index\":0,\"delta\":{\"content\":\" 1\"}}]}\n\n";
  const std::string end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
  const std::string usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":3}}\n\n";
  const ChatReply reply = parse_chat_reply(chunks + end + usage + "data: [DONE]\n\n");
  ASSERT_EQ(reply.kind, Kind::ok) << reply.problem;
  EXPECT_EQ(reply.text, "Verdict: 1");
  EXPECT_EQ(reply.finish_reason, "stop");
  EXPECT_EQ(reply.prompt_tokens, 12);
  EXPECT_EQ(reply.completion_tokens, 3);
  EXPECT_EQ(parse_chat_reply(chunks).kind, Kind::bad) << "it breaks off";
  EXPECT_EQ(parse_chat_reply(chunks + "data: {\"choices\":[{\"del").kind, Kind::bad);
  EXPECT_EQ(parse_chat_reply(chunks + "data: {\"error\":{\"message\":\"down\"}}\n\n").kind, Kind::failed);
  EXPECT_EQ(parse_chat_reply("data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"1\"}}]}\n\ndata: [DONE]").kind,
            Kind::bad);
}

TEST(ChatReply, JoinsContentParts) {
  EXPECT_EQ(parse_chat_reply(
                with_message(R"({"content":[{"type":"text","text":"Ver"},{"type":"image"},{"type":"text","text":"dict: 1"},7]})"))
                .text,
            "Verdict: 1");
  EXPECT_EQ(parse_chat_reply(with_message(R"({"content":null})")).text, "");
}

TEST(ChatReply, NeedsExactlyOneChoiceWithAMessage) {
  for (const char* body :
       {"", " ", "null", "[]", "7", "\"1\"", "{}", R"({"choices":null})", R"({"choices":{}})", R"({"choices":[1]})",
        R"({"choices":[{}]})", R"({"choices":[{"message":"1"}]})", R"({"choices":[{"message":{"content":1}}]})",
        R"({"choices":[{"message":{"content":"1"}},{"message":{"content":"1"}}]})",
        "{\"choices\":[{\"message\":{\"content\":\"\xff\xfe\"}}]}",
        "{\"choices\":[{\"message\":{\"content\":\"\xed\xa0\x80\"}}]}"}) {
    const ChatReply reply = parse_chat_reply(body);
    EXPECT_EQ(reply.kind, Kind::bad) << body;
    EXPECT_FALSE(reply.problem.empty()) << body;
  }
  EXPECT_EQ(parse_chat_reply(R"({"choices":[]})").kind, Kind::none) << "it may answer when it is asked again";
  EXPECT_EQ(parse_chat_reply(R"({"choices":[],"usage":{"completion_tokens":7}})").completion_tokens, 7);
  EXPECT_EQ(parse_chat_reply(R"({"error":{"message":"no"},"choices":[{"message":{"content":"1"}}]})").kind, Kind::failed);
  EXPECT_EQ(parse_chat_reply(R"({"error":null,"choices":[{"message":{"content":"1"}}]})").kind, Kind::ok);
}

TEST(ChatReply, NamesWhatCameInsteadOfJson) {
  const auto problem = [](const char* body) { return parse_chat_reply(body).problem; };
  EXPECT_NE(problem("data: {\"choices\":[]}\n\ndata: [DONE]\n\n").find("stream of server-sent events"), std::string::npos);
  EXPECT_NE(problem(": ping\n\ndata: {}\n\n").find("stream of server-sent events"), std::string::npos);
  EXPECT_NE(problem("<!DOCTYPE html><html>").find("web page"), std::string::npos);
  EXPECT_NE(problem("upstream says no").find("upstream says no"), std::string::npos);
  EXPECT_NE(problem("\x1f\x8b\x08 ...").find("compressed body without the header Content-Encoding"), std::string::npos);
}

TEST(ChatReply, NamesTheInterfaceThatAnswered) {
  const auto problem = [](const char* body) { return parse_chat_reply(body).problem; };
  EXPECT_NE(problem(R"({"candidates":[{"content":{"parts":[{"text":"1"}]}}]})").find("as Gemini's generateContent answers"),
            std::string::npos);
  EXPECT_NE(
      problem(R"({"content":[{"type":"text","text":"1"}],"stop_reason":"end_turn"})").find("as Anthropic's messages answers"),
      std::string::npos);
  EXPECT_NE(problem(R"({"message":{"content":"1"},"done":true})").find("as Ollama's /api/chat answers"), std::string::npos);
  EXPECT_NE(problem(R"({"object":"response","output":[]})").find("as OpenAI's /responses answers"), std::string::npos);
  EXPECT_NE(problem(R"({"choices":[{"text":"1"}]})").find("as /completions answers"), std::string::npos);
  EXPECT_EQ(problem(R"({"detail":"Not authenticated"})"),
            R"(a body without a list "choices" ("{"detail":"Not authenticated"}"))");
}

TEST(ChatReply, KnowsTheWordsForACutAnswer) {
  for (const char* word : {"length", "max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens"})
    EXPECT_TRUE(is_cut_off(word)) << word;
  for (const char* word : {"stop", "", "end_turn", "content_filter", "tool_calls"}) EXPECT_FALSE(is_cut_off(word)) << word;
}

TEST(ChatReply, RefusesEveryPrefix) {
  for (std::size_t n = 0; n < kGood.size(); ++n) ASSERT_EQ(parse_chat_reply(kGood.substr(0, n)).kind, Kind::bad) << n;
}

TEST(ChatReply, IgnoresImpossibleTokenCounts) {
  for (const char* tokens : {"-1", "1.5", "1e300", "\"1.5\"", "\"-3\"", "\"12 tokens\"", "null", "99999999999999999999",
                             "18446744073709551615", "[]"}) {
    const ChatReply reply =
        parse_chat_reply(std::string(R"({"choices":[{"message":{"content":"1"}}],"usage":{"prompt_tokens":)") + tokens + "}}");
    ASSERT_EQ(reply.kind, Kind::ok) << tokens;
    EXPECT_EQ(reply.prompt_tokens, -1) << tokens;
    EXPECT_EQ(reply.completion_tokens, -1);
  }
}

TEST(ChatReply, TakesACountOfZeroForNone) {
  const auto counts = [](const std::string& text, const std::string& usage) {
    const ChatReply reply = parse_chat_reply(R"({"choices":[{"message":{"content":")" + text + R"("}}],"usage":)" + usage + "}");
    return std::pair(reply.prompt_tokens, reply.completion_tokens);
  };
  using Counts = std::pair<std::int32_t, std::int32_t>;
  EXPECT_EQ(counts("1", R"({"prompt_tokens":0,"completion_tokens":0,"total_tokens":0})"), Counts(-1, -1));
  EXPECT_EQ(counts("", R"({"prompt_tokens":0,"completion_tokens":0})"), Counts(-1, -1));
  EXPECT_EQ(counts("1", R"({"prompt_tokens":0,"completion_tokens":3})"), Counts(-1, 3));
  EXPECT_EQ(counts("1", R"({"prompt_tokens":12,"completion_tokens":0})"), Counts(12, -1));
  EXPECT_EQ(counts("", R"({"prompt_tokens":12,"completion_tokens":0})"), Counts(12, 0)) << "it may have said nothing";
}

TEST(ChatReply, ReadsCountsUnderTheNamesOfOtherInterfaces) {
  const auto counts = [](const std::string& members) {
    const ChatReply reply = parse_chat_reply(R"({"choices":[{"message":{"content":"1"}}],)" + members + "}");
    return std::pair(reply.prompt_tokens, reply.completion_tokens);
  };
  using Counts = std::pair<std::int32_t, std::int32_t>;
  EXPECT_EQ(counts(R"("usage":{"input_tokens":4000,"output_tokens":500})"), Counts(4000, 500)) << "Anthropic, OpenAI's responses";
  EXPECT_EQ(
      counts(R"("usage":{"input_tokens":4,"cache_read_input_tokens":300,"cache_creation_input_tokens":96,"output_tokens":5})"),
      Counts(400, 5));
  EXPECT_EQ(counts(R"("usage":{"prompt_tokens":400,"cache_read_input_tokens":300,"completion_tokens":5})"), Counts(400, 5))
      << "the sum has them already";
  EXPECT_EQ(counts(R"("usage":{"prompt_tokens":"4000","completion_tokens":"500"})"), Counts(4000, 500)) << "in quotes";
  EXPECT_EQ(counts(R"("usage":{"prompt_tokens":4000.0,"completion_tokens":500.0})"), Counts(4000, 500));
  EXPECT_EQ(
      counts(R"("usageMetadata":{"promptTokenCount":40,"candidatesTokenCount":5,"thoughtsTokenCount":60,"totalTokenCount":105})"),
      Counts(40, 65))
      << "Gemini";
  EXPECT_EQ(
      counts(R"("usage":{"billed_units":{"input_tokens":40,"output_tokens":5},"tokens":{"input_tokens":90,"output_tokens":5}})"),
      Counts(90, 5))
      << "Cohere";
  EXPECT_EQ(counts(R"("prompt_eval_count":40,"eval_count":5)"), Counts(40, 5)) << "Ollama";
  EXPECT_EQ(counts(R"("usage":{"inputTokens":40,"outputTokens":5,"totalTokens":45})"), Counts(40, 5)) << "Bedrock";
  EXPECT_EQ(counts(R"("usage":{"prompt_tokens":0,"completion_tokens":0,"input_tokens":40,"output_tokens":5})"), Counts(40, 5));
  EXPECT_EQ(counts(R"("usage":null,"x_groq":{"usage":{"prompt_tokens":40,"completion_tokens":5}})"), Counts(40, 5)) << "Groq";
}

TEST(ChatReply, ReadsAnAnswerBesideNumbersThatAreNoJsonAndHalfACharacter) {
  const auto reply = [](const std::string& content, const std::string& number, const std::string& token) {
    return parse_chat_reply(R"({"choices":[{"message":{"content":")" + content +
                            R"("},"logprobs":{"content":[{"token":"1","top_logprobs":[{"token":")" + token + R"(","logprob":)" +
                            number + "}]}]}}]}");
  };
  for (const char* number : {"-Infinity", "Infinity", "NaN"}) {
    const ChatReply read = reply(R"(\"NaN\" Verdict: 1)", number, "2");
    ASSERT_EQ(read.kind, Kind::ok) << number << read.problem;
    EXPECT_EQ(read.text, R"("NaN" Verdict: 1)");
    EXPECT_TRUE(read.logprobs["content"][0]["top_logprobs"][0]["logprob"].is_null());
  }
  EXPECT_EQ(reply("Verdict: 1", "-0.1", "\xf0\x9f").text, "Verdict: 1");
  EXPECT_EQ(reply("Verdict: 1", "-Infinity", "\xf0\x9f").text, "Verdict: 1");
  EXPECT_EQ(reply("Verdict: \xff", "-0.1", "2").kind, Kind::bad) << "the answer itself is damaged";
  EXPECT_EQ(reply("Verdict: 1", "-Inf", "2").kind, Kind::bad);
}

TEST(ChatReply, ReadsWhatTheServerSaysThatItCharged) {
  const auto charged = [](const std::string& cost) {
    return parse_chat_reply(R"({"choices":[{"message":{"content":"1"}}],"usage":{"cost":)" + cost + "}}").charged_micros;
  };
  EXPECT_EQ(charged("0.05"), 50'000);
  EXPECT_EQ(charged("0.0000001"), 1) << "rounded up";
  EXPECT_EQ(charged("0"), 0);
  EXPECT_EQ(charged(R"({"input_tokens_cost":0.001,"total_cost":0.006})"), 6'000);
  for (const char* none : {"null", "-1", "1e300", "[]"}) EXPECT_EQ(charged(none), -1) << none;
}

TEST(ChatReply, CountsThoughtsThatOnlyTheTotalHas) {
  const auto counts = [](const std::string& usage) {
    const ChatReply reply = parse_chat_reply(R"({"choices":[{"message":{"content":"1"}}],"usage":)" + usage + "}");
    return std::pair(reply.prompt_tokens, reply.completion_tokens);
  };
  using Counts = std::pair<std::int32_t, std::int32_t>;
  EXPECT_EQ(counts(R"({"prompt_tokens":100,"completion_tokens":5,"total_tokens":905})"), Counts(100, 805));
  EXPECT_EQ(counts(R"({"prompt_tokens":100,"total_tokens":905})"), Counts(100, 805));
  EXPECT_EQ(counts(R"({"completion_tokens":5,"total_tokens":905})"), Counts(900, 5));
  EXPECT_EQ(counts(R"({"prompt_tokens":100,"completion_tokens":5,"total_tokens":7})"), Counts(100, 5));
  EXPECT_EQ(counts(R"({"prompt_tokens":100,"completion_tokens":5,"total_tokens":1000000000000})"), Counts(100, 5));
}

TEST(ChatReply, AFailureOfTheProviderIsNoAnswer) {
  for (const char* reason : {"error", "ERROR", "failed", "server_error"}) {
    const ChatReply reply = parse_chat_reply(with_message(R"({"content":""})", reason));
    EXPECT_EQ(reply.kind, Kind::none) << reason;
    EXPECT_NE(reply.problem.find("the provider of the model failed"), std::string::npos) << reply.problem;
    EXPECT_EQ(parse_chat_reply(with_message(R"({"content":"Verdict: 1"})", reason)).kind, Kind::ok) << reason;
  }
}

TEST(ChatReply, RefusesDeepNestingWithoutRecursion) {
  for (const std::string bracket : {"[]", "{}"}) {
    std::string deep;
    for (int i = 0; i < 2'000'000; ++i) deep += bracket[0] == '[' ? "[" : "{\"a\":";
    EXPECT_EQ(parse_chat_reply(R"({"choices":[{"message":{"content":"1"},"logprobs":)" + deep).kind, Kind::bad);
  }
  EXPECT_EQ(parse_chat_reply(with_message(R"({"content":")" + std::string(100000, '[') + R"("})")).kind, Kind::ok)
      << "brackets in a text do not nest";
}

TEST(ChatReply, SurvivesRandomDamage) {
  Rng rng(5, "damage");
  int ok = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string body = kGood;
    for (std::uint64_t n = 1 + rng.below(4); n > 0; --n) {
      const std::size_t at = rng.below(body.size());
      switch (rng.below(3)) {
        case 0:
          body[at] = static_cast<char>(rng.below(256));
          break;
        case 1:
          body.erase(at, 1 + rng.below(8));
          break;
        default:
          body.insert(at, body.substr(rng.below(body.size()), rng.below(12)));
          break;
      }
    }
    ok += parse_chat_reply(body).kind == Kind::ok;
    const ApiProblem problem = parse_api_problem(body);
    ASSERT_LE(problem.message.size(), 310U);
  }
  EXPECT_GT(ok, 1000);
  EXPECT_LT(ok, 19000);
}

TEST(ApiProblem, ReadsTheErrorReportsOfSeveralServers) {
  const ApiProblem openai =
      parse_api_problem(R"({"error":{"message":"No more.","type":"insufficient_quota","code":"insufficient_quota"}})");
  EXPECT_EQ(openai.message, "No more.");
  EXPECT_EQ(openai.code, "insufficient_quota");
  EXPECT_EQ(parse_api_problem(R"({"error":{"message":"x","code":429}})").status, 429);
  EXPECT_EQ(parse_api_problem(R"({"error":{"message":"x","code":12345678901}})").status, 0);
  EXPECT_EQ(parse_api_problem(R"({"error":"model 'x' not found"})").message, "model 'x' not found");
  EXPECT_EQ(parse_api_problem(R"({"object":"error","message":"bad","type":"BadRequest","code":400})").status, 400);
  EXPECT_EQ(parse_api_problem(R"({"detail":"Not Found"})").message, "Not Found");
  EXPECT_EQ(parse_api_problem(R"({"detail":[{"loc":["body","top_p"],"msg":"too large","type":"v"},{"msg":"no"}]})").message,
            "body.top_p: too large; no");
  EXPECT_EQ(parse_api_problem(R"({"fault":{"why":"busy"}})").message, R"({"fault":{"why":"busy"}})")
      << "no known place for words";
  EXPECT_EQ(parse_api_problem("<html>\n<b>Bad\tGateway</b>\r\n</html>").message, "<html> <b>Bad Gateway</b> </html>");
  EXPECT_EQ(parse_api_problem("").message, "");
}

TEST(OneLine, RemovesControlCharactersAndCutsLongText) {
  EXPECT_EQ(one_line("a\nb\x1b[31mc\x7f"), "a b [31mc");
  EXPECT_EQ(one_line("caf\xc3\xa9 \xff\xfe ok"), "caf\xc3\xa9 ok");
  EXPECT_EQ(one_line("x\xc2\x9b"
                     "31m"),
            "x 31m");
  EXPECT_EQ(one_line(std::string(1000, 'a'), 10), "aaaaaaaaaa...");
  EXPECT_EQ(one_line("aaaaaaaaa\xc3\xa9", 10), "aaaaaaaaa...") << "cut between characters";
}

TEST(ChatReply, FindsTheAnswerWhereverServersPutIt) {
  for (const char* message : {R"({"content":["{\"verdict\":\"1\"}"]})", R"({"content":[{"text":"{\"verdict\":\"1\"}"}]})",
                              R"({"content":{"verdict":"1"}})", R"({"content":{"type":"text","text":"{\"verdict\":\"1\"}"}})",
                              R"({"content":null,"parsed":{"verdict":"1"}})",
                              R"({"content":"","tool_calls":[{"function":{"name":"v","arguments":"{\"verdict\":\"1\"}"}}]})",
                              R"({"content":null,"function_call":{"name":"v","arguments":{"verdict":"1"}}})"}) {
    const ChatReply reply = parse_chat_reply(std::string(R"({"choices":[{"message":)") + message + "}]}");
    EXPECT_EQ(reply.kind, ChatReply::Kind::ok) << message << reply.problem;
    EXPECT_EQ(reply.text, R"({"verdict":"1"})") << message;
  }
  EXPECT_EQ(parse_chat_reply(R"({"choices":[{"message":{"content":"so","parsed":{"verdict":"1"}}}]})").text, "so");
  EXPECT_EQ(parse_chat_reply(R"({"choices":[{"message":{"content":[{"type":"thinking","text":"so"}]}}]})").text, "");
}

}  // namespace
}  // namespace dmoerm::judge
