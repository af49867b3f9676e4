// Requests that are refused: the status, the code, the place in the body and the value found there.
#include <gtest/gtest.h>

#include "wire/bodies.h"
#include "wire/render_error.h"

namespace dmoerm::wire {
namespace {

using nlohmann::json;

TEST(Refusals, BodiesThatAreNoJson) {
  EXPECT_EQ(refused("/v1/reward", "").code, "empty-body");
  EXPECT_EQ(refused("/v1/reward", " \n").code, "empty-body");
  EXPECT_EQ(refused("/v1/reward", "prompt=Q").code, "body-not-json");
  EXPECT_EQ(refused("/v1/reward", R"({"prompt": "Q")").code, "body-not-json");
  EXPECT_EQ(refused("/v1/reward", R"({"prompt": "Q"} {})").code, "body-not-json");
  EXPECT_EQ(refused("/v1/reward", R"({"prompt": "\ud800"})").code, "body-not-json");
  EXPECT_EQ(refused("/v1/reward", "{\"prompt\": \"\xff\"}").sentence, "byte 12 of the body, 0xff, is not UTF-8");
  EXPECT_TRUE(refused("/v1/reward", "\x1f\x8b\x08").sentence.starts_with("the body is a gzip file"));
  EXPECT_EQ(refused("/v1/reward", "[1]").code, "body-field-wrong-type");
  EXPECT_EQ(refused("/v1/reward", "null").sentence, "the body: expected a JSON object, found null");
}

TEST(Refusals, NumbersThatAreNone) {
  for (const char* number : {"NaN", "Infinity", "-Infinity", "1e999", "-1e999"})
    EXPECT_EQ(refused("/rerank", R"({"query": "q", "documents": ["d"], "top_n": )" + std::string(number) + "}").status, 400)
        << number;
  EXPECT_EQ(refused("/rerank", R"({"query": "q", "documents": ["d"], "top_n": NaN})").code, "number-not-finite");
  EXPECT_EQ(refused("/rerank", R"({"query": "q", "documents": ["d"], "top_n": 1e999})").code, "number-not-finite");
  for (const char* number : {"-1", "1.5", "\"2\"", "18446744073709551616", "9223372036854775808", "1e3", "true"})
    EXPECT_EQ(refused("/rerank", R"({"query": "q", "documents": ["d"], "top_n": )" + std::string(number) + "}").code,
              "body-number-out-of-range")
        << number;
  EXPECT_EQ(refused("/classify", R"({"input": [1, -2]})").sentence,
            "input[1]: expected a whole number from 0 to 2147483647, found -2");
  EXPECT_EQ(refused("/classify", R"({"input": [1, 2147483648]})").code, "body-number-out-of-range");
}

TEST(Refusals, TwoFormsAtOnce) {
  const std::pair<const char*, const char*> cases[] = {
      {"/rerank", R"({"query": "q", "texts": ["a"], "documents": ["b"]})"},
      {"/score", R"({"text_1": "a", "text_2": ["b"], "queries": "c", "documents": ["d"]})"},
      {"/score", R"({"query": "a", "items": ["b"], "documents": ["c"]})"},
      {"/score", R"({"query": "a", "items": ["b"], "text_1": "c"})"},
      {"/score", R"({"data_1": "a", "data_2": "b", "text_2": "c"})"},
      {"/classify", R"({"input": "a", "messages": []})"},
      {"/classify", R"({"input": "a", "text": "b"})"},
      {"/classify", R"({"text": "a", "input_ids": [1]})"},
      {"/pooling", R"({"input": "a", "messages": [{"role": "user", "content": "x"}]})"},
      {"/v1/embeddings", R"({"input": "a", "messages": []})"},
      {"/predict", R"({"inputs": "a", "query": "q", "texts": ["b"]})"},
      {"/get_reward", R"({"query": ["a"], "queries": ["b"]})"},
      {"/v1/reward", R"({"texts": ["a"], "normalise": "none", "normalize": "sigmoid"})"}};
  for (const auto& [path, body] : cases) {
    const Refusal said = refused(path, body);
    EXPECT_EQ(said.code, "two-forms-at-once") << path << body;
    EXPECT_TRUE(said.status == 400 || said.status == 422) << body;
  }
  EXPECT_EQ(refused(cases[0].first, cases[0].second).sentence,
            "the body: documents and texts are two ways to say one thing: send one of them");
  EXPECT_EQ(asked("/classify", R"({"input": "a", "messages": null})").size(), 1U);
  EXPECT_EQ(asked("/score", R"({"queries": "a", "items": ["b"]})").size(), 1U);
}

TEST(Refusals, APairInPlaceOfAText) {
  for (const auto& [path, body] : {std::pair("/classify", R"({"input": {"text": "a", "text_pair": "b"}})"),
                                   std::pair("/v1/reward", R"({"texts": [{"text": "a", "text_pair": "b"}]})"),
                                   std::pair("/rerank", R"({"query": "q", "documents": [{"text": "a", "text_pair": "b"}]})")})
    EXPECT_NE(refused(path, body).sentence, "") << path;
}

TEST(Refusals, RepeatLittleOfALongValue) {
  const std::string nines(400, '9');
  EXPECT_LT(refused("/get_reward", R"({"query": ["a"], "x": )" + nines + "}").sentence.size(), 200U);
  EXPECT_LT(refused("/get_reward", "{" + std::string(9000, 'k') + ": 1}").sentence.size(), 200U);
  try {
    (void)find_endpoint("GET", "/v2/models/" + std::string(9000, 'a') + "/infer");
    ADD_FAILURE();
  } catch (const RequestError& e) {
    EXPECT_LT(std::string(e.what()).size(), 200U);
  }
}

TEST(Refusals, NestingAndRepeatedKeys) {
  const std::string deep = std::string(200000, '[') + std::string(200000, ']');
  EXPECT_EQ(refused("/v1/reward", deep).code, "body-nested-too-deep");
  EXPECT_EQ(refused("/v1/reward", R"({"prompt": )" + deep + "}").code, "body-nested-too-deep");
  EXPECT_EQ(refused("/classify", R"({"input": "a", "input": "b"})").code, "key-given-twice");
  EXPECT_EQ(refused("/classify", R"({"messages": [{"role": "user", "role": "assistant", "content": "x"}]})").code,
            "key-given-twice");
  EXPECT_EQ(
      asked("/classify", R"({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]})").size(),
      1U);
}

TEST(Refusals, NameTheirPlace) {
  const Refusal wrong = refused("/get_reward", R"({"query": ["a", 7]})");
  EXPECT_EQ(wrong.status, 422);
  EXPECT_EQ(wrong.family, Family::fastapi);
  EXPECT_EQ(wrong.sentence, "query[1]: expected a text, found 7");
  EXPECT_EQ(refused("/classify", R"({"input": {"a": 1}})").sentence, "input: expected a text, found {\"a\":1}");
  EXPECT_EQ(refused("/classify", R"({"model": 5, "input": "a"})").sentence, "model: expected a text, found 5");
  EXPECT_EQ(refused("/classify", R"({"input": "a", "use_activation": "no"})").sentence,
            "use_activation: expected true or false, found \"no\"");
  EXPECT_EQ(refused("/rerank", R"({"documents": ["d"]})").sentence, "query: the key is missing; found documents");
  EXPECT_EQ(refused("/rerank", R"({"query": "q", "texts": ["a", null]})").sentence, "texts[1]: expected a text, found null");
  EXPECT_EQ(refused("/predict", R"({"inputs": ["a", "b", "c"]})").code, "sequence-of-wrong-length");
  EXPECT_EQ(refused("/predict", R"({"inputs": []})").code, "sequence-of-wrong-length");
  EXPECT_EQ(refused("/predict", R"({"inputs": [["a"], "b", 3]})").sentence, "inputs[2]: expected a text, found 3");
  EXPECT_EQ(refused("/score", R"({"queries": ["a", "b"], "documents": ["c"]})").code, "lists-of-other-lengths");
  EXPECT_TRUE(refused("/v1/reward", R"({"items": [{"prompt": "P", "response": "A"}, {"prompt": "P", "response": 3}]})")
                  .sentence.starts_with("items[1]: "));
  EXPECT_EQ(refused("/v1/reward", R"({"items": [5]})").sentence, "items[0]: expected a JSON object, found 5");
  EXPECT_EQ(refused("/classify", R"({"messages": [{"role": "user", "content": "x"}]})").code, "last-message-not-assistant");
  EXPECT_EQ(refused("/classify", R"({"messages": [{"role": "assistant", "content": "x"}]})").code, "no-prompt");
}

TEST(Refusals, BlankTextsAndEmptyLists) {
  EXPECT_EQ(refused("/get_reward", R"({"query": ["a", " \n"]})").sentence, "query[1]: the text is empty or shows nothing");
  EXPECT_EQ(refused("/rerank", R"({"query": "q", "documents": ["a", "\u200b"]})").code, "text-is-blank");
  EXPECT_EQ(refused("/v1/reward", R"({"prompt": "q", "responses": ["a", ""]})").code, "empty-response");
  EXPECT_EQ(refused("/classify", R"({"input": []})").code, "no-texts");
  EXPECT_EQ(refused("/classify", R"({"input": [[]]})").code, "no-token-ids");
  EXPECT_EQ(refused("/rerank", R"({"query": "q", "texts": []})").status, 400);
  EXPECT_EQ(refused("/v1/score/evaluation", R"({"messages": []})").code, "no-texts");
}

TEST(Refusals, SettingsThatWouldChangeScores) {
  for (const char* setting :
       {R"("chat_template": "{{x}}")", R"("truncate_prompt_tokens": 5)", R"("add_generation_prompt": true)"})
    EXPECT_EQ(refused("/classify", R"({"input": "a", )" + std::string(setting) + "}").code, "setting-not-supported") << setting;
  EXPECT_EQ(refused("/v1/embeddings", R"({"input": "a", "dimensions": 256})").code, "setting-not-supported");
  EXPECT_EQ(refused("/pooling", R"({"input": "a", "task": "embed"})").code, "setting-not-supported");
  const Refusal tokens = refused("/v1/score", R"({"query": "q", "items": ["a"], "label_token_ids": [1]})");
  EXPECT_EQ(tokens.code, "setting-not-supported");
  EXPECT_NE(tokens.sentence.find("leave the key out and read scores[i][0]"), std::string::npos) << tokens.sentence;
  EXPECT_NE(refused("/v1/score", R"({"query": "q", "label_token_ids": [1]})").sentence.find("query and items"),
            std::string::npos);
  EXPECT_EQ(refused("/v1/score/evaluation", R"({"messages": ["a"], "max_length": 8})").code, "setting-not-supported");
  EXPECT_EQ(refused("/v1/reward", R"({"prompt": "q", "response": "a", "normalise": "mean"})").code, "body-value-unknown");
  EXPECT_EQ(refused("/classify", R"({"input": "a", "normalise": "softmax"})").code, "setting-not-supported");  // it would be 1
  EXPECT_EQ(asked("/classify", R"({"input": "a", "truncate_prompt_tokens": -1})").size(), 1U);
}

TEST(Refusals, MoreThanTheLimits) {
  Limits limits;
  limits.texts_max = 2;
  limits.text_bytes_max = 4;
  EXPECT_EQ(refused("/classify", R"({"input": ["a", "b", "c"]})", limits).status, 413);
  EXPECT_EQ(refused("/classify", R"({"input": ["a", "b", "c"]})", limits).code, "too-many-texts");
  EXPECT_EQ(refused("/classify", R"({"input": ["abcde"]})", limits).code, "text-too-long");
  const Refusal many = refused("/v1/reward", R"({"prompt": "q", "responses": ["a", "b", "c"]})", limits);
  EXPECT_EQ(many.code, "too-many-texts");
  EXPECT_EQ(many.sentence, "the body: a request has at most 2 texts; ask in several requests");
  EXPECT_EQ(refused("/v1/reward", R"({"prompt": "q", "response": "abcde"})", limits).sentence,
            "the body: a response has 5 bytes, at most 4 are read");
  EXPECT_EQ(asked("/classify", R"({"input": ["abcd", "b"]})", limits).size(), 2U);
}

TEST(Endpoints, ArePathsAndMethods) {
  EXPECT_FALSE(find_endpoint("POST", "/v1/chat/completions").has_value());
  EXPECT_FALSE(find_endpoint("GET", "/").has_value());  // the page
  EXPECT_EQ(find_endpoint("POST", "/")->path, Path::predict);
  EXPECT_THROW((void)find_endpoint("PUT", "/"), RequestError);
  EXPECT_EQ(find_endpoint("POST", "/v2/models/a.b-c/infer")->model, "a.b-c");
  EXPECT_EQ(find_endpoint("HEAD", "/v2/health/live")->path, Path::live);
  EXPECT_FALSE(find_endpoint("GET", "/v2/models//ready").has_value());
  EXPECT_FALSE(find_endpoint("POST", "/classify/").has_value());
  EXPECT_EQ(pattern_of("/v2/models/a.b-c/versions/3/infer"), "/v2/models/{model}/versions/{version}/infer");
  EXPECT_EQ(pattern_of("/classify"), "/classify");
  EXPECT_EQ(pattern_of("/v2/models//infer"), "");
  try {
    (void)find_endpoint("GET", "/classify");
    ADD_FAILURE();
  } catch (const RequestError& e) {
    EXPECT_EQ(e.status(), 405);
    EXPECT_STREQ(e.what(), "/classify is asked with POST, not with GET");
  }
}

TEST(Errors, HaveTheFormOfTheirFamily) {
  const ErrorCode code("queue-is-full");
  EXPECT_EQ(
      render_error(Family::own, 401, code, "S"),
      json::parse(R"({"error": {"message": "S", "type": "authentication_error", "param": null, "code": "queue-is-full"}})"));
  EXPECT_EQ(render_error(Family::vllm, 400, code, "S")["error"]["code"], 400);
  EXPECT_EQ(render_error(Family::vllm, 429, code, "S")["error"]["type"], "RateLimitError");
  EXPECT_EQ(render_error(Family::tei, 429, code, "S"),
            json::parse(R"({"error": "S", "error_type": "Overloaded", "reason": "queue-is-full"})"));
  EXPECT_EQ(render_error(Family::tei, 413, code, "S")["error_type"], "Validation");
  EXPECT_EQ(render_error(Family::tei, 424, ErrorCode("scoring-failed"), "S")["error_type"], "Backend");
  EXPECT_EQ(render_error(Family::tei, 400, ErrorCode("bad-timeout"), "S")["error_type"], "Validation");
  EXPECT_EQ(render_error(Family::tei, 400, ErrorCode("no-texts"), "S")["error_type"], "Empty");
  EXPECT_EQ(render_error(Family::fastapi, 422, code, "S")["detail"], "S");
  EXPECT_EQ(render_error(Family::kserve, 404, code, "S")["error"], "S");
  EXPECT_EQ(render_error(Family::own, 409, code, "S")["error"]["type"], "invalid_request_error");
  EXPECT_EQ(render_error(Family::own, 499, code, "S")["error"]["type"], "invalid_request_error");
  EXPECT_EQ(render_error(Family::own, 408, code, "S")["error"]["type"], "timeout_error");
  EXPECT_EQ(render_error(Family::vllm, 502, code, "S")["error"]["type"], "InternalServerError");
  EXPECT_EQ(render_error(Family::sglang, 400, code, "S")["object"], "error");
  EXPECT_EQ(render_error(Family::sglang, 400, code, "S")["error"]["message"], "S");
}

}  // namespace
}  // namespace dmoerm::wire
