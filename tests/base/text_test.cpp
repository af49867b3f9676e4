#include "base/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/counted.h"
#include "base/json_text.h"

namespace dmoerm {
namespace {

TEST(IsBlank, HoldsForTheSixCharactersOfIsspaceAndNothingElse) {
  EXPECT_TRUE(is_blank(""));
  EXPECT_TRUE(is_blank(" \t\r\n\v\f"));
  EXPECT_FALSE(is_blank(" \f.\v"));
  EXPECT_FALSE(is_blank("\xC2\xA0")) << "a no-break space is a text";
  for (int c = 0; c < 128; ++c) EXPECT_EQ(is_blank(std::string(1, static_cast<char>(c))), std::isspace(c) != 0) << c;
}

TEST(Trim, RemovesWhiteSpaceFromBothEndsOnly) {
  EXPECT_EQ(trim("\v a b\f\n"), "a b");
  EXPECT_EQ(trim(" \t "), "");
  EXPECT_EQ(trim(" a\n", " "), "a\n");
}

TEST(EndMark, IsTheMarkWithWhichATextEnds) {
  EXPECT_EQ(end_mark_of("On its way.<|im_end|>"), "<|im_end|>");
  EXPECT_EQ(end_mark_of("</s>"), "</s>");
  EXPECT_EQ(end_mark_of("<|im_end|> "), "") << "white space is the caller's";
  EXPECT_EQ(end_mark_of("a </p>"), "");
  EXPECT_EQ(end_mark_of(""), "");
}

TEST(Lower, ChangesTheLettersOfAsciiOnly) { EXPECT_EQ(lower("AZaz[@1Ä"), "azaz[@1Ä"); }

TEST(Utf8Characters, CountsCharactersAndNotBytes) {
  EXPECT_EQ(utf8_characters(""), 0U);
  EXPECT_EQ(utf8_characters("aé一😀"), 4U);
}

TEST(Utf8Prefix, NeverEndsInsideACharacter) {
  EXPECT_EQ(utf8_prefix("aé", 3), "aé");
  EXPECT_EQ(utf8_prefix("aéb", 2), "a");
  EXPECT_EQ(utf8_prefix("é", 1), "");
}

TEST(PercentText, GivesOneDecimalOrADash) {
  EXPECT_EQ(percent_text(0.714), "71.4 %");
  EXPECT_EQ(percent_text(NAN), "-");
  EXPECT_EQ(percent_text(1, 3), "33.3 %");
  EXPECT_EQ(percent_text(0, 0), "-");
}

TEST(ClockText, ShowsHoursMinutesAndSecondsOrDays) {
  EXPECT_EQ(clock_text(0), "0:00:00");
  EXPECT_EQ(clock_text(754.4), "0:12:34");
  EXPECT_EQ(clock_text(90061), "1d 01:01");
  for (const double unknown : {-1.0, 1e9, static_cast<double>(NAN), static_cast<double>(INFINITY)})
    EXPECT_EQ(clock_text(unknown), "-") << unknown;
}

TEST(DurationText, ShowsTwoUnits) {
  EXPECT_EQ(duration_text(7.46), "7.5 s");
  EXPECT_EQ(duration_text(42), "42 s");
  EXPECT_EQ(duration_text(725), "12 min 5 s");
  EXPECT_EQ(duration_text(12000), "3 h 20 min");
  EXPECT_EQ(duration_text(187200), "2 d 4 h");
}

TEST(JsonLine, ReplacesBytesThatAreNotUtf8) { EXPECT_EQ(json_line({{"a", "x\xFFy"}}), "{\"a\":\"x\xEF\xBF\xBDy\"}"); }

TEST(Text, KnowsCharactersThatShowNothing) {
  for (const char* unseen : {"", " ", "\u3000", "\u200b\u200d", "\u3164", "\u2800", "\u00ad", "\U000e0041", "\u180e", "\u0085"})
    EXPECT_TRUE(shows_nothing(unseen)) << unseen;
  for (const char* seen : {"a", "\u3000\u3042", "\U000110bd", "\u00b7", "\U0001f600", "\xff"})
    EXPECT_FALSE(shows_nothing(seen)) << seen;
}

TEST(MibText, IsInKibibytesWhereMebibytesWouldBeNought) {
  EXPECT_EQ(mib_text(0), "0 KiB");
  EXPECT_EQ(mib_text(0.25), "256 KiB");
  EXPECT_EQ(mib_text(1), "1 MiB");
  EXPECT_EQ(mib_text(4096.4), "4096 MiB");
}

TEST(Counted, PutsOneThingIntoTheSingular) {
  EXPECT_EQ(counted(0, "rank"), "0 ranks");
  EXPECT_EQ(counted(1, "rank"), "1 rank");
  EXPECT_EQ(counted(2, "rank"), "2 ranks");
  EXPECT_EQ(counted(1, "reply", "replies"), "1 reply");
  EXPECT_EQ(counted(3, "task is", "tasks are"), "3 tasks are");
}

}  // namespace
}  // namespace dmoerm
