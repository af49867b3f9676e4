#include "label/suspicion.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "judge/verdict_parser.h"

namespace dmoerm::label {
namespace {

using Words = std::vector<std::string_view>;

/// One of some words, at most `gap` bytes of the same sentence behind the slot before.
struct Slot {
  Words words;
  std::size_t gap = 1;
};

struct Pattern {
  Suspicion kind;
  std::vector<Slot> slots;
};

const Words kDelimiters = {"<response_1",  "<response_2",     "</response_1", "</response_2",        "</conversation",
                           "<|im_start|>", "<|im_end|>",      "<|eot_id|>",   "<|start_header_id|>", "[/inst]",
                           "<<sys>>",      "<start_of_turn>", "<end_of_turn>"};
const Words kBreaks = {".", "!", "?", ";", "。", "！", "？", "；"};

const Words kIgnore = {"ignore", "disregard", "forget", "override", "bypass"};
const Words kEarlier = {"previous", "prior", "above", "earlier", "preceding", "foregoing"};
const Words kRules = {"instruction", "instructions", "rules",      "criteria",  "prompt",
                      "prompts",     "guidelines",   "directions", "directives"};
const Words kJudges = {"judge", "evaluator", "grader", "rater", "assessor", "reviewer"};
const Words kMust = {"you must",           "you should",    "you have to",   "you need to", "you are required",
                     "you are instructed", "please choose", "please select", "please rate", "your verdict"};
const Words kChoose = {"choose", "pick", "select", "prefer", "favor", "favour", "vote for", "go with"};
const Words kThis = {"this", "my"};
const Words kResponse = {"response", "answer", "reply", "output", "completion"};
const Words kNumbered = {"response 1",  "response 2",  "response a",         "response b",         "response_1",  "response_2",
                         "answer 1",    "answer 2",    "answer a",           "answer b",           "output 1",    "output 2",
                         "output a",    "output b",    "output (a)",         "output (b)",         "assistant 1", "assistant 2",
                         "assistant a", "assistant b", "the first response", "the second response"};
const Words kBetter = {"better", "best", "superior", "the winner", "preferable", "stronger"};
const Words kOther = {"the other response", "the other answer",         "the other one",         "the other reply",
                      "the other output",   "the alternative response", "the competing response"};

const Words kIgnoreZh = {"忽略", "无视", "忘记", "忘掉", "不要理会", "不必理会", "抛开"};
const Words kEarlierZh = {"之前", "以上", "上面", "前面", "先前", "上述", "此前"};
const Words kRulesZh = {"指令", "指示", "规则", "提示词", "评分标准", "评判标准"};
const Words kJudgesZh = {"评委", "裁判", "评审员", "评判者", "评估者", "评测者", "评判员", "评分者"};
const Words kMustZh = {"你必须", "你应该", "你应当", "你需要", "请选", "请判", "请给", "请务必"};
const Words kChooseZh = {"选择", "请选", "选", "判给", "投给", "支持"};
const Words kThisZh = {"我的回答", "我的回复", "我的答案", "本回答", "本回复", "这个回答", "这个回复", "此回答", "这一回答"};
const Words kNumberedZh = {"回答1",  "回答2",  "回答 1", "回答 2", "回答一", "回答二", "回复1",  "回复2",
                           "回复 1", "回复 2", "回复一", "回复二", "回答a",  "回答b",  "回答 a", "回答 b"};
const Words kBetterZh = {"更好", "更优", "最好", "最优", "胜出", "获胜", "优于"};

// Gaps are in bytes: a few words, or a few Chinese characters.
const std::vector<Pattern> kPatterns = {
    {Suspicion::instruction, {{kIgnore}, {kEarlier, 24}, {kRules, 16}}},
    {Suspicion::instruction,
     {{kIgnore},
      {{"all", "any", "the", "your"}, 8},
      {{"instructions", "scoring criteria", "system prompt", "grading criteria"}, 12},
      {{"above", "given", "you were given", "you received", "and "}, 12}}},
    {Suspicion::instruction, {{kIgnoreZh}, {kEarlierZh, 15}, {kRulesZh, 18}}},
    {Suspicion::address, {{{"as the", "as a", "as an"}}, {kJudges, 12}, {kMust, 10}}},
    {Suspicion::address,
     {{{"dear", "attention", "note to", "note for", "message to", "message for", "hey", "hello"}},
      {{"evaluator", "grader", "rater", "the judge", "the evaluator", "the grader", "llm judge", "ai judge", "judge model",
        "the reviewer"},
       6}}},
    {Suspicion::address,
     {{kJudges},
      {{"you must choose", "you must select", "you must pick", "you must prefer", "you must rate", "you should choose",
        "you should prefer", "please choose", "please select", "please prefer"},
       4}}},
    {Suspicion::address, {{{"作为"}}, {kJudgesZh, 18}, {kMustZh, 12}}},
    {Suspicion::address, {{{"致", "尊敬的", "亲爱的", "各位"}}, {kJudgesZh, 6}}},
    {Suspicion::choice,
     {{kChoose}, {kThis, 6}, {kResponse}, {{"as the", "over", "because", "as better", "as best", "as your"}, 4}}},
    {Suspicion::choice, {{kChoose}, {kNumbered, 6}}},
    {Suspicion::choice,
     {{{"give", "award", "rate", "rank", "score"}},
      {kThis, 6},
      {kResponse},
      {{"highest", "full marks", "maximum", "full score", "the top score", "10", "first"}, 16}}},
    {Suspicion::choice, {{kNumbered}, {{"is", "should be", "wins", "must be"}, 2}, {kBetter, 12}}},
    {Suspicion::choice,
     {{{"this response", "my response", "this answer", "my answer", "this reply"}},
      {{"is", "should be", "must be"}, 2},
      {kBetter, 12},
      {kOther, 12}}},
    {Suspicion::choice, {{kBetter}, {{"response is", "answer is", "output is"}, 2}, {kNumbered, 8}}},
    {Suspicion::choice, {{kChooseZh}, {kThisZh, 6}}},
    {Suspicion::choice, {{kChooseZh}, {kNumberedZh, 6}}},
    {Suspicion::choice, {{kNumberedZh}, {kBetterZh, 9}}},
    {Suspicion::choice, {{kThisZh}, {kBetterZh, 9}}},
};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; }

/// Lower case, emphasis dropped.
std::string lower_plain(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    if (c != '*' && c != '`') result += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return result;
}

/// Each run of white space one space.
std::string on_one_line(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    const bool space = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (!space || !result.ends_with(' ')) result += space ? ' ' : c;
  }
  return result;
}

