// Who may ask a server, and how it refuses.
#pragma once
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

/// Refuses callers without one of the keys; where there is none, those whom another machine's name or a foreign page sent.
std::optional<HttpAnswer> refuse_caller(const HttpRequest& request, const std::vector<std::string>& keys);

/// The answer with the header Retry-After.
HttpAnswer with_retry(HttpAnswer answer, double seconds);
/// 503 with the advice to ask another.
HttpAnswer stopping(wire::Family family);

}  // namespace dmoerm::serve
