#include "judge/chat_reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/utf8.h"

namespace dmoerm::judge {
namespace {

using nlohmann::json;
constexpr int kDepthMax = 64;
constexpr std::int64_t kTokensMax = 100'000'000;

/// Nesting depth of the brackets outside of strings. It is checked before anything is parsed, because copying a JSON value
/// recurses.
int depth_of(std::string_view text) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

/// Member `name` of an object; null if there is none or `value` is not an object.
const json& member(const json& value, const char* name) {
  static const json null;
  if (!value.is_object()) return null;
  const auto found = value.find(name);
  return found == value.end() ? null : *found;
}

std::string text_of(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_number_integer() ? std::to_string(value.get<std::int64_t>()) : "";
}

std::int32_t tokens_of(const json& value) {
  if (!value.is_number_integer()) return -1;
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(kTokensMax)) return -1;
  const auto tokens = value.get<std::int64_t>();
  return tokens >= 0 && tokens <= kTokensMax ? static_cast<std::int32_t>(tokens) : -1;
}

/// Text of a message's content: a string, or a list of parts whose texts are joined. Nothing if it is of another type.
std::optional<std::string> content_of(const json& content) {
  if (content.is_null()) return "";
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) return std::nullopt;
  std::string text;
  for (const json& part : content) {
    const json& type = member(part, "type");
    if (type == "text" || type == "output_text") text += text_of(member(part, "text"));
  }
  return text;
}

/// What a body is that is not JSON.
std::string what_came(std::string_view body) {
  const std::size_t start = std::min(body.find_first_not_of(" \t\r\n"), body.size());
  const std::string_view text = body.substr(start);
  if (text.empty()) return "an empty body";
  if (text.starts_with("data:") || text.starts_with("event:") || text.starts_with("id:") || text.starts_with(": "))
    return "a stream of server-sent events, although the request wants none: switch streaming off in the server or proxy";
  if (text.starts_with('<'))
    return fmt::format("a web page and not JSON (\"{}\"): is this the address of an API?", one_line(text, 60));
  return fmt::format("a body that is not JSON, or nested too deep: \"{}\"", one_line(text, 60));
}

ChatReply bad(std::string problem) {
  ChatReply reply;
  reply.problem = std::move(problem);
  return reply;
}

}  // namespace

std::optional<json> parse_json(std::string_view body) {
  if (depth_of(body) > kDepthMax) return std::nullopt;
  json value = json::parse(body.begin(), body.end(), nullptr, false);
  return value.is_discarded() ? std::nullopt : std::optional(std::move(value));
}

std::string one_line(std::string_view text, std::size_t bytes_max) {
  std::string line;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text, 0);
    const auto lead = static_cast<unsigned char>(text.front());
    if (line.size() + std::max<std::size_t>(length, 1) > bytes_max) return line + "...";
    if (length == 0 || lead <= 0x20 || lead == 0x7f || (lead == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0)) {
      if (!line.empty() && line.back() != ' ') line += ' ';
      text.remove_prefix(std::max<std::size_t>(length, 1));
    } else {
      line += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

ApiProblem parse_api_problem(std::string_view body) {
  ApiProblem problem;
  const auto parsed = parse_json(body);
  if (!parsed || !parsed->is_object()) {
    problem.message = one_line(body);
    return problem;
  }
  const json& error = member(*parsed, "error");
  const json& source = error.is_object() ? error : *parsed;
  problem.message = one_line(error.is_string() ? text_of(error) : text_of(member(source, "message")));
  if (problem.message.empty()) problem.message = one_line(text_of(member(*parsed, "detail")));
  problem.type = one_line(text_of(member(source, "type")), 80);
  problem.param = one_line(text_of(member(source, "param")), 80);
  const json& code = member(source, "code");
  problem.code = one_line(text_of(code), 80);
  if (code.is_number_integer() && code >= 400 && code <= 599) problem.status = code.get<int>();
  return problem;
}

ChatReply parse_chat_reply(std::string_view body) {
  const auto parsed = parse_json(body);
  if (!parsed) return bad(what_came(body));
  if (!parsed->is_object()) return bad("a body that is not a JSON object");
  if (const json& error = member(*parsed, "error"); !error.is_null()) {
    ChatReply reply;
    reply.kind = ChatReply::Kind::failed;
    return reply;
  }
  const json& choices = member(*parsed, "choices");
  if (choices.is_array() && choices.empty()) {
    ChatReply reply = bad("an empty list of choices");
    reply.kind = ChatReply::Kind::none;
    reply.completion_tokens = tokens_of(member(member(*parsed, "usage"), "completion_tokens"));
    return reply;
  }
  if (!choices.is_array()) return bad("a body without a list \"choices\"");
  if (choices.size() != 1) return bad(fmt::format("{} choices where 1 was asked for", choices.size()));
  const json& message = member(choices[0], "message");
  if (!message.is_object()) return bad("a choice without a message");
  auto content = content_of(member(message, "content"));
  if (!content) return bad("a message whose content is neither text nor a list of parts");

  ChatReply reply;
  reply.kind = ChatReply::Kind::ok;
  reply.text = std::move(*content);
  reply.finish_reason = one_line(text_of(member(choices[0], "finish_reason")), 40);
  reply.logprobs = member(choices[0], "logprobs");
  const json& usage = member(*parsed, "usage");
  reply.prompt_tokens = tokens_of(member(usage, "prompt_tokens"));
  reply.completion_tokens = tokens_of(member(usage, "completion_tokens"));
  const std::string refusal = text_of(member(message, "refusal"));
  if (!refusal.empty() || reply.finish_reason == "content_filter") {
    reply.kind = ChatReply::Kind::refused;
    if (!refusal.empty()) reply.text = refusal;
  }
  return reply;
}

}  // namespace dmoerm::judge
