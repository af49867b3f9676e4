// Literal bodies of each protocol, and the replies that its clients read.
#include <gtest/gtest.h>

#include "wire/bodies.h"

namespace dmoerm::wire {
namespace {

using nlohmann::json;

TEST(OpenRlhf, OneListGivesOneReward) {
  const Request request = asked("/get_reward", R"({"query": ["<s>Hi</s> there"], "prompts": ["<s>Hi</s>"], "labels": [null]})");
  ASSERT_EQ(request.groups.size(), 1U);
  EXPECT_EQ(request.groups[0].form, Form::text);
  EXPECT_EQ(request.groups[0].items[0].text, "<s>Hi</s> there");
  EXPECT_EQ(request.groups[0].items[0].prompt_bytes, 9U);
  const json reply = answered(request);
  EXPECT_EQ(reply["rewards"], json::parse("[1.5]"));
  EXPECT_NEAR(reply["scores"][0].get<double>(), 1 / (1 + std::exp(-3.0)), 1e-12);
  EXPECT_EQ(reply["extra_logs"]["point_clarity"], json::parse("[0.5]"));
  EXPECT_EQ(reply["extra_logs"]["point_style"], json::parse("[0.0]"));
  EXPECT_EQ(reply["extra_logs"]["fallback"], json::parse("[0.0]"));
  for (const auto& [key, list] : reply["extra_logs"].items()) EXPECT_EQ(list.size(), 1U) << key;
}

TEST(OpenRlhf, AnEmptyListGivesEmptyLists) {
  const json reply = answered("/get_reward", R"({"query": [], "prompts": [], "labels": []})");
  EXPECT_EQ(reply["rewards"], json::array());
  EXPECT_EQ(reply["scores"], json::array());
  EXPECT_TRUE(reply["extra_logs"].is_object());
}

TEST(OpenRlhf, OlderClientsSayQueriesAndNoPrompts) {
  EXPECT_EQ(answered("/get_reward", R"({"queries": ["a b", "c d"]})")["rewards"], json::parse("[1.5, -0.5]"));
  EXPECT_EQ(answered("/get_reward", R"({"query": "a b"})")["rewards"], json::parse("[1.5]"));
  EXPECT_EQ(asked("/get_reward", R"({"query": ["a b"], "prompts": null})").groups[0].items[0].prompt_bytes, 0U);
}

TEST(OpenRlhf, APromptMayLackTheTokenThatBeginsEveryText) {
  const auto bytes = [](const char* query, const char* prompt) {
    return asked("/get_reward", json({{"query", {query}}, {"prompts", {prompt}}}).dump()).groups[0].items[0].prompt_bytes;
  };
  EXPECT_EQ(bytes("<s>Q: A", "<s>Q:"), 5U);
  EXPECT_EQ(bytes("<s>Q: A", "Q:"), 5U);
  EXPECT_EQ(bytes("Q: A", "<s>Q:"), 2U);
  EXPECT_EQ(bytes("[CLS]Q: A", "Q:"), 7U);
  EXPECT_EQ(bytes("Q: A", "Q: A"), 4U);  // a response without any text
  EXPECT_EQ(bytes("<s>Q: A", "Q: A"), 7U);
  EXPECT_EQ(bytes("Q: A", ""), 0U);
  EXPECT_EQ(asked("/get_reward", R"({"query": ["a b"], "prompts": [null]})").groups[0].items[0].prompt_bytes, 0U);
  EXPECT_EQ(asked("/get_reward", R"({"query": "Q: A", "prompts": "Q:"})").groups[0].items[0].prompt_bytes, 2U);
}

TEST(OpenRlhf, PromptsThatDoNotBeginTheirTextsAreNoted) {
  for (const char* body :
       {R"({"query": ["a b", "c d"], "prompts": ["a", "x"]})", R"({"query": ["<s> a b"], "prompts": ["b"]})"}) {
    const Request request = asked("/get_reward", body);
    EXPECT_EQ(request.groups.back().items.back().prompt_bytes, 0U);
    EXPECT_EQ(request.unread, std::vector<std::string>{"prompts that do not begin their texts"});
  }
  EXPECT_TRUE(asked("/get_reward", R"({"query": ["a b"], "prompts": ["a"]})").unread.empty());
}

TEST(OpenRlhf, AsManyPromptsAsTextsAreExpected) {
  const auto said = [](const char* body) { return refused("/get_reward", body); };
  EXPECT_EQ(said(R"({"query": ["a b", "c d"], "prompts": ["a"]})").sentence,
            "prompts: expected as many as query has (2), found 1");
  EXPECT_EQ(said(R"({"query": [], "prompts": ["a"]})").code, "lists-of-other-lengths");
  EXPECT_EQ(said(R"({"query": ["a b"], "prompts": [7]})").sentence, "prompts[0]: expected a text, found 7");
}

TEST(Foreign, KeysThatNothingReadsAreListed) {
  using Keys = std::vector<std::string>;
  EXPECT_EQ(asked("/get_reward", R"({"query": ["a"], "prompts": null, "labels": ["l"]})").unread, Keys());
  EXPECT_EQ(asked("/get_reward", R"({"query": ["a"], "promtps": ["a"]})").unread, Keys{"promtps"});
  EXPECT_EQ(asked("/classify", R"({"model": "m", "input": "a", "use_activation": false, "priority": 3, "user": "b"})").unread,
            (Keys{"priority", "user"}));
  EXPECT_EQ(asked("/classify", R"({"text": "a", "rid": "7"})").unread, Keys{"rid"});
  EXPECT_EQ(asked("/rerank", R"({"query": "q", "texts": ["a"], "top_n": 1})").unread, Keys{"top_n"});
  EXPECT_EQ(asked("/predict", R"({"inputs": "a", "truncate": true, "wait": 1})").unread, Keys{"wait"});
}

TEST(Vllm, ClassifyOfTexts) {
  const json reply = answered("/classify", R"({"model": "m", "input": ["a", "b"], "use_activation": false, "priority": 0})");
  EXPECT_EQ(reply, json::parse(R"({"id": "classify-abc", "object": "list", "created": 1745383065, "model": "m",
    "data": [{"index": 0, "label": "LABEL_0", "probs": [1.5], "num_classes": 1},
             {"index": 1, "label": "LABEL_0", "probs": [-0.5], "num_classes": 1}],
    "usage": {"prompt_tokens": 20, "total_tokens": 20, "completion_tokens": 0, "prompt_tokens_details": null}})"));
}

TEST(Vllm, ScoresAreRawUnlessAnActivationIsAskedFor) {
  const double squashed = 1 / (1 + std::exp(-1.5));
  const auto first = [](std::string_view body) { return answered("/classify", body)["data"][0]["probs"][0].get<double>(); };
  EXPECT_EQ(first(R"({"input": "a"})"), 1.5);
  EXPECT_EQ(first(R"({"input": "a", "activation": false})"), 1.5);  // verl
  EXPECT_EQ(first(R"({"input": "a", "softmax": null})"), 1.5);
  EXPECT_DOUBLE_EQ(first(R"({"input": "a", "use_activation": true})"), squashed);
  EXPECT_DOUBLE_EQ(first(R"({"input": "a", "activation": true})"), squashed);
  EXPECT_EQ(first(R"({"input": "a", "normalise": "standard"})"), 3.0);
}

TEST(Vllm, ClassifyOfAConversation) {
  const Request request =
      asked("/v1/classify", R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"},
    {"role": "assistant", "content": "A"}], "add_generation_prompt": false, "chat_template": null})");
  ASSERT_EQ(request.groups.size(), 1U);
  EXPECT_EQ(request.groups[0].form, Form::messages);
  ASSERT_EQ(request.groups[0].prompt.size(), 2U);
  EXPECT_EQ(request.groups[0].prompt[0].role, "system");
  EXPECT_EQ(request.groups[0].items[0].text, "A");
}

