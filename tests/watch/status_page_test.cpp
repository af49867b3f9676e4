#include "watch/status_page.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/secrets.h"
#include "run_events.h"
#include "support/scratch.h"
#include "watch/metrics_text.h"
#include "watch/status_html.h"

namespace dmoerm::watch {
namespace {

using nlohmann::json;
using namespace test;  // NOLINT

config::WatchConfig any_port() {
  config::WatchConfig config;
  config.port = 0;
  return config;
}

int port_of(const StatusPage& page) {
  const std::string address = page.address();
  return std::stoi(address.substr(address.rfind(':') + 1));
}

RunState evil_state() {
  RunState state;
  const std::string id = "expert/<script>alert(1)</script>/\"quoted\"\\back\n\x01\xff";
  state.apply({{"at", kBegan},
               {"event", "run"},
               {"name", "<b>&name"},
               {"tasks", {{{"id", id}, {"cost", 1}, {"inputs", json::array()}}}},
               {"ranks", {{{"rank", 0}, {"host", "a\"b"}}}}});
  state.apply(start_event(1, id));
  state.apply(end_event(2, id, "failed", "</div><img src=x onerror='alert(2)'>"));
  return state;
}

TEST(StatusPage, ServesThePageAndJsonAndMetricsAndHealth) {
  StatusPage page(any_port());
  httplib::Client client("127.0.0.1", port_of(page));
  EXPECT_EQ(client.Get("/")->status, 200);  // before the run has begun
  RunState state;
  state.apply(run_event());
  page.publish(state, kBegan + 1);
  const auto html = client.Get("/");
  EXPECT_NE(html->body.find("expert/chat/style"), std::string::npos);
  EXPECT_NE(html->get_header_value("Content-Security-Policy").find("default-src 'none'"), std::string::npos);
  const json all = json::parse(client.Get("/status.json")->body);
  EXPECT_EQ(RunState::from_json(all).to_json(), state.to_json());
  EXPECT_NE(client.Get("/metrics")->body.find("dmoerm_tasks{state=\"ready\"} 3\n"), std::string::npos);
  EXPECT_EQ(client.Get("/healthz")->body, "ok\n");
  EXPECT_EQ(client.Get("/etc/passwd")->status, 404);
  state.apply(start_event(2, "base/chat"));
  page.publish(state, kBegan + 3);
  EXPECT_NE(client.Get("/metrics")->body.find("dmoerm_tasks{state=\"running\"} 1\n"), std::string::npos);
}

TEST(StatusPage, EscapesUntrustedTextEverywhere) {
  const RunState state = evil_state();
  const std::string html = status_html(state, kBegan + 3, 1);
  for (const char* bad : {"<script>", "<img", "<b>"}) EXPECT_EQ(html.find(bad), std::string::npos) << bad;
  EXPECT_NE(html.find("&lt;script&gt;"), std::string::npos);
  const std::string metrics = metrics_text(state, kBegan + 3);
  EXPECT_NE(metrics.find(R"(task="expert/<script>alert(1)</script>/\"quoted\"\\back???")"), std::string::npos) << metrics;
}

TEST(StatusPage, RequiresTheWholeToken) {
  ::setenv("DMOERM_TEST_TOKEN", "s3cret", 1);
  config::WatchConfig config = any_port();
  config.token_env = "DMOERM_TEST_TOKEN";
  StatusPage page(config);
  httplib::Client client("127.0.0.1", port_of(page));
  for (const char* path : {"/", "/status.json", "/metrics"}) {
    EXPECT_EQ(client.Get(path)->status, 401) << path;
    EXPECT_EQ(client.Get(std::string(path) + "?token=s3cre")->status, 401);
    EXPECT_EQ(client.Get(std::string(path) + "?token=s3cret")->status, 200);
    EXPECT_EQ(client.Get(path, {{"Authorization", "Bearer s3cret"}})->status, 200);
    EXPECT_EQ(client.Get(path, {{"Authorization", "Bearer s3cret2"}})->status, 401);
  }
  EXPECT_EQ(client.Get("/healthz")->status, 200);
  EXPECT_TRUE(equal_secrets("", ""));
  EXPECT_FALSE(equal_secrets("a", ""));
  ::unsetenv("DMOERM_TEST_TOKEN");
  EXPECT_NE(message_of<ConfigError>([&] { StatusPage again(config); }).find("DMOERM_TEST_TOKEN is not set"), std::string::npos);
}

TEST(StatusPage, LetsABrowserKeepACookieInsteadOfTheToken) {
  ::setenv("DMOERM_TEST_TOKEN", "s3cret", 1);
  config::WatchConfig config = any_port();
  config.token_env = "DMOERM_TEST_TOKEN";
  StatusPage page(config);
  ::unsetenv("DMOERM_TEST_TOKEN");
  httplib::Client client("127.0.0.1", port_of(page));
  const httplib::Headers browser = {{"Accept", "text/html,application/xhtml+xml,*/*;q=0.8"}};
  EXPECT_EQ(client.Get("/?token=wrong", browser)->status, 401);
  const auto answer = client.Get("/?token=s3cret", browser);
  EXPECT_EQ(answer->status, 303);
  EXPECT_EQ(answer->get_header_value("Location"), "./");
  const std::string cookie = answer->get_header_value("Set-Cookie");
  EXPECT_EQ(cookie.find("s3cret"), std::string::npos) << cookie;
  EXPECT_NE(cookie.find("HttpOnly"), std::string::npos) << cookie;
  const std::string pair = cookie.substr(0, cookie.find(';'));
  for (const char* path : {"/", "/status.json", "/metrics"}) {
    EXPECT_EQ(client.Get(path, {{"Cookie", "a=1; " + pair + "; b=2"}})->status, 200) << path;
    EXPECT_EQ(client.Get(path, {{"Cookie", pair + "0"}})->status, 401) << path;
    EXPECT_EQ(client.Get(path, {{"Cookie", "x" + pair}})->status, 401) << path;
  }
}

TEST(StatusPage, ReadsNoBody) {
  StatusPage page(any_port());
  httplib::Client client("127.0.0.1", port_of(page));
  EXPECT_EQ(client.Post("/", "x", "text/plain")->status, 405);
  EXPECT_EQ(client.Delete("/status.json")->status, 405);
  EXPECT_EQ(client.Head("/")->status, 200);
}

TEST(StatusPage, RefusesNamesOfOtherMachinesWithoutAToken) {
  StatusPage page(any_port());
  httplib::Client client("127.0.0.1", port_of(page));
  EXPECT_EQ(client.Get("/status.json", {{"Host", "evil.example"}})->status, 403);
  EXPECT_EQ(client.Get("/status.json", {{"Host", "localhost:9"}})->status, 200);
}

TEST(StatusPage, ContinuesWhenThePortIsTaken) {
  StatusPage first(any_port());
  config::WatchConfig config;
  config.port = port_of(first);
  StatusPage second(config);
  EXPECT_EQ(second.address(), "");
  RunState state;
  EXPECT_NO_THROW(second.publish(state, 0));
  httplib::Client client("127.0.0.1", port_of(first));
  EXPECT_EQ(client.Get("/healthz")->status, 200);
}

TEST(StatusPage, DoesNotWaitForReadersThatDoNotRead) {
  std::vector<int> readers;
  {
    StatusPage page(any_port());
    const RunState state = large_run(3000, 5);
    sockaddr_in address{};
    address.sin_family = AF_INET, address.sin_port = htons(static_cast<std::uint16_t>(port_of(page)));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 8; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
      readers.push_back(fd);
      ASSERT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
      const std::string request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
      ASSERT_EQ(::send(fd, request.data(), i % 2 == 0 ? request.size() : 7, MSG_NOSIGNAL),
                i % 2 == 0 ? static_cast<ssize_t>(request.size()) : 7);
    }
    for (int i = 0; i < 20; ++i) page.publish(state, kBegan + i);
  }
  for (const int fd : readers) ::close(fd);
}

}  // namespace
}  // namespace dmoerm::watch
