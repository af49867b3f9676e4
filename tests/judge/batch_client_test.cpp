// Tests the batch client against the test judge: faults of the provider, and kills at the moments that could cost money.
#include "judge/batch_client.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "judge/batch_files.h"
#include "judge/batch_state.h"
#include "support/judge_process.h"
#include "support/scratch.h"

namespace dmoerm::judge {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using test::JudgeProcess;

std::string body_of(int i) {
  return fmt::format(
      R"({{"messages":[{{"content":"point: clarity\n<response_1 k>\ntext {}\n</response_1 k>\n<response_2 k>\nother {}\n)"
      R"(</response_2 k>\n","role":"user"}}],"model":"judge"}})",
      i, i * 7);
}
std::string id_of(int i) { return sha256_hex(body_of(i)); }

class BatchClientTest : public test::Scratch {
 protected:
  static BatchPolicy quick() {
    BatchPolicy policy;
    policy.poll_min_s = 0.05;
    policy.poll_max_s = 0.2;
    policy.lookup_pause_s = 0.1;
    policy.backoff_base_s = 0.01;
    policy.backoff_cap_s = 0.1;
    policy.seed = 1;
    return policy;
  }
  std::filesystem::path folder() const { return directory_ / "batches"; }
  std::string log() const { return (directory_ / "witness.log").string(); }
  std::vector<std::string> options(std::vector<std::string> more = {}) const {
    more.insert(more.end(), {"--log", log(), "--batch-delay-s", "0.3"});
    return more;
  }
  static config::EndpointConfig endpoint(const JudgeProcess& server) {
    config::EndpointConfig e;
    e.url = server.url();
    return e;
  }

  /// Counts from the server's log: answered lines of batches by digest, other POSTs by kind.
  std::map<std::string, int> witness() const {
    std::map<std::string, int> seen;
    std::ifstream file(log());
    std::string key, kind;
    long long time = 0;
    int status = 0;
    while (file >> key >> time >> status >> kind) {
      ++seen[kind];
      if (kind == "batch" && status == 200) ++seen[key];
    }
    return seen;
  }
  void expect_paid_once(int n) const {
    const auto seen = witness();
    for (int i = 0; i < n; ++i) {
      const auto found = seen.find(id_of(i));
      ASSERT_TRUE(found != seen.end() && found->second == 1)
          << i << " was paid " << (found == seen.end() ? 0 : found->second) << " times";
    }
  }

  static void add(BatchClient& client, int n) {
    for (int i = 0; i < n; ++i) {
      if (!client.has(id_of(i))) client.add(id_of(i), body_of(i));
    }
    client.close_file();
  }
  /// Step until everything is collected or the client stops.
  static std::map<std::string, JudgeReply> collect(BatchClient& client, double limit_s = 30) {
    std::map<std::string, JudgeReply> replies;
    const auto until = steady_clock::now() + std::chrono::duration<double>(limit_s);
    while (client.pending() > 0 && !client.stopped() && steady_clock::now() < until) {
      for (BatchResults& results : client.step(milliseconds(100))) {
        for (BatchReply& reply : results.replies)
          EXPECT_TRUE(replies.emplace(reply.id, std::move(reply.reply)).second) << "two replies to one id";
        client.acknowledge(results.batch);
      }
    }
    return replies;
  }
  static int count(const std::map<std::string, JudgeReply>& replies, JudgeReply::Status status) {
    int n = 0;
    for (const auto& [id, reply] : replies) n += reply.status == status;
    return n;
  }
  /// Run `work` in a process that kills itself, or is killed when `until` becomes true.
  static void killed(const std::function<void()>& work, const std::function<bool()>& until) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      work();
      ::_exit(0);
    }
    for (int i = 0; i < 2000 && !until(); ++i) std::this_thread::sleep_for(milliseconds(5));
    ::kill(pid, SIGKILL);
    int status = 0;
    ::waitpid(pid, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it ended before it was killed";
  }
  int records() const { return static_cast<int>(load_batches(folder()).size()); }
};

