// A reward server as a model, against a small server that answers in each protocol and misbehaves on request.
#include "eval/server_scores.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "eval/evaluation.h"
#include "eval/read_data.h"
#include "eval/report_text.h"
#include "eval/scorers.h"
#include "eval/server_address.h"
#include "eval/server_client.h"
#include "support/scratch.h"

namespace dmoerm::eval {
namespace {

using nlohmann::json;

/// Answers every POST. The score of a text is the number behind its last "#".
class RewardServer {
 public:
  using Answer = std::function<void(const httplib::Request&, const json& body, httplib::Response&)>;

  explicit RewardServer(Answer answer) {
    server_.Post(".*", [this, answer = std::move(answer)](const httplib::Request& request, httplib::Response& response) {
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      answer(request, json::parse(request.body), response);
    });
    server_.new_task_queue = [] { return new httplib::ThreadPool(64); };  // an open connection keeps a thread
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
  }
  ~RewardServer() {
    server_.stop();
    thread_.join();
  }
  RewardServer(const RewardServer&) = delete;
  RewardServer& operator=(const RewardServer&) = delete;

  [[nodiscard]] std::string url(const std::string& path = "") const { return fmt::format("http://127.0.0.1:{}{}", port_, path); }
  [[nodiscard]] std::vector<httplib::Request> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
  std::mutex mutex_;
  std::vector<httplib::Request> requests_;
};

double score_in(const std::string& text) { return std::stod(text.substr(text.rfind('#') + 1)); }

void say(httplib::Response& response, const json& body) { response.set_content(body.dump(), "application/json"); }

ScoringOptions in_template(const std::string& name) {
  ScoringOptions options;
  options.chat_template = name;
  return options;
}

/// What each protocol's server answers.
void answer_well(const httplib::Request& request, const json& body, httplib::Response& response) {
  if (request.path == "/v1/reward") {
    json scores = json::array();
    for (const json& text : body["responses"]) scores.push_back(score_in(text));
    response.set_header("X-Compute-Tokens", "100");
    return say(response, {{"scores", scores}, {"model", "tiny"}, {"template_sha256", "abc"}});
  }
  if (request.path == "/get_reward") {
    json rewards = json::array();
    for (const json& text : body["query"]) rewards.push_back(score_in(text));
    return say(response, {{"rewards", rewards}, {"scores", rewards}, {"extra_logs", json::object()}});
  }
  const std::string text = body.contains("input") ? body["input"] : body["messages"].back()["content"];
  const json usage = {{"prompt_tokens", 7}, {"total_tokens", 7}};
  if (request.path == "/classify")
    return say(response,
               {{"model", "m"}, {"data", {{{"index", 0}, {"probs", {score_in(text)}}, {"num_classes", 1}}}}, {"usage", usage}});
  say(response, {{"model", "m"}, {"data", {{{"index", 0}, {"data", {{-9.0}, {score_in(text)}}}}}}, {"usage", usage}});
}

class ServerScores : public test::Scratch {
 protected:
  ServerScores() {
    ::unsetenv(kServerKey);
    ::unsetenv("SSL_CERT_FILE");
    std::string rows;
    for (int i = 0; i < 40; ++i) rows += row(i, 3).dump() + "\n";
    data_ = read_data({write("rows.jsonl", rows)}, {});
  }
  ~ServerScores() override { ::unsetenv(kServerKey); }

