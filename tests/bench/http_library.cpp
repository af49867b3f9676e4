// A server that answers 5 ms after each request, on one of two HTTP libraries: the one that `serve` uses, and cpp-httplib.
// POST /small gets 200 bytes, POST /large 1 MiB. Prints its port.
#include <httplib.h>

#include <condition_variable>
#include <cstdio>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include "serve/http_server.h"

namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kWork = std::chrono::milliseconds(5);

std::string answer_to(const std::string& path) { return std::string(path == "/large" ? 1 << 20 : 200, '1'); }

int serve_by_httplib(std::size_t threads) {
  httplib::Server server;
  server.new_task_queue = [threads] { return new httplib::ThreadPool(threads); };
  server.set_keep_alive_max_count(1 << 30);
  server.set_tcp_nodelay(true);
  server.set_read_timeout(30);
  server.set_write_timeout(30);
  server.Post(".*", [](const httplib::Request& request, httplib::Response& response) {
    std::this_thread::sleep_for(kWork);
    response.set_content(answer_to(request.path), "text/plain");
  });
  std::printf("%d\n", server.bind_to_any_port("127.0.0.1"));
  std::fflush(stdout);
  return server.listen_after_bind() ? 0 : 1;
}

int serve_by_microhttpd() {
  using dmoerm::serve::Exchange;
  std::mutex mutex;
  std::condition_variable more;
  std::deque<std::pair<Clock::time_point, std::shared_ptr<Exchange>>> waiting;
  dmoerm::serve::HttpOptions options;
  options.header_s = options.body_s = options.write_s = 30;
  const dmoerm::serve::HttpServer server(
      options, [](const auto&) { return std::nullopt; },
      [&](std::shared_ptr<Exchange> exchange) {
        const std::lock_guard lock(mutex);
        waiting.emplace_back(Clock::now() + kWork, std::move(exchange));
        more.notify_one();
      },
      [](const auto&, int status, dmoerm::ErrorCode, const std::string& message) {
        return dmoerm::serve::HttpAnswer{status, message, "text/plain"};
      });
  std::printf("%d\n", server.port());
  std::fflush(stdout);
  for (;;) {
    std::unique_lock lock(mutex);
    more.wait(lock, [&] { return !waiting.empty(); });
    const auto [when, exchange] = waiting.front();
    waiting.pop_front();
    lock.unlock();
    std::this_thread::sleep_until(when);
    exchange->answer({200, answer_to(exchange->request.path), "text/plain"});
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string library = argc > 1 ? argv[1] : "";
  if (library == "microhttpd") return serve_by_microhttpd();
  if (library == "httplib") return serve_by_httplib(argc > 2 ? std::stoul(argv[2]) : 8);
  std::fprintf(stderr, "usage: %s microhttpd | httplib [THREADS]\n", argv[0]);
  return 2;
}
