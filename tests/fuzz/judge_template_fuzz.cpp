// Fuzzer of judge templates, points and questions: any bytes are refused with a ConfigError or DataError, or make questions that
// are canonical JSON and alike in both orders.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include "base/error.h"
#include "judge/question.h"

namespace {

using namespace dmoerm;

const std::string kTemplate = R"(name: t
language: en
ties: true
messages:
  - {role: system, content: 'Tag {tag}, {{braces}}'}
  - role: user
    content: |
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
      {criterion} {category} {answer_format}
answer:
  json_schema: |
    {{"verdict": "1"}}
    {{"verdict": "2"}}
    {{"verdict": "tie"}}
  verdict_line: "Verdict: 1\nVerdict: 2\nVerdict: tie"
headings: {system: S, user: U, assistant: A}
marks: {conversation: cut, response: cut}
)";
const std::string kPoints = "language: en\ncategories:\n  c:\n    p: Better.\n";

/// `base` with a piece of it replaced; the first bytes of `data` say where.
std::string edited(std::string base, const std::string& data) {
  if (data.size() < 3) return data;
  const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(data[i])); };
  const std::size_t at = (byte(0) * 256 + byte(1)) % (base.size() + 1);
  return base.replace(at, byte(2) % 64, data.substr(3));
}

template <class Work>
auto refused_or(const Work& work) -> std::optional<decltype(work())> {
  try {
    return work();
  } catch (const ConfigError&) {
  } catch (const DataError&) {
  }
  return std::nullopt;
}

/// Both orders of a pair are asked alike, and the bytes are canonical JSON.
void check_question(const judge::QuestionBuilder& ask, const std::string& a, const std::string& b) {
  const std::vector<preference::Message> prompt = {{"user", "Q " + b}};
  const auto given = refused_or([&] { return ask.build({"g", prompt, a, b}, "c", "p", false); });
  const auto swapped = refused_or([&] { return ask.build({"g", prompt, a, b}, "c", "p", true, 1); });
  if (given.has_value() != swapped.has_value()) std::abort();
  if (!given || !*given) return;
  const judge::BuiltQuestion &one = **given, &two = **swapped;
  if (one.question.pair != two.question.pair || one.prompt_tokens != two.prompt_tokens || one.a_cut != two.a_cut ||
      one.b_cut != two.b_cut)
    std::abort();
  if (nlohmann::json::parse(one.question.body).dump() != one.question.body) std::abort();  // canonical, and UTF-8
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto parse = [](const std::string& file) {
    return refused_or([&] { return judge::JudgeTemplate::parse(file, "t.yaml"); });
  };
  const auto points = [](const std::string& file) {
    return refused_or([&] { return judge::PointCriteria::parse(file, "p.yaml"); });
  };
  parse(text);
  points(text);
  points(edited(kPoints, text));
  const auto judge_template = parse(edited(kTemplate, text));
  if (!judge_template || judge_template->language() != "en") return 0;
  config::JudgeConfig config;
  config.model = "m";
  const auto form = size % 2 == 0 ? judge::AnswerForm::json_schema : judge::AnswerForm::verdict_line;
  judge::ContextRule rule;
  rule.context_tokens = 300 + static_cast<std::int64_t>(size % 7) * 100;
  const judge::QuestionBuilder ask(*judge_template, *points(kPoints), config, form, rule);
  check_question(ask, text.empty() ? "a" : text, "b");
  check_question(ask, text.substr(size / 2), text.substr(0, size / 2));
  return 0;
}
