// Tests the client against a real server in a separate process, which can misbehave in many ways.
#include "judge/judge_client.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "judge/api_key.h"
#include "judge/batch_client.h"
#include "judge/http_multi.h"
#include "judge/judge.h"
#include "judge/verdict_parser.h"
#include "judge/web_address.h"
#include "preference/line_reader.h"
#include "support/captured_log.h"
#include "support/judge_process.h"
#include "support/scratch.h"

namespace dmoerm::judge {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Server = test::JudgeProcess;
const std::string kKey = "sk-test-4f9b2c7d8e1a0000secret";

std::string body_of(int i) {
  return fmt::format(
      R"({{"model":"judge","messages":[{{"role":"user","content":"point: clarity\n<response_1 k3>\ntext {} of a\n</response_1 k3>\n)"
      R"(<response_2 k3>\nanother text {}\n</response_2 k3>\n"}}]}})",
      i, i * 7);
}

/// A server of this process that serves one connection after the other.
class LocalServer {
 public:
  /// @param serve  called with each connection, which is closed after it
  /// @param port   0 = any free one
  explicit LocalServer(const std::function<void(int)>& serve, int port = 0) {
    const int yes = 1;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    socklen_t size = sizeof address;
    for (const int option : {SO_REUSEADDR, SO_REUSEPORT})  // cpp-httplib's servers, which had the port, set the second
      EXPECT_EQ(::setsockopt(listener_, SOL_SOCKET, option, &yes, sizeof yes), 0);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0) << std::strerror(errno);
    EXPECT_EQ(::listen(listener_, 8), 0);
    EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    serving_ = std::thread([this, serve] {
      for (int connection = 0; (connection = ::accept(listener_, nullptr, nullptr)) >= 0; ::close(connection)) serve(connection);
    });
  }
  ~LocalServer() {
    ::shutdown(listener_, SHUT_RDWR);
    serving_.join();
    ::close(listener_);
  }
  LocalServer(const LocalServer&) = delete;
  LocalServer& operator=(const LocalServer&) = delete;
  [[nodiscard]] std::string url(const std::string& scheme) const { return fmt::format("{}://127.0.0.1:{}/v1", scheme, port_); }

 private:
  int listener_ = ::socket(AF_INET, SOCK_STREAM, 0), port_ = 0;
  std::thread serving_;
};

/// Speaks http alone, and answers whatever comes with status 400.
void answer_in_http(int connection) {
  constexpr std::string_view kReply = "HTTP/1.1 400 Bad Request\r\n\r\n";
  char hello[4096];
  if (::recv(connection, hello, sizeof hello, 0) > 0) ::send(connection, kReply.data(), kReply.size(), MSG_NOSIGNAL);
}

class JudgeClientTest : public test::Scratch {
 protected:
  /// Fast pauses; everything else as by default.
  static RetryPolicy quick() {
    RetryPolicy policy;
    policy.backoff_base_s = 0.01;
    policy.backoff_cap_s = 0.1;
    policy.seed = 1;
    return policy;
  }

  config::EndpointConfig endpoint(const Server& server) const {
    config::EndpointConfig e;
    e.url = server.url();
    e.request_timeout_s = 20;
    return e;
  }

  std::string log() const { return (directory_ / "witness.log").string(); }
  std::vector<std::string> with_log(std::vector<std::string> options) const {
    options.insert(options.end(), {"--log", log()});
    return options;
  }
  static std::vector<std::string> misbehave(const std::string& rule) { return {"--misbehave", rule}; }

  /// How often the server sent each status, and each body.
  struct Witness {
    std::map<int, int> by_status;
    std::map<std::string, int> by_body;
    std::map<std::string, int> paid;  ///< bodies with status 200
    int lines = 0;
  };
  Witness witness() const {
    Witness seen;
    std::ifstream file(log());
    std::string key, kind;
    long long time = 0;
    int status = 0;
    while (file >> key >> time >> status >> kind) {
      ++seen.lines;
      ++seen.by_status[status];
      ++seen.by_body[key];
      if (status == 200) ++seen.paid[key];
    }
    return seen;
  }

  /// Ask `n` questions and collect every reply. @return by ticket
  static std::map<std::uint64_t, JudgeReply> ask(JudgeClient& client, int n, double limit_s = 60) {
    std::map<std::uint64_t, JudgeReply> replies;
    const auto until = steady_clock::now() + std::chrono::duration<double>(limit_s);
    int next = 0;
    while (static_cast<int>(replies.size()) < n && steady_clock::now() < until) {
      while (next < n && !client.full()) {
        client.submit(static_cast<std::uint64_t>(next), body_of(next), 100);
        ++next;
      }
      for (JudgeReply& reply : client.poll(milliseconds(200))) {
        const auto ticket = reply.ticket;
        EXPECT_TRUE(replies.emplace(ticket, std::move(reply)).second) << "two replies to " << ticket;
      }
    }
    EXPECT_EQ(static_cast<int>(replies.size()), n) << "no reply within " << limit_s << " s";
    EXPECT_EQ(client.pending(), 0U);
    EXPECT_EQ(client.in_flight(), 0U);
    return replies;
  }

  static int count(const std::map<std::uint64_t, JudgeReply>& replies, JudgeReply::Status status) {
    int n = 0;
    for (const auto& [ticket, reply] : replies) n += reply.status == status;
    return n;
  }

  /// One question to a server with one rule.
  JudgeReply ask_one(const std::string& rule, RetryPolicy policy = quick(), double request_timeout_s = 20) {
    Server server(directory_, with_log({"--misbehave", rule, "--slow-s", "1.5"}));
    config::EndpointConfig e = endpoint(server);
    e.request_timeout_s = request_timeout_s;
    JudgeClient client({e}, policy);
    return ask(client, 1).at(0);
  }
};

