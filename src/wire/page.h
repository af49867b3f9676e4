// The page that the server shows to people.
#pragma once
#include <string_view>

namespace dmoerm::wire {

/// The page as one HTML document, which loads nothing from elsewhere. It asks /v1/models and /v1/reward, relative to its own
/// address. Its source is src/wire/page/index.html.
extern const std::string_view kPageHtml;

/// The value of the header Content-Security-Policy to send with it.
inline constexpr std::string_view kPagePolicy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

}  // namespace dmoerm::wire