  static json row(int number, int responses) {
    json row = {
        {"id", std::to_string(number)},
        {"category", "chat"},
        {"prompt",
         {{{"role", "system"}, {"content", "Be kind."}}, {{"role", "user"}, {"content", fmt::format("Question {}?", number)}}}},
        {"responses", json::array()}};
    for (int r = 0; r < responses; ++r)
      row["responses"].push_back(
          {{"text", fmt::format("Answer {} to {}. #{}", r, number, 10 * number + r + 0.1)}, {"overall", r}});
    return row;
  }
  [[nodiscard]] ModelScores ask(const std::string& url, const ScoringOptions& options = {}) const {
    return server_scores({"s", "server:" + url}, data_, options, [](auto&&...) {});
  }
  [[nodiscard]] ModelScores ask(const RewardServer& server, const std::string& path = "") const { return ask(server.url(path)); }
  void expect_right(const ModelScores& model) const {
    ASSERT_EQ(model.items.size(), data_.items.size());
    for (std::size_t i = 0; i < data_.items.size(); ++i) {
      ASSERT_EQ(model.items[i].scores.size(), data_.items[i].responses.size());
      for (std::size_t r = 0; r < model.items[i].scores.size(); ++r)
        EXPECT_EQ(model.items[i].scores[r], score_in(data_.items[i].responses[r]));
    }
  }
  /// The message of the error with which an evaluation ends whose first request is answered so.
  template <class Wanted>
  [[nodiscard]] std::string refusal(const RewardServer::Answer& answer, const std::string& path = "") const {
    RewardServer server(answer);
    return test::message_of<Wanted>([&] { (void)ask(server, path); });
  }

