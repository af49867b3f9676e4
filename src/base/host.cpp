#include "base/host.h"

#include <unistd.h>

namespace dmoerm {

std::string host_name() {
  char name[256] = "localhost";
  ::gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace dmoerm