TEST_F(JudgeClientTest, SendsManyRequestsAtOnceAndNoneTwice) {
  Server server(directory_, with_log({"--gzip"}));
  JudgeClient client({endpoint(server)}, quick());
  const auto replies = ask(client, 2000);
  EXPECT_EQ(count(replies, JudgeReply::ok), 2000);
  for (const auto& [ticket, reply] : replies) {
    ASSERT_EQ(reply.text.rfind("I compared both responses.\nVerdict: ", 0), 0U) << reply.text;
    ASSERT_GT(reply.prompt_tokens, 10);
    ASSERT_GT(reply.completion_tokens, 3);
    ASSERT_EQ(reply.tries, 1);
    ASSERT_FALSE(reply.maybe_billed);
    ASSERT_EQ(reply.finish_reason, "stop");
  }
  const Witness seen = witness();
  EXPECT_EQ(seen.lines, 2000);
  EXPECT_EQ(seen.by_body.size(), 2000U);
  EXPECT_TRUE(seen.by_body.contains(sha256_hex(body_of(1234)))) << "the body is sent as it is";
  const ClientStats stats = client.stats();
  EXPECT_EQ(stats.sent, 2000);
  EXPECT_EQ(stats.answered, 2000);
}

TEST_F(JudgeClientTest, EndsEachFaultWithItsStatusAndNumberOfTries) {
  struct Case {
    const char* rule;
    JudgeReply::Status status;
    int tries;
    bool billed;
    const char* detail;
  };
  RetryPolicy policy = quick();
  policy.tries_max = 3;
  policy.throttled_tries_max = 4;
  const std::vector<Case> cases = {
      // Temporary faults: the request is repeated until it is answered, and no more.
      {"429_bare=first:2", JudgeReply::ok, 3, false, ""},
      {"429=first:1", JudgeReply::ok, 2, false, ""},
      {"429_ms=first:2", JudgeReply::ok, 3, false, ""},
      {"429_date=first:1", JudgeReply::ok, 2, false, ""},
      {"500=first:2", JudgeReply::ok, 3, false, ""},
      {"502=first:1", JudgeReply::ok, 2, false, ""},
      {"503=first:2", JudgeReply::ok, 3, false, ""},
      {"503_wait=first:1", JudgeReply::ok, 2, false, ""},
      {"408=first:1", JudgeReply::ok, 2, true, ""},  // a proxy has waited in vain: the model may have answered
      {"504=first:1", JudgeReply::ok, 2, true, ""},
      {"524=first:1", JudgeReply::ok, 2, true, ""},
      {"409=first:1", JudgeReply::ok, 2, false, ""},
      {"425=first:1", JudgeReply::ok, 2, false, ""},
      {"error_200=first:1", JudgeReply::ok, 2, false, ""},
      {"reset=first:1", JudgeReply::ok, 2, true, ""},
      {"cut_body=first:1", JudgeReply::ok, 2, true, ""},
      {"half_json=first:1", JudgeReply::ok, 2, true, ""},
      {"not_http=first:1", JudgeReply::ok, 2, true, ""},
      // Permanent faults: the request is given up after the tries of the policy.
      {"500=1", JudgeReply::error, 3, false, "given up after 3 tries"},
      {"429_bare=1", JudgeReply::error, 4, false, "Rate limit reached"},
      {"reset=1", JudgeReply::error, 3, true, "given up after 3 tries"},
      {"half_json=1", JudgeReply::error, 2, true, "not JSON"},
      {"wrong_json=1", JudgeReply::error, 2, true, "not a JSON object"},
      {"empty=1", JudgeReply::error, 2, true, "empty body"},
      {"no_choices=1", JudgeReply::error, 3, true, "an empty list of choices"},
      {"two_choices=1", JudgeReply::error, 2, true, "2 choices"},
      {"huge=1", JudgeReply::error, 2, true, "larger than 8388608 bytes"},
      {"gzip_bomb=1", JudgeReply::error, 2, true, "larger than 8388608 bytes"},
      {"deep=1", JudgeReply::error, 2, true, "nested too deep"},
      {"sse_cut=1", JudgeReply::error, 2, true, "stream of server-sent events"},
      {"not_utf8=1", JudgeReply::error, 2, true, "not JSON"},
      // Faults that no repetition can mend.
      {"400=1", JudgeReply::error, 1, false, "maximum context length"},
      {"redirect=1", JudgeReply::unusable, 1, false, "a redirect to \"http://127.0.0.2:9/v1/chat/completions\""},
      {"refusal=1", JudgeReply::refused, 1, false, ""},
      {"filter=1", JudgeReply::refused, 1, false, ""},
      {"declined=1", JudgeReply::refused, 1, false, ""},
      {"prose=1", JudgeReply::ok, 1, false, ""},
      {"created=1", JudgeReply::ok, 1, false, ""},  // status 201
      {"bias=1", JudgeReply::ok, 1, false, ""},
      {"sse=1", JudgeReply::ok, 1, false, ""},                 // not asked for, but paid
      {"403=1", JudgeReply::error, 1, false, "answered 403"},  // perhaps this one question
      {"403_key=1", JudgeReply::unauthorised, 1, false, "answered 403"},
      // Faults that end everything.
      {"401=1", JudgeReply::unauthorised, 1, false, "answered 401"},
      {"404=1", JudgeReply::model_unknown, 1, false, "/v1/chat/completions answered 404"},
      {"unsupported=1", JudgeReply::unusable, 1, false, "\"max_completion_tokens\": 2000"},
      {"quota=1", JudgeReply::quota_exhausted, 1, false, "exceeded your current quota"},
      {"429_long=1", JudgeReply::quota_exhausted, 1, false, "pause of 86400 s"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.rule);
    std::filesystem::remove(log());
    const JudgeReply reply = ask_one(c.rule, policy);
    EXPECT_EQ(to_string(reply.status), to_string(c.status)) << reply.detail;
    if (reply.detail.find(" answered ") != std::string::npos) {
      EXPECT_NE(reply.detail.find(" answered " + std::to_string(reply.http_status)), std::string::npos) << reply.detail;
    }
    EXPECT_EQ(reply.tries, c.tries);
    EXPECT_EQ(reply.maybe_billed, c.billed);
    EXPECT_NE(reply.detail.find(c.detail), std::string::npos) << reply.detail;
    EXPECT_EQ(witness().lines, c.tries) << "what the server saw";
    const bool answered = c.status == JudgeReply::ok || c.status == JudgeReply::refused;
    EXPECT_TRUE(!answered || reply.http_status / 100 == 2) << reply.http_status;
    EXPECT_EQ(reply.detail.empty(), answered);
  }
}

