#include "base/counted.h"

#include <fmt/format.h>

namespace dmoerm {

std::string counted(std::int64_t count, std::string_view thing, std::string_view things) {
  if (count == 1) return fmt::format("1 {}", thing);
  return things.empty() ? fmt::format("{} {}s", count, thing) : fmt::format("{} {}", count, things);
}

std::string mib_text(double mib) {
  constexpr double kKib = 1024;
  return mib < 1 ? fmt::format("{:.0f} KiB", kKib * mib) : fmt::format("{:.0f} MiB", mib);
}

}  // namespace dmoerm
