#include "serve/addresses.h"

#include <fmt/format.h>

#include <string_view>

#include "base/text.h"
#include "wire/endpoint.h"

namespace dmoerm::serve {
namespace {

struct Own {
  std::string_view method, path;
};
constexpr Own kOwn[] = {{"GET", "/"},     {"GET", "/health"},  {"GET", "/ready"},
                        {"GET", "/info"}, {"GET", "/metrics"}, {"POST", "/admin/reload"}};
constexpr std::size_t kShown = 100;  // bytes of a path in a message

}  // namespace

std::vector<std::string> address_names() {
  std::vector<std::string> names;
  for (const Own& own : kOwn) names.push_back(std::string(own.method) + " " + std::string(own.path));
  for (std::string& name : wire::endpoint_names()) names.push_back(std::move(name));
  return names;
}

std::string methods_of(std::string_view path) {
  std::string all;
  const auto add = [&all](std::string_view method) {
    if (!all.empty()) all += ", ";
    all += method == "GET" ? "GET, HEAD" : method;
  };
  for (const Own& own : kOwn) {
    if (path == own.path) add(own.method);
  }
  for (const std::string_view method : wire::methods_of(path)) add(method);
  return all;
}

std::string label_of(const std::string& path) {
  for (const Own& own : kOwn) {
    if (path == own.path) return path;
  }
  const std::string_view pattern = wire::pattern_of(path);
  return pattern.empty() ? "other" : std::string(pattern);
}

std::string unknown_address(const std::string& path) {
  const std::string shown(utf8_prefix(path, kShown)), without = path.substr(0, path.find_last_not_of('/') + 1);
  if (without != path && !without.empty() && without.size() <= kShown && label_of(without) != "other")
    return fmt::format("{} is not an address of this server, did you mean {}? GET /info lists all", shown, without);
  return fmt::format("{} is not an address of this server; GET /info lists them", shown);
}

}  // namespace dmoerm::serve
