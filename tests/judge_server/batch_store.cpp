#include "batch_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace dmoerm::judge_server {
namespace {

using nlohmann::json;
constexpr std::size_t kLinesMax = 50'000, kBytesMax = 200'000'000;

HttpReply reply_of(int status, const json& body) {
  HttpReply reply;
  reply.status = status;
  reply.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
  return reply;
}

HttpReply problem(int status, const std::string& message) {
  return reply_of(status, {{"error", {{"message", message}, {"type", "invalid_request_error"}, {"code", nullptr}}}});
}

/// The content of a multipart field; nested and encoded parts are not supported.
std::string field(const HttpRequest& request, const std::string& name) {
  const std::size_t at = request.content_type.find("boundary=");
  if (at == std::string::npos) return "";
  const std::string boundary = "\r\n--" + request.content_type.substr(at + 9);
  const std::string body = "\r\n" + request.body;
  for (std::size_t part = body.find(boundary); part != std::string::npos; part = body.find(boundary, part + 1)) {
    const std::size_t head_end = body.find("\r\n\r\n", part), end = body.find(boundary, part + 1);
    if (head_end == std::string::npos || end == std::string::npos) break;
    if (head_end < end && body.substr(part, head_end - part).find("name=\"" + name + "\"") != std::string::npos) {
      return body.substr(head_end + 4, end - head_end - 4);
    }
  }
  return "";
}

std::vector<std::string> lines_of(const std::string& content) {
  std::vector<std::string> lines;
  for (std::size_t start = 0; start < content.size();) {
    const std::size_t end = std::min(content.find('\n', start), content.size());
    if (end > start) lines.push_back(content.substr(start, end - start));
    start = end + 1;
  }
  return lines;
}

/// The request in a line, unchanged: it is the last member of the line.
std::string request_body(const std::string& line) {
  const std::size_t at = line.find("\"body\":");
  return at == std::string::npos ? "" : line.substr(at + 7, line.size() - at - 8);
}

}  // namespace

std::string BatchStore::keep(std::string content) {
  const std::string id = fmt::format("file-{}", files_.size() + 1);
  files_[id] = std::move(content);
  return id;
}

HttpReply BatchStore::upload(const HttpRequest& request) {
  if (field(request, "purpose") != "batch") return problem(400, "purpose must be batch");
  std::string content = field(request, "file");
  if (content.empty() || content.size() > kBytesMax) return problem(400, "the file is empty or larger than 200 MB");
  const std::lock_guard lock(mutex_);
  const std::size_t bytes = content.size();
  return reply_of(200, {{"id", keep(std::move(content))}, {"object", "file"}, {"bytes", bytes}, {"purpose", "batch"}});
}

void BatchStore::run(Batch& batch, const std::string& kind) {
  const std::vector<std::string> lines = lines_of(files_.at(batch.input));
  batch.kind = kind;
  batch.total = lines.size();
  batch.end = kind == "batch_fails" || kind == "batch_full" ? "failed" : kind == "batch_expires" ? "expired" : "completed";
  if (lines.size() > kLinesMax) batch.failures.push_back("more than 50,000 requests");
  for (const std::string& line : lines) {
    const json request = json::parse(line, nullptr, false);
    if (request.is_discarded() || request.value("method", "") != "POST" || request.value("url", "") != "/v1/chat/completions") {
      batch.failures.push_back("a line is not a request");
    }
  }
  if (kind == "batch_full") batch.failures.push_back("Enqueued token limit reached. Limit: 90,000 enqueued tokens.");
  if (kind == "batch_fails") batch.failures.push_back("The batch is refused by this test");
  if (!batch.failures.empty()) {
    batch.end = "failed";
    return;
  }
  std::string output, errors;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const json request = json::parse(lines[i]);
    json result = {{"id", fmt::format("r{}", i)}, {"custom_id", request["custom_id"]}, {"response", nullptr}, {"error", nullptr}};
    if (kind == "batch_expires" && i >= lines.size() / 2) {
      result["error"] = {{"code", "batch_expired"},
                         {"message", "This request could not be executed before the completion window expired."}};
      errors += result.dump() + "\n";
      continue;
    }
    const HttpReply reply = answer_(request_body(lines[i]));
    const json body = json::parse(reply.body, nullptr, false);
    result["response"] = {{"status_code", reply.status}, {"request_id", "q"}, {"body", body.is_discarded() ? json() : body}};
    if (kind == "batch_dialect") {
      json& response = result["response"];
      response["body"] = response["body"].dump();
      if (i % 2 == 0) response.erase("status_code");
      if (i % 2 == 1) response["status_code"] = std::to_string(reply.status);
    }
    if (kind == "batch_missing_line" && i + 1 == lines.size()) continue;
    const std::string written = result.dump(-1, ' ', false, json::error_handler_t::replace);
    (reply.status == 200 ? output : errors) +=
        (kind == "batch_bad_line" && i == 0 ? written.substr(0, written.size() / 2) : written) + "\n";
    ++(reply.status == 200 ? batch.completed : batch.failed);
  }
  const std::string half = output.substr(0, output.size() / 2);
  if (kind == "batch_half_always") output = half;
  if (!output.empty()) batch.output = keep(std::move(output));
  if (kind == "batch_half") once_[batch.output] = half;
  if (kind == "batch_page") once_[batch.output] = "<html>\n<body>Sign in</body>\n</html>\n";
  if (!errors.empty()) batch.errors = keep(std::move(errors));
}

