#include "judge/chat_reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <optional>

#include "base/text.h"
#include "judge/moderation.h"
#include "judge/stream_reply.h"

namespace dmoerm::judge {
namespace {

using nlohmann::json;
constexpr const char* kStreamCame =
    "a stream of server-sent events without a whole answer, although the request wants none: switch streaming off in the server "
    "or proxy";
constexpr std::int32_t kTokensMax = 100'000'000;

std::string text_of(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_number_integer() ? std::to_string(value.get<std::int64_t>()) : "";
}

/// A number, also as a text; nothing if it is something else.
std::optional<double> number_in(const json& value) {
  if (value.is_number()) return value.get<double>();
  if (!value.is_string()) return std::nullopt;
  const std::string_view text = trim(value.get_ref<const std::string&>());
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// A whole number of tokens, also as a text or with a fraction of 0; -1 if it is something else.
std::int32_t tokens_of(const json& value) {
  if (value.is_string()) {
    const std::string& digits = value.get_ref<const std::string&>();
    std::int32_t tokens = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), tokens);
    return error == std::errc() && end == digits.data() + digits.size() && tokens >= 0 && tokens <= kTokensMax ? tokens : -1;
  }
  if (!value.is_number()) return -1;
  const auto tokens = value.get<double>();
  return tokens >= 0 && tokens <= static_cast<double>(kTokensMax) && std::floor(tokens) == tokens
             ? static_cast<std::int32_t>(tokens)
             : -1;
}

/// Whether a server states a number of tokens that is too large to be one.
bool counts_too_many(const json& usage) {
  if (!usage.is_object()) return false;
  for (const auto& [name, value] : usage.items()) {
    if (lower(name).find("token") == std::string::npos) continue;
    const auto number = number_in(value);
    if (number && *number > kTokensMax) return true;
  }
  return false;
}

/// The largest count under one of some names; -1 if there is none.
std::int32_t largest_of(const json& counts, std::initializer_list<const char*> names) {
  std::int32_t most = -1;
  for (const char* name : names) most = std::max(most, tokens_of(member(counts, name)));
  return most;
}

/// Tokens of prompt and answer, and their sum, by a server's count; -1 where it does not say.
struct Counts {
  std::int32_t prompt = -1, completion = -1, total = -1;
};

/// What an object says of tokens, by the names of OpenAI's two interfaces, Anthropic, Gemini, Bedrock and Ollama.
Counts counts_of(const json& usage) {
  Counts counts;
  counts.prompt = largest_of(usage, {"prompt_tokens", "input_tokens", "promptTokenCount", "inputTokens", "promptTokens",
                                     "prompt_eval_count", "inputTokenCount"});
  counts.completion = largest_of(usage, {"completion_tokens", "output_tokens", "candidatesTokenCount", "outputTokens",
                                         "completionTokens", "eval_count", "outputTokenCount"});
  counts.total = largest_of(usage, {"total_tokens", "totalTokenCount", "totalTokens"});
  if (tokens_of(member(usage, "prompt_tokens")) < 0 && counts.prompt >= 0) {  // Anthropic counts a cached beginning apart
    for (const char* name : {"cache_creation_input_tokens", "cache_read_input_tokens"})
      counts.prompt = std::min(kTokensMax, counts.prompt + std::max(0, tokens_of(member(usage, name))));
  }
  return counts;
}

/// The counts of a whole body: in `usage` or where else a server, or a gateway that passes its reply on, puts them.
Counts counts_in(const json& body) {
  const json &usage = member(body, "usage"), &meta = member(body, "meta");
  const json& choices = member(body, "choices");
  static const json none;
  const json& choice = choices.is_array() && choices.size() == 1 ? choices[0] : none;
  Counts most;
  for (const json* place : {&usage, &member(usage, "billed_units"), &member(usage, "tokens"), &member(body, "usageMetadata"),
                            &member(body, "usage_metadata"), &member(meta, "billed_units"), &member(meta, "tokens"),
                            &member(member(body, "x_groq"), "usage"), &member(choice, "usage"), &body}) {
    const Counts counts = counts_of(*place);
    most.prompt = std::max(most.prompt, counts.prompt);
    most.completion = std::max(most.completion, counts.completion);
    most.total = std::max(most.total, counts.total);
  }
  return most;
}

std::string json_text(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

/// Read what a reply cost in US dollars, as OpenRouter (`cost`) and Perplexity (`cost.total_cost`) say.
void read_cost(ChatReply& reply, const json& usage) {
  constexpr double kDollarsMax = 1e6;
  const json& cost = member(usage, "cost");
  const json& value = cost.is_object() ? member(cost, "total_cost") : cost;
  const auto dollars = number_in(value);
  if (dollars && *dollars >= 0 && *dollars <= kDollarsMax) {
    reply.charged_micros = std::llround(std::ceil(*dollars * 1e6 - 1e-6));
  } else if (!value.is_null()) {
    reply.odd_cost = one_line(json_text(value), 40);
  }
}

/// Read the tokens that the server counted. Nothing has a prompt of 0 tokens, nor an answer with a text: a 0 there says that the
/// server, or a gateway before it, does not count. What a total has beyond its two parts are thoughts, which are paid for as the
/// answer is.
void read_usage(ChatReply& reply, const json& body) {
  auto [prompt, completion, total] = counts_in(body);
  if (prompt == 0) prompt = -1;
  if (completion == 0 && (prompt < 0 || !is_blank(reply.text))) completion = -1;
  if (prompt < 0 && completion >= 0 && total > completion) prompt = total - completion;
  if (prompt > 0 && total - prompt > completion && total > prompt) completion = total - prompt;
  reply.prompt_tokens = prompt;
  reply.completion_tokens = completion;
  reply.too_many_tokens = (prompt < 0 || completion < 0) && counts_too_many(member(body, "usage"));
  read_cost(reply, member(body, "usage"));
}

/// Whether a finish_reason says that the server failed in the middle of its answer.
bool has_failed(std::string_view finish_reason) {
  constexpr std::array<std::string_view, 5> kWords = {"error", "failed", "server_error", "internal_error", "upstream_error"};
  return std::ranges::find(kWords, lower(finish_reason)) != kWords.end();
}

/// Text of a message's content: a string, a list of parts whose texts are joined, or the object that was asked for. Nothing if
/// it is of another type.
std::optional<std::string> content_of(const json& content) {
  if (content.is_null()) return "";
  if (content.is_string()) return content.get<std::string>();
  if (content.is_object()) return member(content, "text").is_string() ? text_of(member(content, "text")) : json_text(content);
  if (!content.is_array()) return std::nullopt;
  std::string text;
  for (const json& part : content) {
    const json& type = member(part, "type");
    if (part.is_string()) {
      text += part.get<std::string>();
    } else if (type.is_null() || type == "text" || type == "output_text") {
      text += text_of(member(part, "text"));
    }
  }
  return text;
}

/// The answer of a message without content: the object that the server has parsed already, or the arguments of its one call of a
/// tool. "" if there is neither.
std::string answer_beside_content(const json& message) {
  if (const json& parsed = member(message, "parsed"); parsed.is_object()) return json_text(parsed);
  const json& calls = member(message, "tool_calls");
  const bool one = calls.is_array() && calls.size() == 1;
  const json& arguments = member(one ? member(calls[0], "function") : member(message, "function_call"), "arguments");
  return arguments.is_object() ? json_text(arguments) : text_of(arguments);
}

/// FastAPI's report: a text, or a list of faults, each with the place and a message, as in "body.temperature: too large".
std::string detail_of(const json& detail) {
  if (!detail.is_array()) return text_of(detail);
  std::string text;
  for (const json& fault : detail) {
    std::string place;
    if (const json& parts = member(fault, "loc"); parts.is_array()) {
      for (const json& part : parts) place += (place.empty() ? "" : ".") + text_of(part);
    }
    const std::string message = text_of(member(fault, "msg"));
    if (!message.empty()) text += fmt::format("{}{}{}{}", text.empty() ? "" : "; ", place, place.empty() ? "" : ": ", message);
  }
  return text;
}

/// What a JSON object is that is no chat completion: another interface's answer by its name, and how it begins.
std::string what_answered(const json& body, std::string_view shown) {
  const auto has = [&](const char* key) { return !member(body, key).is_null(); };
  std::string name;
  if (has("candidates")) name = "Gemini's generateContent";
  if (has("content") && has("stop_reason")) name = "Anthropic's messages";
  if (has("message") && has("done")) name = "Ollama's /api/chat";
  if (has("response") && has("done")) name = "Ollama's /api/generate";
  if (has("output") && member(body, "object") == "response") name = "OpenAI's /responses";
  if (has("generated_text")) name = "TGI's /generate";
  return fmt::format(
      "a body without a list \"choices\"{} (\"{}\")",
      name.empty() ? "" : fmt::format(", as {} answers: set the url to the server's OpenAI-compatible address", name),
      one_line(shown, 80));
}

/// An HTTP status of an error, as a number or its digits; 0 if it is something else.
int error_status(const json& value) {
  const std::string text = text_of(value);
  const bool digits = text.size() == 3 && text.find_first_not_of("0123456789") == std::string::npos;
  const int status = digits ? std::stoi(text) : 0;
  return status >= 400 && status <= 599 ? status : 0;
}

/// Whether a field for errors says that there is none: some servers have it in every reply, as "", false, 0, {} or [].
bool says_nothing(const json& value) {
  if (value.is_string()) return is_blank(value.get_ref<const std::string&>());
  if (value.is_structured()) return std::ranges::all_of(value, says_nothing);
  return value.is_null() || value == false || value == 0;
}

/// The error report inside a body; null if it has none.
const json& error_of(const json& body) {
  static const json null;
  if (const json& error = member(body, "error"); !says_nothing(error)) return error;
  if (const json& choices = member(body, "choices"); choices.is_array() && choices.size() == 1) {
    if (const json& error = member(choices[0], "error"); error.is_object() && !says_nothing(error)) return error;
  }
  const json& base = member(body, "base_resp");
  const json& status = member(base, "status_code");
  return status.is_number_integer() && status != 0 ? base : null;
}

/// Whether an error report beside a whole answer is only a warning: it has a status of success, or it has none that fails and the
/// tokens of the answer are counted, so that it is paid for.
bool is_warning(const json& error, bool paid) {
  if (!member(error, "status_code").is_null()) return false;
  bool success = false;
  for (const char* name : {"code", "status"}) {
    const std::string text = text_of(member(error, name));
    if (error_status(member(error, name)) != 0) return false;
    success = success || (text.size() == 3 && text[0] == '2');
  }
  return success || paid;
}

/// A body in which the server says that a filter withheld the answer; nothing if it says no such thing.
std::optional<ChatReply> withheld(const json& body) {
  const std::string names = filter_names(body);
  if (names.empty()) return std::nullopt;
  ChatReply reply;
  reply.kind = ChatReply::Kind::refused;
  reply.text = "the content was filtered: " + names;
  return reply;
}

ChatReply bad(std::string problem) {
  ChatReply reply;
  reply.problem = std::move(problem);
  return reply;
}

/// Read a body with choices. @param shown  its bytes  @param damaged  whether they are not UTF-8
ChatReply read_choice(const json& body, std::string_view shown, bool damaged) {
  const json& choices = member(body, "choices");
  if (!choices.is_array() || choices.empty()) {
    if (auto filtered = withheld(body)) return *filtered;
  }
  if (choices.is_array() && choices.empty()) {
    ChatReply reply = bad("an empty list of choices");
    reply.kind = ChatReply::Kind::none;
    reply.completion_tokens = counts_in(body).completion;
    return reply;
  }
  if (!choices.is_array()) return bad(what_answered(body, shown));
  if (choices.size() != 1) return bad(fmt::format("{} choices where 1 was asked for", choices.size()));
  const json& message = member(choices[0], "message");
  const std::string finish_reason = one_line(text_of(member(choices[0], "finish_reason")), 40);
  bool filtered = is_filtered(finish_reason);
  if (!filtered && is_blank(text_of(member(message, "content")))) {  // gateways pass on what the provider said under these names
    for (const char* name : {"native_finish_reason", "stop_reason"})
      filtered = filtered || is_filtered(text_of(member(choices[0], name)));
  }
  if (!message.is_object() && !filtered)
    return bad(
        !member(choices[0], "text").is_string()
            ? "a choice without a message"
            : "a choice with a text and no message, as /completions answers: set the url to the part before /chat/completions");
  auto content = content_of(member(message, "content"));
  if (!content) return bad("a message whose content is neither text nor a list of parts");
  if (is_blank(*content)) {
    if (std::string beside = answer_beside_content(message); !beside.empty()) content = std::move(beside);
  }
  if (damaged && content->find(kReplacement) != std::string::npos) return bad(what_came(shown));

  ChatReply reply;
  reply.kind = ChatReply::Kind::ok;
  reply.text = std::move(*content);
  reply.finish_reason = finish_reason;
  reply.model = one_line(text_of(member(body, "model")), 80);
  reply.logprobs = member(choices[0], "logprobs");
  read_usage(reply, body);
  const std::string refusal = text_of(member(message, "refusal"));
  if (!refusal.empty() || filtered) {
    reply.kind = ChatReply::Kind::refused;
    if (!refusal.empty()) reply.text = refusal;
  } else if (has_failed(finish_reason) && is_blank(reply.text)) {
    reply.kind = ChatReply::Kind::none;
    reply.problem =
        fmt::format("an answer without a text and finish_reason \"{}\": the provider of the model failed", finish_reason);
  }
  return reply;
}

/// Read a body with an error report. An answer beside it counts if the report is only a warning.
ChatReply read_beside_error(const json& body, std::string_view shown, bool damaged) {
  ChatReply failed;
  failed.kind = ChatReply::Kind::failed;
  failed.completion_tokens = counts_in(body).completion;
  const bool paid = failed.completion_tokens > 0;
  if (!is_warning(error_of(body), paid)) return failed;
  ChatReply reply = read_choice(body, shown, damaged);
  const bool whole = reply.kind == ChatReply::Kind::ok && !is_blank(reply.text) && !reply.finish_reason.empty() &&
                     !has_failed(reply.finish_reason);
  return whole ? reply : failed;
}

}  // namespace

bool is_cut_off(std::string_view finish_reason) {
  constexpr std::array<std::string_view, 7> kWords = {"length",         "max_tokens",   "max_output_tokens", "max_length",
                                                      "max_new_tokens", "model_length", "token_limit"};
  const std::string word = lower(finish_reason);
  return std::ranges::find(kWords, word) != kWords.end();
}

std::string what_came(std::string_view body) {
  const std::size_t start = std::min(body.find_first_not_of(" \t\r\n"), body.size());
  const std::string_view text = body.substr(start);
  if (text.empty()) return "an empty body";
  if (text.starts_with('<'))
    return fmt::format("a web page and not JSON (\"{}\"): is this the address of an API?", one_line(text, 60));
  if (body.starts_with("\x1f\x8b") || body.starts_with("\x28\xb5\x2f\xfd"))
    return "a compressed body without the header Content-Encoding: the server, or a proxy before it, leaves the header out";
  return fmt::format("a body that is not JSON, or nested too deep: \"{}\"", one_line(text, 60));
}

ApiProblem parse_api_problem(std::string_view body) {
  ApiProblem problem;
  auto parsed = parse_json(body);
  if (parsed && parsed->is_array() && parsed->size() == 1) parsed = json((*parsed)[0]);  // Gemini
  if (!parsed || !parsed->is_object()) {
    problem.message = one_line(body);
    problem.is_whole_body = true;
    return problem;
  }
  problem.filters = filter_names(*parsed);
  const json& error = error_of(*parsed);
  const json& source = error.is_object() ? error : *parsed;
  problem.message = one_line(error.is_string() ? text_of(error) : text_of(member(source, "message")));
  if (problem.message.empty()) problem.message = one_line(text_of(member(source, "status_msg")));
  if (problem.message.empty()) problem.message = one_line(detail_of(member(*parsed, "detail")));
  problem.is_whole_body = problem.message.empty();
  if (problem.is_whole_body) problem.message = one_line(body);
  problem.type = one_line(text_of(member(source, "type")), 80);
  if (problem.type.empty()) problem.type = one_line(text_of(member(source, "status")), 80);
  problem.param = one_line(text_of(member(source, "param")), 80);
  const json& code = member(source, member(source, "code").is_null() ? "status_code" : "code");
  problem.code = one_line(text_of(code), 80);
  for (const json* value : {&code, &member(source, "status")}) {
    if (problem.status == 0) problem.status = error_status(*value);
  }
  return problem;
}

ChatReply parse_chat_reply(std::string_view body) {
  auto parsed = parse_json(body);
  if (!parsed && is_stream(body)) {
    parsed = join_stream(body);
    if (!parsed) return bad(kStreamCame);
  }
  const bool damaged = !parsed;  // such as half a character among the log-probabilities, without which the answer can be read
  if (damaged) parsed = parse_json(as_utf8(body));
  if (!parsed) return bad(what_came(body));
  if (parsed->is_array() && parsed->size() == 1) parsed = json((*parsed)[0]);  // Gemini puts an error report into a list
  if (!parsed->is_object()) return bad("a body that is not a JSON object");
  if (!error_of(*parsed).is_null()) return read_beside_error(*parsed, body, damaged);
  return read_choice(*parsed, body, damaged);
}

}  // namespace dmoerm::judge
