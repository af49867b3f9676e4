// Fuzzer of the preference readers: any bytes, plain or compressed, give checked groups, dropped rows or a DataError.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "preference/group_reader.h"

namespace {

void demand(bool good) {
  if (!good) std::abort();
}

void check(const dmoerm::preference::Group& group) {
  const auto count = static_cast<int>(group.responses.size());
  demand(count >= 2 && !group.prompt.empty() && !group.id.empty() && group.line > 0);
  for (const auto& p : group.pairs)
    demand(p.winner >= 0 && p.winner < count && p.loser >= 0 && p.loser < count && p.winner != p.loser);
  for (const auto& v : group.verdicts) demand(v.a >= 0 && v.a < count && v.b >= 0 && v.b < count && v.a != v.b);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const int file = ::memfd_create("fuzz", MFD_CLOEXEC);
  demand(file >= 0 && ::write(file, data, size) == static_cast<ssize_t>(size));
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  std::int64_t bad = 0;
  try {
    dmoerm::preference::GroupReader reader(path, "auto",
                                           [&](const dmoerm::preference::Dropped& d) { bad += d.reason.empty() ? 0 : 1; });
    while (const auto group = reader.next()) check(*group);
  } catch (const dmoerm::DataError&) {
    ++bad;
  }
  ::close(file);
  return 0;
}