  Data data_;
};

void expect_parts(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << part << " is missing in: " << message;
}

TEST_F(ServerScores, AskInOurProtocolWithMessages) {
  RewardServer server(answer_well);
  std::size_t told = 0;
  const ModelScores model = server_scores({"s", "server:" + server.url() + "#tiny"}, data_, {},
                                          [&](auto&&, std::size_t done, std::size_t) { told = done; });
  expect_right(model);
  EXPECT_EQ(told, 40U);
  EXPECT_EQ(model.items[3].tokens, 100) << "by the header";
  EXPECT_EQ(model.tokens_unknown, "");
  EXPECT_EQ(model.server.at("url"), server.url("/v1/reward"));
  EXPECT_EQ(model.server.at("protocol"), "dmoerm");
  EXPECT_EQ(model.server.at("model"), "tiny");
  EXPECT_EQ(model.server.at("template_sha256"), "abc");
  const std::vector<httplib::Request> requests = server.requests();
  ASSERT_EQ(requests.size(), 40U) << "one for each prompt";
  const json body = json::parse(requests[0].body);
  EXPECT_EQ(body["prompt"][0], (json{{"role", "system"}, {"content", "Be kind."}}));
  EXPECT_EQ(body["normalise"], "none");
  EXPECT_EQ(body["model"], "tiny");
  EXPECT_FALSE(requests[0].has_header("Authorization"));
}

TEST_F(ServerScores, DivideLongLists) {
  data_ = read_data({write("long.jsonl", row(1, 150).dump() + "\n")}, {});
  RewardServer server(answer_well);
  const ModelScores model = ask(server);
  expect_right(model);
  EXPECT_EQ(server.requests().size(), 3U);
  EXPECT_EQ(model.items[0].tokens, 300);
}

TEST_F(ServerScores, AskOpenRlhfWithTextsInATemplate) {
  RewardServer server(answer_well);
  const ModelScores model = ask(server.url("/get_reward"), in_template("llama3"));
  expect_right(model);
  EXPECT_EQ(model.server.at("sent_template"), "llama3");
  EXPECT_EQ(model.server.at("sent_template_sha256").size(), 64U);
  EXPECT_NE(model.tokens_unknown, "");
  const std::vector<httplib::Request> requests = server.requests();
  ASSERT_EQ(requests.size(), 120U) << "one for each text, as its trainer asks";
  const json body = json::parse(requests[0].body);
  const std::string text = body["query"][0], prompt = body["prompts"][0];
  EXPECT_TRUE(text.starts_with("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>")) << text;
  EXPECT_TRUE(text.starts_with(prompt)) << prompt;
  EXPECT_TRUE(prompt.ends_with("<|start_header_id|>assistant<|end_header_id|>\n\n")) << prompt;
  EXPECT_TRUE(text.ends_with("<|eot_id|>")) << text;
  expect_parts(test::message_of<ConfigError>([&] { (void)ask(server, "/get_reward"); }),
               {server.url("/get_reward"), "--template"});
  expect_parts(test::message_of<ConfigError>([&] { (void)ask(server.url("/get_reward"), in_template("plain")); }),
               {"--template plain", "tokenizer"});
}

TEST_F(ServerScores, AskVllmWithMessagesOrTexts) {
  for (const char* path : {"/classify", "/pooling"}) {
    RewardServer server(answer_well);
    const ModelScores model = ask(server, path);
    expect_right(model);
    EXPECT_EQ(model.items[0].tokens, 21);
    EXPECT_EQ(model.server.at("model"), "m");
    const json body = json::parse(server.requests()[0].body);
    EXPECT_EQ(body["messages"].size(), 3U);
    EXPECT_EQ(body["messages"][2]["role"], "assistant");
    EXPECT_EQ(body["use_activation"], false);
    expect_right(ask(server.url(path), in_template("chatml")));
    const json templated = json::parse(server.requests().back().body);
    EXPECT_FALSE(templated.contains("messages"));
    EXPECT_TRUE(templated["input"].get<std::string>().starts_with("<|im_start|>system\nBe kind.<|im_end|>\n"));
    EXPECT_EQ(templated["add_special_tokens"], false);
  }
}

TEST_F(ServerScores, SendTheKeyOfTheEnvironmentAndDoNotShowIt) {
  ::setenv(kServerKey, "secret-word-of-the-test", 1);
  RewardServer server(answer_well);
  expect_right(ask(server));
  EXPECT_EQ(server.requests()[0].get_header_value("Authorization"), "Bearer secret-word-of-the-test");
  const auto quote = [](const httplib::Request& request, const json&, httplib::Response& response) {
    response.status = 401;
    say(response, {{"error", {{"message", "wrong: " + request.get_header_value("Authorization")}}}});
  };
  const std::string said = refusal<ConfigError>(quote);
  expect_parts(said, {"answered 401: wrong: Bearer [key]", "check the API key in DMOERM_API_KEY"});
  RewardServer echo([](const httplib::Request& request, const json& body, httplib::Response& response) {
    json scores = json::array();
    for (const json& text : body["responses"]) scores.push_back(score_in(text));
    say(response, {{"scores", scores}, {"model", request.get_header_value("Authorization")}});
  });
  EXPECT_EQ(ask(echo).server["model"], "Bearer [key]");
  ::unsetenv(kServerKey);
  expect_parts(refusal<ConfigError>(quote), {"no API key was sent", "DMOERM_API_KEY"});
}

TEST_F(ServerScores, WaitForAServerThatIsFullAndRepeatWhatFailed) {
  std::atomic<int> refused = 0, failed = 0;
  RewardServer server([&](const httplib::Request& request, const json& body, httplib::Response& response) {
    if (refused.fetch_add(1) < 3) {
      response.status = 429;
      response.set_header("Retry-After", "1");
      return say(response, {{"error", {{"message", "full"}}}});
    }
    if (failed.fetch_add(1) < 2) {
      response.status = 500;
      return;
    }
    answer_well(request, body, response);
  });
  const auto begin = std::chrono::steady_clock::now();
  expect_right(ask(server));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1)) << "as Retry-After says";
  EXPECT_EQ(server.requests().size(), 45U) << "only what was refused is sent again";
}

TEST_F(ServerScores, GiveUpOnAServerThatDoesNotAnswer) {
  const ServerPolicy quick = {.tries_max = 3, .throttled_tries_max = 4, .backoff = {0.01, 0.02}};
  const auto ask_one = [&](const std::string& url) {
    ServerRequests one{.count = 1,
                       .body = [](std::size_t) { return std::string("{}"); },
                       .place = [](std::size_t) { return std::string("rows.jsonl:1: 0"); },
                       .reply = [](auto&&...) {}};
    const ServerAddress address = parse_server(url);
    return test::message_of<IoError>([&] { ask_server(address, one, quick); });
  };
  std::string url;
  {
    RewardServer server([](auto&&, auto&&, httplib::Response& response) {
      response.status = 503;
      response.set_content("loading", "text/plain");
    });
    url = server.url();
    expect_parts(ask_one(url), {"rows.jsonl:1: 0", server.url("/v1/reward"), "answered 503: loading", "after 4 tries"});
    EXPECT_EQ(server.requests().size(), 4U);
  }
  expect_parts(ask_one(url), {"cannot be reached", "after 3 tries"});
  RewardServer patient([](auto&&, auto&&, httplib::Response& response) {
    response.status = 429;
    response.set_header("Retry-After", "5000");
  });
  expect_parts(ask_one(patient.url()), {"answered 429", "a pause of 5000 s"});
}

