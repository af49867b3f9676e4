#include "serve/callers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/host.h"
#include "base/json_text.h"
#include "base/secrets.h"
#include "base/text.h"
#include "serve/addresses.h"
#include "serve/problem.h"
#include "wire/endpoint.h"
#include "wire/page.h"
#include "wire/render_error.h"

namespace dmoerm::serve {
namespace {

/// A host name or address without the port.
std::string host_of(const std::string& authority) {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.find(':'));
}

bool is_local(const std::string& host) { return host.empty() || is_own_machine(host); }

std::optional<HttpAnswer> refuse_caller(const HttpRequest& request, const std::vector<std::string>& keys) {
  if (!keys.empty()) {
    const std::string sent = key_of(request);
    bool known = false;
    for (const std::string& key : keys) known |= equal_secrets(sent, key);
    if (known) return std::nullopt;
    HttpAnswer answer = refusal_of(
        request, 401, ErrorCode("api-key-wrong"),
        sent.empty() ? "send the server's API key: Authorization: Bearer KEY" : "this API key is not one of the server's");
    answer.headers.emplace_back("WWW-Authenticate", "Bearer");
    return answer;
  }
  const std::string host = host_of(request.header("host")), origin = request.header("origin");
  const std::size_t slashes = origin.find("://");
  const bool foreign = !origin.empty() && (slashes == std::string::npos || !is_local(host_of(origin.substr(slashes + 3))));
  if (is_local(host) && !foreign) return std::nullopt;
  return refusal_of(request, 403, ErrorCode("caller-not-local"),
                    "without an API key this server answers programs of its own machine and its own page at / only: start it "
                    "with --api-key-file");
}

HttpAnswer page() {
  return {200,
          std::string(wire::kPageHtml),
          "text/html; charset=utf-8",
          {{"Content-Security-Policy", std::string(wire::kPagePolicy)},
           {"X-Content-Type-Options", "nosniff"},
           {"Referrer-Policy", "no-referrer"}}};
}

HttpAnswer readiness(Standing standing) {
  if (standing == Standing::draining) return {503, "{\"status\":\"draining\"}\n"};
  if (standing == Standing::starting) return with_retry({503, "{\"status\":\"starting\"}\n"}, 1);
  return {200, "{\"status\":\"ready\"}\n"};
}

}  // namespace

std::string key_of(const HttpRequest& request) {
  const std::string authorization = request.header("authorization"), bearer = "bearer ";
  if (lower(authorization.substr(0, bearer.size())) == bearer)
    return std::string(trim(std::string_view(authorization).substr(bearer.size())));
  return request.header("x-api-key");
}

wire::Family family_of(const HttpRequest& request) {
  try {
    const auto endpoint = wire::find_endpoint(request.method, request.path);
    if (endpoint) return wire::family_of(endpoint->path);
    return request.path == "/v2" || request.path.starts_with("/v2/") ? wire::Family::kserve : wire::Family::own;
  } catch (const wire::RequestError& e) {
    return e.family();
  }
}

HttpAnswer refusal_of(const HttpRequest& request, int status, ErrorCode code, const std::string& message) {
  HttpAnswer answer = json_answer(wire::render_error(family_of(request), status, code, message), status);
  if (status == 405) answer.headers.emplace_back("Allow", methods_of(request.path));
  return answer;
}

HttpAnswer json_answer(const nlohmann::json& body, int status) { return {status, json_line(body) + "\n"}; }

HttpAnswer with_retry(HttpAnswer answer, double seconds) {
  answer.headers.emplace_back("Retry-After", fmt::format("{:.0f}", std::clamp(std::ceil(seconds), 1.0, 60.0)));
  return answer;
}

HttpAnswer stopping(wire::Family family) {
  const auto body = wire::render_error(family, 503, ErrorCode("server-is-stopping"), kStopping);
  return with_retry(json_answer(body, 503), 5);
}

std::optional<HttpAnswer> answer_at_once(const HttpRequest& request, const std::vector<std::string>& keys, Standing standing) {
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (reads && request.path == "/") return page();
  if (reads && request.path == "/health") return HttpAnswer{200, "{\"status\":\"alive\"}\n"};
  if (reads && request.path == "/ready") return readiness(standing);
  if (reads && request.path == "/v2/health/live") return HttpAnswer{200, "{\"live\":true}\n"};
  if (reads && request.path == "/v2/health/ready") return std::nullopt;
  if (auto refused = refuse_caller(request, keys); refused) return refused;
  if (standing == Standing::draining && request.method == "POST") return stopping(family_of(request));
  return std::nullopt;
}

}  // namespace dmoerm::serve
