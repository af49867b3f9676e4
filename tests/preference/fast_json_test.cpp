#include "preference/fast_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "preference/formats.h"
#include "preference/row_error.h"

namespace dmoerm::preference {
namespace {

using nlohmann::json;

TEST(FastJson, GivesWhatTheOtherParserGives) {
  for (const char* text :
       {R"({"prompt":"a","n":[1,-2,18446744073709551615,-9223372036854775808,0.1,1e3,-0.0],"t":true,"f":false,"z":null})",
        R"({"escapes":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\u0000","é":"naïve 😀"})", R"([[],{},[{"a":{"b":[null]}}]])", "  7  ",
        R"("text")", R"({"b":1,"a":2})", "2.2250738585072014e-308", "123456789.123456789e-7"}) {
    const auto fast = fast_json(text, 64);
    ASSERT_TRUE(fast.has_value()) << text;
    const json other = json::parse(text);
    EXPECT_EQ(*fast, other) << text;
    EXPECT_EQ(fast->dump(), other.dump()) << "numbers of the same kinds, " << text;
  }
}

TEST(FastJson, LeavesToTheOtherParserWhatMustBeSaid) {
  for (const char* text : {"", "{", "{\"a\":1,}", "{'a':1}", R"({"a":1,"a":2})", R"({"x":[{"y":1,"y":1}]})", "NaN", "1e999", "01",
                           "\"\x01\"", "\"\xff\"", R"("\ud800")", R"("\udc00 ")", R"({"a":1} x)", "[1 2]", "tru"})
    EXPECT_FALSE(fast_json(text, 64).has_value()) << text;
  EXPECT_TRUE(fast_json("[[1]]", 3).has_value());
  EXPECT_FALSE(fast_json("[[1]]", 2).has_value()) << "three values within each other";
  EXPECT_FALSE(fast_json("\"" + std::string(2 << 20, 'a') + "\"", 64).has_value()) << "longer than its buffers";
}

TEST(FastJson, IsNotTheLastWordOnARow) {
  EXPECT_EQ(parse_row(R"({"n":123456789012345678901234567890})").at("n"), 123456789012345678901234567890.0)
      << "larger than 64 bits";
  EXPECT_EQ(parse_row("{\"a\":\"" + std::string(2 << 20, 'a') + "\"}").at("a").get_ref<const std::string&>().size(),
            std::size_t{2} << 20);
  std::string deep = "1";
  for (int i = 0; i < 64; ++i) deep = "[" + deep + "]";
  EXPECT_NO_THROW((void)parse_row(deep));
  EXPECT_THROW((void)parse_row("[" + deep + "]"), RowError);
}

}  // namespace
}  // namespace dmoerm::preference