TEST_F(ServerScores, RefuseRepliesThatAreNotOneFiniteNumberEach) {
  const auto with = [](const std::string& body) {
    return [body](auto&&, auto&&, httplib::Response& response) { response.set_content(body, "application/json"); };
  };
  const std::string place = "rows.jsonl:";
  for (const char* scores : {"[1, 2]", "[1, 2, 3, 4]", "[1, 2, NaN]", "[1, null, 3]", "[1, \"2\", 3]", "7"})
    expect_parts(refusal<DataError>(with(fmt::format("{{\"scores\": {}}}", scores))),
                 {place, "/v1/reward cannot be used", "expected 3 finite numbers in the list scores"});
  expect_parts(refusal<DataError>(with("[1, 2]")), {"expected a JSON object, found [1,2]"});
  expect_parts(refusal<DataError>(with("<html>")), {"expected a JSON object, found a web page", "<html>"});
  for (const char* nothing : {"", " \n"})
    expect_parts(refusal<DataError>(with(nothing)), {place, "expected a JSON object, found an empty body"});
  expect_parts(refusal<DataError>(with(R"({"data": [{"probs": [0.2, 0.8]}]})"), "/classify"),
               {"expected 1 finite number in the list data[0].probs", "found [0.2,0.8]"});
  expect_parts(refusal<DataError>(with(R"({"data": [{"data": [0.1, 0.2, 0.3]}]})"), "/pooling"),
               {"data[0].data", "[0.1,0.2,0.3]"});
}

TEST_F(ServerScores, NameTheItemThatTheServerRefuses) {
  const auto status = [](int code, const std::string& location = "") {
    return [code, location](auto&&, auto&&, httplib::Response& response) {
      response.status = code;
      if (!location.empty()) response.set_header("Location", location);
      say(response, {{"error", {{"message", "no such thing"}}}});
    };
  };
  expect_parts(refusal<DataError>(status(413)), {"rows.jsonl:", "/v1/reward answered 413: no such thing"});
  expect_parts(refusal<ConfigError>(status(404), "/classify"), {"/classify answered 404", "vLLM classify", "#"});
  expect_parts(refusal<ConfigError>(status(308, "https://elsewhere/")), {"answered 308", "redirect to \"https://elsewhere/\""});
}

TEST_F(ServerScores, SayAtOnceThatTheServerSpeaksHttp) {
  RewardServer server(answer_well);
  std::string url = server.url();
  url.replace(0, 4, "https");
  const std::string said = test::message_of<ConfigError>([&] { (void)ask(url); });
  expect_parts(said, {"rows.jsonl:", url, "the server speaks http there, not https", "write http://"});
  EXPECT_EQ(said.find("tries"), std::string::npos) << said;
}

TEST_F(ServerScores, SayHowTheServerFoundPromptsInTexts) {
  std::atomic<int> number = 0;
  RewardServer server([&](const httplib::Request& request, const json& body, httplib::Response& response) {
    const int n = number.fetch_add(1);
    response.set_header("X-Prompt-Found", n < 100 ? "none" : n < 105 ? "text" : "messages");
    answer_well(request, body, response);
  });
  const std::vector<ModelSpec> specs = {parse_model("o=server:" + server.url("/get_reward"))};
  const std::vector<ModelScores> models = score_all(specs, data_, in_template("chatml"), [](auto&&...) {});
  const json result = evaluate({data_, models, {.resamples = 100}});
  const json& model = result["models"][0];
  EXPECT_EQ(model["server"]["prompts_found"], (json{{"messages", 15}, {"none", 100}, {"text", 5}}));
  EXPECT_EQ(model["server"]["sent_template"], "chatml");
  expect_parts(model["doubt"].get<std::string>(),
               {"in 105 of 120 texts in the template chatml", "none: 100, text: 5", "--template"});
  expect_parts(report_text(result), {"- o: " + model["doubt"].get<std::string>()});
}

