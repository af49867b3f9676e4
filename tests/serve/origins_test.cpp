// Which pages a browser lets ask the server.
#include "serve/origins.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace dmoerm::serve {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;
const std::vector<std::string> kOrigins = {"https://app.example", "http://localhost:3000"};

TEST(Origins, AreWrittenAsBrowsersSendThem) {
  for (const char* good : {"https://app.example", "http://localhost:3000", "http://[::1]:8000", "https://app.example:80"})
    EXPECT_NO_THROW(expect_origin(good));
  for (const char* bad : {"", "*", "app.example", "https://", "https://app.example/", "https://App.example", "ftp://app.example",
                          "https://a.example,https://b.example", "https://*.example", "https://app.example:443", "http://h:80",
                          "https://:", "http://h:", "http://h:070", "http://h:70000", "http://a:b:c", "http://[::1"})
    EXPECT_THROW(expect_origin(bad), ConfigError) << bad;
}

TEST(Origins, OnlyThoseThatAreNamedGetHeaders) {
  EXPECT_EQ(origin_headers({{"origin", "https://app.example"}}, {}, false), Headers());
  EXPECT_EQ(origin_headers({}, kOrigins, false), (Headers{{"Vary", "Origin"}}));
  EXPECT_EQ(origin_headers({{"origin", "https://app.example.evil"}}, kOrigins, false), (Headers{{"Vary", "Origin"}}));
  const Headers given = origin_headers({{"origin", "http://localhost:3000"}}, kOrigins, false);
  EXPECT_EQ(given.at(1), (Headers::value_type{"Access-Control-Allow-Origin", "http://localhost:3000"}));
}

TEST(Origins, APreflightSaysWhatItAsksFor) {
  EXPECT_TRUE(is_preflight("OPTIONS", {{"origin", "https://app.example"}, {"access-control-request-method", "POST"}}, kOrigins));
  EXPECT_FALSE(is_preflight("OPTIONS", {{"origin", "https://app.example"}}, kOrigins));
  EXPECT_FALSE(is_preflight("POST", {{"origin", "https://app.example"}, {"access-control-request-method", "POST"}}, kOrigins));
  EXPECT_FALSE(is_preflight("OPTIONS", {{"origin", "https://b.example"}, {"access-control-request-method", "POST"}}, kOrigins));
}

}  // namespace
}  // namespace dmoerm::serve