TEST_F(BatchClientTest, AsksInSeveralFilesAndCollectsEveryReplyOnce) {
  JudgeProcess server(directory_, options());
  BatchPolicy policy = quick();
  policy.requests_max = 40;
  BatchClient client(endpoint(server), folder(), policy);
  std::map<std::string, JudgeReply> replies;
  int next = 0;
  while (static_cast<int>(replies.size()) < 100) {
    for (; next < 100 && !client.full(); ++next) client.add(id_of(next), body_of(next));
    if (next == 100) client.close_file();
    for (const BatchResults& results : client.step(milliseconds(1000))) {
      for (const BatchReply& reply : results.replies) EXPECT_TRUE(replies.emplace(reply.id, reply.reply).second);
      EXPECT_TRUE(client.has(results.replies[0].id)) << "until the caller has it";
      client.acknowledge(results.batch);
      EXPECT_FALSE(client.has(results.replies[0].id));
    }
    ASSERT_FALSE(client.stopped());
  }
  EXPECT_EQ(count(replies, JudgeReply::ok), 100);
  const JudgeReply& reply = replies.at(id_of(77));
  EXPECT_EQ(reply.text.rfind("I compared both responses.\nVerdict: ", 0), 0U) << reply.text;
  EXPECT_GT(reply.prompt_tokens, 10);
  EXPECT_EQ(reply.tries, 1);
  EXPECT_EQ(client.pending(), 0U);
  EXPECT_EQ(records(), 0);
  EXPECT_EQ(witness()["create"], 3);
  expect_paid_once(100);
}

TEST_F(BatchClientTest, DistinguishesUnansweredRequestsFromErrors) {
  struct Case {
    const char* rule;
    int ok, cancelled, error;
    const char* detail;
    bool billed;
  };
  for (const Case& c : std::vector<Case>{{"batch_expires=1", 10, 10, 0, "batch_expired", false},
                                         {"batch_fails=1", 0, 0, 20, "The batch is refused by this test", false},
                                         {"batch_missing_line=1", 19, 0, 1, "has no result for this request", true},
                                         {"batch_bad_line=1", 19, 0, 1, "has no result for this request", true},
                                         {"refusal=1", 0, 0, 0, "", false},
                                         {"400=1", 0, 0, 20, "maximum context length", false},
                                         {"500=1", 0, 20, 0, "answered 500", false},
                                         {"429=1", 0, 20, 0, "answered 429", false},
                                         {"two_choices=1", 0, 0, 20, "2 choices", true},
                                         {"half_json=1", 0, 0, 20, "answered 200 with", true}}) {
    SCOPED_TRACE(c.rule);
    JudgeProcess server(directory_, options({"--misbehave", c.rule}));
    BatchClient client(endpoint(server), folder(), quick());
    add(client, 20);
    const auto replies = collect(client);
    ASSERT_EQ(replies.size(), 20U) << (client.stopped() ? client.stopped()->detail : "");
    EXPECT_EQ(count(replies, JudgeReply::ok), c.ok);
    EXPECT_EQ(count(replies, JudgeReply::cancelled), c.cancelled);
    EXPECT_EQ(count(replies, JudgeReply::error), c.error);
    EXPECT_EQ(count(replies, JudgeReply::refused), 20 - c.ok - c.cancelled - c.error);
    for (const auto& [id, reply] : replies) {
      if (reply.status != JudgeReply::cancelled && reply.status != JudgeReply::error) continue;
      EXPECT_NE(reply.detail.find(c.detail), std::string::npos) << reply.detail;
      EXPECT_EQ(reply.maybe_billed, c.billed);
    }
  }
}

TEST_F(BatchClientTest, ReadsDamagedResultsAgainBeforeItForgetsTheBatch) {
  for (const char* rule : {"batch_page=1", "batch_half=1", "batch_dialect=1"}) {
    SCOPED_TRACE(rule);
    JudgeProcess server(directory_, options({"--misbehave", rule}));
    BatchClient client(endpoint(server), folder(), quick());
    add(client, 26);
    const auto replies = collect(client);
    EXPECT_EQ(count(replies, JudgeReply::ok), 26);
    EXPECT_EQ(records(), 0);
  }
}

