#include "judge_answer.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "batch_store.h"

namespace dmoerm::judge_server {
namespace {

using nlohmann::json;
constexpr std::size_t kHugeBytes = 64 << 20;
constexpr double kBytesPerToken = 4;

HttpReply error_reply(int status, const std::string& message, const std::string& code = "") {
  HttpReply reply;
  reply.status = status;
  reply.body =
      json{{"error",
            {{"message", message}, {"type", code.empty() ? "server_error" : code}, {"code", code.empty() ? json() : json(code)}}}}
          .dump(-1, ' ', false, json::error_handler_t::replace);
  return reply;
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

/// All message texts of a chat completion request, joined.
std::string prompt_of(const json& request) {
  std::string prompt;
  for (const json& message : request.at("messages")) {
    const json& content = message.at("content");
    if (content.is_string()) prompt += content.get_ref<const std::string&>() + "\n";
    if (!content.is_array()) continue;
    for (const json& part : content) prompt += part.value("text", "") + "\n";
  }
  return prompt;
}

bool wants_json(const json& request) {
  const auto format = request.find("response_format");
  return format != request.end() && format->is_object() && format->value("type", "") == "json_schema";
}

json completion(const json& request, const std::string& prompt, const std::string& content) {
  const auto tokens = [](const std::string& text) {
    return static_cast<int>(std::ceil(static_cast<double>(text.size()) / kBytesPerToken));
  };
  return {{"id", "chatcmpl-test"},
          {"object", "chat.completion"},
          {"created", 0},
          {"model", request.value("model", "")},
          {"choices", json::array({{{"index", 0},
                                    {"message", {{"role", "assistant"}, {"content", content}}},
                                    {"logprobs", nullptr},
                                    {"finish_reason", "stop"}}})},
          {"usage",
           {{"prompt_tokens", tokens(prompt)},
            {"completion_tokens", tokens(content)},
            {"total_tokens", tokens(prompt) + tokens(content)}}}};
}

/// The completion as server-sent events, a word at a time. @param whole  false: it breaks off before its end
std::string as_stream(const json& body, bool whole) {
  const std::string content =
      body["choices"][0]["message"]["content"].is_string() ? body["choices"][0]["message"]["content"].get<std::string>() : "";
  std::string text = ": keep-alive\n\n";
  const auto event = [&](const json& delta, const json& reason) {
    const json choice = {{"index", 0}, {"delta", delta}, {"finish_reason", reason}};
    text += "data: " + json{{"object", "chat.completion.chunk"}, {"choices", json::array({choice})}}.dump() + "\n\n";
  };
  event({{"role", "assistant"}}, nullptr);
  for (std::size_t at = 0; at < content.size(); at += 7) event({{"content", content.substr(at, 7)}}, nullptr);
  if (!whole) return text;
  event(json::object(), "stop");
  text += "data: " + json{{"choices", json::array()}, {"usage", body["usage"]}}.dump() + "\n\ndata: [DONE]\n\n";
  return text;
}

}  // namespace

JudgeAnswer::JudgeAnswer(const AnswerOptions& options)
    : options_(options),
      source_(options.data.empty() ? VerdictSource(options.seed) : VerdictSource(options.seed, options.data)),
      misbehaviour_(options.misbehave, options.seed),
      batches_(
          std::make_unique<BatchStore>(options.batch_delay_s, [this](const std::string& body) { return answer_line(body); })) {
  if (options.log.empty()) return;
  log_ = ::open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log_ < 0) throw IoError(fmt::format("{}: cannot open: {}", options.log, std::strerror(errno)));
}

JudgeAnswer::~JudgeAnswer() {
  if (log_ >= 0) ::close(log_);
}

void JudgeAnswer::witness(const Digest& digest, int status, const std::string& kind) const {
  if (log_ < 0) return;
  const auto now =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  const std::string line = fmt::format("{} {} {} {}\n", to_hex(digest), now, status, kind.empty() ? "-" : kind);
  if (::write(log_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    throw IoError(fmt::format("{}: cannot write: {}", options_.log, std::strerror(errno)));
}

HttpReply JudgeAnswer::limited(HttpReply reply, bool& refused) {
  using namespace std::chrono;
  const std::lock_guard lock(mutex_);
  const auto now = steady_clock::now();
  while (!accepted_.empty() && now - accepted_.front() >= seconds(60)) accepted_.pop_front();
  refused = static_cast<int>(accepted_.size()) >= options_.requests_per_minute;
  if (refused) {
    const auto wait = accepted_.front() + seconds(60) - now;
    reply = error_reply(429, "Rate limit reached for requests", "rate_limit_exceeded");
    reply.headers.emplace_back("retry-after", std::to_string(ceil<seconds>(wait).count()));
    reply.headers.emplace_back("retry-after-ms", std::to_string(ceil<milliseconds>(wait).count()));
  } else {
    accepted_.push_back(now);
  }
  const auto reset = ceil<milliseconds>(accepted_.back() + seconds(60) - now).count();
  reply.headers.emplace_back("x-ratelimit-limit-requests", std::to_string(options_.requests_per_minute));
  reply.headers.emplace_back("x-ratelimit-remaining-requests",
                             std::to_string(options_.requests_per_minute - static_cast<int>(accepted_.size())));
  reply.headers.emplace_back("x-ratelimit-reset-requests", fmt::format("{:.3f}s", static_cast<double>(reset) / 1000));
  return reply;
}

HttpReply JudgeAnswer::complete(const HttpRequest& http, const std::string& kind) {
  const json request = json::parse(http.body, nullptr, false);
  const auto messages = request.is_object() ? request.find("messages") : request.end();
  if (request.is_discarded() || !request.is_object() || messages == request.end() || !messages->is_array()) {
    return error_reply(400, "the body is not a chat completion request", "invalid_request_error");
  }
  if (options_.no_schema && request.contains("response_format")) {
    return error_reply(400, "unknown parameter: response_format", "invalid_request_error");
  }
  if (!options_.model.empty() && request.value("model", "") != options_.model) {
    return error_reply(404, fmt::format("The model `{}` does not exist", request.value("model", "")), "model_not_found");
  }
  const std::string prompt = prompt_of(request);
  const Question question = read_question(prompt);
  const std::string verdict = kind == "bias" ? "1" : source_.verdict(question);
  std::string content =
      wants_json(request) ? json{{"verdict", verdict}}.dump() : fmt::format("I compared both responses.\nVerdict: {}", verdict);
  if (kind == "prose") {
    content =
        "Response 1 reads well, though response 2 has 12 good ideas; in 1 or 2 places I would have wished for more. All in all I "
        "lean to one of them.";
  }
  json body = completion(request, prompt, content);
  json& choice = body["choices"][0];
  if (kind == "refusal") {
    choice["message"]["content"] = nullptr;
    choice["message"]["refusal"] = "I'm sorry, I cannot help with that.";
  } else if (kind == "filter") {
    choice["message"]["content"] = "";
    choice["finish_reason"] = "content_filter";
  } else if (kind == "declined") {
    choice["message"]["content"] = "";
    choice["native_finish_reason"] = "refusal";
  } else if (kind == "cut" || kind == "blank") {
    choice["message"]["content"] = "";
    choice["finish_reason"] = kind == "cut" ? "length" : "stop";
  } else if (kind == "no_usage") {
    body.erase("usage");
  } else if (kind == "zero_usage" || kind == "small_usage") {
    const int count = kind == "zero_usage" ? 0 : 1;
    body["usage"] = {{"prompt_tokens", count}, {"completion_tokens", count}, {"total_tokens", 2 * count}};
  } else if (kind == "long_usage") {
    body["usage"]["completion_tokens"] = 900;
    body["usage"].erase("total_tokens");
  } else if (kind == "prompt_usage") {  // of a gateway that puts its own prompt before each question
    body["usage"] = {{"prompt_tokens", 4000}, {"completion_tokens", 8}, {"total_tokens", 4008}};
  } else if (kind == "cost_usage") {
    body["usage"]["cost"] = 0.02;
  } else if (kind == "cost_alone") {  // and a count of the answer
    body["usage"] = {{"completion_tokens", 8}, {"cost", 0.02}};
  } else if (kind == "other_usage") {
    body["usage"] = {{"input_tokens", "4000"}, {"output_tokens", 500}};
  } else if (kind == "no_choices") {
    body["choices"] = json::array();
  } else if (kind == "two_choices") {
    body["choices"].push_back(json(choice));
  }
  HttpReply reply;
  reply.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
  if (kind == "sse" || kind == "sse_cut") reply.body = as_stream(body, kind == "sse");
  if (kind == "half_json") reply.body.resize(reply.body.size() / 2);
  if (kind == "created") reply.status = 201;
  if (kind == "cut_body") reply.wire = HttpReply::Wire::cut_body;
  if (kind == "slow_body") reply.wire = HttpReply::Wire::slow_body;
  if (kind == "slow_headers") reply.delay_s = options_.slow_s;
  return reply;
}

HttpReply JudgeAnswer::fault(const std::string& kind, const HttpRequest& request) {
  HttpReply reply;
  if (kind == "quota")
    return error_reply(429, "You exceeded your current quota, please check your plan and billing details.", "insufficient_quota");
  if (kind == "429_long") {
    reply = error_reply(429, "Daily limit reached", "rate_limit_exceeded");
    reply.headers.emplace_back("retry-after", "86400");
  } else if (kind.rfind("429", 0) == 0) {
    reply = error_reply(429, "Rate limit reached", "rate_limit_exceeded");
    if (kind == "429") reply.headers.emplace_back("retry-after", "1");
    if (kind == "429_ms") reply.headers.emplace_back("retry-after-ms", "50");
    if (kind == "429_date") {
      const std::time_t now = std::time(nullptr);
      reply.headers.emplace_back("date", fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(now)));
      reply.headers.emplace_back("retry-after", fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(now + 1)));
    }
  } else if (kind == "503_wait") {
    reply = error_reply(503, "The engine is overloaded");
    reply.headers.emplace_back("retry-after", "1");
  } else if (kind == "400") {
    reply = error_reply(400, "This model's maximum context length is 8 tokens", "context_length_exceeded");
  } else if (kind == "moderated") {
    reply = error_reply(403, "Your chosen model requires moderation and your input was flagged for \"violence\"");
  } else if (kind == "moderated_451") {
    reply.status = 451;
  } else if (kind == "moderated_azure") {
    reply = error_reply(400, "The response was filtered due to the prompt triggering our content management policy",
                        "content_filter");
  } else if (kind == "moderated_prompt") {
    reply =
        error_reply(400, "Invalid prompt: your prompt was flagged as potentially violating our usage policy", "invalid_prompt");
  } else if (kind == "guardrail") {
    reply = error_reply(424, "Prompt blocked due to security configurations", "2016");
  } else if (kind == "403_key") {
    reply = error_reply(403, "You do not have permission to use this model");
  } else if (kind == "unsupported") {
    reply = error_reply(
        400, "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "unsupported_parameter");
  } else if (kind == "404") {
    reply = error_reply(404, "The model does not exist", "model_not_found");
  } else if (kind.size() == 3 && kind.find_first_not_of("0123456789") == std::string::npos) {
    reply = error_reply(std::stoi(kind), "This is a test of " + kind);
  } else if (kind == "echo_key") {
    reply = error_reply(401, "Incorrect API key provided: " + request.authorization, "invalid_api_key");
  } else if (kind == "error_200") {
    reply = error_reply(200, "upstream failed");
  } else if (kind == "redirect") {
    reply.status = 307;
    reply.headers.emplace_back("location", "http://127.0.0.2:9/v1/chat/completions");
  } else if (kind == "reset") {
    reply.wire = HttpReply::Wire::reset;
  } else if (kind == "wrong_json") {
    reply.body = R"([{"verdict": 1}, null, "choices"])";
  } else if (kind == "empty") {
    reply.body.clear();
  } else if (kind == "huge" || kind == "gzip_bomb") {
    reply.body = R"({"choices":[{"message":{"content":")" + std::string(kHugeBytes, 'a') + R"("}}]})";
    if (kind == "gzip_bomb") {
      reply.body = gzip(reply.body);
      reply.headers.emplace_back("content-encoding", "gzip");
    }
  } else if (kind == "deep") {
    reply.body =
        R"({"choices":[{"message":{"content":"1"},"logprobs":)" + std::string(1 << 20, '[') + std::string(1 << 20, ']') + "}]}";
  } else if (kind == "not_utf8") {
    reply.body = "{\"choices\":[{\"message\":{\"content\":\"\xff\xfe\xc0\x80\"}}]}";
  } else if (kind == "not_http") {
    reply.wire = HttpReply::Wire::raw;
    reply.body = "SSH-2.0-Wrong_Port\r\n";
  } else {
    return complete(request, kind);
  }
  return reply;
}

HttpReply JudgeAnswer::answer_line(const std::string& body) {
  const Digest digest = sha256(body);
  const std::string kind = misbehaviour_.next(digest, "");
  HttpReply reply = fault(kind, {"POST", "/v1/chat/completions", body, "", "", ""});
  if (reply.wire != HttpReply::Wire::whole) reply.status = 500;
  witness(digest, reply.status, kind.empty() ? "batch" : kind);
  return reply;
}

HttpReply JudgeAnswer::decide_batch(const HttpRequest& request, const Digest& digest, std::string& kind) {
  HttpReply reply;
  if (request.method == "GET") {
    kind = misbehaviour_.next(digest, "get_");
    if (kind == "get_500") return error_reply(500, "This is a test of 500");
    reply = batches_->get(request.path);
    if (kind == "get_cut") reply.wire = HttpReply::Wire::cut_body;
  } else if (request.path == "/v1/files") {
    kind = misbehaviour_.next(digest, "upload_");
    reply = batches_->upload(request);
    if (kind == "upload_cut") reply.wire = HttpReply::Wire::cut_body;
    if (kind.empty()) kind = "upload";
  } else if (request.path == "/v1/batches") {
    kind = misbehaviour_.next(digest, "batch_");
    if (kind == "batch_quota") return error_reply(429, "You exceeded your current quota", "insufficient_quota");
    reply = batches_->create(request.body, kind);
    if (kind.starts_with("batch_lost")) reply.wire = HttpReply::Wire::reset;
    if (kind == "batch_slow") reply.delay_s = options_.slow_s;
    if (kind.empty()) kind = "create";
  } else {
    reply = error_reply(404, "no such address", "not_found");
  }
  return reply;
}

HttpReply JudgeAnswer::decide(const HttpRequest& request, const Digest& digest, std::string& kind) {
  const bool ours = request.path.rfind("/v1/", 0) == 0;
  if (!options_.key.empty() && request.authorization != "Bearer " + options_.key) {
    return error_reply(401, "Incorrect API key provided: " + request.authorization, "invalid_api_key");
  }
  if (request.method == "GET" && request.path == "/v1/models") {
    HttpReply reply;
    reply.body =
        json{{"object", "list"}, {"data", {{{"id", options_.model.empty() ? "judge" : options_.model}, {"object", "model"}}}}}
            .dump();
    return reply;
  }
  if (ours && request.path != "/v1/chat/completions") return decide_batch(request, digest, kind);
  if (!ours || request.method != "POST" || request.path != "/v1/chat/completions")
    return error_reply(404, "no such address", "not_found");
  kind = misbehaviour_.next(digest, "");
  if (options_.requests_per_minute > 0) {
    bool refused = false;
    const HttpReply limit = limited({}, refused);
    if (refused) {
      kind = "rpm";
      return limit;
    }
    HttpReply reply = fault(kind, request);
    reply.headers.insert(reply.headers.end(), limit.headers.begin(), limit.headers.end());
    return reply;
  }
  return fault(kind, request);
}

HttpReply JudgeAnswer::answer(const HttpRequest& request) {
  const Digest digest = sha256(request.method == "GET" ? request.path : request.body);
  std::string kind;
  HttpReply reply = decide(request, digest, kind);
  reply.delay_s += options_.latency_ms / 1000;
  if (options_.gzip && reply.wire == HttpReply::Wire::whole && kind != "gzip_bomb" &&
      request.accept_encoding.find("gzip") != std::string::npos) {
    reply.body = gzip(reply.body);
    reply.headers.emplace_back("content-encoding", "gzip");
  }
  if (request.method == "POST")
    witness(digest, reply.wire == HttpReply::Wire::reset || reply.wire == HttpReply::Wire::raw ? 0 : reply.status, kind);
  return reply;
}

}  // namespace dmoerm::judge_server