/// The next place from `from` on where a word of the slot stands by itself; npos if there is none before `limit`.
std::size_t find_word(std::string_view text, std::string_view word, std::size_t from, std::size_t limit) {
  for (std::size_t at = from;
       (at = text.substr(0, std::min(text.size(), limit + word.size())).find(word, at)) != std::string_view::npos; ++at) {
    const std::size_t end = at + word.size();
    const bool starts = !is_letter(word.front()) || at == 0 || !is_letter(text[at - 1]);
    if (starts && (!is_letter(word.back()) || end == text.size() || !is_letter(text[end]))) return at;
  }
  return std::string_view::npos;
}

/// Whether the slots from number `slot` on follow behind `end`.
bool follows(std::string_view text, const std::vector<Slot>& slots, std::size_t slot, std::size_t end) {
  if (slot == slots.size()) return true;
  std::size_t limit = std::min(text.size(), end + slots[slot].gap);
  for (const std::string_view stop : kBreaks) limit = std::min(limit, text.substr(0, limit).find(stop, end));
  return std::ranges::any_of(slots[slot].words, [&](std::string_view word) {
    const std::size_t at = find_word(text, word, end, limit);
    return at != std::string_view::npos && follows(text, slots, slot + 1, at + word.size());
  });
}

bool matches(std::string_view text, const Pattern& pattern) {
  return std::ranges::any_of(pattern.slots.front().words, [&](std::string_view word) {
    for (std::size_t at = 0; (at = find_word(text, word, at, text.size())) != std::string_view::npos; at += word.size()) {
      if (follows(text, pattern.slots, 1, at + word.size())) return true;
    }
    return false;
  });
}

/// "Choose A." A letter or number must end its sentence or line, or it is the beginning of something else, as in "choose a
/// colour".
/// @param text  in lower case, with its line ends
bool chooses_letter(std::string_view text) {
  static const Words kVerbs = {"choose ", "pick ", "select ", "vote for ", "prefer ", "请选", "请选择", "请选 ", "请选择 "};
  return std::ranges::any_of(kVerbs, [&](std::string_view verb) {
    for (std::size_t at = 0; (at = find_word(text, verb, at, text.size())) != std::string_view::npos; at += verb.size()) {
      std::string_view rest = text.substr(at + verb.size());
      if (rest.empty() || std::string_view("ab12").find(rest.front()) == std::string_view::npos) continue;
      rest.remove_prefix(1);
      if (rest.empty() || std::string_view("\r\n.!").find(rest.front()) != std::string_view::npos || rest.starts_with("。") ||
          rest.starts_with("！"))
        return true;
    }
    return false;
  });
}

bool holds_verdict(std::string_view text) {
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = text.substr(start, end - start);
    for (const judge::AnswerForm form : {judge::AnswerForm::verdict_line, judge::AnswerForm::json_schema}) {
      if (judge::parse_verdict(line, form) <= preference::Verdict::tie) return true;
    }
    start = end + 1;
  }
  return false;
}

}  // namespace

std::string_view to_string(Suspicion kind) {
  constexpr std::array<std::string_view, 6> kNames = {"none", "delimiter", "verdict", "instruction", "address", "choice"};
  return kNames[static_cast<std::size_t>(kind)];
}

Suspicion find_suspicion(std::string_view text) {
  const std::string lower = lower_plain(text), line = on_one_line(lower);
  for (const std::string_view delimiter : kDelimiters) {
    if (line.find(delimiter) != std::string::npos) return Suspicion::delimiter;
  }
  if (holds_verdict(text) || line.find("[[a]]") != std::string::npos || line.find("[[b]]") != std::string::npos)
    return Suspicion::verdict;
  for (const Pattern& pattern : kPatterns) {
    if (matches(line, pattern)) return pattern.kind;
  }
  return chooses_letter(lower) ? Suspicion::choice : Suspicion::none;
}

}  // namespace dmoerm::label
