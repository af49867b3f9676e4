#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <memory>
#include <mutex>
#include <string>

#include "base/log_route.h"

namespace dmoerm {
namespace {

class RoutedSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  void set_route(std::function<void(std::string_view)> route) {
    const std::lock_guard lock(mutex_);
    route_ = std::move(route);
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    if (!route_) return stderr_.log(message);
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    std::string text = fmt::to_string(line);
    if (message.color_range_end > message.color_range_start) {
      text.insert(message.color_range_end, "\033[0m");
      text.insert(message.color_range_start, message.level >= spdlog::level::err    ? "\033[31m"
                                             : message.level == spdlog::level::warn ? "\033[33m"
                                                                                    : "\033[32m");
    }
    route_(text);
  }
  void flush_() override { stderr_.flush(); }
  void set_pattern_(const std::string& pattern) override { set_formatter_(std::make_unique<spdlog::pattern_formatter>(pattern)); }
  void set_formatter_(std::unique_ptr<spdlog::formatter> formatter) override {
    stderr_.set_formatter(formatter->clone());
    formatter_ = std::move(formatter);
  }

  std::function<void(std::string_view)> route_;
  spdlog::sinks::stderr_color_sink_st stderr_;
};

std::shared_ptr<RoutedSink> the_sink;

}  // namespace

void init_log(int rank, int world_size, const std::string& level) {
  the_sink = std::make_shared<RoutedSink>();
  auto logger = std::make_shared<spdlog::logger>("dmoerm", the_sink);
  logger->set_pattern(world_size > 1 ? fmt::format("%H:%M:%S %^%L%$ rank={} %v", rank) : "%H:%M:%S %^%L%$ %v");
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

void route_log(std::function<void(std::string_view line)> route) {
  if (the_sink) the_sink->set_route(std::move(route));
}

}  // namespace dmoerm
