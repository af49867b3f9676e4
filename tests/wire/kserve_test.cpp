// KServe v2, as NeMo and Triton's clients speak it.
#include <gtest/gtest.h>

#include "wire/bodies.h"
#include "wire/describe.h"

namespace dmoerm::wire {
namespace {

using nlohmann::json;

constexpr std::string_view kPath = "/v2/models/reward_model/infer";

TEST(Kserve, SentencesInJson) {
  const Request request = asked(kPath, R"({"id": "7", "inputs": [{"name": "sentences", "shape": [2, 1], "datatype": "BYTES",
    "data": [["a b"], ["c d"]]}], "outputs": [{"name": "rewards"}]})");
  EXPECT_EQ(request.model, "reward_model");
  EXPECT_EQ(request.groups[1].items[0].text, "c d");
  EXPECT_EQ(answered(request), json::parse(R"({"model_name": "reward_model", "model_version": "1", "id": "7",
    "outputs": [{"name": "rewards", "datatype": "FP32", "shape": [2, 1], "data": [1.5, -0.5]}]})"));
}

TEST(Kserve, TokensAreAsLongAsTheirLengths) {
  const Request request = asked(kPath, R"({"inputs": [
    {"name": "tokens", "shape": [2, 3], "datatype": "INT64", "data": [[5, 6, 7], [8, 0, 0]]},
    {"name": "sequence_lengths", "shape": [2, 1], "datatype": "INT64", "data": [3, 1]}]})");
  EXPECT_EQ(request.groups[0].items[0].tokens, (std::vector<std::int32_t>{5, 6, 7}));
  EXPECT_EQ(request.groups[1].items[0].tokens, (std::vector<std::int32_t>{8}));
}

TEST(Kserve, RowsOfTokensNeedTheirLengths) {
  const auto with = [](const char* shape, const char* data) {
    return std::string(R"({"inputs": [{"name": "tokens", "datatype": "INT64", "shape": )") + shape + R"(, "data": )" + data +
           "}]}";
  };
  const Refusal padded = refused(kPath, with("[2, 3]", "[[5, 6, 7], [8, 0, 0]]"));
  EXPECT_EQ(padded.status, 400);
  EXPECT_EQ(padded.code, "body-field-missing");
  EXPECT_NE(padded.sentence.find("sequence_lengths"), std::string::npos) << padded.sentence;
  EXPECT_EQ(refused(kPath, with("[3, 1]", "[5, 6, 7]")).code, "body-field-missing");
  EXPECT_EQ(asked(kPath, with("[1, 3]", "[5, 6, 7]")).groups[0].items[0].tokens.size(),
            3U);  // one row has nothing to be padded to
  EXPECT_EQ(asked(kPath, with("[3]", "[5, 6, 7]")).size(), 1U);
}

TEST(Kserve, OtherVersionsOfAModelDoNotExist) {
  for (const char* path : {"/v2/models/m/versions/99/infer", "/v2/models/m/versions/01/infer", "/v2/models/m/versions/2/infer"}) {
    try {
      (void)find_endpoint("POST", path);
      ADD_FAILURE() << path;
    } catch (const RequestError& e) {
      EXPECT_EQ(e.status(), 404);
      EXPECT_EQ(e.family(), Family::kserve);
      EXPECT_STREQ(e.code().text(), "unknown-model-version");
    }
  }
  for (const char* path : {"/v2/models/m/versions/99", "/v2/models/m/versions/99/ready", "/v2/models/m/versions/99/config"}) {
    EXPECT_THROW((void)find_endpoint("GET", path), RequestError) << path;
    EXPECT_THROW((void)find_endpoint("HEAD", path), RequestError) << path;
  }
  EXPECT_EQ(find_endpoint("POST", "/v2/models/m/versions/1/infer")->model, "m");
  EXPECT_EQ(find_endpoint("POST", "/v2/models/org/m/infer")->model, "org/m");
  EXPECT_EQ(find_endpoint("POST", "/v2/models/org/m/versions/1/infer")->model, "org/m");
  EXPECT_EQ(find_endpoint("GET", "/v2/models/org/m/config")->path, Path::model_config);
  EXPECT_EQ(find_endpoint("GET", "/v1/models/org/m")->model, "org/m");
  EXPECT_EQ(find_endpoint("GET", "/v2/models/m/versions/1/ready")->path, Path::model_ready);
}

