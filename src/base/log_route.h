// Where log lines come out, for a screen that wants them above itself.
#pragma once
#include <functional>
#include <string_view>

namespace dmoerm {

/// From now on `route` gets every log line, with its line end and its colours, instead of stderr; empty: stderr again. Called
/// with the log's lock held: it must not log. init_log() comes first. Thread safe.
void route_log(std::function<void(std::string_view line)> route);

}  // namespace dmoerm
