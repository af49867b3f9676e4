#include "label/label_store.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "label/label_maker.h"
#include "support/scratch.h"

namespace dmoerm::label::test {
namespace {

using dmoerm::test::message_of;

class Store : public dmoerm::test::Scratch {
 protected:
  [[nodiscard]] std::filesystem::path path() const { return directory_ / "labels"; }
};

TEST_F(Store, FindsWhatWasAppendedAfterReopening) {
  {
    auto store = LabelStore::open(path());
    EXPECT_EQ(store.find(make_label(1).key), nullptr);
    store.append(make_labels(0, 10));
    ASSERT_NE(store.find(make_label(1).key), nullptr);
    store.seal();
    store.append(make_labels(10, 5));
  }
  const auto store = LabelStore::open(path());
  EXPECT_EQ(store.size(), 15U);
  EXPECT_EQ(store.journal_rows(), 5);
  for (int i = 0; i < 15; ++i) {
    const Known* known = store.find(make_label(i).key);
    ASSERT_NE(known, nullptr) << i;
    EXPECT_EQ(known->verdict, Verdict::first);
    EXPECT_EQ(known->first_probability, make_label(i).first_probability);
  }
  EXPECT_EQ(store.find(make_label(15).key), nullptr);
  EXPECT_EQ(store.spent().requests, 15);
}

TEST_F(Store, LetsTheLatestLabelOfAKeyCount) {
  {
    auto store = LabelStore::open(path());
    store.append(std::vector{make_label(1, Verdict::error)});
    store.seal();
    store.append(std::vector{make_label(1, Verdict::second)});
    EXPECT_EQ(store.find(make_label(1).key)->verdict, Verdict::second);
  }
  auto store = LabelStore::open(path());
  EXPECT_EQ(store.find(make_label(1).key)->verdict, Verdict::second);
  EXPECT_EQ(store.size(), 1U);
  EXPECT_EQ(store.spent().requests, 2);
}

TEST_F(Store, SealsByItselfWhenTheJournalIsLarge) {
  auto store = LabelStore::open(path(), {.seal_rows = 100});
  for (int i = 0; i < 25; ++i) store.append(make_labels(i * 10, 10));
  EXPECT_EQ(store.journal_rows(), 50);
  EXPECT_TRUE(std::filesystem::exists(path() / "segment-000002.h5"));
}

}  // namespace
}  // namespace dmoerm::label::test
