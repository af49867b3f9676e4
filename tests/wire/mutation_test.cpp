// Good requests of every protocol, mangled in thousands of ways: each is refused with a 4xx or answered, and enough are answered.
#include <gtest/gtest.h>

#include <array>
#include <random>

#include "base/json_text.h"
#include "wire/bodies.h"
#include "wire/render_error.h"

namespace dmoerm::wire {
namespace {

using nlohmann::json;

struct Body {
  const char *path, *text;
};
constexpr std::array kBodies = {
    Body{"/v1/reward",
         R"({"id": 1, "prompt": [{"role": "user", "content": "Q"}], "responses": ["A", "B"], "normalise": "softmax"})"},
    Body{"/v1/reward", R"({"items": [{"prompt": "Q", "chosen": "A", "rejected": "B"}, {"messages": [{"role": "user", "content":
        "Q"}, {"role": "assistant", "content": [{"type": "text", "text": "A"}]}]}], "model": "m", "truncate": false})"},
    Body{"/v1/reward", R"({"texts": ["a", "b"], "use_category": "c", "normalize": true})"},
    Body{"/get_reward", R"({"query": ["ab", "cd"], "prompts": ["a", null], "labels": [null, 1]})"},
    Body{"/classify", R"({"model": "m", "input": ["a", [1, 2]], "use_activation": false, "truncate_prompt_tokens": -1})"},
    Body{"/classify", R"({"conv": [[{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]], "text": null})"},
    Body{"/pooling", R"({"input": [[1], [2, 3]], "task": "classify", "encoding_format": "base64", "dimensions": 1})"},
    Body{"/score", R"({"queries": ["P", "Q"], "documents": ["A", {"content": [{"type": "text", "text": "B"}]}]})"},
    Body{"/v1/score", R"({"query": "Q", "items": ["A", "B"], "label_token_ids": null, "apply_softmax": true})"},
    Body{"/v1/rerank", R"({"query": "Q", "documents": ["A", {"text": "B"}], "top_n": 1, "return_documents": true})"},
    Body{"/rerank", R"({"query": "Q", "texts": ["A", "B"], "raw_scores": false, "return_text": true, "truncate": true})"},
    Body{"/v1/embeddings", R"({"input": "a", "encoding_format": "float", "user": "u"})"},
    Body{"/predict",
         R"({"inputs": [["x"], ["Q", "A"]], "truncation_direction": "left", "parameters": {"function_to_apply": "none"}})"},
    Body{"/v1/score/evaluation", R"({"model": "m", "messages": ["a", "b"], "max_length": null})"},
    Body{"/v2/models/m/infer",
         R"({"id": "1", "inputs": [{"name": "sentences", "shape": [2, 1], "datatype": "BYTES", "data": [["a"],
        ["b"]]}], "outputs": [{"name": "rewards"}]})"},
    Body{"/v2/models/m/infer", R"({"inputs": [{"name": "tokens", "shape": [2, 2], "datatype": "INT64", "data": [1, 2, 3, 4]},
        {"name": "sequence_lengths", "shape": [2], "datatype": "INT64", "data": [1, 2]}]})"},
};

class Mangler {
 public:
  explicit Mangler(unsigned seed) : random_(seed) {}
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }

  std::string mangled(const Body& body) {
    json value = json::parse(body.text);
    for (std::size_t times = below(3); times > 0; --times) change(value);
    std::string text = json_line(value);
    if (below(4) == 0) {
      const std::size_t at = below(text.size());
      switch (below(3)) {
        case 0:
          text.resize(at);
          break;
        case 1:
          text[at] = static_cast<char>(below(256));
          break;
        default:
          text.insert(at, 1, "[]{},:\"\\0-e"[below(11)]);
          break;
      }
    }
    return text;
  }

 private:
  json odd() {
    static const std::array<json, 18> kValues = {nullptr,
                                                 true,
                                                 false,
                                                 0,
                                                 -1,
                                                 1,
                                                 2147483648LL,
                                                 18446744073709551615ULL,
                                                 1.5,
                                                 1e308,
                                                 "",
                                                 "x",
                                                 "\xe2\x80\x8b",
                                                 "[{\"role\": \"user\"",
                                                 json::array(),
                                                 json::object(),
                                                 json::array({json::array({"a", 1})}),
                                                 json::parse(R"({"role": "tool", "content": "x"})")};
    return kValues[below(kValues.size())];
  }
  void change(json& value) {
    if (value.is_structured() && !value.empty() && below(5) > 0) {
      auto child = value.begin();
      std::advance(child, static_cast<std::ptrdiff_t>(below(value.size())));
      if (below(6) > 0) return change(*child);
      value.erase(child);
    } else if (value.is_array() && below(2) == 0) {
      value.push_back(value.empty() ? odd() : value[below(value.size())]);
    } else {
      value = odd();
    }
  }
  std::mt19937 random_;
};

/// Whether a body is answered; it is refused otherwise.
bool is_answered(const char* path, const std::string& text) {
  Limits limits;
  limits.texts_max = 3;
  try {
    const json reply = answered(path, text, limits);
    EXPECT_FALSE(json_line(reply).empty());
    return true;
  } catch (const RequestError& e) {
    EXPECT_TRUE(e.status() >= 400 && e.status() < 500) << path << " " << text;
    EXPECT_FALSE(e.code().empty()) << path << " " << text;
    EXPECT_GE(std::string_view(e.what()).size(), 10U) << path << " " << text;
    EXPECT_TRUE(render_error(e.family(), e.status(), e.code(), e.what()).is_object());
    return false;
  }
}

TEST(Mutations, AreRefusedOrAnswered) {
  constexpr int kTimes = 4000;
  Mangler mangler(7);
  int good = 0;
  for (int i = 0; i < kTimes; ++i) {
    const Body& body = kBodies[mangler.below(kBodies.size())];
    const std::string text = mangler.mangled(body);
    try {
      good += is_answered(body.path, text) ? 1 : 0;
    } catch (const std::exception& e) {
      ADD_FAILURE() << body.path << " " << text << ": " << e.what();
    }
  }
  EXPECT_GT(good, kTimes / 5);
  EXPECT_LT(good, kTimes * 4 / 5);
}

TEST(Mutations, StartFromGoodBodies) {
  for (const Body& body : kBodies)
    EXPECT_TRUE(is_answered(body.path, json::parse(body.text).dump())) << body.path << " " << body.text;
}

}  // namespace
}  // namespace dmoerm::wire
