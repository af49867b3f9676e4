#include "wire/render_error.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

namespace dmoerm::wire {

using nlohmann::json;

namespace {

struct StatusWords {
  int status;
  const char *vllm, *openai, *tei;
};

constexpr StatusWords kWords[] = {
    {400, "BadRequestError", "invalid_request_error", "Empty"},
    {401, "AuthenticationError", "authentication_error", "Validation"},
    {403, "PermissionDeniedError", "permission_error", "Validation"},
    {404, "NotFoundError", "not_found_error", "Validation"},
    {405, "MethodNotAllowedError", "invalid_request_error", "Validation"},
    {408, "TimeoutError", "timeout_error", "Validation"},
    {409, "ConflictError", "invalid_request_error", "Validation"},
    {413, "RequestEntityTooLargeError", "invalid_request_error", "Validation"},
    {422, "UnprocessableEntityError", "invalid_request_error", "Tokenizer"},
    {424, "InternalServerError", "server_error", "Backend"},
    {429, "RateLimitError", "rate_limit_error", "Overloaded"},
    {500, "InternalServerError", "server_error", "Backend"},
    {503, "ServiceUnavailableError", "server_error", "Unhealthy"},
    {504, "GatewayTimeoutError", "timeout_error", "Overloaded"},
};
constexpr StatusWords kClient = {400, "BadRequestError", "invalid_request_error", "Validation"};
constexpr StatusWords kServer = {500, "InternalServerError", "server_error", "Backend"};

/// Codes of requests that TEI calls empty; its other requests with mistakes do not pass its validation.
constexpr std::string_view kEmpty[] = {"empty-body", "no-texts", "nothing-to-score", "text-is-blank"};

/// The words of a status, or of its kind: the client's mistake, or the server's.
const StatusWords& words_of(int status) {
  const StatusWords* found = std::ranges::find(kWords, status, &StatusWords::status);
  return found != std::end(kWords) ? *found : status < 500 ? kClient : kServer;
}

}  // namespace

json render_error(Family family, int status, ErrorCode code, std::string_view sentence) {
  const StatusWords& words = words_of(status);
  const std::string message(sentence);
  switch (family) {
    case Family::own:
      return {{"error", {{"message", message}, {"type", words.openai}, {"param", nullptr}, {"code", code.text()}}}};
    case Family::vllm:
      return {
          {"error", {{"message", message}, {"type", words.vllm}, {"param", nullptr}, {"code", status}, {"reason", code.text()}}}};
    case Family::sglang:  // its own addresses say error.message, those of OpenAI's form say message
      return {{"object", "error"},    {"message", message}, {"type", words.vllm},
              {"param", nullptr},     {"code", status},     {"error", {{"message", message}}},
              {"reason", code.text()}};
    case Family::tei: {
      const bool other = status == 400 && std::ranges::find(kEmpty, std::string_view(code.text())) == std::end(kEmpty);
      return {{"error", message}, {"error_type", other ? "Validation" : words.tei}, {"reason", code.text()}};
    }
    case Family::fastapi:
      return {{"detail", message}, {"reason", code.text()}};
    case Family::kserve:
      return {{"error", message}, {"reason", code.text()}};
  }
  return {};
}

}  // namespace dmoerm::wire
