// The files of a provider's batch API: lines of requests, the upload that holds them, lines of results. No network, no clock.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <unordered_map>

#include "judge/endpoint_errors.h"
#include "judge/judge_reply.h"

namespace dmoerm::judge {

/// The text of that name in what a provider wrote; "" if it is no object, or has no such text.
std::string text_at(const nlohmann::json& object, const char* name);

/// One request of a batch, with a line end. @param id  its custom_id  @param body  a chat completion request, copied unchanged
/// @throws DataError for an id that is empty or needs escaping, or a body that is not a JSON object on one line
std::string batch_line(const std::string& id, std::string_view body);

/// Content type and boundary of upload_body(). A boundary starts a line, and every line of requests starts with "{", so none can
/// be mistaken for it.
inline constexpr std::string_view kUploadType = "multipart/form-data; boundary=----dmoerm-batch-file";
/// The body of POST /files, of type kUploadType. @param lines  lines made by batch_line()
std::string upload_body(std::string_view lines);

/// The results in the files of one batch, by custom_id.
struct BatchFound {
  std::unordered_map<std::string, JudgeReply> replies;
  std::int64_t bad_lines = 0;  ///< Lines that are not results
  std::int64_t cut_lines = 0;  ///< Those of them that were results, and are damaged
};

/// Read a file of results line by line. Of two results with one id the first counts. A request that was not answered and not paid
/// for (expired, cancelled, refused for its rate, failed in the server) is `cancelled`: it may be asked again.
/// A JSON list of results is read like lines.
/// @param content  untrusted bytes; unreadable lines are counted and skipped
/// @return a description of content that holds no results, such as a web page; "" for results, and for an empty file
[[nodiscard]] std::string read_batch_results(std::string_view content, const EndpointErrors& errors, BatchFound& found);

}  // namespace dmoerm::judge
