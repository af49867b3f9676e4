// Who may ask a server, how it refuses, and what it answers without its bundles.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "serve/http_server.h"
#include "wire/request_error.h"

namespace dmoerm::serve {

/// The API key that a request sends; "" if it sends none.
std::string key_of(const HttpRequest& request);

/// The protocol that a request's path belongs to; ours if it belongs to none.
wire::Family family_of(const HttpRequest& request);
/// An error in the words of that protocol.
HttpAnswer refusal_of(const HttpRequest& request, int status, ErrorCode code, const std::string& message);

HttpAnswer json_answer(const nlohmann::json& body, int status = 200);
/// The answer with the header Retry-After.
HttpAnswer with_retry(HttpAnswer answer, double seconds);
/// 503 with the advice to ask another.
HttpAnswer stopping(wire::Family family);

enum class Standing : std::uint8_t { starting, ready, draining };
/// Answers what needs neither bundles nor a body: the page, /health and /ready, /v2/health/live. Refuses callers without one of
/// the keys, except for the page and for probes of the health; where there are no keys, those whom another machine's name or a
/// foreign page sent; and while the server drains, all that send a body.
/// @return nothing if the request goes on
std::optional<HttpAnswer> answer_at_once(const HttpRequest& request, const std::vector<std::string>& keys, Standing standing);

}  // namespace dmoerm::serve