TEST(Vllm, InputsOfTokenIds) {
  const Request one = asked("/classify", R"({"input": [1, 2, 3]})"), two = asked("/classify", R"({"input": [[1, 2], [3]]})");
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one.groups[0].form, Form::tokens);
  EXPECT_EQ(one.groups[0].items[0].tokens, (std::vector<std::int32_t>{1, 2, 3}));
  ASSERT_EQ(two.size(), 2U);
  EXPECT_EQ(two.groups[1].items[0].tokens, (std::vector<std::int32_t>{3}));
}

TEST(Vllm, Pooling) {
  const json reply = answered("/pooling", R"({"model": "m", "input": "a", "task": "classify", "encoding_format": "float"})");
  EXPECT_EQ(reply["id"], "pool-abc");
  EXPECT_EQ(reply["data"], json::parse(R"([{"index": 0, "object": "pooling", "data": [1.5]}])"));
  EXPECT_EQ(answered("/pooling", R"({"input": "a", "encoding_format": "base64"})")["data"][0]["data"], "AADAPw==");
}

TEST(Vllm, NumbersInBase64AreFloat32InLittleEndian) {
  for (const char* path : {"/pooling", "/v1/embeddings"}) {
    const auto body = [](const char* format, const char* key, const char* value) {
      return json({{"input", "a"}, {"encoding_format", format}, {key, value}}).dump();
    };
    EXPECT_EQ(refused(path, body("base64", "embed_dtype", "float16")).sentence,
              "embed_dtype: expected float32 in base64, found \"float16\"");
    EXPECT_EQ(refused(path, body("base64", "endianness", "big")).code, "setting-not-supported");
    for (const auto& [key, value] : {std::pair{"embed_dtype", "float32"}, {"endianness", "little"}, {"endianness", "native"}})
      EXPECT_TRUE(asked(path, body("base64", key, value)).base64) << value;
    EXPECT_FALSE(asked(path, body("float", "embed_dtype", "float16")).base64) << "a number in JSON has no type";
  }
}

