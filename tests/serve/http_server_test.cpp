// The HTTP server: answers that come later, limits, and clients that misbehave.
#include "serve/http_server.h"

#include <gtest/gtest.h>
#include <httplib.h>

#include <atomic>
#include <condition_variable>
#include <thread>

#include "base/error.h"

namespace dmoerm::serve {
namespace {

using Shared = std::shared_ptr<Exchange>;

/// A server that keeps exchanges until the test answers them.
class Server {
 public:
  explicit Server(HttpOptions options = {}) {
    server_ = std::make_unique<HttpServer>(
        options,
        [](const HttpRequest& request) {
          return request.path == "/refused" ? std::optional<HttpAnswer>({403, "no", "text/plain"}) : std::nullopt;
        },
        [this](Shared exchange) {
          const std::lock_guard lock(mutex_);
          came_.push_back(std::move(exchange));
          changed_.notify_all();
        },
        [](const HttpRequest&, int status, ErrorCode code, const std::string& message) {
          return HttpAnswer{status, std::string(code.text()) + ": " + message, "text/plain"};
        });
  }
  Shared wait_for(std::size_t number) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return came_.size() > number; });
    return came_[number];
  }
  /// The same, or nullptr soon after `done`.
  Shared wait_for(std::size_t number, const std::atomic<bool>& done) {
    std::unique_lock lock(mutex_);
    while (came_.size() <= number && !done) changed_.wait_for(lock, std::chrono::milliseconds(1));
    return came_.size() > number ? came_[number] : nullptr;
  }
  [[nodiscard]] httplib::Client client() const {
    httplib::Client client("127.0.0.1", server_->port());
    client.set_keep_alive(true);
    return client;
  }
  HttpServer& operator*() { return *server_; }
  void close() { server_.reset(); }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Shared> came_;
  std::unique_ptr<HttpServer> server_;
};

TEST(HttpServer, AnswersLaterInAnyOrder) {
  Server server;
  std::string first, second;
  std::thread one([&] { first = server.client().Post("/one", "body one", "text/plain")->body; });
  const Shared a = server.wait_for(0);
  std::thread two([&] { second = server.client().Post("/two", std::string(300000, 'x'), "text/plain")->body; });
  const Shared b = server.wait_for(1);
  EXPECT_EQ(a->request.body, "body one");
  EXPECT_EQ(b->request.body.size(), 300000U);
  EXPECT_EQ(b->request.method + b->request.path, "POST/two");
  EXPECT_EQ((*server).under_way(), 2U);
  b->answer({200, "b", "text/plain"});
  two.join();
  a->answer({200, "a", "text/plain"});
  a->answer({500, "ignored", "text/plain"});
  one.join();
  EXPECT_EQ(first + second, "ab");
}

TEST(HttpServer, RefusesLongBodiesBeforeAndWhileItReadsThem) {
  Server server({.body_bytes_max = 1000});
  httplib::Client client = server.client();
  const auto stated = client.Post("/x", std::string(2000, 'x'), "text/plain");
  EXPECT_EQ(stated->status, 413);
  EXPECT_EQ(stated->body.substr(0, 13), "body-too-long");
  const auto chunked = client.Post(
      "/x",
      [](std::size_t, httplib::DataSink& sink) {
        const std::string piece(600, 'x');
        for (int i = 0; i < 3; ++i) sink.write(piece.data(), piece.size());
        sink.done();
        return true;
      },
      "text/plain");
  EXPECT_EQ(chunked->status, 413);
  EXPECT_EQ(client.Post("/refused", "small", "text/plain")->status, 403);
}

TEST(HttpServer, CountsWhatBodiesUnpackTo) {
  Server server({.bodies_bytes_max = 1000});
  constexpr unsigned char kPacked[] = {0x78, 0x9c, 0xab, 0xa8, 0x18, 0x05, 0xa3, 0x60,
                                       0x14, 0xe0, 0x02, 0x00, 0xd0, 0xf6, 0x77, 0x10};  // 800 times "x"
  const std::string packed(reinterpret_cast<const char*>(kPacked), sizeof kPacked);
  const httplib::Headers headers = {{"Content-Encoding", "deflate"}};
  int status = 0;
  std::thread one([&] { status = server.client().Post("/one", headers, packed, "text/plain")->status; });
  const Shared first = server.wait_for(0);
  EXPECT_EQ(first->request.body, std::string(800, 'x'));
  const auto second = server.client().Post("/two", headers, packed, "text/plain");
  EXPECT_EQ(second->status, 429);
  EXPECT_EQ(second->body.substr(0, 14), "server-is-busy");
  EXPECT_EQ(second->get_header_value("Retry-After"), "1");
  first->answer({});
  one.join();
  EXPECT_EQ(status, 200);
}