TEST_F(ServerScores, DoNotDoubtTheTemplateForTheSakeOfAFewTexts) {
  std::atomic<int> number = 0;
  RewardServer server([&](const httplib::Request& request, const json& body, httplib::Response& response) {
    response.set_header("X-Prompt-Found", number.fetch_add(1) < 3 ? "text" : "messages");
    answer_well(request, body, response);
  });
  const ModelScores model = ask(server.url("/get_reward"), in_template("chatml"));
  expect_parts(model.doubt, {"in 3 of 120 texts", "text: 3", "special tokens"});
  EXPECT_EQ(model.doubt.find("--template"), std::string::npos) << model.doubt;
}

TEST_F(ServerScores, HaveNoDoubtWhereTheServerFoundTheMessagesOrDoesNotSay) {
  for (const char* found : {"messages", "", "a word of another program"}) {
    RewardServer server([&](const httplib::Request& request, const json& body, httplib::Response& response) {
      if (*found != 0) response.set_header("x-prompt-found", found);
      answer_well(request, body, response);
    });
    const ModelScores model = ask(server.url("/get_reward"), in_template("chatml"));
    EXPECT_EQ(model.doubt, "") << found;
    EXPECT_EQ(model.prompts_found.size(), std::string(found) == "messages" ? 1U : 0U) << found;
  }
}

TEST_F(ServerScores, NoticeAnotherModelInTheMidstOfAnEvaluation) {
  std::atomic<int> number = 0;
  const std::string said = refusal<DataError>([&](const httplib::Request&, const json& body, httplib::Response& response) {
    say(response,
        {{"scores", std::vector<double>(body["responses"].size())}, {"model", number.fetch_add(1) < 20 ? "old" : "new"}});
  });
  expect_parts(said, {"model old", "model new", "its model changed during the evaluation"});
}

TEST_F(ServerScores, StandInTablesAndEnsemblesBesideOtherModels) {
  RewardServer server(answer_well);
  const std::string openrlhf = "o=server:" + server.url("/get_reward");
  std::vector<ModelSpec> specs;
  for (const std::string& text : {"s=server:" + server.url(), openrlhf, std::string("length"), std::string("e=mean(s,o)")})
    specs.push_back(parse_model(text));
  const std::vector<ModelScores> models = score_all(specs, data_, in_template("chatml"), [](auto&&...) {});
  const json result = evaluate({data_, models, {.resamples = 100}});
  EXPECT_EQ(result["accuracy"]["chat"]["overall"]["models"]["s"]["pooled"]["value"], 1.0);
  EXPECT_EQ(result["accuracy"]["chat"]["overall"]["models"]["e"]["pooled"]["value"], 1.0);
  EXPECT_EQ(result["models"][0]["tokens"], 4000);
  EXPECT_EQ(result["models"][0]["server"]["model"], "tiny");
  EXPECT_EQ(result["models"][0]["source"], server.url("/v1/reward") + " (model tiny)");
  EXPECT_TRUE(result["models"][1]["tokens"].is_null());
  EXPECT_TRUE(result["models"][1]["tokens_per_1000_pairs"].is_null());
  EXPECT_EQ(result["models"][1]["server"]["protocol"], "OpenRLHF");
  EXPECT_FALSE(result["models"][2].contains("server"));
  EXPECT_TRUE(result["models"][3]["tokens"].is_null()) << "what one member does not say the sum does not know";
  expect_parts(report_text(result), {"- (the server does not count them)", "- (of o: the server does not count them)"});
}