TEST(Vllm, ScoreTakesOneQueryOrAsManyAsDocuments) {
  const Request broadcast = asked("/score", R"({"text_1": "Q", "text_2": ["A", "B", "C"]})");
  ASSERT_EQ(broadcast.groups.size(), 1U);  // one prompt is computed once
  EXPECT_EQ(broadcast.groups[0].items.size(), 3U);
  const json reply = answered(broadcast);
  EXPECT_EQ(reply["data"][1], json::parse(R"({"index": 1, "object": "score", "score": -0.5})"));
  EXPECT_EQ(answered("/v1/score", R"({"data_1": "Q", "data_2": "A"})")["data"].size(), 1U);
  EXPECT_EQ(answered("/score", R"({"queries": ["Q"], "documents": ["A", "B"]})")["data"].size(), 2U);
}

TEST(Vllm, ScoresStandWhereTheirPairsStood) {
  const Request zipped = asked("/score", R"({"queries": ["P", "Q", "P"], "documents": ["A", "B", "C"]})");
  ASSERT_EQ(zipped.groups.size(), 2U);
  EXPECT_EQ(zipped.groups[0].items[1].text, "C");
  const json reply = answered(zipped);  // group by group the scores are 1.5 (A), -0.5 (C), 0.25 (B)
  EXPECT_EQ(reply["data"][0]["score"], 1.5);
  EXPECT_EQ(reply["data"][1]["score"], 0.25);
  EXPECT_EQ(reply["data"][2]["score"], -0.5);
}

TEST(Vllm, RerankSortsAndCuts) {
  const std::string_view body = R"({"model": "m", "query": "Q", "documents": ["A", "B", {"text": "C"}, "D"], "top_n": 3})";
  for (const char* path : {"/rerank", "/v1/rerank", "/v2/rerank"}) {
    const json reply = answered(path, body);
    EXPECT_EQ(reply["id"], "rerank-abc");
    ASSERT_EQ(reply["results"].size(), 3U);
    EXPECT_EQ(reply["results"][0],
              json::parse(R"({"index": 3, "document": {"text": "D", "multi_modal": null}, "relevance_score": 2.0})"));
    EXPECT_EQ(reply["results"][1]["index"], 0);
    EXPECT_EQ(reply["results"][2]["document"]["text"], "C");
    EXPECT_EQ(reply["usage"], json::parse(R"({"prompt_tokens": 40, "total_tokens": 40})"));
  }
  EXPECT_EQ(answered("/rerank", R"({"query": "Q", "documents": ["A", "B"], "top_n": 0})")["results"].size(), 2U);
  EXPECT_FALSE(
      answered("/rerank", R"({"query": "Q", "documents": ["A"], "return_documents": false})")["results"][0].contains("document"));
}

