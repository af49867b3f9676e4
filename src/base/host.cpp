#include "base/host.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "base/cgroup.h"

namespace dmoerm {

std::string host_name() {
  char name[256] = "localhost";
  ::gethostname(name, sizeof name - 1);
  return name;
}

std::string host_identity() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string boot;
  std::getline(file, boot);
  return host_name() + " " + boot;
}

bool is_own_machine(std::string_view host) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const bool numbers = host.find_first_not_of("0123456789.") == std::string_view::npos;  // and no name such as 127.example
  return host == "localhost" || host.ends_with(".localhost") || (host.starts_with("127.") && numbers) || host == "::1" ||
         host.starts_with("::ffff:127.");
}

double host_memory_mib() {
  constexpr double kMib = 1024.0 * 1024.0;
  double mib = 0;
  std::ifstream file("/proc/meminfo");
  for (std::string name, rest; file >> name; std::getline(file, rest)) {
    if (name != "MemTotal:") continue;
    file >> mib;
    mib /= 1024;  // from KiB
  }
  if (const auto limit = cgroup_limit("memory.max", "memory/memory.limit_in_bytes")) {
    const double limit_mib = static_cast<double>(*limit) / kMib;
    mib = mib > 0 ? std::min(mib, limit_mib) : limit_mib;
  }
  return mib;
}

}  // namespace dmoerm