HttpReply BatchStore::create(const std::string& body, const std::string& kind) {
  const json request = json::parse(body, nullptr, false);
  if (!request.is_object() || request.value("endpoint", "") != "/v1/chat/completions" ||
      request.value("completion_window", "") != "24h") {
    return problem(400, "not a batch of chat completions within 24h");
  }
  const std::lock_guard lock(mutex_);
  Batch batch;
  batch.id = fmt::format("batch_{}", batches_.size() + 1);
  batch.input = request.value("input_file_id", "");
  if (!files_.contains(batch.input)) return problem(400, "no such file");
  batch.metadata = request.value("metadata", json::object()).dump();
  batch.created = std::chrono::steady_clock::now();
  run(batch, kind);
  batches_.push_back(batch);
  return reply_of(200, shown(batch));
}

json BatchStore::shown(const Batch& batch) const {
  const double age_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - batch.created).count();
  const bool over = age_s >= delay_s_;
  const auto id_or_null = [over](const std::string& id) { return over && !id.empty() ? json(id) : json(); };
  json failures = json::array();
  for (const std::string& failure : batch.failures)
    failures.push_back({{"code", "invalid"}, {"message", failure}, {"line", nullptr}});
  const char* until = age_s < 0.2 * delay_s_ ? "validating" : age_s < 0.9 * delay_s_ ? "in_progress" : "finalizing";
  json shown = {{"id", batch.id},
                {"object", "batch"},
                {"input_file_id", batch.input},
                {"status", over && batch.kind == "batch_dialect" ? "COMPLETED"
                           : over                                ? batch.end
                                                                 : until},
                {"output_file_id", id_or_null(batch.output)},
                {"error_file_id", id_or_null(batch.errors)},
                {"errors", over && !batch.failures.empty() ? json{{"object", "list"}, {"data", failures}} : json()},
                {"request_counts",
                 {{"total", batch.total}, {"completed", over ? batch.completed : 0}, {"failed", over ? batch.failed : 0}}},
                {"metadata", json::parse(batch.metadata)}};
  if (batch.kind == "batch_lost_nameless") shown.erase("metadata");
  return shown;
}

HttpReply BatchStore::list(const std::string& query) const {
  constexpr std::size_t kPage = 3;  // small, so that a client has to turn pages
  const std::size_t after = query.find("after=");
  const std::string last = after == std::string::npos ? "" : query.substr(after + 6, query.find('&', after) - after - 6);
  auto next = batches_.rbegin();
  if (!last.empty()) {
    next = std::find_if(batches_.rbegin(), batches_.rend(), [&](const Batch& b) { return b.id == last; });
    if (next != batches_.rend()) ++next;
  }
  json data = json::array();
  for (; next != batches_.rend() && data.size() < kPage; ++next) {
    if (next->kind != "batch_lost_unlisted") data.push_back(shown(*next));
  }
  return reply_of(200, {{"object", "list"}, {"data", data}, {"has_more", next != batches_.rend()}});
}

HttpReply BatchStore::get(const std::string& target) {
  const std::lock_guard lock(mutex_);
  const std::string path = target.substr(0, target.find('?'));
  if (path == "/v1/batches") return list(target.substr(path.size()));
  for (const Batch& batch : batches_) {
    if (path == "/v1/batches/" + batch.id) return reply_of(200, shown(batch));
  }
  for (const auto& [id, content] : files_) {
    if (path != "/v1/files/" + id + "/content") continue;
    HttpReply reply;
    const auto once = once_.extract(id);
    reply.body = once.empty() ? content : once.mapped();
    return reply;
  }
  return problem(404, "no such batch or file");
}

}  // namespace dmoerm::judge_server
