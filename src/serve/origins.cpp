#include "serve/origins.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/error.h"

namespace dmoerm::serve {
namespace {

constexpr std::string_view kHostCharacters = "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]";
constexpr const char* kPreflightAge = "600";  // seconds for which a browser need not ask again

/// Whether it is the part of an origin behind the host: nothing, or ":" and a port that is not the scheme's own.
bool is_port(std::string_view text, std::string_view own) {
  if (text.empty()) return true;
  const std::string_view port = text.substr(1);
  int number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  return text[0] == ':' && !port.empty() && port[0] != '0' && error == std::errc() && end == port.data() + port.size() &&
         number <= 65535 && port != own;
}

bool is_origin(std::string_view origin) {
  const bool tls = origin.starts_with("https://");
  if (!tls && !origin.starts_with("http://")) return false;
  const std::string_view rest = origin.substr(tls ? 8 : 7);
  const std::size_t bracket = rest.starts_with('[') ? rest.find(']') : 0;
  if (bracket == std::string_view::npos) return false;
  const std::size_t end = std::min(rest.find(':', bracket), rest.size());
  return end > 0 && rest.find_first_not_of(kHostCharacters) == std::string_view::npos &&
         is_port(rest.substr(end), tls ? "443" : "80");
}

bool is_allowed(const std::map<std::string, std::string>& headers, const std::vector<std::string>& origins) {
  const auto origin = headers.find("origin");
  return origin != headers.end() && std::ranges::find(origins, origin->second) != origins.end();
}

}  // namespace

void expect_origin(const std::string& origin) {
  if (origin == "*")
    throw ConfigError("bad-origin",
                      "--cors *: any page that a person opens could then ask this server: name each origin, as --cors "
                      "https://app.example.com");
  if (!is_origin(origin))
    throw ConfigError("bad-origin",
                      fmt::format("--cors {}: expected an origin as browsers send it: http:// or https://, the host in small "
                                  "letters, and the port if it is not the usual one, without a path or a slash at the end",
                                  origin));
}

bool is_preflight(const std::string& method, const std::map<std::string, std::string>& headers,
                  const std::vector<std::string>& origins) {
  return method == "OPTIONS" && headers.contains("access-control-request-method") && is_allowed(headers, origins);
}

std::vector<std::pair<std::string, std::string>> origin_headers(const std::map<std::string, std::string>& headers,
                                                                const std::vector<std::string>& origins, bool preflight) {
  if (origins.empty()) return {};
  std::vector<std::pair<std::string, std::string>> more = {{"Vary", "Origin"}};  // for caches between
  if (!is_allowed(headers, origins)) return more;
  more.emplace_back("Access-Control-Allow-Origin", headers.at("origin"));
  if (preflight) {
    more.emplace_back("Access-Control-Allow-Methods", "GET, HEAD, POST");
    more.emplace_back("Access-Control-Allow-Headers", "Authorization, Content-Type, X-API-Key, X-Request-Timeout");
    more.emplace_back("Access-Control-Max-Age", kPreflightAge);
  } else {
    more.emplace_back("Access-Control-Expose-Headers",
                      "Retry-After, X-Compute-Type, X-Compute-Time, X-Compute-Tokens, X-Queue-Time, X-Inference-Time, "
                      "X-Total-Time, X-Prompt-Found");
  }
  return more;
}

}  // namespace dmoerm::serve