TEST_F(BatchClientTest, KeepsItsRecordWhileTheResultsAreDamaged) {
  JudgeProcess server(directory_, options({"--misbehave", "batch_half_always=1"}));
  BatchPolicy policy = quick();
  policy.outage_max_s = 0.5;
  BatchClient client(endpoint(server), folder(), policy);
  add(client, 26);
  EXPECT_TRUE(collect(client).empty());
  ASSERT_TRUE(client.stopped());
  EXPECT_EQ(client.stopped()->status, JudgeReply::unreachable);
  EXPECT_NE(client.stopped()->detail.find("of 26 results, and 1 damaged line"), std::string::npos) << client.stopped()->detail;
  EXPECT_NE(client.stopped()->detail.find("with 26 requests is still recorded in"), std::string::npos);
  EXPECT_EQ(records(), 1);
}

TEST_F(BatchClientTest, SearchesForABatchWhoseCreationHadNoReplyAndDoesNotPayAgain) {
  JudgeProcess server(directory_,
                      options({"--misbehave", "batch_lost=first:1", "get_500=0.2", "get_cut=0.1", "upload_cut=first:1"}));
  BatchPolicy policy = quick();
  policy.requests_max = 5;  // several pages of the list
  BatchClient client(endpoint(server), folder(), policy);
  std::map<std::string, JudgeReply> replies;
  for (int i = 0; i < 40;) {
    while (i < 40 && !client.full()) client.add(id_of(i), body_of(i)), ++i;
    if (i == 40) break;
    for (BatchResults& results : client.step(milliseconds(50))) {
      for (BatchReply& reply : results.replies) replies.emplace(reply.id, std::move(reply.reply));
      client.acknowledge(results.batch);
    }
    ASSERT_FALSE(client.stopped()) << client.stopped()->detail;
  }
  for (auto& [id, reply] : collect(client)) replies.emplace(id, reply);
  EXPECT_EQ(count(replies, JudgeReply::ok), 40);
  EXPECT_EQ(witness()["batch_lost"], 8);
  EXPECT_EQ(witness()["create"], 0) << "no second creation";
  expect_paid_once(40);
}

TEST_F(BatchClientTest, FindsABatchWhoseCreationHadNoReplyByItsFile) {
  JudgeProcess server(directory_, options({"--misbehave", "batch_lost_nameless=first:1"}));
  BatchClient client(endpoint(server), folder(), quick());
  add(client, 20);
  const auto replies = collect(client);
  EXPECT_EQ(count(replies, JudgeReply::ok), 20);
  EXPECT_EQ(witness()["create"], 0) << "no second creation";
  for (const auto& [id, reply] : replies) EXPECT_EQ(reply.billed_tries, 0);
  expect_paid_once(20);
}

TEST_F(BatchClientTest, BooksACreationWhoseBatchCannotBeFound) {
  JudgeProcess server(directory_, options({"--misbehave", "batch_lost_unlisted=first:1"}));
  BatchClient client(endpoint(server), folder(), quick());
  add(client, 20);
  const auto replies = collect(client);
  EXPECT_EQ(count(replies, JudgeReply::ok), 20);
  EXPECT_EQ(witness()["batch_lost_unlisted"], 1);
  EXPECT_EQ(witness()["create"], 1);
  for (const auto& [id, reply] : replies) {
    EXPECT_EQ(reply.tries, 2);
    EXPECT_EQ(reply.billed_tries, 1);
    EXPECT_TRUE(reply.maybe_billed);
    EXPECT_NE(reply.billed_problem.find("batch of file file-1"), std::string::npos) << reply.billed_problem;
  }
}

TEST_F(BatchClientTest, GivesRequestsBackWhoseFileTheProviderNoLongerHas) {
  BatchRecord record{"stale", "", "file-99", "", {}, 1};
  for (int i = 0; i < 20; ++i) record.ids.push_back(id_of(i));
  JudgeProcess server(directory_, options());
  record.endpoint = server.url();
  save_batch(folder(), record);
  BatchClient client(endpoint(server), folder(), quick());
  EXPECT_EQ(client.pending(), 20U);
  auto replies = collect(client);
  ASSERT_FALSE(client.stopped()) << client.stopped()->detail;
  ASSERT_EQ(count(replies, JudgeReply::cancelled), 20);
  EXPECT_NE(replies.at(id_of(3)).detail.find("no such file"), std::string::npos) << replies.at(id_of(3)).detail;
  EXPECT_EQ(replies.at(id_of(3)).billed_tries, 1) << "of the creation whose reply nobody saw";
  EXPECT_EQ(records(), 0);
  add(client, 20);
  EXPECT_EQ(count(collect(client), JudgeReply::ok), 20);
  expect_paid_once(20);
}

