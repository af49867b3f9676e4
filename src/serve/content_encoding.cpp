#include "serve/content_encoding.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <string_view>

#include "base/text.h"

namespace dmoerm::serve {
namespace {

enum class Inflated { whole, damaged, too_long };

/// Whether a gzip member begins here. A file may have several, one behind the other (RFC 1952, section 2.2).
bool begins_gzip_member(std::string_view data) { return data.starts_with("\x1f\x8b"); }

/// @param window_bits  as zlib's inflateInit2() has it
Inflated inflate_whole(const std::string& packed, std::string& plain, std::size_t bytes_max, int window_bits) {
  z_stream stream{};
  if (inflateInit2(&stream, window_bits) != Z_OK) return Inflated::damaged;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  const auto left = [&] { return std::string_view(packed).substr(packed.size() - stream.avail_in); };
  const bool gzip = begins_gzip_member(packed);
  std::size_t size = 0;  // of the text; `plain` is larger, so that a member costs no more than its own bytes
  int code = Z_OK;
  while (code == Z_OK && size <= bytes_max) {
    if (size == plain.size()) plain.resize(std::max<std::size_t>(2 * size, 4096));
    stream.next_out = reinterpret_cast<Bytef*>(plain.data() + size);
    stream.avail_out = static_cast<uInt>(plain.size() - size);
    code = inflate(&stream, Z_NO_FLUSH);
    size = plain.size() - stream.avail_out;
    if (code == Z_STREAM_END && gzip && begins_gzip_member(left())) code = inflateReset(&stream);
  }
  inflateEnd(&stream);
  plain.resize(size);
  if (size > bytes_max) return Inflated::too_long;
  return code == Z_STREAM_END && stream.avail_in == 0 ? Inflated::whole : Inflated::damaged;
}

}  // namespace

std::optional<EncodingProblem> decode_body(const std::string& encoding, std::string& body, std::size_t bytes_max) {
  const std::string name = lower(trim(encoding));
  if (name.empty() || name == "identity") return std::nullopt;
  const bool deflate = name == "deflate";
  if (!deflate && name != "gzip" && name != "x-gzip")
    return EncodingProblem{
        415, ErrorCode("body-encoding-unknown"),
        fmt::format("Content-Encoding: bodies are read that have none, gzip or deflate, found \"{}\"", utf8_prefix(name, 40))};
  constexpr int kGzipOrZlib = MAX_WBITS + 32;
  std::string plain;
  Inflated outcome = inflate_whole(body, plain, bytes_max, kGzipOrZlib);
  if (deflate && outcome == Inflated::damaged)
    outcome = inflate_whole(body, plain, bytes_max, -MAX_WBITS);  // as some clients send it
  if (outcome == Inflated::too_long)
    return EncodingProblem{413, ErrorCode("body-too-long"),
                           fmt::format("the body unpacks to more than {} bytes: send fewer texts in a request", bytes_max)};
  if (outcome == Inflated::damaged)
    return EncodingProblem{400, ErrorCode("body-not-as-encoded"),
                           fmt::format("the body is not whole {} data, as its Content-Encoding says", name)};
  body = std::move(plain);
  return std::nullopt;
}

}  // namespace dmoerm::serve
