// What a reward server is sent and what it answers, by protocol.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/server_address.h"
#include "eval/server_texts.h"
#include "preference/group.h"

namespace dmoerm::eval {

/// Most responses of one request. The protocols of trainers are asked about one at a time, as their own clients do.
std::size_t responses_max(ServerProtocol protocol);

/// The JSON of a request for the raw scores of responses to one prompt.
/// @param responses  at least one, at most responses_max()
/// @param texts      how texts are written that are sent in a template; nullptr: messages are sent (not for get_reward)
std::string request_body(const ServerAddress& address, const std::vector<preference::Message>& prompt,
                         std::span<const std::string> responses, const ServerTexts* texts);

struct ServerReply {
  std::vector<double> scores;                ///< One for each response, in their order
  std::int64_t tokens = -1;                  ///< Tokens that the server counted; -1 if the reply does not say
  std::map<std::string, std::string> facts;  ///< What the server says of itself: "model", "template_sha256"
};

/// Read the body of a reply with a status of success. @param responses  number of responses that were asked about
/// @throws DataError that says what was expected and what came, unless there is one finite number for each response
ServerReply read_server_reply(ServerProtocol protocol, std::string_view body, std::size_t responses);

}  // namespace dmoerm::eval
