#include "label/progress_line.h"

#include <gtest/gtest.h>

#include "base/utf8.h"

namespace dmoerm::label {
namespace {

TEST(ProgressText, IsNeverCutInsideACharacter) {
  LabelProgress progress;
  PointProgress point;
  point.target = {"对话", "角色扮演一致性🙂é"};
  point.total = 100;
  point.answered = 10;
  point.outstanding = 2;
  point.both = 5;
  point.consistent = 4;
  progress.points = {point};
  const std::string whole = progress_text(progress, "元", 1, 100, 10'000);
  ASSERT_TRUE(is_utf8(whole));
  ASSERT_NE(whole.find(point.target.point), std::string::npos);
  for (int width = 1; width < static_cast<int>(whole.size()) + 3; ++width) {
    const std::string text = progress_text(progress, "元", 1, 100, width);
    EXPECT_TRUE(is_utf8(text)) << width;
    EXPECT_TRUE(whole.starts_with(text)) << width;
    const int most = std::max(20, width - 1);
    EXPECT_LE(static_cast<int>(text.size()), most);
    EXPECT_GE(static_cast<int>(text.size()), std::min(most, static_cast<int>(whole.size())) - 3);
  }
}

TEST(ProgressText, LeavesOutACostThatIsNotKnown) {
  LabelProgress progress;
  progress.points.emplace_back();
  progress.points[0].total = 10;
  progress.points[0].answered = 5;
  progress.run = {5, 100, 10, 0};
  EXPECT_EQ(progress_text(progress, "USD", 1, 100, 0).find("cost"), std::string::npos) << "no price is set";
  progress.run.cost_micros = 50;
  EXPECT_NE(progress_text(progress, "USD", 1, 100, 0).find("cost 0.000050 USD (+0.000050 USD expected)"), std::string::npos);
}

}  // namespace
}  // namespace dmoerm::label