TEST(Sglang, ClassifyInItsOwnForm) {
  const json one = answered("/classify", R"({"text": "a"})"), many = answered("/classify", R"({"text": ["a", "b"]})");
  EXPECT_EQ(one["embedding"], json::parse("[1.5]"));
  EXPECT_EQ(many[1]["embedding"], json::parse("[-0.5]"));
  EXPECT_EQ(many[1]["meta_info"]["prompt_tokens"], 10);
  const json older =
      answered("/classify", R"({"conv": [[{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]]})");
  EXPECT_EQ(older[0]["embedding"], json::parse("[1.5]"));
  EXPECT_TRUE(answered("/classify", R"({"input_ids": [1, 2]})").is_object());
  EXPECT_TRUE(answered("/classify", R"({"input_ids": [[1, 2]]})").is_array());
}

TEST(Sglang, ScoreAndRerank) {
  const json scored =
      answered("/v1/score", R"({"query": "Q", "items": ["A", "B"], "apply_softmax": false, "item_first": false, "model": "m"})");
  EXPECT_EQ(scored["scores"], json::parse("[[1.5], [-0.5]]"));
  EXPECT_EQ(scored["object"], "scoring");
  const Request ids = asked("/v1/score", R"({"query": [1, 2], "items": [[3], [4, 5]]})");
  EXPECT_EQ(ids.groups[1].items[0].tokens, (std::vector<std::int32_t>{1, 2, 4, 5}));
  Limits limits;
  limits.sglang = true;
  const std::string_view body = R"({"query": "Q", "documents": ["A", "B", "C"]})";
  const json ranked = answered("/v1/rerank", body, limits);
  EXPECT_EQ(ranked[1]["index"], 2);
  EXPECT_EQ(ranked[1]["document"], "C");
  EXPECT_EQ(ranked[1]["score"], 0.25);
  EXPECT_TRUE(answered("/rerank", body, limits).contains("results"));  // the other paths are vLLM's alone
}

TEST(Normalised, AsTheServerIsToldUnlessARequestSaysOtherwise) {
  Limits limits;
  limits.normalise = Normalise::standard;  // twice the score in these tests
  EXPECT_EQ(answered("/get_reward", R"({"query": ["a", "b"]})", limits)["rewards"], json::parse("[3.0, -1.0]"));
  EXPECT_EQ(answered("/classify", R"({"input": ["a"], "use_activation": false})", limits)["data"][0]["probs"],
            json::parse("[3.0]"));
  EXPECT_EQ(answered("/predict", R"({"inputs": "a"})", limits)[0]["score"], 3.0);
  EXPECT_EQ(answered("/predict", R"({"inputs": "a", "raw_scores": true})", limits)[0]["score"], 1.5);
  EXPECT_EQ(answered("/v1/reward", R"({"texts": ["a"]})", limits)["normalise"], "standard");
  EXPECT_EQ(answered("/v1/reward", R"({"texts": ["a"], "normalise": "none"})", limits)["scores"], json::parse("[1.5]"));
  EXPECT_LT(answered("/classify", R"({"input": ["a"], "use_activation": true})", limits)["data"][0]["probs"][0], 1);
}

TEST(OpenAi, Embeddings) {
  const json reply = answered("/v1/embeddings", R"({"model": "m", "input": "a"})");
  EXPECT_EQ(reply["data"].back()["embedding"].back(), 1.5);  // where verl looks
  EXPECT_EQ(reply["object"], "list");
  EXPECT_EQ(reply["data"][0]["object"], "embedding");
  EXPECT_EQ(answered("/v1/embeddings", R"({"input": ["a", "b"], "encoding_format": "base64"})")["data"][1]["embedding"],
            "AAAAvw==");
}

TEST(Tei, PredictTellsPairsFromBatches) {
  EXPECT_EQ(answered("/predict", R"({"inputs": "x"})"), json::parse(R"([{"score": 1.5, "label": "LABEL_0"}])"));
  const Request pair = asked("/predict", R"({"inputs": ["Q", "A"]})");
  ASSERT_EQ(pair.size(), 1U);
  EXPECT_EQ(pair.groups[0].form, Form::messages);
  EXPECT_EQ(pair.groups[0].prompt[0].content, "Q");
  const json batch =
      answered("/predict", R"({"inputs": [["x"], ["Q", "A"]], "truncate": true, "truncation_direction": "Right"})");
  EXPECT_EQ(batch[1], json::parse(R"([{"score": -0.5, "label": "LABEL_0"}])"));
  EXPECT_EQ(answered("/", R"({"inputs": "x"})").size(), 1U);
}

