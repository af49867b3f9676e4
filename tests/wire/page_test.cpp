#include "wire/page.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

namespace dmoerm::wire {
namespace {

TEST(Page, IsTheDocumentOfTheSources) {
  std::stringstream text;
  text << std::ifstream(std::string(DMOERM_SOURCE) + "/src/wire/page/index.html").rdbuf();
  EXPECT_EQ(kPageHtml, text.str());
}

TEST(Page, LoadsNothingFromElsewhereAndWritesNoMarkup) {
  for (const char* word : {"http:", "https:", "//cdn", "@import", "url(", "src=", "innerHTML", "insertAdjacentHTML", "eval("})
    EXPECT_EQ(kPageHtml.find(word), std::string_view::npos) << word;
  EXPECT_NE(kPagePolicy.find("default-src 'none'"), std::string_view::npos);
}

}  // namespace
}  // namespace dmoerm::wire
