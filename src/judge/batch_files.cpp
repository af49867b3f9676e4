#include "judge/batch_files.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace dmoerm::judge {
namespace {

using nlohmann::json;
constexpr std::string_view kBoundary = "------dmoerm-batch-file";  // two dashes and the boundary in kUploadType
static_assert(kUploadType.substr(kUploadType.find('=') + 1) == kBoundary.substr(2));

/// The HTTP status of a result, which some servers write as a text, or leave out where it is 200. 0 if it is something else.
int status_of(const json& response) {
  const auto found = response.find("status_code");
  if (found == response.end() || found->is_null()) return response.contains("body") ? 200 : 0;
  if (found->is_number_unsigned() && *found < 1000) return found->get<int>();
  const std::string text = found->is_string() ? found->get<std::string>() : "";
  return text.size() == 3 && text.find_first_not_of("0123456789") == std::string::npos ? std::stoi(text) : 0;
}

/// The body of a result as JSON text: some servers write it as a text already.
std::string body_of(const json& response) {
  const auto found = response.find("body");
  if (found == response.end()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump(-1, ' ', false, json::error_handler_t::replace);
}

/// Count a result without an answer as charged.
void book(JudgeReply& reply) {
  reply.maybe_billed = true;
  reply.billed_tries = 1;
  reply.billed_problem = reply.detail;
}

/// One result, apart from its id.
JudgeReply reply_of(const json& result, const EndpointErrors& errors) {
  JudgeReply reply;
  reply.tries = 1;
  const auto response = result.find("response");
  const auto error = result.find("error");
  if (response == result.end() || !response->is_object()) {
    const json none;
    const json& report = error == result.end() ? none : *error;
    reply.status = JudgeReply::cancelled;
    reply.tries = 0;
    reply.detail = errors.key().redact(
        fmt::format("not answered: {}", one_line(text_at(report, "code") + " " + text_at(report, "message"))));
    return reply;
  }
  const int code = status_of(*response);
  const bool success = code >= 200 && code < 300;
  const std::string text = body_of(*response);
  ChatReply chat;
  if (success) chat = parse_chat_reply(text);
  if (chat.kind == ChatReply::Kind::ok || chat.kind == ChatReply::Kind::refused) {
    take_answer(reply, errors.key(), std::move(chat));
    return reply;
  }
  if (success && chat.kind == ChatReply::Kind::none) {
    reply.status = JudgeReply::cancelled;
    reply.detail = errors.decide_on_no_answer(chat.problem, chat.completion_tokens > 0, "", code).problem;
    if (chat.completion_tokens > 0) book(reply);
    return reply;
  }
  if (success && chat.kind == ChatReply::Kind::bad) {
    reply.detail = errors.decide_on_bad_body(chat.problem, "", code).problem;
    book(reply);
    return reply;
  }
  const ApiProblem problem = parse_api_problem(text);
  const RetryDecision decision = success ? errors.decide_on_report_inside(problem, {}, "", code, chat.completion_tokens > 0)
                                         : errors.decide_on_report(code, problem, {});
  reply.status = decision.next == RetryDecision::Next::finish ? decision.status : JudgeReply::cancelled;
  reply.throttled_tries = decision.next == RetryDecision::Next::retry_throttled && !decision.charged ? 1 : 0;
  reply.http_status = decision.http_status;
  reply.reason = decision.reason;
  reply.detail = decision.problem;
  if (success && decision.charged) book(reply);
  return reply;
}

void read_result(const json& result, const EndpointErrors& errors, BatchFound& found) {
  const std::string id = text_at(result, "custom_id");
  if (id.empty()) {
    ++found.bad_lines;
  } else {
    found.replies.emplace(id, reply_of(result, errors));
  }
}

}  // namespace

std::string text_at(const json& object, const char* name) {
  if (!object.is_object()) return "";
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string batch_line(const std::string& id, std::string_view body) {
  const bool plain = std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c < 127 && c != '"' && c != '\\'; });
  if (id.empty() || !plain)
    throw DataError(
        "batch-request-id",
        fmt::format("\"{}\" cannot be the id of a request in a batch: expected visible ASCII characters", one_line(id, 100)));
  if (!body.starts_with('{') || !body.ends_with('}') || body.find_first_of("\r\n") != std::string_view::npos) {
    throw DataError("batch-request-body", fmt::format("request {}: its body is not one JSON object on one line", id));
  }
  return fmt::format(R"({{"custom_id":"{}","method":"POST","url":"/v1/chat/completions","body":{}}})"
                     "\n",
                     id, body);
}

std::string upload_body(std::string_view lines) {
  return fmt::format(
      "{0}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n{0}\r\nContent-Disposition: form-data; "
      "name=\"file\"; "
      "filename=\"requests.jsonl\"\r\nContent-Type: application/jsonl\r\n\r\n{1}\r\n{0}--\r\n",
      kBoundary, lines);
}

std::string read_batch_results(std::string_view content, const EndpointErrors& errors, BatchFound& found) {
  const std::size_t begin = std::min(content.find_first_not_of(" \t\r\n"), content.size());
  if (content.substr(begin).starts_with('[')) {
    if (const auto list = parse_json(content); list && list->is_array()) {
      for (const json& result : *list) read_result(result, errors, found);
      return "";
    }
  }
  if (begin < content.size() && content[begin] != '{')
    return fmt::format("a file that has no results, but begins \"{}\"", one_line(content.substr(begin), 60));
  for (std::size_t start = begin; start < content.size();) {
    const std::size_t end = std::min(content.find('\n', start), content.size());
    const std::string_view line = content.substr(start, end - start);
    start = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    if (const auto result = parse_json(line)) {
      read_result(*result, errors, found);
      continue;
    }
    ++found.bad_lines;
    if (line.find("\"custom_id\"") != std::string_view::npos) ++found.cut_lines;
  }
  return "";
}

}  // namespace dmoerm::judge