TEST_F(JudgeClientTest, NamesTheAddressOfEachReplyOfSeveralAndWhatAThrottlingServerSays) {
  Server good(directory_, {}), throttled(directory_, misbehave("429_bare=1"));
  RetryPolicy policy = quick();
  policy.throttled_tries_max = 2;
  JudgeClient client({endpoint(good), endpoint(throttled)}, policy);
  for (const auto& [ticket, reply] : ask(client, 8)) {
    if (reply.status == JudgeReply::ok) {
      EXPECT_EQ(reply.endpoint, good.url());
    }
  }
  EXPECT_NE(client.stats().throttled_problem.find("Rate limit reached"), std::string::npos) << client.stats().throttled_problem;
  EXPECT_EQ(ask_one("500=first:1", policy).endpoint, "") << "there is only one";
}

TEST_F(JudgeClientTest, SaysThatAServerSpeaksHttp) {
  const LocalServer server(answer_in_http);
  config::EndpointConfig e;
  e.url = server.url("https");
  JudgeClient client({e}, quick());
  const auto replies = ask(client, 1);
  ASSERT_EQ(replies.size(), 1U);
  const JudgeReply& reply = replies.at(0);
  EXPECT_EQ(to_string(reply.status), to_string(JudgeReply::unusable)) << reply.detail;
  EXPECT_NE(reply.detail.find("the server speaks http there, not https; write http://"), std::string::npos) << reply.detail;
  EXPECT_EQ(client.stats().not_reached, 1) << "it is not tried again";
}

/// One server closes connections without an answer, as a TLS server does, and is silent when it is asked whether it is one.
TEST_F(JudgeClientTest, AnswersOfOneServerDoNotWaitUntilAnotherSaysWhatItSpeaks) {
  std::atomic<int> asked{0};
  const LocalServer silent([&](int connection) {
    char bytes[4096];
    if (::recv(connection, bytes, sizeof bytes, 0) <= 0 || bytes[0] == 'P') return;  // "POST"
    ++asked;
    while (::recv(connection, bytes, sizeof bytes, 0) > 0) continue;
  });
  const LocalServer other(answer_in_http);
  HttpMulti multi(4, 1 << 20);
  const auto target_of = [&](const LocalServer& server) {
    config::EndpointConfig e;
    e.url = server.url("http");
    return multi.add_target({.endpoint = e, .path = "/chat/completions"});
  };
  const std::string body = body_of(0);
  std::vector<HttpResult> ended;
  const auto until = steady_clock::now() + std::chrono::seconds(60);
  const auto step_while = [&](const auto& waits) {
    while (waits() && steady_clock::now() < until) std::ranges::move(multi.step(milliseconds(10)), std::back_inserter(ended));
  };
  const int doubtful = target_of(silent), answering = target_of(other);
  multi.start(1, doubtful, body);
  multi.start(2, doubtful, body);
  step_while([&] { return asked == 0; });
  multi.start(3, answering, body);
  step_while([&] { return ended.empty(); });
  ASSERT_FALSE(ended.empty());
  EXPECT_EQ(ended[0].id, 3U);
  EXPECT_EQ(multi.in_flight(), 2U) << "those whose results wait";
  step_while([&] { return ended.size() < 3; });
  ASSERT_EQ(ended.size(), 3U);
  for (std::size_t i = 1; i < ended.size(); ++i) EXPECT_TRUE(ended[i].end == HttpResult::End::cut_off) << ended[i].problem;
  EXPECT_EQ(asked, 1) << "it is asked once";
  EXPECT_EQ(multi.in_flight(), 0U);
}

TEST_F(JudgeClientTest, CutsOffSlowServersAtTheTimeLimit) {
  RetryPolicy policy = quick();
  policy.tries_max = 2;
  for (const char* rule : {"slow_headers=1", "slow_body=1"}) {
    SCOPED_TRACE(rule);
    const JudgeReply reply = ask_one(rule, policy, 0.4);
    EXPECT_EQ(reply.status, JudgeReply::error);
    EXPECT_EQ(reply.tries, 2);
    EXPECT_TRUE(reply.maybe_billed);
  }
  EXPECT_EQ(ask_one("slow_body=1", policy, 20).status, JudgeReply::ok) << "slow, but within the limit";
}

TEST_F(JudgeClientTest, LosesNoReplyInAMixOfFaults) {
  Server server(directory_, with_log({"--misbehave", "429_ms=0.03", "500=0.02", "503=0.02", "reset=0.02", "cut_body=0.02",
                                      "half_json=0.01", "408=0.02", "not_http=0.01"}));
  RetryPolicy policy = quick();
  policy.bad_replies_max = 10;
  policy.tries_max = 20;
  JudgeClient client({endpoint(server)}, policy);
  const auto replies = ask(client, 1500);
  EXPECT_EQ(count(replies, JudgeReply::ok), 1500);
  const Witness seen = witness();
  std::int64_t tries = 0;
  int marked = 0;
  for (const auto& [ticket, reply] : replies) {
    tries += reply.tries;
    marked += reply.maybe_billed;
    ASSERT_EQ(seen.by_body.at(sha256_hex(body_of(static_cast<int>(ticket)))), reply.tries)
        << "each try is counted, each is needed";
    const bool twice = seen.paid.at(sha256_hex(body_of(static_cast<int>(ticket)))) > 1;
    ASSERT_TRUE(!twice || reply.maybe_billed) << "paid more than once without a word";
  }
  EXPECT_EQ(seen.lines, tries);
  EXPECT_GT(tries, 1600);
  EXPECT_GT(marked, 40);
}

TEST_F(JudgeClientTest, StopsEverythingAtOnceAfterAFatalReply) {
  Server server(directory_, with_log({"--misbehave", "quota=from:50"}));
  config::EndpointConfig e = endpoint(server);
  e.concurrency_max = 8;
  JudgeClient client({e}, quick());
  const auto replies = ask(client, 1000);
  EXPECT_EQ(count(replies, JudgeReply::ok), 50);
  EXPECT_GE(count(replies, JudgeReply::quota_exhausted), 1);
  EXPECT_LE(witness().lines, 58) << "nothing is sent after the quota is used up, but what was in flight";
  EXPECT_EQ(count(replies, JudgeReply::cancelled), 1000 - witness().lines);
  client.submit(5000, body_of(1), 10);
  const auto late = client.poll(milliseconds(100));
  ASSERT_EQ(late.size(), 1U);
  EXPECT_EQ(late[0].status, JudgeReply::cancelled);
  EXPECT_EQ(late[0].tries, 0);
}

