#include "serve/framing.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace dmoerm::serve {
namespace {

constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kNameCharacters = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz";
constexpr std::size_t kShown = 60;  // bytes of a header in a message

std::string shown(const std::string& value) { return std::string(utf8_prefix(value, kShown)); }

bool is_one_host(const std::string& host) { return host.find_first_of(", /@") == std::string::npos; }

}  // namespace

std::optional<std::string> framing_problem(const std::map<std::string, std::string>& headers, std::string_view version) {
  const auto value_of = [&headers](const char* name) {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string() : found->second;
  };
  for (const auto& [name, value] : headers) {
    if (name.empty() || name.find_first_not_of(kNameCharacters) != std::string::npos)
      return fmt::format("the header \"{}\" has characters that the name of a header may not have", shown(name));
  }
  const bool length = headers.contains("content-length"), coded = headers.contains("transfer-encoding");
  const std::string bytes = value_of("content-length"), coding = value_of("transfer-encoding");
  if (length && coded) return "Content-Length and Transfer-Encoding both say where the body ends: send one of them";
  if (length && (bytes.empty() || bytes.find_first_not_of(kDigits) != std::string::npos))
    return fmt::format("Content-Length: expected one number of bytes, found \"{}\"", shown(bytes));
  if (coded && lower(coding) != "chunked") return fmt::format("Transfer-Encoding: expected chunked, found \"{}\"", shown(coding));
  if (coded && version == "HTTP/1.0") return "Transfer-Encoding: HTTP/1.0 does not have it; send Content-Length";
  const std::string host = value_of("host");
  if (!headers.contains("host") && version != "HTTP/1.0") return "the header Host is missing; HTTP/1.1 demands it";
  if (!is_one_host(host)) return fmt::format("Host: expected one name with or without a port, found \"{}\"", shown(host));
  return std::nullopt;
}

std::optional<std::string> resolve_target(std::string& target, std::map<std::string, std::string>& headers) {
  const std::size_t colon = target.find("://");
  if (colon == std::string::npos) return std::nullopt;
  const std::string scheme = lower(target.substr(0, colon));
  if (scheme != "http" && scheme != "https") return std::nullopt;
  const std::size_t begin = colon + 3, end = std::min(target.find('/', begin), target.size());
  const std::string host = target.substr(begin, end - begin);
  target = end < target.size() ? target.substr(end) : "/";
  if (host.empty() || !is_one_host(host))
    return fmt::format("the address of the request: expected one host with or without a port, found \"{}\"", shown(host));
  headers["host"] = host;
  return std::nullopt;
}

}  // namespace dmoerm::serve
