// Redirection of log lines, for a screen that shows them above itself.
#pragma once
#include <functional>
#include <string_view>

namespace dmoerm {

/// Send every log line to `route` instead of stderr, with its line end and colours. An empty `route` restores stderr. `route` is
/// called while the log's lock is held, so it must not log itself. Call init_log() before. Thread safe.
void route_log(std::function<void(std::string_view line)> route);

}  // namespace dmoerm