TEST(Kserve, PromptsWithResponses) {
  const Request request = asked(kPath, R"({"inputs": [
    {"name": "prompts", "shape": [2], "datatype": "BYTES", "data": ["P", "P"]},
    {"name": "responses", "shape": [2], "datatype": "BYTES", "data": ["A", "B"]}]})");
  ASSERT_EQ(request.groups.size(), 1U);
  EXPECT_EQ(request.groups[0].items[1].text, "B");
}

TEST(Kserve, APromptMayHaveSeveralResponses) {
  const auto body = [](const char* prompts, const char* questions, const char* responses, const char* answers) {
    return std::string(R"({"inputs": [{"name": "prompts", "datatype": "BYTES", "shape": )") + prompts + R"(, "data": )" +
           questions + R"(}, {"name": "responses", "datatype": "BYTES", "shape": )" + responses + R"(, "data": )" + answers +
           "}]}";
  };
  for (const char* one : {"[1]", "[1, 1]"}) {
    for (const char* two : {"[2]", "[1, 2]", "[2, 1]"}) {
      const Request request = asked(kPath, body(one, R"(["P"])", two, R"(["A", "B"])"));
      ASSERT_EQ(request.groups.size(), 1U);
      EXPECT_EQ(request.groups[0].items[1].text, "B");
    }
  }
  const Request rows = asked(kPath, body("[2, 1]", R"([["P"], ["Q"]])", "[2, 2]", R"([["A", "B"], ["C", "D"]])"));
  ASSERT_EQ(rows.groups.size(), 2U);
  EXPECT_EQ(rows.groups[0].items[1].text, "B");
  EXPECT_EQ(rows.groups[1].items[0].text, "C");
  EXPECT_EQ(answered(asked(kPath, body("[1, 1]", R"(["P"])", "[1, 2]", R"(["A", "B"])")))["outputs"][0]["shape"],
            json::parse("[2, 1]"));
  for (const auto& [prompts, responses] :
       {std::pair(body("[2]", R"(["P", "Q"])", "[4]", R"(["A", "B", "C", "D"])"), "[4]"),
        std::pair(body("[1, 2]", R"(["P", "Q"])", "[1, 4]", R"(["A", "B", "C", "D"])"), "[1, 4]"),
        std::pair(body("[2]", R"(["P", "Q"])", "[1]", R"(["A"])"), "[1]"),
        std::pair(body("[1]", R"(["P"])", "[1, 0]", "[]"), "[1, 0]")}) {
    const Refusal said = refused(kPath, prompts);
    EXPECT_EQ(said.code, "lists-of-other-lengths") << prompts;
    EXPECT_TRUE(said.sentence.ends_with(responses)) << said.sentence;
  }
}

/// A request whose tensors follow the JSON, as tritonclient sends it.
Request binary(std::string_view inputs, std::string_view data) {
  const std::string head = R"({"inputs": [)" + std::string(inputs) + "]}";
  return parse(find_endpoint("POST", kPath).value(), head + std::string(data), {}, head.size());
}

TEST(Kserve, BinaryTensors) {
  using namespace std::string_view_literals;
  const Request texts =
      binary(R"({"name": "sentences", "shape": [2, 1], "datatype": "BYTES", "parameters": {"binary_data_size": 13}})",
             "\x03\0\0\0abc\x02\0\0\0de"sv);
  EXPECT_EQ(texts.groups[0].items[0].text, "abc");
  EXPECT_EQ(texts.groups[1].items[0].text, "de");
  const Request tokens =
      binary(R"({"name": "tokens", "shape": [1, 2], "datatype": "INT32", "parameters": {"binary_data_size": 8}})",
             "\x05\0\0\0\x06\0\0\0"sv);
  EXPECT_EQ(tokens.groups[0].items[0].tokens, (std::vector<std::int32_t>{5, 6}));
}