TEST(Tei, PredictOfPairsAsPipelinesHaveThem) {
  const Request pair = asked("/predict", R"({"inputs": {"text": "Q", "text_pair": "A"}})");
  ASSERT_EQ(pair.size(), 1U);
  EXPECT_EQ(pair.groups[0].prompt[0].content, "Q");
  EXPECT_EQ(answered("/predict", R"({"inputs": {"text": "Q", "text_pair": "A"}})"),
            json::parse(R"([{"score": 1.5, "label": "LABEL_0"}])"));
  const json list = answered("/predict", R"({"inputs": [{"text": "Q", "text_pair": "A"}, {"text": "R", "text_pair": "B"}]})");
  EXPECT_EQ(list[1], json::parse(R"([{"score": -0.5, "label": "LABEL_0"}])"));
}

TEST(Tei, RawScoresAndTruncation) {
  const double squashed = 1 / (1 + std::exp(-1.5));
  EXPECT_EQ(answered("/predict", R"({"inputs": "x", "raw_scores": true})")[0]["score"], 1.5);
  EXPECT_DOUBLE_EQ(answered("/predict", R"({"inputs": "x", "raw_scores": false})")[0]["score"].get<double>(), squashed);
  EXPECT_DOUBLE_EQ(
      answered("/predict", R"({"inputs": "x", "parameters": {"function_to_apply": "sigmoid"}})")[0]["score"].get<double>(),
      squashed);
  EXPECT_TRUE(asked("/predict", R"({"inputs": "x"})").refuse_overlong);
  EXPECT_FALSE(asked("/predict", R"({"inputs": "x", "truncate": true})").refuse_overlong);
  EXPECT_EQ(asked("/predict", R"({"inputs": "x", "truncate": true, "truncation_direction": "left"})").unread,
            (std::vector<std::string>{"truncation_direction"}));
}

TEST(Tei, Rerank) {
  const json reply = answered("/rerank", R"({"query": "Q", "texts": ["A", "B", "C"], "raw_scores": true, "return_text": true})");
  EXPECT_EQ(reply[0], json::parse(R"({"index": 0, "text": "A", "score": 1.5})"));
  EXPECT_EQ(reply[2]["index"], 1);
  EXPECT_FALSE(answered("/rerank", R"({"query": "Q", "texts": ["A"]})")[0].contains("text"));
}

TEST(LlamaFactory, ScoreEvaluation) {
  EXPECT_EQ(answered("/v1/score/evaluation", R"({"model": "m", "messages": ["a", "b"], "max_length": null})"),
            json::parse(R"({"id": "scoreval-abc", "object": "score.evaluation", "model": "m", "scores": [1.5, -0.5]})"));
}

TEST(LlamaFactory, ItsTrainerNamesNoModel) {
  EXPECT_EQ(asked("/v1/score/evaluation", R"({"model": "model", "messages": ["a"]})").model, "");
}

TEST(Ours, AnswersARowAsScoreDoesAndMore) {
  const json reply = answered("/v1/reward", R"({"id": 7, "prompt": "Q", "responses": ["A", "B"]})");
  EXPECT_EQ(reply["scores"], json::parse("[1.5, -0.5]"));
  EXPECT_EQ(reply["points"][1], json::parse(R"({"clarity": 0.5, "empathy": -1.0})"));
  EXPECT_EQ(reply["contributions"][0], json::parse(R"({"points": {"clarity": 0.75, "empathy": -0.25}, "base": 1.0})"));
  EXPECT_EQ(reply["route"], json::parse(R"({"category": "chat", "confidence": 0.875, "distance": 0.25, "fallback": false})"));
  EXPECT_EQ(reply["scored_by"], "chat");
  EXPECT_EQ(reply["tokens"], json::parse("[12, 12]"));
  EXPECT_EQ(reply["cut_tokens"], json::parse("[2, 2]"));
  EXPECT_EQ(reply["spread"], json::parse("[0.75, 0.75]"));
  EXPECT_EQ(reply["base"], json::parse("[0.125, 0.125]"));
  EXPECT_EQ(reply["id"], 7);
  EXPECT_EQ(reply["model"], "m");
  EXPECT_EQ(reply["normalise"], "none");
  EXPECT_EQ(reply["template_sha256"], "feed");
}