TEST(ServerAddress, ChoosesTheProtocolByThePath) {
  const auto address_of = [](const std::string& text) {
    const ServerAddress a = parse_server(text);
    return fmt::format("{} | {} | {} | {}", a.url, a.shown, name_of(a.protocol), a.model);
  };
  EXPECT_EQ(address_of("http://h:8000"), "http://h:8000/v1/reward | http://h:8000/v1/reward | dmoerm | ");
  EXPECT_EQ(address_of("http://h:8000/?a=b#new"), "http://h:8000/v1/reward?a=b | http://h:8000/v1/reward | dmoerm | new");
  EXPECT_EQ(address_of("https://h/proxy/v1/reward/"), "https://h/proxy/v1/reward | https://h/proxy/v1/reward | dmoerm | ");
  EXPECT_EQ(address_of("http://h/get_reward"), "http://h/get_reward | http://h/get_reward | OpenRLHF | ");
  EXPECT_EQ(address_of("http://h/classify#org/rm"), "http://h/classify | http://h/classify | vLLM classify | org/rm");
  EXPECT_EQ(address_of("http://h/pooling"), "http://h/pooling | http://h/pooling | vLLM pooling | ");
  for (const char* path : {"/score", "/v1", "/v1/classify", "/reclassify"})
    expect_parts(test::message_of<ConfigError>([&] { (void)parse_server(std::string("http://h") + path); }),
                 {path, "/v1/reward", "/get_reward", "/classify", "/pooling"});
  for (const char* text : {"h:8000", "", "ftp://h", "http://", "http:///v1/reward"})
    expect_parts(test::message_of<ConfigError>([&] { (void)parse_server(text); }), {"expected the address of a server"});
  for (const char* text : {"http://h:99999", "http://h:0", "http://h:port/get_reward", "https://[::1]:70000"})
    expect_parts(test::message_of<ConfigError>([&] { (void)parse_server(text); }), {text, "a port from 1 to 65535"});
  EXPECT_EQ(address_of("http://[::1]:65535"), "http://[::1]:65535/v1/reward | http://[::1]:65535/v1/reward | dmoerm | ");
  const std::string refused = test::message_of<ConfigError>([] { (void)parse_server("http://me:hidden@h/classify"); });
  expect_parts(refused, {"password", "DMOERM_API_KEY"});
  EXPECT_EQ(refused.find("hidden"), std::string::npos);
  for (const char* mistyped : {"ftp://me:hidden@h/classify", "me:hidden@h:80", "h:80/?key=hidden"}) {
    const std::string said = test::message_of<ConfigError>([&] { (void)parse_server(mistyped); });
    EXPECT_EQ(said.find("hidden"), std::string::npos) << said;
  }
  const std::string said = test::message_of<ConfigError>([] { (void)parse_model("a b=server:http://h/?token=hidden"); });
  EXPECT_EQ(said.find("hidden"), std::string::npos) << said;
}

TEST_F(ServerScores, AreCheckedBeforeAnythingIsComputed) {
  for (const std::string what : {"server:http://127.0.0.1:9/score", "server:http://127.0.0.1:9/get_reward"}) {
    const std::string said = test::message_of<ConfigError>([&] {
      (void)score_all({{"other", "judge:" + (directory_ / "absent.yaml").string()}, {"s", what}}, data_, {}, [](auto&&...) {});
    });
    EXPECT_NE(said.find("127.0.0.1:9"), std::string::npos) << said;
  }
}

TEST(ServerAddress, NamesAModelThatHasNoName) {
  EXPECT_EQ(parse_model("server:http://127.0.0.1:8000").name, "127.0.0.1:8000");
  EXPECT_EQ(parse_model("server:https://host/classify?a=b").name, "host");
  EXPECT_EQ(parse_model("server:http://host:1?a=b").name, "host:1");
  EXPECT_EQ(parse_model("server:http://host/classify#org/rm").name, "rm");
  EXPECT_EQ(parse_model("old=server:http://host?a=b").what, "server:http://host?a=b");
}

}  // namespace
}  // namespace dmoerm::eval