TEST_F(BatchClientTest, NamesTheRecordOfABatchThatCannotBeCreated) {
  JudgeProcess server(directory_, options({"--misbehave", "batch_quota=1"}));
  BatchClient client(endpoint(server), folder(), quick());
  add(client, 3);
  (void)collect(client);
  ASSERT_TRUE(client.stopped());
  EXPECT_NE(client.stopped()->detail.find("the batch of file file-1 with 3 requests is still recorded in"), std::string::npos)
      << client.stopped()->detail;
}

TEST_F(BatchClientTest, RequestsWithoutAnAnswerCanBeAddedWhileTheirBatchIsKept) {
  JudgeProcess server(directory_, options({"--misbehave", "batch_expires=first:1"}));
  BatchClient client(endpoint(server), folder(), quick());
  add(client, 20);
  std::vector<BatchResults> all;
  const auto until = steady_clock::now() + std::chrono::seconds(30);
  while (all.empty() && steady_clock::now() < until) all = client.step(milliseconds(100));
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(client.pending(), 10U);
  for (const BatchReply& reply : all[0].replies)
    EXPECT_EQ(client.has(reply.id), reply.reply.status != JudgeReply::cancelled) << reply.reply.detail;
  EXPECT_EQ(load_batches(folder()).at(0).ids.size(), 10U) << "of the kept batch";
  add(client, 20);
  client.acknowledge(all[0].batch);
  const auto replies = collect(client);
  EXPECT_EQ(count(replies, JudgeReply::ok), 5) << "of the 10, of which this server leaves half unanswered again";
  EXPECT_EQ(count(replies, JudgeReply::cancelled), 5);
}

TEST_F(BatchClientTest, CreatesTheBatchOnceWhenKilledBetweenUploadAndCreation) {
  JudgeProcess server(directory_, options());
  killed(
      [&] {
        BatchClient client(endpoint(server), folder(), quick());
        add(client, 30);
        while (records() == 0) (void)client.step(milliseconds(1000));
        ::raise(SIGKILL);
      },
      [&] { return records() == 1; });
  EXPECT_EQ(witness()["create"], 0);
  BatchPolicy policy = quick();
  policy.lookup_pause_s = 300;  // a second search, of which there is no need, would take longer than the test waits
  BatchClient client(endpoint(server), folder(), policy);
  EXPECT_EQ(client.pending(), 30U);
  add(client, 32);
  EXPECT_EQ(count(collect(client), JudgeReply::ok), 32);
  EXPECT_EQ(witness()["upload"], 2) << "the first file is used, the second holds the two new requests";
  EXPECT_EQ(witness()["create"], 2);
  expect_paid_once(32);
}

TEST_F(BatchClientTest, FindsTheBatchAgainWhenKilledDuringItsCreation) {
  JudgeProcess server(directory_, options({"--misbehave", "batch_slow=first:1", "--slow-s", "20"}));
  killed(
      [&] {
        BatchClient client(endpoint(server), folder(), quick());
        add(client, 30);
        for (;;) (void)client.step(milliseconds(1000));
      },
      [&] { return witness()["batch_slow"] == 1; });
  ASSERT_EQ(load_batches(folder()).at(0).batch_id, "") << "the killed one never knew";
  BatchClient client(endpoint(server), folder(), quick());
  add(client, 30);
  EXPECT_EQ(count(collect(client), JudgeReply::ok), 30);
  EXPECT_EQ(witness()["create"], 0);
  expect_paid_once(30);
}

TEST_F(BatchClientTest, CollectsTheResultsAgainWhenKilledBeforeTheyAreStored) {
  JudgeProcess server(directory_, options());
  killed(
      [&] {
        BatchClient client(endpoint(server), folder(), quick());
        add(client, 30);
        while (client.step(milliseconds(1000)).empty()) {
        }
        (void)write("collected", "");
        for (;;) ::pause();
      },
      [&] { return std::filesystem::exists(directory_ / "collected"); });
  EXPECT_EQ(records(), 1);
  BatchClient client(endpoint(server), folder(), quick());
  EXPECT_EQ(count(collect(client), JudgeReply::ok), 30);
  EXPECT_EQ(records(), 0);
  expect_paid_once(30);
}