TEST_F(JudgeClientTest, SendsNoMoreAtOnceThanItsCallerAllows) {
  Server server(directory_, with_log({"--latency-ms", "20"}));
  JudgeClient client({endpoint(server)}, quick());
  for (int i = 0; i < 30; ++i) client.submit(static_cast<std::uint64_t>(i), body_of(i), 10);
  client.send(3);
  EXPECT_EQ(client.in_flight(), 3U);
  std::size_t most = 0, replies = 0;
  while (replies < 10) {
    replies += client.poll(milliseconds(1000)).size();
    most = std::max(most, client.in_flight());
  }
  EXPECT_LE(most, 3U);
  client.send(100);
  EXPECT_GT(client.in_flight(), 3U);
}

TEST_F(JudgeClientTest, CancelsWaitingRequestsAndCollectsThoseInFlightWhenStopped) {
  Server server(directory_, with_log({"--latency-ms", "300"}));
  config::EndpointConfig e = endpoint(server);
  e.concurrency_max = 8;
  JudgeClient client({e}, quick());
  for (int i = 0; i < 100; ++i) client.submit(static_cast<std::uint64_t>(i), body_of(i), 10);
  EXPECT_TRUE(client.poll(milliseconds(50)).empty());
  EXPECT_EQ(client.in_flight(), 8U);
  client.stop_submitting();
  int ok = 0, cancelled = 0;
  while (client.pending() > 0) {
    for (const JudgeReply& reply : client.poll(milliseconds(1000))) (reply.status == JudgeReply::ok ? ok : cancelled)++;
  }
  EXPECT_EQ(ok, 8);
  EXPECT_EQ(cancelled, 92);
  EXPECT_EQ(witness().lines, 8);
}

TEST_F(JudgeClientTest, BoundsItsQueue) {
  Server server(directory_, {});
  RetryPolicy policy = quick();
  policy.queue_max = 10;
  JudgeClient client({endpoint(server)}, policy);
  for (int i = 0; i < 10; ++i) client.submit(static_cast<std::uint64_t>(i), body_of(i), 10);
  EXPECT_TRUE(client.full());
  EXPECT_ANY_THROW(client.submit(10, body_of(10), 10));
}

TEST_F(JudgeClientTest, SurvivesAServerThatDisappearsAndComesBack) {
  const test::CapturedLog captured;
  auto server = std::make_unique<Server>(directory_, with_log({"--latency-ms", "5"}));
  const std::string port = std::to_string(server->port());
  config::EndpointConfig e = endpoint(*server);
  e.concurrency_max = 16;
  JudgeClient client({e}, quick());
  std::map<std::uint64_t, JudgeReply> replies;
  for (int i = 0; i < 600; ++i) client.submit(static_cast<std::uint64_t>(i), body_of(i), 10);
  const auto collect = [&](double seconds, std::size_t wanted) {
    const auto until = steady_clock::now() + std::chrono::duration<double>(seconds);
    while (steady_clock::now() < until && replies.size() < wanted) {
      for (JudgeReply& reply : client.poll(milliseconds(20))) replies.emplace(reply.ticket, reply);
    }
  };
  collect(20, 100);
  server->stop();
  collect(2.5, 600);
  EXPECT_LT(replies.size(), 600U);
  EXPECT_TRUE(captured.has("circuit=open")) << captured.text();
  EXPECT_FALSE(captured.has("circuit=closed")) << captured.text();
  EXPECT_LT(client.stats().not_reached, 40) << "a server that is gone is probed now and then, not all the time";
  server = std::make_unique<Server>(directory_, with_log({"--port", port}));
  collect(30, 600);
  ASSERT_EQ(replies.size(), 600U);
  EXPECT_EQ(count(replies, JudgeReply::ok), 600);
  for (const auto& [body, times] : witness().paid) ASSERT_LE(times, 2);
  int marked = 0;
  for (const auto& [ticket, reply] : replies) marked += reply.maybe_billed;
  EXPECT_LE(marked, 16) << "those that were in flight";
}

TEST_F(JudgeClientTest, GivesUpAnOutageWithOneClearMessage) {
  int port = 0;
  {
    Server server(directory_, {});
    port = server.port();
  }
  config::EndpointConfig e;
  e.url = fmt::format("http://127.0.0.1:{}/v1", port);
  RetryPolicy policy = quick();
  policy.first_contact_max_s = 0.7;
  JudgeClient client({e}, policy);
  const auto replies = ask(client, 20, 20);
  EXPECT_EQ(count(replies, JudgeReply::unreachable), 1);
  EXPECT_EQ(count(replies, JudgeReply::cancelled), 19);
  EXPECT_NE(replies.at(0).detail.find("no judge has worked for 1 s"), std::string::npos) << replies.at(0).detail;
  for (const auto& [ticket, reply] : replies) ASSERT_EQ(reply.tries, 0);
}

TEST_F(JudgeClientTest, FailsOverToAnotherEndpoint) {
  const test::CapturedLog captured;
  Server broken(directory_, misbehave("500=1"));
  std::filesystem::remove(log());
  Server good(directory_, with_log({}));
  JudgeClient client({endpoint(broken), endpoint(good)}, quick());
  const auto replies = ask(client, 500);
  EXPECT_EQ(count(replies, JudgeReply::ok), 500);
  EXPECT_EQ(witness().lines, 500);
  const ClientStats stats = client.stats();
  EXPECT_LT(stats.failed, 60) << "the broken one is left out";
  EXPECT_TRUE(captured.has(broken.url() + " circuit=open")) << captured.text();
  EXPECT_FALSE(captured.has("circuit=closed")) << captured.text();
  EXPECT_FALSE(captured.has(good.url())) << captured.text();
}