TEST(HttpServer, TellsWhenTheClientHangsUp) {
  Server server;
  std::atomic<bool> gone{false};
  {
    httplib::Client client = server.client();
    client.set_read_timeout(0, 200000);
    EXPECT_FALSE(client.Post("/x", "y", "text/plain"));
  }
  const Shared exchange = server.wait_for(0);
  exchange->when_gone([&] { gone = true; });
  while (!gone) std::this_thread::yield();
  exchange->answer({});
  bool called = false;
  exchange->when_gone([&] { called = true; });
  EXPECT_FALSE(called);  // it has its answer
}

/// A connection that has sent the beginning of a request.
int connection_with(int port, std::string_view text) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  EXPECT_EQ(::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::write(socket, text.data(), text.size()), std::ssize(text));
  return socket;
}

/// All that a server sends until it closes the connection.
std::string rest_of(int socket) {
  std::string all;
  char piece[4096];
  for (ssize_t got = 0; (got = ::read(socket, piece, sizeof piece)) > 0;) all.append(piece, static_cast<std::size_t>(got));
  ::close(socket);
  return all;
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(HttpServer, RefusesHeadersThatCouldBeReadInTwoWays) {
  Server server;
  const std::string smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n", host = "POST /x HTTP/1.1\r\nHost: h\r\n";
  for (const std::string& head :
       {host + "Content-Length: 3\r\nContent-Length: 40\r\n\r\n", host + "Content-Length: 40\r\nContent-Length: 40\r\n\r\n",
        host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        host + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", host + "Transfer-Encoding: gzip\r\n\r\n",
        host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        host + "Host: other\r\nContent-Length: 0\r\n\r\n", std::string("POST /x HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
        std::string("POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        std::string("GET /refused HTTP/1.1\r\n\r\n")}) {
    const int socket = connection_with((*server).port(), head + smuggled);
    ::shutdown(socket, SHUT_WR);
    const std::string answer = rest_of(socket);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << head << answer;
    EXPECT_NE(answer.find("bad-http-headers"), std::string::npos) << head << answer;
    EXPECT_EQ(count_of(answer, "Content-Type: "), 1U) << head << answer;
  }
}

TEST(HttpServer, KeepsAConnectionThatAsksWithoutABody) {
  Server server;
  const std::string ask = "GET /refused HTTP/1.1\r\nHost: h\r\n";
  const std::string answers =
      rest_of(connection_with((*server).port(), ask + "\r\n" + ask + "\r\n" + ask + "Connection: close\r\n\r\n"));
  EXPECT_EQ(count_of(answers, "HTTP/1.1 403"), 3U) << answers;
}

TEST(HttpServer, AcceptsTheWholeAddress) {
  Server server;
  const std::string rest = " HTTP/1.1\r\nHost: other\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
  const int socket = connection_with((*server).port(), "POST http://h:8000/v1/score?a=b" + rest);
  const Shared exchange = server.wait_for(0);
  EXPECT_EQ(exchange->request.path, "/v1/score");
  EXPECT_EQ(exchange->request.header("host"), "h:8000");
  exchange->answer({200, "a", "text/plain"});
  EXPECT_TRUE(rest_of(socket).starts_with("HTTP/1.1 200 "));
  const std::string refused = rest_of(connection_with((*server).port(), "POST http://me@h/x" + rest));
  EXPECT_NE(refused.find("bad-http-headers"), std::string::npos) << refused;
}

TEST(HttpServer, LetsAClientThatStillSendsSeeItsRefusal) {
  Server server({.body_bytes_max = 1000});
  const std::string body(9 << 20, 'x');
  for (const char* path : {"/x", "/refused"}) {
    const std::string length = std::string(path) == "/x" ? std::to_string(body.size()) : "1000";
    const int socket = connection_with(
        (*server).port(), std::string("POST ") + path + " HTTP/1.1\r\nHost: h\r\nContent-Length: " + length + "\r\n\r\n");
    for (std::size_t at = 0; at < body.size();) {
      const ssize_t sent = ::send(socket, body.data() + at, body.size() - at, MSG_NOSIGNAL);
      ASSERT_GT(sent, 0) << path << " after " << at << " bytes";
      at += static_cast<std::size_t>(sent);
    }
    const std::string answer = rest_of(socket);
    EXPECT_NE(answer.find(std::string(path) == "/x" ? " 413 " : " 403 "), std::string::npos) << answer;
    EXPECT_TRUE(answer.ends_with(std::string(path) == "/x" ? "in a request" : "no")) << answer;
  }
}

TEST(HttpServer, ClosesConnectionsThatSendNothing) {
  Server server({.header_s = 0.1});
  const int socket = connection_with((*server).port(), "POST /x HT");
  char byte = 0;
  EXPECT_LE(::read(socket, &byte, 1), 0);  // until the server closes it
  ::close(socket);
  EXPECT_EQ((*server).gauges().timed_out, 1U);
}

TEST(HttpServer, CountsARequestWhoseBodyIsOnItsWay) {
  Server server;
  const int socket = connection_with((*server).port(), "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{");
  while ((*server).under_way() == 0) std::this_thread::yield();
  while ((*server).under_way() == 1)
    std::this_thread::yield();  // but one that does not come does not keep the server from its end
  ::close(socket);
}

TEST(HttpServer, SaysThatThePortIsTaken) {
  Server server;
  try {
    Server second({.port = (*server).port()});
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_EQ(std::string(e.code().text()), "port-is-taken");
  }
  EXPECT_THROW(Server({.host = "no such host"}), ConfigError);
  EXPECT_THROW(Server({.certificate = "no certificate", .key = "no key"}), ConfigError);
}

TEST(HttpServer, FinishesWhatIsOpenAfterItStopsAccepting) {
  Server server;
  int status = 0;
  std::thread one([&] { status = server.client().Post("/x", "y", "text/plain")->status; });
  const Shared exchange = server.wait_for(0);
  (*server).stop_accepting();
  EXPECT_FALSE(server.client().Post("/x", "y", "text/plain"));
  exchange->answer({});
  one.join();
  EXPECT_EQ(status, 200);
  server.close();
}

TEST(HttpServer, HasItsLastAnswersReadBeforeItEnds) {
  constexpr int kClients = 4;
  constexpr std::size_t kBytes = 8 << 20;  // more than a socket takes at once
  Server server;
  std::atomic<int> told = 0;
  std::vector<std::thread> asking;
  for (int c = 0; c < kClients; ++c) {
    asking.emplace_back([&] {
      const auto reply = server.client().Post("/x", "y", "text/plain");
      told += reply && reply->status == 503 && reply->body.size() == kBytes ? 1 : 0;
    });
  }
  const Shared last = server.wait_for(kClients - 1);
  std::thread answering([&] {
    for (int i = 0; i < kClients; ++i) server.wait_for(i)->answer({503, std::string(kBytes, 'x'), "text/plain"});
  });
  server.close();
  answering.join();
  for (std::thread& thread : asking) thread.join();
  EXPECT_EQ(told.load(), kClients);
}

TEST(HttpServer, EndsWhileClientsGoOnAsking) {
  for (int round = 0; round < 10; ++round) {
    Server server;
    std::atomic<bool> done = false;
    std::thread answering([&] {
      for (std::size_t i = 0; !done; ++i) {
        const Shared exchange = server.wait_for(i, done);
        if (exchange == nullptr) continue;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        exchange->answer({200, "a", "text/plain"});
      }
    });
    std::vector<std::thread> asking;
    for (int c = 0; c < 4; ++c) {
      asking.emplace_back([&, client = std::make_shared<httplib::Client>(server.client())] {
        for (int i = 0; i < 2000 && !done; ++i) {
          const auto reply = client->Post("/x", "body", "text/plain");
          EXPECT_TRUE(!reply || reply->status == 200 || reply->status == 503);
        }
      });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    server.close();  // a request that comes now is refused; one that waited for ever would end the program
    done = true;
    for (std::thread& thread : asking) thread.join();
    answering.join();
  }
}

}  // namespace
}  // namespace dmoerm::serve
