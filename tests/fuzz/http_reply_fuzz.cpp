// Fuzzer of what a server sends: a body as a chat completion and as an error report, lines as headers with limits, and any text
// for a log line.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "judge/chat_reply.h"
#include "judge/rate_headers.h"

namespace {

using namespace dmoerm;

void demand(bool good) {
  if (!good) std::abort();
}

void check(const std::optional<double>& number) { demand(!number || (std::isfinite(*number) && *number >= 0)); }

void check_line(const std::string& line, std::size_t bytes_max) {
  demand(line.size() <= bytes_max + 3);
  for (const char c : line) demand(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  demand(!nlohmann::json(line).dump().empty());  // throws if it is not valid UTF-8
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const judge::ChatReply reply = judge::parse_chat_reply(text);
  demand((reply.kind == judge::ChatReply::Kind::bad) == !reply.problem.empty());
  demand(reply.prompt_tokens >= -1 && reply.completion_tokens >= -1);
  check_line(reply.problem, 1000);
  check_line(reply.finish_reason, 40);
  if (reply.kind == judge::ChatReply::Kind::ok) (void)nlohmann::json(reply.text).dump();

  const judge::ApiProblem problem = judge::parse_api_problem(text);
  check_line(problem.message, 300);
  check_line(problem.type, 80);
  check_line(problem.code, 80);
  demand(problem.status == 0 || (problem.status >= 400 && problem.status <= 599));
  check_line(judge::one_line(text, 100), 100);

  judge::RateHeaderReader reader;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = text.substr(start, end - start);
    const std::size_t colon = line.find(':');
    if (colon != std::string_view::npos) reader.add(line.substr(0, colon), line.substr(colon + 1));
    start = end + 1;
  }
  const judge::RateHeaders headers = reader.get();
  check(headers.retry_after_s);
  for (const judge::LimitState& state : {headers.requests, headers.tokens}) {
    check(state.limit);
    check(state.remaining);
    check(state.reset_s);
  }
  return 0;
}