TEST(Kserve, BinaryTensorsThatDoNotFitAreRefused) {
  using namespace std::string_view_literals;
  const auto code = [](std::string_view shape, std::string_view size, std::string_view data) -> std::string {
    try {
      (void)binary(R"({"name": "sentences", "shape": )" + std::string(shape) +
                       R"(, "datatype": "BYTES", "parameters": {"binary_data_size": )" + std::string(size) + "}}",
                   data);
    } catch (const RequestError& e) {
      EXPECT_EQ(e.family(), Family::kserve);
      return e.code().text();
    }
    return "";
  };
  EXPECT_EQ(code("[1]", "7", "\x03\0\0\0abc"sv), "");
  EXPECT_EQ(code("[1]", "6", "\x03\0\0\0ab"sv), "tensor-data-too-short");
  EXPECT_EQ(code("[2]", "7", "\x03\0\0\0abc"sv), "tensor-data-too-short");
  EXPECT_EQ(code("[1]", "9", "\x03\0\0\0abc"sv), "tensor-data-too-short");
  EXPECT_EQ(code("[1]", "8", "\x03\0\0\0abcd"sv), "tensor-data-too-long");
  EXPECT_EQ(code("[1]", "7", "\x03\0\0\0abcd"sv), "tensor-data-too-long");
  EXPECT_EQ(code("[1]", "7", "\xff\xff\xff\xff\x61\x62\x63"sv), "tensor-data-too-short");
  EXPECT_EQ(code("[1]", "5", "\x01\0\0\0\xff"sv), "body-not-utf8");
  EXPECT_EQ(code("[]", "0", ""sv), "tensor-without-dimensions");
  EXPECT_EQ(code("[8388608, 8388608]", "0", ""sv), "tensor-too-large");
  EXPECT_THROW((void)parse(find_endpoint("POST", kPath).value(), "{}", {}, 3), RequestError);
}

TEST(Kserve, ShapesThatDoNotFitAreRefused) {
  EXPECT_EQ(refused(kPath, R"({"inputs": [{"name": "sentences", "shape": [3], "datatype": "BYTES", "data": ["a", "b"]}]})").code,
            "tensor-data-differ-from-shape");
  EXPECT_EQ(refused(kPath, R"({"inputs": [{"name": "sentences", "shape": [1], "datatype": "FP32", "data": [1]}]})").code,
            "tensor-of-wrong-type");
  EXPECT_EQ(refused(kPath, R"({"inputs": [{"name": "images", "shape": [1], "datatype": "BYTES", "data": ["a"]}]})").code,
            "nothing-to-score");
  EXPECT_EQ(refused(kPath, R"({"inputs": [{"name": "tokens", "shape": [1, 2], "datatype": "INT64", "data": [1, 2]},
    {"name": "sequence_lengths", "shape": [1], "datatype": "INT64", "data": [3]}]})")
                .code,
            "sequence-of-wrong-length");
  const Refusal path =
      refused(kPath, R"({"inputs": [{"name": "sentences", "shape": [2], "datatype": "BYTES", "data": ["a", 5]}]})");
  EXPECT_EQ(path.sentence, "inputs[0].data[1]: expected a text, found 5");
  EXPECT_EQ(path.status, 400);
}

TEST(Kserve, ADatatypeThatAnInputCannotHaveIsNamed) {
  const auto said = [](const char* name, const char* datatype, const char* data) {
    return refused(kPath, std::string(R"({"inputs": [{"name": ")") + name + R"(", "shape": [1], "datatype": ")" + datatype +
                              R"(", "data": )" + data + "}]}");
  };
  EXPECT_EQ(said("sentences", "INT64", "[5]").sentence,
            "inputs[0].datatype: expected BYTES for the input sentences, found \"INT64\"");
  EXPECT_EQ(said("tokens", "BYTES", "[\"a\"]").sentence,
            "inputs[0].datatype: expected INT64 or INT32 for the input tokens, found \"BYTES\"");
  EXPECT_EQ(said("tokens", "FP32", "[1.5]").code, "tensor-of-wrong-type");
  EXPECT_EQ(said("sequence_lengths", "BYTES", "[\"1\"]").code, "tensor-of-wrong-type");
  EXPECT_EQ(said("prompts", "INT32", "[1]").code, "tensor-of-wrong-type");
  EXPECT_EQ(said("responses", "bytes", "[\"a\"]").code, "tensor-of-wrong-type");
}

