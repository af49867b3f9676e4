// Requests and answers between the front of a server and its ranks, over a socket: a header in JSON, and a body as it is.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "serve/http_server.h"

namespace dmoerm::serve {

struct Frame {
  nlohmann::json header;
  std::string body;
};

/// Write a frame. @return whether the other side is still there
bool write_frame(int socket, const nlohmann::json& header, std::string_view body);
/// Read the next frame; waits for it. @return whether there was one: false at the end
bool read_frame(int socket, Frame& frame);

nlohmann::json header_of(const HttpRequest& request);
HttpRequest request_of(Frame frame);
nlohmann::json header_of(const HttpAnswer& answer);
HttpAnswer answer_of(Frame frame);

}  // namespace dmoerm::serve
