// The files of a provider's batch API: a line of requests, the upload around them, the lines of results. No network, no clock.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "judge/endpoint_words.h"
#include "judge/judge_client.h"

namespace dmoerm::judge {

/// One request of a batch with its line end. @param id  its custom_id  @param body  a chat completion request, which goes in byte
/// by byte
/// @throws DataError for an id that is empty or needs escaping, or a body that is no JSON object on one line
std::string batch_line(const std::string& id, std::string_view body);

/// Type and boundary of upload_body(). The boundary stands behind a raw line end, and a line of JSON that begins with "{" is no
/// boundary.
inline constexpr std::string_view kUploadType = "multipart/form-data; boundary=----dmoerm-batch-file";
/// The body of POST /files, of type kUploadType. @param lines  of batch_line()
std::string upload_body(std::string_view lines);

/// The results in the files of one batch, by custom_id.
struct BatchFound {
  std::unordered_map<std::string, JudgeReply> replies;
  std::int64_t bad_lines = 0;  ///< that are no result
};

/// Read a file of results line by line, as far as it goes. The first of two results of one id stands. A request that was not
/// answered and not paid (expired, cancelled, refused for its rate, failed in the server) is `cancelled`: it may be asked again.
/// @param content  with distrust: whatever bytes come, what can be read is read
void read_batch_results(std::string_view content, const EndpointWords& words, BatchFound& found);

}  // namespace dmoerm::judge
