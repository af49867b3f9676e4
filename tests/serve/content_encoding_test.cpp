// Bodies that clients send compressed.
#include "serve/content_encoding.h"

#include <gtest/gtest.h>
#include <zlib.h>

namespace dmoerm::serve {
namespace {

constexpr int kGzip = MAX_WBITS + 16, kZlib = MAX_WBITS, kRaw = -MAX_WBITS;
constexpr std::size_t kMost = 1 << 20;

std::string packed(const std::string& text, int window_bits = kGzip) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string all(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(all.data());
  stream.avail_out = static_cast<uInt>(all.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  all.resize(stream.total_out);
  deflateEnd(&stream);
  return all;
}

/// The body as it is read, or the code of its refusal.
std::string read(const std::string& encoding, std::string body, std::size_t bytes_max = kMost) {
  const auto problem = decode_body(encoding, body, bytes_max);
  return problem ? problem->code.text() : body;
}

TEST(ContentEncoding, IsTakenOff) {
  const std::string text(10000, 'x');
  EXPECT_EQ(read("", "as it is"), "as it is");
  EXPECT_EQ(read("Identity", "as it is"), "as it is");
  EXPECT_EQ(read("gzip", packed(text)), text);
  EXPECT_EQ(read(" X-GZIP ", packed(text)), text);
  EXPECT_EQ(read("deflate", packed(text, kZlib)), text);
  EXPECT_EQ(read("deflate", packed(text, kRaw)), text);
  EXPECT_EQ(read("gzip", packed("")), "");
  EXPECT_EQ(read("gzip", packed(std::string(4096, 'x'))), std::string(4096, 'x')) << "as large as the room that is made first";
  EXPECT_EQ(read("br", text), "body-encoding-unknown");
}

TEST(ContentEncoding, AGzipBodyMayHaveSeveralMembers) {
  EXPECT_EQ(read("gzip", packed("{\"prompt\": ") + packed("\"a\"") + packed("}")), "{\"prompt\": \"a\"}");
  EXPECT_EQ(read("gzip", packed("") + packed("a") + packed("")), "a");
  EXPECT_EQ(read("gzip", packed(std::string(4096, 'x')) + packed("y")), std::string(4096, 'x') + "y");
  const std::string whole = packed("a") + packed("b");
  EXPECT_EQ(read("gzip", whole.substr(0, whole.size() - 1)), "body-not-as-encoded");
  EXPECT_EQ(read("gzip", packed("a") + "b"), "body-not-as-encoded");
  EXPECT_EQ(read("gzip", packed("a") + packed("b", kZlib)), "body-not-as-encoded");
  EXPECT_EQ(read("deflate", packed("a", kZlib) + packed("b")), "body-not-as-encoded");
}

TEST(ContentEncoding, TheLimitIsThatOfAllMembersTogether) {
  const std::string half = packed(std::string(600, 'x'));
  EXPECT_EQ(read("gzip", half + half, 1200).size(), 1200U);
  EXPECT_EQ(read("gzip", half + half, 1199), "body-too-long");
  EXPECT_EQ(read("gzip", packed(std::string(kMost + 1, 'x'))), "body-too-long");
}

TEST(ContentEncoding, ManyMembersAreRead) {
  std::string body = packed("begin");
  const std::string empty = packed("");
  for (int i = 0; i < 100000; ++i) body += empty;  // to clear the room for the text each time would take minutes
  EXPECT_EQ(read("gzip", body + packed(" and end"), 64 << 20), "begin and end");
}

}  // namespace
}  // namespace dmoerm::serve
