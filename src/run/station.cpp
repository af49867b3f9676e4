#include "run/station.h"

#include <algorithm>

#include "base/log.h"
#include "base/stop.h"

namespace dmoerm::run {

using nlohmann::json;

Station::Station(comm::World& world)
    : world_(world), thread_([this] {
        try {
          listen();
        } catch (const std::exception& e) {
          spdlog::error("[run] rank {} on {} does not hear the coordinator any more: {}", world_.rank(), world_.host(), e.what());
          world_.abort(1);
        }
      }) {}

Station::~Station() {
  leaving_ = true;
  thread_.join();
}

void Station::tell(const json& event) {
  world_.send_control(0, true, event.dump(-1, ' ', false, json::error_handler_t::replace));
}

json Station::next_order() {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [&] { return !orders_.empty(); });
  json order = std::move(orders_.front());
  orders_.pop_front();
  return order;
}

void Station::begin(int tag) {
  const std::lock_guard lock(mutex_);
  tag_ = tag;
  pause_ = paused_tag_ == tag, broken_ = broken_tag_ == tag;
}

void Station::listen() {
  constexpr int kLookMs = 200;
  bool told = false;
  while (!leaving_) {
    if (stop_requested() && !told) {
      told = true;
      tell({{"stopping", stop_signal_number()}});
    }
    const auto message = world_.receive_control(false, kLookMs);
    if (!message) continue;
    json order = json::parse(message->text);
    const std::lock_guard lock(mutex_);
    if (order.contains("pause")) {
      paused_tag_ = std::max(paused_tag_, order["pause"].get<int>());
      if (paused_tag_ == tag_) pause_ = true;
    } else if (order.contains("break")) {
      broken_tag_ = std::max(broken_tag_, order["break"].get<int>());
      if (broken_tag_ == tag_) broken_ = true;
    } else if (order.contains("stop")) {
      if (!stop_requested()) request_stop(order["stop"]);
    } else {
      const bool last = order.contains("quit");
      orders_.push_back(std::move(order));
      arrived_.notify_all();
      if (last) return;  // what comes after it is not for this run of tasks
    }
  }
}

}  // namespace dmoerm::run
