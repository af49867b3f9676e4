#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

namespace dmoerm {

void init_log(int rank, int world_size, const std::string& level) {
  auto logger = spdlog::stderr_color_mt("dmoerm");
  logger->set_pattern(world_size > 1 ? fmt::format("%H:%M:%S %^%L%$ rank={} %v", rank) : "%H:%M:%S %^%L%$ %v");
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace dmoerm
