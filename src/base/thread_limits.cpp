#include "base/thread_limits.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include "base/cgroup.h"

namespace dmoerm {

std::string limits_on_threads() {
  struct rlimit own {};
  const bool limited = ::getrlimit(RLIMIT_NPROC, &own) == 0 && own.rlim_cur != RLIM_INFINITY;
  const std::string user = limited ? fmt::format("at most {} (ulimit -u)", own.rlim_cur) : "not limited (ulimit -u)";
  const auto group = cgroup_limit("pids.max", "pids/pids.max");
  return fmt::format(
      "processes and threads of this user: {}{}; raise the limit, or use fewer ranks on this host or fewer threads "
      "(OMP_NUM_THREADS)",
      user, group ? fmt::format(", of this control group: at most {} (pids.max)", *group) : "");
}

}  // namespace dmoerm