TEST_F(BatchClientTest, StopsWithOneMessageAndKeepsItsRecordsWhenKeyOrQuotaFails) {
  {
    JudgeProcess server(directory_, options({"--misbehave", "batch_quota=1"}));
    BatchClient client(endpoint(server), folder(), quick());
    add(client, 3);
    EXPECT_TRUE(collect(client).empty());
    ASSERT_TRUE(client.stopped());
    EXPECT_EQ(client.stopped()->status, JudgeReply::quota_exhausted);
    EXPECT_NE(client.stopped()->detail.find("exceeded your current quota"), std::string::npos) << client.stopped()->detail;
    EXPECT_EQ(records(), 1);
    EXPECT_TRUE(client.step(milliseconds(0)).empty());
  }
  ::setenv("DMOERM_TEST_KEY", "sk-batch-77aa88bb99cc00dd", 1);
  JudgeProcess server(directory_, options({"--require-key", "another"}));
  config::EndpointConfig e = endpoint(server);
  e.key_env = "DMOERM_TEST_KEY";
  BatchClient client(e, directory_ / "other", quick());
  add(client, 3);
  (void)collect(client);
  ::unsetenv("DMOERM_TEST_KEY");
  ASSERT_TRUE(client.stopped());
  EXPECT_EQ(client.stopped()->status, JudgeReply::unauthorised);
  EXPECT_NE(client.stopped()->detail.find("check the API key in DMOERM_TEST_KEY"), std::string::npos);
  EXPECT_NE(client.stopped()->detail.find("[key]"), std::string::npos) << "the server quoted it";
  EXPECT_EQ(client.stopped()->detail.find("sk-batch"), std::string::npos);
  // Batches of one provider are not searched for at another.
  e.key_env.clear();
  EXPECT_NE(test::message_of<DataError>([&] { BatchClient(e, folder(), quick()); }).find("3 requests are in a batch at"),
            std::string::npos);
}

TEST_F(BatchClientTest, GivesUpAnOutageWithOneMessage) {
  config::EndpointConfig e;
  {
    JudgeProcess server(directory_, options());
    e = endpoint(server);
  }
  BatchPolicy policy = quick();
  policy.outage_max_s = 0.3;
  BatchClient client(e, folder(), policy);
  add(client, 3);
  (void)collect(client);
  ASSERT_TRUE(client.stopped());
  EXPECT_EQ(client.stopped()->status, JudgeReply::unreachable);
  EXPECT_NE(client.stopped()->detail.find("run again when it works"), std::string::npos);
  EXPECT_EQ(records(), 0) << "nothing was uploaded";
}

TEST_F(BatchClientTest, TakesARecordThatDoesNotCountCreationsForOneThatMayHaveBeenCharged) {
  std::filesystem::create_directories(folder());
  std::ofstream(folder() / "batch-x.json")
      << R"({"version":1,"name":"x","endpoint":"","file_id":"file-1","batch_id":"","ids":["a"]})";
  EXPECT_EQ(load_batches(folder()).at(0).creations, 1);
}

TEST_F(BatchClientTest, NamesADamagedRecord) {
  std::filesystem::create_directories(folder());
  std::ofstream(folder() / "batch-x.json") << R"({"version":1,"name":"x"})";
  config::EndpointConfig e;
  e.url = "http://127.0.0.1:9/v1";
  EXPECT_NE(test::message_of<DataError>([&] { BatchClient(e, folder()); }).find("batch-x.json: not a batch record"),
            std::string::npos);
  std::ofstream(folder() / "batch-x.json") << R"({"version":7})";
  EXPECT_NE(test::message_of<DataError>([&] { BatchClient(e, folder()); }).find("version 7"), std::string::npos);
}

TEST(BatchFiles, ALineHoldsTheBodyUnchanged) {
  EXPECT_EQ(batch_line("ab12", R"({"b": 1, "a":2})"),
            "{\"custom_id\":\"ab12\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{\"b\": 1, \"a\":2}}\n");
  for (const char* body : {"", "[]", "{}\n{}", "{", "1"}) EXPECT_THROW((void)batch_line("a", body), DataError) << body;
  for (const char* id : {"", "a\"b", "a b", "a\\", "\xc3\xa9"}) EXPECT_THROW((void)batch_line(id, "{}"), DataError) << id;
}