TEST_F(JudgeClientTest, KeepsARateLimit) {
  Server server(directory_, with_log({"--rpm", "1200"}));
  config::EndpointConfig e = endpoint(server);
  e.requests_per_minute = 1200;
  JudgeClient client({e}, quick());
  const auto begun = steady_clock::now();
  const auto replies = ask(client, 80);
  const double seconds = std::chrono::duration<double>(steady_clock::now() - begun).count();
  EXPECT_EQ(count(replies, JudgeReply::ok), 80);
  EXPECT_EQ(witness().by_status[429], 0);
  EXPECT_GT(seconds, 70 / 20.0) << "20 a second and a burst of 6";
  EXPECT_LT(seconds, 80 / 20.0 * 1.25);
}

TEST_F(JudgeClientTest, ReadsAKeyOnlyFromAFileThatOthersCannotRead) {
  const std::string file = write("key", kKey + "\n");
  ::chmod(file.c_str(), 0644);
  const std::string open = test::message_of<ConfigError>([&] { ApiKey::load("", file); });
  EXPECT_NE(open.find(file), std::string::npos);
  EXPECT_NE(open.find("0644"), std::string::npos) << open;
  EXPECT_EQ(open.find(kKey), std::string::npos);
  ::chmod(file.c_str(), 0640);
  EXPECT_NE(test::message_of<ConfigError>([&] { ApiKey::load("", file); }), "");
  ::chmod(file.c_str(), 0600);
  EXPECT_EQ(ApiKey::load("", file).secret(), kKey);
  ::chmod(file.c_str(), 0400);
  EXPECT_EQ(ApiKey::load("", file).secret(), kKey);
  EXPECT_TRUE(ApiKey::load("", "").empty());
  EXPECT_NE(test::message_of<ConfigError>([&] { ApiKey::load("", file + ".missing"); }), "");
  EXPECT_NE(test::message_of<ConfigError>([&] { ApiKey::load("A", file); }), "");
  EXPECT_NE(test::message_of<ConfigError>([&] { ApiKey::load("DMOERM_TEST_UNSET", ""); }).find("DMOERM_TEST_UNSET"),
            std::string::npos);
  ::mkfifo((directory_ / "pipe").c_str(), 0600);
  EXPECT_NE(test::message_of<ConfigError>([&] { ApiKey::load("", (directory_ / "pipe").string()); }).find("not a regular file"),
            std::string::npos);
  for (const std::string& other : {"\"" + kKey + "\"", "OPENAI_API_KEY=" + kKey, "Bearer " + kKey}) {
    ::chmod(write("other", other + "\n").c_str(), 0600);
    const std::string message = test::message_of<ConfigError>([&] { ApiKey::load("", (directory_ / "other").string()); });
    EXPECT_NE(message.find("expected the API key alone"), std::string::npos) << message;
    EXPECT_EQ(message.find(kKey), std::string::npos);
  }
  ::chmod(write("padded", "c2VjcmV0X0tFWQ==").c_str(), 0600);
  EXPECT_EQ(ApiKey::load("", (directory_ / "padded").string()).secret(), "c2VjcmV0X0tFWQ==");
  for (const std::string& bad : {std::string("two words"), std::string("a\nb"), std::string("\n"), std::string(""),
                                 std::string(10000, 'k'), std::string("k\xc3\xa9y")}) {
    const std::string other = write("bad", bad);
    ::chmod(other.c_str(), 0600);
    const std::string message = test::message_of<ConfigError>([&] { ApiKey::load("", other); });
    EXPECT_NE(message, "") << bad.size();
    EXPECT_TRUE(bad.size() <= 3 || message.find(bad) == std::string::npos);
  }
}

TEST_F(JudgeClientTest, SendsTheKeyToTheServerAndShowsItNowhere) {
  ::setenv("DMOERM_TEST_KEY", kKey.c_str(), 1);
  const test::CapturedLog captured;
  std::string seen;
  RetryPolicy policy = quick();
  policy.first_contact_max_s = 0.5;
  for (const char* rule : {"echo_key=1", "500=1", "reset=1", "bias=1"}) {
    Server server(directory_, {"--require-key", kKey, "--misbehave", rule});
    config::EndpointConfig e = endpoint(server);
    e.key_env = "DMOERM_TEST_KEY";
    JudgeClient client({e}, policy);
    for (const auto& [ticket, reply] : ask(client, 8)) {
      seen += fmt::format("{} {} {} {}\n", to_string(reply.status), reply.text, reply.detail, reply.logprobs.dump());
    }
  }
  {
    Server server(directory_, {"--require-key", "another"});
    config::EndpointConfig e = endpoint(server);
    e.key_env = "DMOERM_TEST_KEY";
    JudgeClient client({e}, policy);
    const JudgeReply reply = ask(client, 1).at(0);
    EXPECT_EQ(reply.status, JudgeReply::unauthorised);
    EXPECT_NE(reply.detail.find("check the API key in DMOERM_TEST_KEY"), std::string::npos) << reply.detail;
    seen += reply.detail;
  }
  for (const std::string& url :
       {"https://user:" + kKey + "@host/v1", "ftp://host/?key=" + kKey, "https://ho st/?k=" + kKey, "nonsense://" + kKey + "@"}) {
    config::EndpointConfig e;
    e.url = url;
    seen += test::message_of<ConfigError>([&] { JudgeClient client({e}); });
  }
  ::unsetenv("DMOERM_TEST_KEY");
  EXPECT_NE(seen.find("ok I compared"), std::string::npos) << "the server did get the key";
  EXPECT_NE(seen.find("[key]"), std::string::npos) << "the server did quote it";
  EXPECT_TRUE(captured.has("circuit=open")) << captured.text();
  EXPECT_EQ(seen.find(kKey), std::string::npos) << seen;
  EXPECT_FALSE(captured.has(kKey)) << captured.text();
}

TEST_F(JudgeClientTest, DoesNotGarbleRepliesWithAPlaceholderKey) {
  for (const char* key : {"1", "tokens", "none"}) {
    ::setenv("DMOERM_TEST_KEY", key, 1);
    Server server(directory_, {"--require-key", key, "--misbehave", "bias=1"});
    config::EndpointConfig e = endpoint(server);
    e.key_env = "DMOERM_TEST_KEY";
    JudgeClient client({e}, quick());
    const JudgeReply reply = ask(client, 1).at(0);
    EXPECT_EQ(reply.text, "I compared both responses.\nVerdict: 1") << key;
    EXPECT_GT(reply.completion_tokens, 0) << key;
  }
  ::unsetenv("DMOERM_TEST_KEY");
}

