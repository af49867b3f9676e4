#include "plan/task_id.h"

#include <gtest/gtest.h>

namespace dmoerm::plan {
namespace {

TEST(TaskId, IsSpelledAsItsFolderAndReadBack) {
  const std::pair<TaskId, const char*> known[] = {
      {TaskId::ingest(), "ingest"},
      {TaskId::selection(), "label/groups"},
      {TaskId::label("chat", "logic"), "label/chat/logic"},
      {TaskId::label("groups", "logic"), "label/groups/logic"},
      {TaskId::router(), "router"},
      {TaskId::base("chat"), "base/chat"},
      {TaskId::single(), "single"},
      {TaskId::base_of_all(), "base-of-all"},
      {TaskId::base_of_all(3), "base-of-all-fold-3"},
      {TaskId::pooled_baseline("chat"), "pooled/chat"},
      {TaskId::category_baseline("chat"), "category/chat"},
      {TaskId::expert("chat", {"logic"}), "expert/chat/logic"},
      {TaskId::expert("chat", {"logic", "tone"}), "expert/chat/logic+tone"},
      {TaskId::label("chat", "logic", 2), "label-round-2/chat/logic"},
      {TaskId::expert("chat", {"logic", "tone"}, 1), "expert-round-1/chat/logic+tone"},
      {TaskId::gaps("chat", {"logic", "tone"}, 12), "gaps-round-12/chat/logic+tone"},
      {TaskId::base("chat", 2), "base-fold-2/chat"},
      {TaskId::expert("chat", {"logic", "tone"}, 0, 10), "expert-fold-10/chat/logic+tone"},
      {TaskId::features("chat"), "features/chat"},
      {TaskId::aggregator("chat"), "aggregator/chat"},
      {TaskId::eval("chat"), "eval/chat"},
      {TaskId::report(), "report"},
      {TaskId::bundle(), "bundle"}};
  for (const auto& [id, text] : known) {
    EXPECT_EQ(id.text(), text);
    EXPECT_EQ(TaskId::parse(text), id) << text;
  }
}

TEST(TaskId, RefusesNamesThatAreNotATask) {
  for (const char* text : {"",
                           "/",
                           "train",
                           "base",
                           "base/",
                           "base/a/b",
                           "base-of-all/a",
                           "base-of-all-round-1",
                           "pooled",
                           "pooled-fold-1/a",
                           "single-fold-1",
                           "router/x",
                           "expert/a",
                           "expert/a/",
                           "expert/a/b/c",
                           "expert/a/b+",
                           "expert/a/+b",
                           "label",
                           "label/a",
                           "label/a/b+c",
                           "ingest/",
                           "reports",
                           "gaps/a/b",
                           "gaps-round-0/a/b",
                           "label-round-0/a/b",
                           "label-round-01/a/b",
                           "label-round-1x/a/b",
                           "label-round-/a/b",
                           "label-round--1/a/b",
                           "label-round-1/groups",
                           "label-round-1/a/b+c",
                           "base-round-1/a",
                           "features-round-1/a",
                           "-round-1/a/b",
                           "base-fold-0/a",
                           "base-fold-01/a",
                           "base-fold-/a",
                           "features-fold-1/a",
                           "label-fold-1/a/b",
                           "gaps-round-1-fold-1/a/b",
                           "expert-round-1-fold-1/a/b",
                           "expert-fold-1-round-1/a/b",
                           "-fold-1/a/b"})
    EXPECT_FALSE(TaskId::parse(text)) << text;
}

}  // namespace
}  // namespace dmoerm::plan