TEST(Ours, NamesTheCategoryWhoseRewardsAreMixedIn) {
  const Request request = asked("/v1/reward", R"({"prompt": "Q", "responses": ["A"]})");
  std::vector<Scored> scored = some_scores(request);
  scored[0].second = "code", scored[0].second_share = 0.25, scored[0].second_contribution = -0.5;
  const json reply = render(request, scored, {"m", "abc", 1745383065, "feed", {"clarity"}});
  EXPECT_EQ(reply["route"]["second"], json::parse(R"({"category": "code", "share": 0.25})"));
  EXPECT_EQ(reply["contributions"][0]["second"], -0.5);
  EXPECT_FALSE(answered(request)["contributions"][0].contains("second"));
}

TEST(Ours, TakesEveryFormOfARow) {
  const char* bodies[] = {
      R"({"prompt": "Q", "response": "A"})",
      R"({"prompt": [{"role": "user", "content": "Q"}], "responses": [[{"role": "assistant", "content": "A"}]]})",
      R"({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]})",
      R"({"messages": [{"role": "user", "content": "Q"}], "responses": ["A", "B"]})",
      R"({"prompt": "Q", "chosen": "A", "rejected": "B"})",
      R"({"prompt": "[{\"role\": \"user\", \"content\": \"Q\"}]", "response": "A"})",
  };
  for (const char* body : bodies) {
    const Request request = asked("/v1/reward", body);
    ASSERT_EQ(request.groups.size(), 1U) << body;
    EXPECT_EQ(request.groups[0].prompt[0].content, "Q") << body;
    EXPECT_EQ(request.groups[0].items[0].text, "A") << body;
  }
}

TEST(Ours, UnknownKeysAreRefusedWithTheNearestKnownOne) {
  const auto said = [](const char* body) { return refused("/v1/reward", body); };
  const Refusal misspelt = said(R"({"prompt": "Q", "response": "A", "use_categroy": "chat"})");
  EXPECT_EQ(misspelt.code, "body-key-unknown");
  EXPECT_EQ(misspelt.status, 400);
  EXPECT_TRUE(misspelt.sentence.starts_with("use_categroy: this key is not read here, did you mean use_category?"))
      << misspelt.sentence;
  EXPECT_NE(misspelt.sentence.find("truncate"), std::string::npos);
  EXPECT_NE(said(R"({"prompt": "Q", "response": "A", "category": "chat"})").sentence.find("mean use_category?"),
            std::string::npos);
  EXPECT_EQ(said(R"({"texts": ["a"], "normalize_": true})").code, "body-key-unknown");
  EXPECT_EQ(said(R"({"texts": ["a"], "prompt": "Q"})").code, "body-key-unknown");
  EXPECT_EQ(said(R"({"items": [], "texts": ["a"]})").code, "body-key-unknown");
  EXPECT_EQ(said(R"({"input_ids": [[1]], "modle": "m"})").code, "body-key-unknown");
  EXPECT_TRUE(said(R"({"items": [{"prompt": "Q", "response": "A"}, {"prompt": "Q", "response": "A", "sytem": "S"}]})")
                  .sentence.starts_with("items[1].sytem: this key is not read here, did you mean system?"));
  EXPECT_EQ(said(R"({"items": [{"prompt": "Q", "response": "A", "truncate": false}]})").code, "body-key-unknown");
  EXPECT_EQ(said(R"({"prompt": "Q", "chosen": "A", "rejected": "B", "trunctate": false})").code, "body-key-unknown");
}

TEST(Ours, AMisspeltKeyOfTheTextsIsNamed) {
  for (const char* body : {R"({"prompt": "Hi", "respones": ["a"]})", R"({"items": [{"prompt": "Hi", "respones": ["a"]}]})",
                           R"({"prompt": "Hi", "reponses": ["a"], "normalise": "none"})"}) {
    const Refusal said = refused("/v1/reward", body);
    EXPECT_EQ(said.code, "body-key-unknown") << body;
    EXPECT_NE(said.sentence.find(", did you mean response"), std::string::npos) << said.sentence;
  }
  EXPECT_NE(refused("/v1/reward", R"({"promt": "Hi", "response": "a"})").sentence.find("did you mean prompt?"),
            std::string::npos);
  EXPECT_EQ(refused("/v1/reward", R"({"prompt": "Hi"})").code, "nothing-to-score");
  EXPECT_TRUE(refused("/v1/reward", "{}").sentence.ends_with("found the keys none: it is {}"))
      << refused("/v1/reward", "{}").sentence;
}

