// Tests that the shipped templates and points are complete, and that mistakes are named with their places.
#include "judge/judge_template.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "judge_files.h"
#include "support/scratch.h"
#include "synth/synth_words.h"

namespace dmoerm::judge {
namespace {

using test::message_of;

const std::string kGood = R"(name: mine
language: en
ties: false
messages:
  - role: user
    content: |
      {{"tag": "{tag}"}}
      <conversation {tag}>
      {conversation}
      </conversation {tag}>
      <response_1 {tag}>
      {response_1}
      </response_1 {tag}>
      <response_2 {tag}>
      {response_2}
      </response_2 {tag}>
      point: {point}
      {criterion} {answer_format}
answer:
  json_schema: |
    {{"verdict": "1"}}
    {{"verdict": "2"}}
  verdict_line: "Verdict: 1\nVerdict: 2"
headings: {system: S, user: U, assistant: A}
marks: {conversation: cut, response: cut}
)";

std::string with(std::string text, const std::string& old, const std::string& replacement) {
  const std::size_t at = text.find(old);
  EXPECT_NE(at, std::string::npos) << old;
  return at == std::string::npos ? text : text.replace(at, old.size(), replacement);
}

std::string problems_of(const std::string& text) {
  return message_of<ConfigError>([&] { (void)JudgeTemplate::parse(text, "t.yaml"); });
}

TEST(JudgeTemplate, FillsInEachFieldOnceAndLeavesTheBracesOfTextsAlone) {
  const JudgeTemplate judge_template = JudgeTemplate::parse(kGood, "t.yaml");
  FieldValues values;
  values.fill("");
  values[static_cast<std::size_t>(Field::tag)] = "ab12";
  values[static_cast<std::size_t>(Field::response_1)] = "I say {tag} and {{x}}";
  const std::vector<preference::Message> messages = judge_template.render(values, AnswerForm::verdict_line);
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_EQ(messages[0].role, "user");
  EXPECT_NE(messages[0].content.find("{\"tag\": \"ab12\"}"), std::string::npos) << messages[0].content;
  EXPECT_NE(messages[0].content.find("<response_1 ab12>\nI say {tag} and {{x}}\n</response_1 ab12>"), std::string::npos)
      << messages[0].content;
  EXPECT_TRUE(messages[0].content.ends_with("Verdict: 1\nVerdict: 2")) << messages[0].content;
}

TEST(JudgeTemplate, IsNamedAfterItsContentAndNotItsLayout) {
  const JudgeTemplate plain = JudgeTemplate::parse(kGood, "t.yaml");
  const JudgeTemplate laid_out_otherwise =
      JudgeTemplate::parse("# mine\n" + with(kGood, "ties: false\n", "") + "\nties:   false # none\n", "elsewhere.yaml");
  EXPECT_EQ(plain.id(), laid_out_otherwise.id());
  EXPECT_EQ(plain.id(), "mine@" + to_hex(plain.digest()).substr(0, 12));
  for (const auto& [old, replacement] : {std::pair("name: mine", "name: yours"),
                                         {"language: en", "language: fr"},
                                         {"role: user", "role: user "},
                                         {"tag}\"}}", "tag}\" }}"},
                                         {"system: S", "system: T"},
                                         {"conversation: cut", "conversation: gone"},
                                         {"Verdict: 1", "verdict: 1"}}) {
    EXPECT_EQ(JudgeTemplate::parse(with(kGood, old, replacement), "t.yaml").id() == plain.id(), std::string(old) == "role: user")
        << old;
  }
}

TEST(JudgeTemplate, ReportsAllProblemsAtOnceWithTheirPlaces) {
  std::string text = kGood;
  text = with(text, "language: en", "langage: en");
  text = with(text, "ties: false", "ties: maybe");
  text = with(text, "{point}", "{pont}");
  text = with(text, "marks: {conversation: cut, response: cut}", "marks: [cut]\nname: again");
  const std::string problems = problems_of(text);
  for (const char* wanted :
       {"t.yaml:2:1: langage: unknown key, did you mean language?", "language: missing",
        "t.yaml:3:7: ties: expected true or false",
        "t.yaml:17:14: messages.0.content: {pont} is not a placeholder, did you mean {point}?", "{point} is missing",
        "t.yaml:25:8: marks: expected a map", "t.yaml:26:1: name: given twice, first in line 1"}) {
    EXPECT_NE(problems.find(wanted), std::string::npos) << wanted << "\n--- not in:\n" << problems;
  }
}

TEST(JudgeTemplate, RefusesATextOutsideOfItsBlockAndAMissingOrRepeatedOne) {
  EXPECT_NE(problems_of(with(kGood, "      </response_2 {tag}>\n", "")).find("{response_2} must be on a line of its own between"),
            std::string::npos);
  EXPECT_NE(
      problems_of(with(kGood, "<response_1 {tag}>", "<response_1>")).find("{response_1} must be on a line of its own between"),
      std::string::npos);
  EXPECT_NE(problems_of(with(kGood, "{criterion} ", "{criterion} {response_1}"))
                .find("{response_1} must occur once in them, not 2 times"),
            std::string::npos);
  EXPECT_NE(problems_of(with(kGood, "      {conversation}\n", "")).find("{conversation} must occur once in them, not 0 times"),
            std::string::npos);
  EXPECT_NE(problems_of(with(kGood, " {answer_format}", "")).find("{answer_format} is missing"), std::string::npos);
  EXPECT_NE(problems_of(with(kGood, "role: user", "role: system")).find("the last one must have the role user"),
            std::string::npos);
  EXPECT_NE(problems_of(with(kGood, "role: user", "role: judge")).find("t.yaml:5:11: messages.0.role: judge is not one of"),
            std::string::npos);
  EXPECT_NE(problems_of(with(kGood, "{{\"tag\"", "{\"tag\"")).find("t.yaml:7:7: messages.0.content: a single {"),
            std::string::npos)
      << problems_of(with(kGood, "{{\"tag\"", "{\"tag\""));
  EXPECT_NE(problems_of(with(kGood, "system: S", "system: '{tag}'")).find("this text has no placeholders"), std::string::npos);
  EXPECT_NE(problems_of("- a\n").find("t.yaml:1:1: file: expected a map with the keys name, language"), std::string::npos)
      << problems_of("- a\n");
}

TEST(JudgeTemplate, RefusesAnAnswerFormatThatTheParserWouldNotRead) {
  EXPECT_NE(problems_of(with(kGood, "Verdict: 2\"", "Result: 2\""))
                .find("answer.verdict_line: must show the answer second on a line of its own, e.g. Verdict: 2"),
            std::string::npos);
  EXPECT_NE(problems_of(with(kGood, "{{\"verdict\": \"1\"}}", "{{\"winner\": \"1\"}}"))
                .find("answer.json_schema: must show the answer first"),
            std::string::npos);
  EXPECT_NE(problems_of(with(kGood, "ties: false", "ties: true")).find("must show the answer tie"), std::string::npos);
  EXPECT_NE(problems_of(with(kGood, "Verdict: 2\"", "Verdict: 2\\nVerdict: tie\""))
                .find("answer.verdict_line: shows a tie, but ties is false"),
            std::string::npos);
}

TEST(JudgeTemplate, NamesAMissingFile) {
  EXPECT_NE(message_of<IoError>([] { (void)JudgeTemplate::load("no/such.yaml"); }).find("no/such.yaml"), std::string::npos);
}

// --- Points ---

TEST(PointCriteria, HaveEveryPointOfThePaperInBothLanguages) {
  const std::map<std::string, std::vector<std::string>> paper = {
      {"roleplay",
       {"character_setting_and_emotional_investment", "conversational_sense", "empathy_ability",
        "manifestation_of_relationship_traits", "personalized_characteristic_expression", "content_richness"}},
      {"chat", {"conversational_sense", "proactivity", "emotion_expression", "empathy_ability", "content_richness"}},
      {"subj_qa", {"convincing_ability", "logic", "viewpoint_richness", "breadth_of_knowledge", "question_specific"}},
      {"obj_qa", {"correctness", "objectiveness", "reasoning_ability", "logic", "depth_of_knowledge", "question_specific"}},
      {"text", {"intent_conformity", "expressiveness", "readability", "content_richness", "logic"}}};
  for (const char* language : {"en", "zh"}) {
    const PointCriteria criteria = shipped_points(language);
    EXPECT_EQ(criteria.language(), language);
    std::size_t points = 0;
    for (const auto& [category, names] : paper) {
      points += names.size();
      for (const std::string& point : names) EXPECT_FALSE(criteria.find(category, point).empty());
    }
    EXPECT_EQ(points, 27U);
    for (const synth::SynthCategory& category : synth::synth_categories()) {
      for (const synth::SynthPoint& point : category.points)
        EXPECT_NO_THROW((void)criteria.find(std::string(category.name), std::string(point.name)));
    }
    EXPECT_EQ(shipped_template(language).language(), language);
  }
}

TEST(PointCriteria, AreTheSamePointsInBothLanguages) {
  const PointCriteria en = shipped_points("en"), zh = shipped_points("zh");
  ASSERT_EQ(en.all().size(), zh.all().size());
  for (const auto& [category, points] : en.all()) {
    EXPECT_EQ(points.size(), zh.all().at(category).size()) << category;
    for (const auto& [point, criterion] : points) EXPECT_NO_THROW((void)zh.find(category, point));
  }
}

TEST(PointCriteria, HaveEveryPointOfTheSharedData) {
  const std::string file = DMOERM_SHARED "/data/capabilities.json";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "skipped: no ../shared";
  const nlohmann::json all = read_json(file);
  for (const char* language : {"en", "zh"}) {
    const PointCriteria criteria = shipped_points(language);
    for (const auto& [category, entry] : all.items()) {
      for (const auto& [point, meaning] : entry.at("points").items()) EXPECT_NO_THROW((void)criteria.find(category, point));
    }
  }
}

TEST(PointCriteria, NameTheNearestKnownPointAndHowToAddOne) {
  const PointCriteria criteria =
      PointCriteria::parse("language: en\ncategories:\n  chat:\n    logic: Sound.\n    warmth: Kind.\n", "p.yaml");
  EXPECT_EQ(criteria.find("chat", "warmth"), "Kind.");
  const std::string point = message_of<ConfigError>([&] { (void)criteria.find("chat", "logik"); });
  for (const char* wanted : {"p.yaml", "chat", "logik", "did you mean logic?", "\"logik: criterion\" below categories.chat"})
    EXPECT_NE(point.find(wanted), std::string::npos) << point;
  const std::string category = message_of<ConfigError>([&] { (void)criteria.find("poetry", "logic"); });
  for (const char* wanted : {"p.yaml", "poetry", "known are chat.", "a key below categories:"})
    EXPECT_NE(category.find(wanted), std::string::npos) << category;
}

TEST(PointCriteria, ReportAllProblemsAtOnceWithTheirPlaces) {
  const std::string problems = message_of<ConfigError>([] {
    (void)PointCriteria::parse(
        "language:\ncategories:\n  a: text\n  b:\n    x: one\n    x: two\n    y: [1]\n    z: ''\nmore: 1\n", "p.yaml");
  });
  for (const char* wanted :
       {"p.yaml:1:1: language: expected a text, found nothing", "p.yaml:3:6: categories.a: expected a map",
        "p.yaml:6:5: categories.b.x: given twice, first in line 5", "p.yaml:7:8: categories.b.y: expected a text, found a list",
        "p.yaml:8:8: categories.b.z: is empty", "p.yaml:9:1: more: unknown key"}) {
    EXPECT_NE(problems.find(wanted), std::string::npos) << wanted << "\n--- not in:\n" << problems;
  }
}

}  // namespace
}  // namespace dmoerm::judge
