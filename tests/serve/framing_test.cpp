// Headers that say where a request ends, or fail to.
#include "serve/framing.h"

#include <gtest/gtest.h>

namespace dmoerm::serve {
namespace {

std::string said(const std::map<std::string, std::string>& headers, std::string_view version = "HTTP/1.1") {
  return framing_problem(headers, version).value_or("");
}

TEST(Framing, IsClear) {
  EXPECT_EQ(said({{"host", "localhost:8000"}, {"content-length", "12"}}), "");
  EXPECT_EQ(said({{"host", "[::1]:8000"}, {"transfer-encoding", "Chunked"}}), "");
  EXPECT_EQ(said({{"host", ""}, {"x-api-key", "k"}}), "");
  EXPECT_EQ(said({}, "HTTP/1.0"), "");
  EXPECT_EQ(said({{"content-length", "3"}}, "HTTP/1.0"), "");
}

TEST(Framing, HasTwoMeanings) {
  EXPECT_EQ(said({{"host", "h"}, {"content-length", "3, 74"}}), "Content-Length: expected one number of bytes, found \"3, 74\"");
  for (const char* length : {"", "+5", "-5", "0x5", "5 ", "5,5"})
    EXPECT_NE(said({{"host", "h"}, {"content-length", length}}), "") << length;
  EXPECT_EQ(said({{"host", "h"}, {"content-length", "5"}, {"transfer-encoding", "chunked"}}),
            "Content-Length and Transfer-Encoding both say where the body ends: send one of them");
  for (const char* coding : {"", "gzip", "identity", "gzip, chunked", "chunked, chunked", "xchunked"})
    EXPECT_NE(said({{"host", "h"}, {"transfer-encoding", coding}}), "") << coding;
  EXPECT_NE(said({{"transfer-encoding", "chunked"}}, "HTTP/1.0"), "");
  EXPECT_EQ(said({{"host", "h"}, {"content-length ", "5"}}),
            "the header \"content-length \" has characters that the name of a header may not have");
  EXPECT_EQ(said({{"content-length", "5"}}), "the header Host is missing; HTTP/1.1 demands it");
  EXPECT_NE(said({{"host", "localhost, evil.example"}}), "");
  EXPECT_LT(said({{"host", "h"}, {"content-length", std::string(9000, 'x')}}).size(), 200U);
}

TEST(Framing, AWholeAddressIsItsPath) {
  const auto path = [](std::string target, const std::string& host) {
    std::map<std::string, std::string> headers = {{"host", "other"}};
    EXPECT_EQ(resolve_target(target, headers), std::nullopt) << target;
    EXPECT_EQ(headers["host"], host) << target;
    return target;
  };
  EXPECT_EQ(path("http://localhost:8000/v1/score", "localhost:8000"), "/v1/score");
  EXPECT_EQ(path("HTTPS://[::1]/v2/models/org/m/infer", "[::1]"), "/v2/models/org/m/infer");
  EXPECT_EQ(path("http://h", "h"), "/");
  EXPECT_EQ(path("http://h/", "h"), "/");
  for (const char* own :
       {"/score", "/", "*", "//score", "/http://h/score", "ftp://h/score", "", "http:", "HTTPS:", "http:/score"})
    EXPECT_EQ(path(own, "other"), own);
  for (std::string unclear : {"http:///score", "http://user@h/score", "http://a,b/score"}) {
    std::map<std::string, std::string> headers = {{"host", "other"}};
    EXPECT_NE(resolve_target(unclear, headers), std::nullopt) << unclear;
    EXPECT_EQ(headers["host"], "other");
    EXPECT_EQ(unclear, "/score");
  }
}

}  // namespace
}  // namespace dmoerm::serve
