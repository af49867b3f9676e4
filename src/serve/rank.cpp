#include "serve/rank.h"

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "serve/frames.h"

namespace dmoerm::serve {

void work_for_front(int socket, const HttpServer::Check& check, const HttpServer::Handler& handle,
                    const std::function<void(std::function<void()> done)>& reload, const std::function<std::string()>& loaded) {
  std::mutex writing, waiting_mutex;
  std::map<std::uint64_t, std::weak_ptr<Exchange>> waiting;
  std::size_t under_way = 0;
  std::condition_variable none_left;
  write_frame(socket, {{"ready", true}, {"loaded", loaded()}}, "");
  for (Frame frame; read_frame(socket, frame);) {
    if (frame.header.contains("reload")) {
      {
        const std::lock_guard lock(waiting_mutex);
        ++under_way;
      }
      reload([&] {
        {
          const std::lock_guard lock(writing);
          write_frame(socket, {{"loaded", loaded()}}, "");
        }
        const std::lock_guard lock(waiting_mutex);
        --under_way;
        none_left.notify_all();
      });
      continue;
    }
    const std::uint64_t number = frame.header.at("number");
    if (frame.header.contains("cancel")) {
      std::shared_ptr<Exchange> exchange;
      {
        const std::lock_guard lock(waiting_mutex);
        if (const auto found = waiting.find(number); found != waiting.end()) exchange = found->second.lock();
      }
      if (exchange) exchange->hang_up();
      continue;
    }
    HttpRequest request = request_of(std::move(frame));
    const bool reloads = request.path == "/admin/reload";
    auto deliver = [&, number, reloads](HttpAnswer answer) {
      nlohmann::json header = header_of(answer);
      header["number"] = number;
      if (reloads) header["loaded"] = loaded();
      {
        const std::lock_guard lock(writing);
        write_frame(socket, header, answer.body);
      }
      const std::lock_guard lock(waiting_mutex);
      waiting.erase(number);
      --under_way;
      none_left.notify_all();
    };
    const std::shared_ptr<Exchange> exchange = Exchange::make(std::move(request), std::move(deliver));
    {
      const std::lock_guard lock(waiting_mutex);
      waiting[number] = exchange;
      ++under_way;
    }
    if (auto answer = check(exchange->request); answer) {
      exchange->answer(std::move(*answer));
    } else {
      handle(exchange);
    }
  }
  std::unique_lock lock(waiting_mutex);
  none_left.wait(lock, [&] { return under_way == 0; });
}

}  // namespace dmoerm::serve