TEST_F(JudgeClientTest, GetsTheRightVerdictFromUnhelpfulReplies) {
  EXPECT_EQ(parse_verdict(ask_one("prose=1").text, AnswerForm::verdict_line), preference::Verdict::unparsable);
  EXPECT_EQ(parse_verdict(ask_one("bias=1").text, AnswerForm::verdict_line), preference::Verdict::first);
  EXPECT_EQ(ask_one("refusal=1").text, "I'm sorry, I cannot help with that.");
}

TEST_F(JudgeClientTest, WarnsOfAKeyThatTravelsUnencrypted) {
  ::setenv("DMOERM_TEST_JUDGE_KEY", "sk-test", 1);
  const auto warns = [](const std::string& url, bool with_key = true) {
    config::EndpointConfig e;
    e.url = url;
    if (with_key) e.key_env = "DMOERM_TEST_JUDGE_KEY";
    const test::CapturedLog log;
    const JudgeClient client({e});
    return log.has("unencrypted");
  };
  for (const char* url : {"http://10.1.2.3/v1", "http://judge.example.org:8000/v1", "http://[2001:db8::1]:8000/v1",
                          "http://[fe80::1]/v1", "http://[::ffff:10.0.0.1]/v1", "HTTP://[2001:DB8::1]"})
    EXPECT_TRUE(warns(url)) << url;
  for (const char* url : {"https://[2001:db8::1]/v1", "http://[::1]:8000/v1", "http://[::ffff:127.0.0.1]/v1",
                          "http://127.0.0.1:1/v1", "http://localhost:8000/v1"})
    EXPECT_FALSE(warns(url)) << url;
  EXPECT_FALSE(warns("http://[2001:db8::1]:8000/v1", false)) << "without a key, texts may travel so";
}

TEST_F(JudgeClientTest, TakesAKeyAsRefusedAfterThreeRefusalsWithoutAReason) {
  Server server(directory_, with_log({"--misbehave", "403=1"}));
  JudgeClient client({endpoint(server)}, quick());
  EXPECT_EQ(ask(client, 1).at(0).status, JudgeReply::error);
  client.submit(1, body_of(1), 100);
  std::vector<JudgeReply> replies;
  while (replies.empty()) replies = client.poll(milliseconds(200));
  EXPECT_EQ(replies[0].status, JudgeReply::error);
  client.submit(2, body_of(2), 100);
  replies.clear();
  while (replies.empty()) replies = client.poll(milliseconds(200));
  EXPECT_EQ(replies[0].status, JudgeReply::unauthorised);
}

TEST_F(JudgeClientTest, TriesAsOftenAsTheJudgesSettingsSay) {
  config::JudgeConfig judge;
  EXPECT_EQ(retry_policy_of(judge).tries_max, 6);
  judge.tries_max = 2;
  judge.backoff_s = 0.01;
  judge.backoff_max_s = 0.02;
  const RetryPolicy policy = retry_policy_of(judge);
  EXPECT_EQ(policy.backoff_base_s, 0.01);
  EXPECT_EQ(policy.backoff_cap_s, 0.02);
  EXPECT_EQ(ask_one("500=1", policy).tries, 2);
  EXPECT_EQ(witness().lines, 2);
  judge.backoff_max_s = 0.001;
  EXPECT_EQ(retry_policy_of(judge).backoff_cap_s, 0.01) << "the longest pause is not shorter than the first";
}

TEST(JoinUrl, PutsThePathBeforeTheQueryAndLeavesTheFragmentOut) {
  EXPECT_EQ(join_url("http://h/v1/", "/chat/completions"), "http://h/v1/chat/completions");
  EXPECT_EQ(join_url("http://h/v1/chat/completions", "/batches"), "http://h/v1/batches");
  EXPECT_EQ(join_url("http://h/v1?k=1", "/files?a=b"), "http://h/v1/files?a=b&k=1");
  EXPECT_EQ(join_url("http://h/v1#part", "/chat/completions"), "http://h/v1/chat/completions");
  EXPECT_EQ(join_url("http://h/v1?k=1#part", "/chat/completions"), "http://h/v1/chat/completions?k=1");
}

TEST(HttpsAddress, KeepsThePort) {
  EXPECT_EQ(https_address("http://h/v1"), "https://h:80/v1") << "not 443, where another server may listen";
  EXPECT_EQ(https_address("http://h:8000/v1?k=1"), "https://h:8000/v1?k=1");
  EXPECT_EQ(https_address("http://[::1]:443/v1"), "https://[::1]:443/v1");
}

TEST_F(JudgeClientTest, RefusesInvalidAddresses) {
  for (const char* url :
       {"", "host", "ftp://host/v1", "https://", "https://user@host/v1", "file:///etc/passwd", "https://a b/"}) {
    config::EndpointConfig e;
    e.url = url;
    EXPECT_NE(test::message_of<ConfigError>([&] { JudgeClient client({e}); }), "") << url;
  }
  EXPECT_NE(test::message_of<ConfigError>([&] { JudgeClient client({}); }), "");
  config::EndpointConfig e;
  e.url = "https://host:99999/v1";
  const std::string port = test::message_of<ConfigError>([&] { JudgeClient client({e}); });
  EXPECT_NE(port.find("expected a port from 1 to 65535"), std::string::npos) << port;
  e.url = "https://host/v1";
  e.ca_file = (directory_ / "none.pem").string();
  EXPECT_NE(test::message_of<ConfigError>([&] { JudgeClient client({e}); }).find("none.pem"), std::string::npos);
}

