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
