// One batch that the batch client has in progress, and what the provider's replies say of it.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "judge/batch_files.h"
#include "judge/batch_state.h"
#include "judge/http_multi.h"
#include "judge/judge_reply.h"
#include "judge/rate_limit.h"

namespace dmoerm::judge {

/// Field of the batch's metadata that holds our name for it.
inline constexpr const char* kNameField = "dmoerm_batch";

struct BatchProgress {
  std::string batch, provider_id, status;  ///< The status is "uploading", "creating", or the provider's
  std::int64_t total = 0, completed = 0, failed = 0;
};

enum class Stage : std::uint8_t { upload, create, look, poll, output, errors, delivered };

/// One batch in progress.
struct Job {
  BatchRecord record;
  Stage stage = Stage::upload;
  TimePoint due = TimePoint::min();
  std::string content;  ///< Body of the upload, or of the creation
  int failures = 0, looks = 0, polls = 0, empty_ends = 0, readings = 0;
  std::string page;  ///< Last id on the previous page of the list of batches
  BatchProgress progress;
  std::string output_file, error_file;
  std::string no_file;  ///< Why it could not be created, if the provider does not have its file; else empty
  BatchFound found;
};

/// A count in an object; 0 if there is none.
std::int64_t count_at(const nlohmann::json& object, const char* name);
/// Whether a provider's id can be part of an address.
bool is_plain_id(const std::string& id);
/// Whether a provider refuses to create a batch because it does not have its file (any more), so that nothing was created.
bool is_about_file(const HttpResult& result);
/// Whether a batch of the list is this one: by our name, or by its file, which no other batch has and every server names.
bool is_of(const Job& job, const nlohmann::json& batch);
/// Each creation but the one whose results are here may have made a batch that answered the same questions.
void book_lost_creations(const Job& job, JudgeReply& reply);

}  // namespace dmoerm::judge