TEST(Ours, RowsOfDataMayHaveColumnsOfTheirOwn) {
  EXPECT_EQ(asked("/v1/reward", R"({"prompt": "Q", "chosen": "A", "rejected": "B", "source": "x", "text": 1})").size(), 2U);
  EXPECT_EQ(asked("/v1/reward", R"({"items": [{"prompt": "Q", "chosen": "A", "rejected": "B", "source": "x"}]})").size(), 2U);
  EXPECT_EQ(asked("/v1/reward", R"({"prompt": "Q", "chosen": "A", "rejected": "B", "category": "chat", "split": "test"})").size(),
            2U);
  EXPECT_EQ(asked("/v1/reward", R"({"items": [{"id": 1, "category": "chat", "split": "train", "prompt": "Q", "response": "A",
    "system": "S"}], "model": "m", "use_category": "chat", "normalise": "none", "truncate": true})")
                .size(),
            1U);
}

TEST(Ours, ListsWithoutTextsGetEmptyLists) {
  for (const char* body : {R"({"texts": []})", R"({"input_ids": []})"}) {
    EXPECT_EQ(answered("/v1/reward", body)["scores"], json::array()) << body;
    EXPECT_EQ(answered("/v1/reward", body)["routes"], json::array()) << body;
  }
  EXPECT_EQ(answered("/v1/reward", R"({"items": []})")["items"], json::array());
  // A prompt without responses asks for nothing, by itself or among others.
  EXPECT_EQ(refused("/v1/reward", R"({"prompt": "Q", "responses": []})").code, "no-responses");
  EXPECT_EQ(refused("/v1/reward", R"({"items": [{"prompt": "Q", "responses": []}]})").code, "no-responses");
}

TEST(Ours, ItemsKeepTheirOrderAndTheirNames) {
  const json reply = answered("/v1/reward", R"({"items": [{"id": "x", "prompt": "P", "responses": ["A", "B"]},
                                                          {"id": "y", "prompt": "Q", "response": "C"}], "normalise": "softmax"})");
  ASSERT_EQ(reply["items"].size(), 2U);
  EXPECT_EQ(reply["items"][0]["id"], "x");
  EXPECT_NEAR(reply["items"][0]["scores"][0].get<double>(), std::exp(2.0) / (1 + std::exp(2.0)), 1e-12);
  EXPECT_EQ(reply["items"][1]["scores"], json::parse("[1.0]"));
  EXPECT_EQ(answered("/v1/reward", R"({"items": []})")["items"], json::array());
}

TEST(Ours, TextsHaveARouteEach) {
  const json reply = answered("/v1/reward", R"({"texts": ["<u>Q<a>A", "<u>P<a>B"]})");
  EXPECT_EQ(reply["scores"], json::parse("[1.5, -0.5]"));
  EXPECT_EQ(reply["routes"].size(), 2U);
  EXPECT_EQ(reply["split"], json::parse("[true, true]"));
  EXPECT_EQ(answered("/v1/reward", R"({"texts": []})")["scores"], json::array());
}

TEST(Ours, PartsStandInThePlaceOfTheirText) {
  const Request request = asked("/v1/reward", R"({"texts": ["<u>Q<a>A", "<u>P<a>B", "<u>R<a>C"]})");
  std::vector<Scored> scored = some_scores(request);
  const auto by_the_single_model = [](Scored& s) {
    s.points.clear(), s.contributions.clear(), s.base.reset(), s.base_contribution.reset();
    s.scored_by = "single", s.fallback = true;
  };
  by_the_single_model(scored[0]);
  scored[2].base = -0.5;
  const ReplyFacts facts = {"m", "abc", 1745383065, "feed", {"clarity"}};
  json reply = render(request, scored, facts);
  EXPECT_EQ(reply["base"], json::parse("[null, 0.125, -0.5]"));
  ASSERT_EQ(reply["contributions"].size(), 3U);
  EXPECT_TRUE(reply["contributions"][0].is_null());
  EXPECT_EQ(reply["contributions"][1]["base"], 1.0);
  for (Scored& s : scored) by_the_single_model(s);
  reply = render(request, scored, facts);
  EXPECT_FALSE(reply.contains("base"));
  EXPECT_FALSE(reply.contains("contributions"));
}

}  // namespace
}  // namespace dmoerm::wire
