// The page that the server shows to people.
#pragma once
#include <string_view>

namespace dmoerm::wire {

/// The page as one HTML document, which loads nothing from elsewhere. It asks /v1/models and /v1/reward, relative to its own
/// address. Its source is src/wire/page/index.html.
std::string_view page_html();

/// The value of the header Content-Security-Policy to send with it.
std::string_view page_policy();

}  // namespace dmoerm::wire
