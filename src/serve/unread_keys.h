// Keys of requests that nothing reads: the log names each once, as clients of foreign protocols send many and one may be
// misspelt.
#pragma once
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace dmoerm::serve {

class UnreadKeys {
 public:
  /// @param address  of the request, as /metrics names it
  void tell(const std::string& address, const std::vector<std::string>& keys);

 private:
  std::mutex mutex_;
  std::set<std::string> told_;
};

}  // namespace dmoerm::serve
