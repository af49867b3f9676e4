#include "wire/endpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace dmoerm::wire {
namespace {

struct Row {
  std::string_view method, path;  // {model} and {version} in a path stand for any name; a model's may have slashes
  Path kind;
};

constexpr std::string_view kVersion = "1";
constexpr std::size_t kShown = 100;  // bytes of a path in a message

// The first row that fits counts. TEI answers POST / as it answers the task of its model.
constexpr std::array<Row, 29> kRows = {{
    {"POST", "/v1/reward", Path::reward},
    {"POST", "/get_reward", Path::get_reward},
    {"POST", "/classify", Path::classify},
    {"POST", "/v1/classify", Path::classify},
    {"POST", "/pooling", Path::pooling},
    {"POST", "/v1/pooling", Path::pooling},
    {"POST", "/score", Path::score},
    {"POST", "/v1/score", Path::score},
    {"POST", "/rerank", Path::rerank},
    {"POST", "/v1/rerank", Path::rerank},
    {"POST", "/v2/rerank", Path::rerank},
    {"POST", "/v1/embeddings", Path::embeddings},
    {"POST", "/predict", Path::predict},
    {"POST", "/", Path::predict},
    {"POST", "/v1/score/evaluation", Path::score_evaluation},
    {"POST", "/v2/models/{model}/versions/{version}/infer", Path::infer},
    {"POST", "/v2/models/{model}/infer", Path::infer},
    {"GET", "/v1/models", Path::models},
    {"GET", "/v1/models/{model}", Path::models},
    {"GET", "/v2", Path::server},
    {"GET", "/v2/", Path::server},
    {"GET", "/v2/health/live", Path::live},
    {"GET", "/v2/health/ready", Path::ready},
    {"GET", "/v2/models/{model}/versions/{version}/config", Path::model_config},
    {"GET", "/v2/models/{model}/config", Path::model_config},
    {"GET", "/v2/models/{model}/versions/{version}/ready", Path::model_ready},
    {"GET", "/v2/models/{model}/ready", Path::model_ready},
    {"GET", "/v2/models/{model}/versions/{version}", Path::model},
    {"GET", "/v2/models/{model}", Path::model},
}};

/// Whether a path has the form of a pattern. The names in braces are added, the model's first and then its version.
bool matches(std::string_view path, std::string_view pattern, std::vector<std::string>& names) {
  const std::size_t brace = std::min(pattern.find('{'), pattern.size());
  if (!path.starts_with(pattern.substr(0, brace))) return false;
  path.remove_prefix(brace);
  if (brace == pattern.size()) return path.empty();
  const bool slashes = pattern.substr(brace).starts_with("{model}");
  if (path.starts_with('/')) return false;
  const std::string_view rest = pattern.substr(pattern.find('}', brace) + 1);
  for (std::size_t end = slashes ? path.size() : std::min(path.find('/'), path.size()); end > 0; end = slashes ? end - 1 : 0) {
    if (!matches(path.substr(end), rest, names)) continue;
    names.emplace(names.begin(), path.substr(0, end));
    return true;
  }
  return false;
}

bool fits(std::string_view path, std::string_view pattern, std::vector<std::string>& names) {
  names.clear();
  return matches(path, pattern, names);
}

}  // namespace

bool scores_texts(Path path) { return path <= Path::infer; }

Family family_of(Path path) {
  switch (path) {
    case Path::reward:
    case Path::models:
      return Family::own;
    case Path::get_reward:
    case Path::score_evaluation:
      return Family::fastapi;
    case Path::classify:
    case Path::pooling:
    case Path::score:
    case Path::rerank:
    case Path::embeddings:
      return Family::vllm;
    case Path::predict:
      return Family::tei;
    default:
      return Family::kserve;
  }
}

std::optional<Endpoint> find_endpoint(std::string_view method, std::string_view path) {
  std::vector<std::string> names;
  for (const Row& row : kRows) {
    if (!fits(path, row.path, names)) continue;
    const bool head = method == "HEAD" && row.method == "GET";
    if (method != row.method && !head) {
      if (path == "/" && (method == "GET" || method == "HEAD")) return std::nullopt;  // the page
      throw RequestError("method-not-allowed", 405, family_of(row.kind),
                         fmt::format("{} is asked with {}, not with {}", utf8_prefix(path, kShown), row.method, method));
    }
    if (names.size() > 1 && names[1] != kVersion)
      throw RequestError("unknown-model-version", 404, family_of(row.kind),
                         fmt::format("the version \"{}\" is unknown; each model of the server has the version {}",
                                     utf8_prefix(names[1], kShown), kVersion));
    return Endpoint{row.kind, names.empty() ? "" : names.front(), path.starts_with("/v1/")};
  }
  return std::nullopt;
}

std::string_view pattern_of(std::string_view path) {
  std::vector<std::string> names;
  for (const Row& row : kRows) {
    if (fits(path, row.path, names)) return row.path;
  }
  return "";
}

std::vector<std::string_view> methods_of(std::string_view path) {
  std::vector<std::string> names;
  std::vector<std::string_view> methods;
  for (const Row& row : kRows) {
    if (fits(path, row.path, names)) methods.push_back(row.method);
  }
  return methods;
}

std::vector<std::string> endpoint_names() {
  std::vector<std::string> names;
  for (const Row& row : kRows) {
    names.push_back(fmt::format("{} {}", row.method, row.path));
  }
  return names;
}

}  // namespace dmoerm::wire
