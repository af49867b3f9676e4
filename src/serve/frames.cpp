#include "serve/frames.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "base/json_text.h"

namespace dmoerm::serve {
namespace {

bool write_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool read_all(int socket, char* bytes, std::size_t size) {
  while (size > 0) {
    const ssize_t got = ::recv(socket, bytes, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace

bool write_frame(int socket, const nlohmann::json& header, std::string_view body) {
  const std::string text = json_line(header);
  const std::array<std::uint64_t, 2> sizes = {text.size(), body.size()};
  std::array<char, sizeof sizes> bytes{};
  std::memcpy(bytes.data(), sizes.data(), bytes.size());
  return write_all(socket, {bytes.data(), bytes.size()}) && write_all(socket, text) && write_all(socket, body);
}

bool read_frame(int socket, Frame& frame) {
  std::array<std::uint64_t, 2> sizes{};
  std::array<char, sizeof sizes> bytes{};
  if (!read_all(socket, bytes.data(), bytes.size())) return false;
  std::memcpy(sizes.data(), bytes.data(), bytes.size());
  std::string text(sizes[0], '\0');
  frame.body.assign(sizes[1], '\0');
  if (!read_all(socket, text.data(), text.size()) || !read_all(socket, frame.body.data(), frame.body.size())) return false;
  frame.header = nlohmann::json::parse(text);
  return true;
}

nlohmann::json header_of(const HttpRequest& request) {
  return {{"method", request.method},         {"path", request.path},      {"headers", request.headers}, {"peer", request.peer},
          {"connection", request.connection}, {"counted", request.counted}};
}

HttpRequest request_of(Frame frame) {
  HttpRequest request;
  request.method = frame.header.at("method");
  request.path = frame.header.at("path");
  request.headers = frame.header.at("headers");
  request.peer = frame.header.at("peer");
  request.connection = frame.header.at("connection");
  request.counted = frame.header.at("counted");
  request.body = std::move(frame.body);
  return request;
}

nlohmann::json header_of(const HttpAnswer& answer) {
  return {{"status", answer.status},
          {"type", answer.type},
          {"headers", answer.headers},
          {"texts", answer.texts},
          {"tokens", answer.tokens}};
}

HttpAnswer answer_of(Frame frame) {
  return {frame.header.at("status"),  std::move(frame.body),    frame.header.at("type"),
          frame.header.at("headers"), frame.header.at("texts"), frame.header.at("tokens")};
}

}  // namespace dmoerm::serve