TEST_F(JudgeClientTest, TheReplayJudgeHasTheOrderEffectOfItsData) {
  const std::string data = std::string(DMOERM_SHARED) + "/data/capability.jsonl.gz";
  if (!std::filesystem::exists(data)) GTEST_SKIP() << data << " is not there";
  struct Pair {
    std::string prompt, a, b;
    double gap;
  };
  std::vector<Pair> pairs;
  preference::LineReader reader(data);
  for (std::string line; reader.next(line);) {
    const auto row = nlohmann::json::parse(line);
    if (row["category"] != "grounded_dialogue") continue;
    const auto& responses = row["responses"];
    for (std::size_t i = 0; i < responses.size(); ++i) {
      for (std::size_t j = i + 1; j < responses.size(); ++j) {
        pairs.push_back(
            {row["prompt"].back()["content"], responses[i]["text"], responses[j]["text"],
             responses[i]["scores"]["naturalness"].get<double>() - responses[j]["scores"]["naturalness"].get<double>()});
      }
    }
  }
  ASSERT_EQ(pairs.size(), 895U);
  Server server(directory_, {"--data", data});
  JudgeClient client({endpoint(server)}, quick());
  std::map<std::uint64_t, std::string> verdicts;
  for (std::size_t next = 0; verdicts.size() < 2 * pairs.size();) {
    for (; next < 2 * pairs.size() && !client.full(); ++next) {
      const Pair& pair = pairs[next / 2];
      const std::string& first = next % 2 ? pair.b : pair.a;
      const std::string& second = next % 2 ? pair.a : pair.b;
      const std::string prompt = fmt::format(
          "Which is better?\npoint: naturalness\n<prompt x9>\n{}\n</prompt x9>\n<response_1 x9>\n{}\n</response_1 x9>\n"
          "<response_2 x9>\n{}\n</response_2 x9>\n",
          pair.prompt, first, second);
      const nlohmann::json body = {{"model", "judge"},
                                   {"response_format", {{"type", "json_schema"}}},
                                   {"messages", {{{"role", "user"}, {"content", prompt}}}}};
      client.submit(next, body.dump(), 100);
    }
    const auto replies = client.poll(milliseconds(5000));
    ASSERT_FALSE(replies.empty());
    for (const JudgeReply& reply : replies) verdicts[reply.ticket] = nlohmann::json::parse(reply.text)["verdict"];
  }
  int consistent = 0, right = 0, wrong = 0, tied = 0;
  double expected = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const std::string &one = verdicts[2 * i], &two = verdicts[2 * i + 1];
    const double gap = std::abs(pairs[i].gap);
    expected += 1 - (gap == 0 ? 0.7 : 0.35 * std::exp2(-gap / 0.5));  // 0.5: clear_margin of naturalness
    if (one == "tie" && two == "tie") ++tied;
    if ((one == "tie") != (two == "tie") || (one != "tie" && one == two)) continue;
    ++consistent;
    if (pairs[i].gap != 0) ((pairs[i].gap > 0) == (one == "1") ? right : wrong)++;
  }
  EXPECT_NEAR(consistent / 895.0, expected / 895, 3 * std::sqrt(0.25 / 895)) << "the share that the README's formula gives";
  EXPECT_EQ(wrong, 0) << "a consistent verdict follows the scores";
  EXPECT_GT(right, 450);
  EXPECT_GT(tied, 0);
}

/// Tests with a certificate authority of their own.
class JudgeClientTls : public JudgeClientTest {
 protected:
  void SetUp() override {
    run("openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca");
    issue("good", "-days 2", "IP:127.0.0.1,DNS:localhost");
    issue("other_host", "-days 2", "DNS:judge.example");
    issue_expired();
  }

  void run(const std::string& command) const {
    ASSERT_EQ(std::system(fmt::format("cd '{}' && ({}) > openssl.out 2>&1", directory_.string(), command).c_str()), 0) << command;
  }
  void issue(const std::string& name, const std::string& dates, const std::string& names) const {
    (void)write(name + ".ext", "subjectAltName=" + names + "\n");
    run(
        fmt::format("openssl req -newkey rsa:2048 -nodes -keyout {0}.key -out {0}.csr -subj /CN={0} && "
                    "openssl x509 -req -in {0}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {0}.pem -extfile {0}.ext {1}",
                    name, dates));
  }
  /// Only `openssl ca` can set both dates.
  void issue_expired() const {
    (void)write("ca.cnf",
                "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=serial.txt\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n["
                "p]\ncommonName=supplied\n");
    (void)write("index.txt", "");
    (void)write("serial.txt", "7001\n");
    (void)write("expired.ext", "subjectAltName=IP:127.0.0.1\n");
    run("openssl req -newkey rsa:2048 -nodes -keyout expired.key -out expired.csr -subj /CN=expired && openssl ca -batch -config "
        "ca.cnf -cert ca.pem -keyfile ca.key "
        "-in expired.csr -out expired.pem -extfile expired.ext -startdate 20200101000000Z -enddate 20200102000000Z -notext");
  }
  [[nodiscard]] std::vector<std::string> tls(const std::string& name) const {
    return with_log(
        {"--tls", "--cert", (directory_ / (name + ".pem")).string(), "--key", (directory_ / (name + ".key")).string()});
  }
  config::EndpointConfig secure(const Server& server, const std::string& ca) const {
    config::EndpointConfig e = endpoint(server);
    e.url = server.url("https");
    if (!ca.empty()) e.ca_file = (directory_ / ca).string();
    return e;
  }
};

TEST_F(JudgeClientTls, TrustsOnlyCertificatesOfTheNamedCa) {
  {
    Server server(directory_, tls("good"));
    JudgeClient client({secure(server, "ca.pem")}, quick());
    EXPECT_EQ(count(ask(client, 200), JudgeReply::ok), 200);
    JudgeClient stranger({secure(server, "")}, quick());
    const JudgeReply reply = ask(stranger, 1).at(0);
    EXPECT_EQ(reply.status, JudgeReply::untrusted) << reply.detail;
    EXPECT_EQ(reply.tries, 0);
    EXPECT_NE(reply.detail.find("certificate is not valid"), std::string::npos) << reply.detail;
  }
  for (const char* name : {"expired", "other_host"}) {
    SCOPED_TRACE(name);
    std::filesystem::remove(log());
    Server server(directory_, tls(name));
    JudgeClient client({secure(server, "ca.pem")}, quick());
    const auto replies = ask(client, 30);
    EXPECT_GE(count(replies, JudgeReply::untrusted), 1);
    EXPECT_EQ(count(replies, JudgeReply::untrusted) + count(replies, JudgeReply::cancelled), 30);
    EXPECT_EQ(witness().lines, 0) << "nothing was sent";
  }
}

