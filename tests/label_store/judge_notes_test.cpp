#include "label_store/judge_notes.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "label_store/label_maker.h"
#include "label_store/label_store.h"
#include "support/scratch.h"

namespace dmoerm::label_store {
namespace {

class JudgeNotes : public dmoerm::test::Scratch {};

TEST_F(JudgeNotes, ReadBackAsWrittenAndAreNoneInAnEarlierStore) {
  EXPECT_TRUE(read_judge_notes(directory_).empty());
  write_judge_notes(directory_, {{"judge", "mine@1", "abc", 5, 0, 0}, {"other", "mine@1", "def", 0, 3, 9}});
  const std::vector<JudgeNote> notes = read_judge_notes(directory_);
  ASSERT_EQ(notes.size(), 2U);
  EXPECT_EQ(notes[0].judge, "judge");
  EXPECT_EQ(notes[0].template_name, "mine@1");
  EXPECT_EQ(notes[0].way, "abc");
  EXPECT_EQ(notes[0].since_ms, 5);
  EXPECT_EQ(notes[1].ask_again_from_ms, 3);
  EXPECT_EQ(notes[1].ask_again_before_ms, 9);
}

TEST_F(JudgeNotes, OfTheFirstSchemaAreRead) {  // the text stays as it is: files like this one exist
  write_file_atomically(directory_ / "judges.json", R"({
    "judges": [{"ask_again_before_ms": 1764300000000, "ask_again_from_ms": 3, "judge": "judge-a", "since_ms": 1764300000000,
                "template": "pairwise@1", "way": "0123456789abcdef"}],
    "schema": 1})");
  const std::vector<JudgeNote> notes = read_judge_notes(directory_);
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_EQ(notes[0].judge, "judge-a");
  EXPECT_EQ(notes[0].template_name, "pairwise@1");
  EXPECT_EQ(notes[0].way, "0123456789abcdef");
  EXPECT_EQ(notes[0].since_ms, 1764300000000);
  EXPECT_EQ(notes[0].ask_again_from_ms, 3);
  EXPECT_EQ(notes[0].ask_again_before_ms, 1764300000000);
  write_judge_notes(directory_, notes);
  EXPECT_EQ(read_json(directory_ / "judges.json").at("schema"), 1);
}

TEST_F(JudgeNotes, WithoutASchemaAreOfTheFirst) {
  write_judge_notes(directory_, {{"judge", "mine@1", "abc", 5, 0, 0}});
  nlohmann::json text = read_json(directory_ / "judges.json");
  text.erase("schema");
  write_json_atomically(directory_ / "judges.json", text);
  EXPECT_EQ(read_judge_notes(directory_).size(), 1U);
}

TEST_F(JudgeNotes, OfANewerVersionAreRefused) {
  for (const char* text : {R"({"schema": 2, "judges": []})", R"({"schema": 2, "notes": {}})"}) {
    write_file_atomically(directory_ / "judges.json", text);
    try {
      (void)read_judge_notes(directory_);
      FAIL() << text;
    } catch (const ConfigError& e) {
      EXPECT_STREQ(e.code().text(), "label-store-newer");
      EXPECT_NE(std::string(e.what()).find("judges.json: expected a label store's notes of schema 1 or older, found 2"),
                std::string::npos)
          << e.what();
    }
  }
}

TEST_F(JudgeNotes, AreNamedIfDamaged) {
  for (const char* text : {"{}", "[]", R"({"schema": "1", "judges": []})", R"({"schema": null, "judges": []})",
                           R"({"judges": [{"judge": 1}]})", R"({"judges": [7]})"}) {
    write_file_atomically(directory_ / "judges.json", text);
    const std::string said = dmoerm::test::message_of<DataError>([&] { (void)read_judge_notes(directory_); });
    EXPECT_NE(said.find("judges.json: expected a list of judges"), std::string::npos) << text << ": " << said;
  }
  for (const char* text : {"", R"({"schema": 1, "jud)"}) {
    write_file_atomically(directory_ / "judges.json", text);
    const std::string said = dmoerm::test::message_of<DataError>([&] { (void)read_judge_notes(directory_); });
    EXPECT_NE(said.find("remove the file, the next labelling writes it again"), std::string::npos) << text << ": " << said;
  }
}

TEST_F(JudgeNotes, RepliesWithoutAVerdictOfOneJudgeAreMarkedUpToATime) {
  std::vector<Label> labels = test::make_labels(0, 8);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i].verdict = i % 2 == 0 ? Verdict::unparsable : Verdict::first;
  labels[2].verdict = Verdict::refused;
  labels[4].judge = "another";
  for (const bool sealed : {false, true}) {
    LabelStore store = LabelStore::open(directory_ / (sealed ? "sealed" : "open"));
    store.append(labels);
    if (sealed) store.seal();
    EXPECT_EQ(store.ask_again(labels[0].judge, labels[0].template_name, labels[3].time_ms, labels[6].time_ms), 0);
    EXPECT_EQ(store.ask_again(labels[0].judge, labels[0].template_name, 0, labels[6].time_ms), 2);
    EXPECT_TRUE(store.find(labels[0].key)->ask_again);
    EXPECT_TRUE(store.find(labels[2].key)->ask_again);
    EXPECT_FALSE(store.find(labels[1].key)->ask_again) << "it has a verdict";
    EXPECT_FALSE(store.find(labels[4].key)->ask_again) << "of another judge";
    EXPECT_FALSE(store.find(labels[6].key)->ask_again) << "not before that time";
    labels[0].verdict = Verdict::tie;
    store.append(std::vector<Label>{labels[0]});
    EXPECT_FALSE(store.find(labels[0].key)->ask_again) << "answered meanwhile";
    labels[0].verdict = Verdict::unparsable;
  }
}

}  // namespace
}  // namespace dmoerm::label_store
