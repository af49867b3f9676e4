// A bundle must have the chat template that the inputs were read with.
#include "run/stage_bundle.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace dmoerm::run {
namespace {

TEST(MakeBundle, RefusesATemplateThatChangedSinceTheInputsWereRead) {
  EXPECT_NO_THROW(check_bundle_template("own.json", "aa", R"({"template_digest": "aa"})"));
  EXPECT_NO_THROW(check_bundle_template("own.json", "aa", "{}"));  // a store that does not name its template
  try {
    check_bundle_template("/models/own.json", "aa", R"({"template_digest": "bb"})");
    FAIL();
  } catch (const DataError& e) {
    EXPECT_EQ(
        std::string(e.what()),
        "backbone.chat_template: /models/own.json has digest aa, the inputs were read with bb: restore the old file, or run "
        "with --update");
  }
}

}  // namespace
}  // namespace dmoerm::run
