#include "run/worker_inbox.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/thread.h"

namespace dmoerm::run {

WorkerInbox::WorkerInbox(comm::World& world) : world_(world) {
  thread_ = start_thread("the thread that hears the coordinator", [this] {
    try {
      listen();
    } catch (const std::exception& e) {
      spdlog::error("[run] rank {} on {} no longer hears the coordinator: {}", world_.rank(), world_.host(),
                    failure_of(e).message);
      world_.abort(1);
    }
  });
}

WorkerInbox::~WorkerInbox() {
  leaving_ = true;
  thread_.join();
}

void WorkerInbox::tell(const ToCoordinator& message) { world_.send_control(0, true, encode(message)); }

std::variant<RunOrder, QuitOrder> WorkerInbox::next_order() {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [&] { return !orders_.empty(); });
  std::variant<RunOrder, QuitOrder> order = std::move(orders_.front());
  orders_.pop_front();
  return order;
}

void WorkerInbox::begin(int tag) {
  const std::lock_guard lock(mutex_);
  tag_ = tag;
  pause_ = paused_tag_ == tag;
  broken_ = broken_tag_ == tag;
}

void WorkerInbox::refuse_pause() {
  const std::lock_guard lock(mutex_);
  paused_tag_ = 0;
  pause_ = false;
}

void WorkerInbox::on(const RunOrder& order) {
  orders_.emplace_back(order);
  arrived_.notify_all();
}

void WorkerInbox::on(const PauseOrder& order) {
  paused_tag_ = std::max(paused_tag_, order.tag);
  if (paused_tag_ == tag_) pause_ = true;
}

void WorkerInbox::on(const BreakOrder& order) {
  broken_tag_ = std::max(broken_tag_, order.tag);
  if (broken_tag_ == tag_) broken_ = true;
}

void WorkerInbox::on(const StopOrder& order) {
  if (!stop_requested()) request_stop(order.signal);
}

void WorkerInbox::on(const QuitOrder& order) {
  orders_.emplace_back(order);
  arrived_.notify_all();
}

void WorkerInbox::listen() {
  constexpr int kLookMs = 200;
  bool told = false;
  while (!leaving_) {
    if (stop_requested() && !told) {
      told = true;
      tell(Stopping{stop_signal_number()});
    }
    const auto message = world_.receive_control(false, kLookMs);
    if (!message) continue;
    const ToRank order = decode_to_rank(message->text);
    const std::lock_guard lock(mutex_);
    std::visit([this](const auto& one) { on(one); }, order);
    if (std::holds_alternative<QuitOrder>(order)) return;  // later messages belong to another run of tasks
  }
}

}  // namespace dmoerm::run