TEST(Kserve, SettingsMayStandBelowParameters) {
  const auto normalised = [](const char* parameters) {
    return asked(kPath, std::string(R"({"parameters": )") + parameters +
                            R"(, "inputs": [{"name": "sentences", "shape": [1], "datatype": "BYTES", "data": ["x"]}]})")
        .normalise;
  };
  EXPECT_EQ(normalised(R"({"normalise": "standard"})"), Normalise::standard);
  EXPECT_EQ(normalised(R"({"other": 1})"), Normalise::none);
  EXPECT_EQ(refused(kPath, R"({"parameters": {"normalise": "bad"}, "inputs": [{"name": "sentences", "shape": [1],
    "datatype": "BYTES", "data": ["x"]}]})")
                .code,
            "body-value-unknown");
  EXPECT_EQ(refused(kPath, R"({"inputs": [{"name": "sentences", "shape": [1], "datatype": "BYTES", "data": ["x"]},
    {"name": "tokens", "shape": [1, 1], "datatype": "INT64", "data": [1]}]})")
                .code,
            "two-forms-at-once");
}

TEST(Kserve, InputsThatNothingReadsAreListed) {
  const Request request = asked(kPath, R"({"parameters": {"a": 1}, "inputs": [
    {"name": "add_EOS", "shape": [1], "datatype": "BOOL", "data": [true]},
    {"name": "sentences", "shape": [1], "datatype": "BYTES", "data": ["x"]},
    {"name": "prompts", "shape": [1], "datatype": "BYTES", "data": ["p"]}]})");
  EXPECT_EQ(request.size(), 1U);
  EXPECT_EQ(request.unread, (std::vector<std::string>{"inputs.add_EOS", "inputs.prompts", "parameters"}));
  using namespace std::string_view_literals;
  const Request behind = binary(R"({"name": "add_EOS", "shape": [1], "datatype": "BOOL", "parameters": {"binary_data_size": 1}},
    {"name": "sentences", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}})",
                                "\x01\x01\0\0\0a"sv);
  EXPECT_EQ(behind.groups[0].items[0].text, "a");
  EXPECT_EQ(refused(kPath, R"({"inputs": [{"name": "sentences", "shape": [1], "datatype": "BYTES", "data": ["a"]},
    {"name": "sentences", "shape": [1], "datatype": "BYTES", "data": ["b"]}]})")
                .code,
            "key-given-twice");
}

TEST(Describe, AnUnknownModelIsToldWithAllNames) {
  EXPECT_EQ(unknown_model("mian", {"main", "alias"}),
            "the model \"mian\" is unknown, did you mean main?; the server has main, alias");
  EXPECT_EQ(unknown_model("x", {"main"}), "the model \"x\" is unknown; the server has main");
  EXPECT_LT(unknown_model(std::string(100000, 'x'), {"main"}).size(), 200U);
}

TEST(Describe, ModelsAndHealth) {
  ServerFacts server{"1.0", false, 64, {{"reward_model", "other", 5, 512, true}, {"other", "other", 6, 512, false}}};
  const auto asks = [&](std::string_view path) { return describe(find_endpoint("GET", path).value(), server); };
  EXPECT_EQ(asks("/v1/models").body["data"][1]["id"], "other");
  EXPECT_EQ(asks("/v1/models").body["data"][0]["root"], "other");
  EXPECT_EQ(asks("/v1/models/other").body["max_model_len"], 512);
  EXPECT_EQ(asks("/v2").body["name"], "dmoerm");
  EXPECT_EQ(asks("/v2/health/live").status, 200);
  EXPECT_EQ(asks("/v2/health/ready").status, 503);
  EXPECT_EQ(asks("/v2/models/reward_model/ready").status, 200);
  EXPECT_EQ(asks("/v2/models/other/ready").status, 503);
  EXPECT_EQ(asks("/v2/models/reward_model").body["outputs"][0]["name"], "rewards");
  EXPECT_EQ(asks("/v2/models/reward_model/versions/1").body["inputs"][0]["datatype"], "BYTES");
  EXPECT_EQ(asks("/v2/models/reward_model/config").body["max_batch_size"], 64);
  EXPECT_THROW((void)asks("/v2/models/none"), RequestError);
}

}  // namespace
}  // namespace dmoerm::wire
