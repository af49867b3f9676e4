// Rules by which the test judge misbehaves.
#pragma once
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/hash.h"

namespace dmoerm::judge_server {

/// Rules "KIND=WHEN", tried in order; the first that applies to a request decides. WHEN: a share of requests ("0.05"; drawn by
/// body and try, so that a repetition has a new chance), "every:7" (each 7th request), "first:2" (the first two tries of every
/// body), "from:100" (all after the first 100 requests).
class Misbehaviour {
 public:
  /// @throws ConfigError for an unknown KIND or WHEN
  Misbehaviour(const std::vector<std::string>& rules, std::uint64_t seed);
  /// Misbehaviour for the next request; "" = answer it. @param body  its sha256
  /// @param scope  prefix of the kinds that apply: "batch_", "get_" or "upload_"; "" = those without a prefix, for chat
  /// completions
  std::string next(const Digest& body, std::string_view scope);
  /// All kinds, for the help text.
  static std::string kinds();

 private:
  struct Rule {
    std::string kind;
    double share = 0;
    std::uint64_t every = 0, first = 0, from = 0;
  };
  std::vector<Rule> rules_;
  std::uint64_t seed_;
  std::mutex mutex_;
  std::uint64_t requests_ = 0;
  std::unordered_map<std::uint64_t, std::uint32_t> tries_;  ///< Tries by the start of the body's hash
};

}  // namespace dmoerm::judge_server