TEST(BatchFiles, WhatIsNoObjectHasNoText) {
  const nlohmann::json object = {{"id", "b-1"}, {"count", 3}};
  EXPECT_EQ(text_at(object, "id"), "b-1");
  EXPECT_EQ(text_at(object, "count"), "");
  for (const char* other : {"null", "[1]", "\"id\"", "7"}) EXPECT_EQ(text_at(nlohmann::json::parse(other), "id"), "") << other;
}

TEST(BatchFiles, ReadsResultsAndSkipsBadLines) {
  config::EndpointConfig endpoint;
  endpoint.url = "http://127.0.0.1/v1";
  const EndpointErrors words(endpoint, 1);
  BatchFound found;
  const std::string good =
      R"({"custom_id":"a","response":{"status_code":200,"body":{"choices":[{"message":{"content":"Verdict: 1"}}]}},"error":null})";
  const std::string problem = read_batch_results(
      good + "\n\n{\"custom_id\":7}\nnonsense\n" + std::string(100'000, '[') + "\n" + R"({"custom_id":"a","response":null})" +
          "\n" + R"({"custom_id":"b","error":{"code":"batch_expired"}})" + "\n" +
          R"({"custom_id":"c","response":{"status_code":"200","body":[]}})" + "\n" + good.substr(0, 90),
      words, found);
  EXPECT_EQ(problem, "");
  EXPECT_EQ(found.bad_lines, 4);
  EXPECT_EQ(found.cut_lines, 1);
  ASSERT_EQ(found.replies.size(), 3U);
  EXPECT_EQ(found.replies.at("a").text, "Verdict: 1") << "the first of two stands";
  EXPECT_EQ(found.replies.at("b").status, JudgeReply::cancelled);
  EXPECT_EQ(found.replies.at("c").status, JudgeReply::error);
}

TEST(BatchFiles, CountsAReportWithTokensOfAnAnswerAsCharged) {
  config::EndpointConfig endpoint;
  endpoint.url = "http://127.0.0.1/v1";
  const EndpointErrors words(endpoint, 1);
  for (const char* code : {"429", "502"}) {
    BatchFound found;
    const std::string line = fmt::format(
        R"({{"custom_id":"a","response":{{"status_code":200,"body":{{"error":{{"message":"x","code":{}}},"usage":{{"completion_tokens":7}}}}}}}})",
        code);
    EXPECT_EQ(read_batch_results(line, words, found), "");
    const JudgeReply& reply = found.replies.at("a");
    EXPECT_EQ(reply.status, JudgeReply::cancelled);
    EXPECT_EQ(reply.billed_tries, 1);
    EXPECT_EQ(reply.throttled_tries, 0);
  }
}

TEST(BatchFiles, ReadsAListAndTheSpellingsOfOtherServers) {
  config::EndpointConfig endpoint;
  endpoint.url = "http://127.0.0.1/v1";
  const EndpointErrors words(endpoint, 1);
  const std::string body = R"({"choices":[{"message":{"content":"Verdict: 1"}}]})";
  for (const std::string& response :
       {R"("response":{"body":)" + body + "}", R"("response":{"status_code":"200","body":)" + body + "}",
        R"("response":{"status_code":200,"body":"{\"choices\":[{\"message\":{\"content\":\"Verdict: 1\"}}]}"})" +
            std::string()}) {
    for (const char* form : {"{{\"custom_id\":\"a\",{}}}", "[\n  {{\"custom_id\":\"a\",{}}}\n]\n"}) {
      BatchFound found;
      EXPECT_EQ(read_batch_results(fmt::format(fmt::runtime(form), response), words, found), "");
      ASSERT_TRUE(found.replies.contains("a")) << response;
      EXPECT_EQ(found.replies.at("a").text, "Verdict: 1") << response << found.replies.at("a").detail;
    }
  }
  BatchFound none;
  EXPECT_NE(read_batch_results("\n<html>Sign in</html>", words, none).find("<html>Sign in"), std::string::npos);
}

}  // namespace
}  // namespace dmoerm::judge