TEST_F(JudgeClientTls, SaysThatAServerSpeaksHttps) {
  Server server(directory_, tls("good"));
  config::EndpointConfig e = endpoint(server);
  e.url = server.url("http");
  JudgeClient client({e}, quick());
  const JudgeReply reply = ask(client, 1).at(0);
  EXPECT_EQ(to_string(reply.status), to_string(JudgeReply::unusable)) << reply.detail;
  EXPECT_NE(reply.detail.find("the server speaks https there, not http; write https://"), std::string::npos) << reply.detail;
  EXPECT_EQ(reply.tries, 0) << "it read nothing, so that nothing is paid";
  EXPECT_FALSE(reply.maybe_billed);
}

TEST_F(JudgeClientTls, AServerThatHasAnsweredIsNotSaidToSpeakTheOtherScheme) {
  HttpMulti multi(4, 1 << 20);
  const std::string body = body_of(0);
  const auto result_of = [&](int target) {
    multi.start(1, target, body);
    for (int i = 0; i < 200; ++i) {
      if (const auto ended = multi.step(milliseconds(100)); !ended.empty()) return ended.front();
    }
    ADD_FAILURE() << "no result in 20 s";
    return HttpResult();
  };
  int target = 0, port = 0;
  {
    Server server(directory_, tls("good"));
    port = server.port();
    target = multi.add_target({.endpoint = secure(server, "ca.pem"), .path = "/chat/completions"});
    EXPECT_EQ(result_of(target).status, 200);
  }
  const LocalServer proxy(answer_in_http, port);  // what stands before the server speaks http for a while
  const HttpResult failed = result_of(target);
  EXPECT_TRUE(failed.end == HttpResult::End::not_reached) << failed.problem;
  EXPECT_EQ(failed.problem.find("speaks http"), std::string::npos) << failed.problem;
}

TEST_F(JudgeClientTls, UsesHttp2OverFewConnectionsWhereItIsOffered) {
  if (std::system("command -v nghttpx > /dev/null") != 0) GTEST_SKIP() << "skipped: no nghttpx (Debian: nghttp2-proxy)";
  std::filesystem::remove(log());
  Server server(directory_, with_log({"--latency-ms", "20"}));
  const int port = 20000 + ::getpid() % 20000;
  const std::string access = (directory_ / "access.log").string();
  const pid_t proxy = ::fork();
  if (proxy == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int null = ::open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
    ::execlp("nghttpx", "nghttpx", "--conf=/dev/null", "--workers=1", "--single-process",
             fmt::format("--frontend=127.0.0.1,{}", port).c_str(), fmt::format("--backend=127.0.0.1,{}", server.port()).c_str(),
             ("--accesslog-file=" + access).c_str(), "--accesslog-format=${remote_port} ${request}",
             (directory_ / "good.key").c_str(), (directory_ / "good.pem").c_str(), nullptr);
    ::_exit(127);
  }
  config::EndpointConfig e;
  e.url = fmt::format("https://127.0.0.1:{}/v1", port);
  e.ca_file = (directory_ / "ca.pem").string();
  e.concurrency_max = 256;
  {
    JudgeClient client({e}, quick());
    EXPECT_EQ(count(ask(client, 1000), JudgeReply::ok), 1000);
  }
  ::kill(proxy, SIGTERM);
  int status = 0;
  ::waitpid(proxy, &status, 0);
  std::ifstream file(access);
  std::map<std::string, int> connections;
  int http2 = 0, lines = 0;
  for (std::string line; std::getline(file, line); ++lines) {
    ++connections[line.substr(0, line.find(' '))];
    http2 += line.find("HTTP/2") != std::string::npos;
  }
  EXPECT_EQ(lines, 1000);
  EXPECT_EQ(http2, 1000);
  // Requests share a few connections. While libcurl opens one of them, it also opens some that carry a single request.
  std::vector<int> carried;
  for (const auto& [remote, requests] : connections) carried.push_back(requests);
  std::sort(carried.rbegin(), carried.rend());
  carried.resize(4);
  EXPECT_GE(carried[0] + carried[1] + carried[2] + carried[3], 800);
  EXPECT_LT(connections.size(), 128U);
  EXPECT_EQ(witness().lines, 1000);
}

TEST_F(JudgeClientTls, CollectsABatchOverTls) {
  std::vector<std::string> options = tls("good");
  options.insert(options.end(), {"--gzip", "--batch-delay-s", "0.1"});
  Server server(directory_, options);
  BatchPolicy policy;
  policy.poll_min_s = 0.05;
  BatchClient client(secure(server, "ca.pem"), directory_ / "batches", policy);
  for (int i = 0; i < 50; ++i) client.add(std::to_string(i), body_of(i));
  client.close_file();
  std::vector<BatchResults> all;
  for (int i = 0; i < 200 && all.empty() && !client.stopped(); ++i) all = client.step(milliseconds(100));
  ASSERT_EQ(all.size(), 1U) << (client.stopped() ? client.stopped()->detail : "");
  ASSERT_EQ(all[0].replies.size(), 50U);
  for (const BatchReply& reply : all[0].replies) EXPECT_EQ(reply.reply.status, JudgeReply::ok) << reply.reply.detail;
}

TEST_F(JudgeClientTls, LosesNoReplyInFaultsOverTls) {
  std::vector<std::string> options = tls("good");
  options.insert(options.end(), {"--gzip", "--misbehave", "cut_body=0.05", "500=0.05", "429_ms=0.05"});
  Server server(directory_, options);
  RetryPolicy policy = quick();
  policy.tries_max = 20;
  JudgeClient client({secure(server, "ca.pem")}, policy);
  const auto replies = ask(client, 300);
  EXPECT_EQ(count(replies, JudgeReply::ok), 300);
  std::int64_t tries = 0;
  for (const auto& [ticket, reply] : replies) tries += reply.tries;
  EXPECT_EQ(witness().lines, tries);
}

}  // namespace
}  // namespace dmoerm::judge
