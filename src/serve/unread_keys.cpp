#include "serve/unread_keys.h"

#include <nlohmann/json.hpp>

#include "base/json_text.h"
#include "base/log.h"
#include "base/text.h"

namespace dmoerm::serve {
namespace {

constexpr std::size_t kToldMax = 200;  // strangers cannot fill the log

}  // namespace

void UnreadKeys::tell(const std::string& address, const std::vector<std::string>& keys) {
  std::string fresh;
  {
    const std::lock_guard lock(mutex_);
    for (const std::string& key : keys) {
      const std::string shown = json_line(std::string(utf8_prefix(key, 60)));
      if (told_.size() >= kToldMax || !told_.insert(address + " " + shown).second) continue;
      fresh += (fresh.empty() ? "" : ", ") + shown;
    }
  }
  if (!fresh.empty()) spdlog::info("[serve] requests to {} have keys that nothing here reads: {} (told once)", address, fresh);
}

}  // namespace dmoerm::serve
