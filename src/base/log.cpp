#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

namespace dmoerm {

void init_log(int rank, int world_size, const std::string& level) {
  auto logger = spdlog::stderr_color_mt("dmoerm");
  logger->set_pattern(world_size > 1 ? fmt::format("%H:%M:%S %^%L%$ rank={} %v", rank) : "%H:%M:%S %^%L%$ %v");
  logger->set_level(std::max(spdlog::level::from_str(level), rank == 0 ? spdlog::level::trace : spdlog::level::warn));
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace dmoerm
