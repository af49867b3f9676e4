#include "judge/batch_job.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "judge/chat_reply.h"

namespace dmoerm::judge {

using nlohmann::json;

std::int64_t count_at(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_unsigned() && *found < 1'000'000'000 ? found->get<std::int64_t>() : 0;
}

bool is_plain_id(const std::string& id) {
  return !id.empty() && id.size() <= 256 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.';
  });
}

bool is_about_file(const HttpResult& result) {
  if (result.end != HttpResult::End::replied) return false;
  if (result.status != 400 && result.status != 404 && result.status != 410 && result.status != 422) return false;
  const ApiProblem report = parse_api_problem(result.body);
  if (report.param == "input_file_id") return true;
  const std::string text = lower(report.code + " " + report.message);
  return !report.is_whole_body && holds_any(text, {"file"}) &&
         holds_any(text, {"no such", "not found", "not_found", "not exist", "expired", "deleted"});
}

bool is_of(const Job& job, const json& batch) {
  if (!batch.is_object()) return false;
  const auto metadata = batch.find("metadata");
  if (metadata != batch.end() && metadata->is_object() && text_at(*metadata, kNameField) == job.record.name) return true;
  return !job.record.file_id.empty() && text_at(batch, "input_file_id") == job.record.file_id;
}

void book_lost_creations(const Job& job, JudgeReply& reply) {
  const int lost = job.record.creations - (job.record.batch_id.empty() ? 0 : 1);
  if (lost <= 0) return;
  reply.tries += lost;
  reply.billed_tries += lost;
  reply.maybe_billed = true;
  reply.billed_problem = fmt::format("the reply to the creation of a batch of file {} was lost", job.record.file_id);
}

}  // namespace dmoerm::judge
