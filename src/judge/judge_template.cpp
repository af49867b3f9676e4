#include "judge/judge_template.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/files.h"
#include "base/text.h"
#include "config/yaml_map.h"

namespace dmoerm::judge {
namespace {

using config::Position;
using config::Problems;
using config::Tree;

constexpr std::array<std::string_view, 4> kRoles = {"system", "developer", "user", "assistant"};
constexpr std::size_t kIdDigits = 12;

/// Finds where a problem inside a text is in the file. YAML has unfolded and unindented the text, so the same characters are
/// searched for.
class Places {
 public:
  explicit Places(const std::string& file) : file_(file) {
    for (std::size_t i = 0; i < file.size(); ++i) {
      if (file[i] == '\n') lines_.push_back(i + 1);
    }
  }
  /// The first place of `part` at or after `where`; `where` if there is none.
  [[nodiscard]] Position find(std::string_view part, const Position& where) const {
    const auto line = static_cast<std::size_t>(where.line) - 1;
    if (line >= lines_.size()) return where;
    const std::size_t at = file_.find(part, lines_[line]);
    if (at == std::string::npos) return where;
    const auto next = std::ranges::upper_bound(lines_, at);
    const std::string_view before = file_.substr(*(next - 1), at - *(next - 1));
    const auto characters = std::ranges::count_if(before, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
    return {where.source, static_cast<int>(next - lines_.begin()), static_cast<int>(characters) + 1};
  }

 private:
  std::string_view file_;
  std::vector<std::size_t> lines_{0};  ///< Offset at which each line starts
};

/// Reads texts with placeholders and reports problems at their places.
class TextReader {
 public:
  TextReader(const std::string& file, Problems& problems) : places_(file), problems_(problems) {}

  TemplateText read(const std::string& text, const std::string& name, const Position& where, bool fields) const {
    Position from = where;
    return TemplateText::parse(text, fields, [&](std::string_view part, const std::string& message) {
      from = places_.find(part, from);
      problems_.add(from, "invalid-judge-template", name + ": " + message);
    });
  }
  /// Read a text that has no placeholders.
  std::string read_plain(config::YamlMap& map, const std::string& key, const std::string& name) const {
    const std::string text = map.text(key);
    return text.empty() ? "" : read(text, name + "." + key, map.value(key)->where, false).render({});
  }

 private:
  Places places_;
  Problems& problems_;
};

/// An answer format must show each allowed answer, exactly as the parser reads it, on a line of its own, and no other answer.
void check_answers(const std::string& text, AnswerForm form, bool ties, const Position& where, Problems& problems) {
  std::array<bool, 3> shown{};
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    const std::string line = lower(std::string_view(text).substr(start, end - start));
    const preference::Verdict verdict = parse_verdict(line, form, true);
    const bool named = std::ranges::any_of(std::array{"verdict", "判断", "结论", "裁决"},
                                           [&](const char* word) { return line.find(word) != std::string::npos; });
    if (named && verdict <= preference::Verdict::tie) shown[static_cast<std::size_t>(verdict)] = true;
    start = end + 1;
  }
  constexpr std::array<std::string_view, 3> kJson = {R"({{"verdict": "1"}})", R"({{"verdict": "2"}})", R"({{"verdict": "tie"}})"};
  constexpr std::array<std::string_view, 3> kLine = {"Verdict: 1", "Verdict: 2", "Verdict: tie"};
  for (std::size_t i = 0; i < shown.size(); ++i) {
    const bool wanted = i < 2 || ties;
    if (shown[i] == wanted) continue;
    const std::string_view example = form == AnswerForm::json_schema ? kJson[i] : kLine[i];
    problems.add(where, "invalid-judge-template",
                 wanted ? fmt::format("answer.{}: must show the answer {} on a line of its own, e.g. {}", to_string(form),
                                      to_string(static_cast<preference::Verdict>(i)), example)
                        : fmt::format("answer.{}: shows a tie, but ties is false", to_string(form)));
  }
}

int count_of(std::string_view text, std::string_view part) {
  int count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; at += part.size()) ++count;
  return count;
}

/// The conversation and responses must each occur once, in a block that they cannot close; other required fields must occur.
/// @param raw  all message texts as written
void check_fields(const std::string& raw, const std::vector<int>& counts, const Position& where, Problems& problems) {
  for (const Field field : {Field::conversation, Field::response_1, Field::response_2}) {
    const std::string_view name = kFieldNames[static_cast<std::size_t>(field)];
    const int count = counts[static_cast<std::size_t>(field)];
    const std::string block = fmt::format("<{0} {{tag}}>\n{{{0}}}\n</{0} {{tag}}>", name);
    if (count != 1) {
      problems.add(where, "invalid-judge-template",
                   fmt::format("messages: {{{}}} must occur once in them, not {} times", name, count));
    } else if (count_of(raw, block) != 1) {
      problems.add(
          where, "invalid-judge-template",
          fmt::format("messages: {{{0}}} must be on a line of its own between the lines <{0} {{tag}}> and </{0} {{tag}}>; "
                      "otherwise a text could pretend to be outside of its block",
                      name));
    }
  }
  for (const Field field : {Field::point, Field::criterion, Field::answer_format}) {
    if (counts[static_cast<std::size_t>(field)] == 0) {
      problems.add(where, "invalid-judge-template",
                   fmt::format("messages: {{{}}} is missing", kFieldNames[static_cast<std::size_t>(field)]));
    }
  }
}

}  // namespace

JudgeTemplate JudgeTemplate::load(const std::filesystem::path& path) { return parse(read_file(path), path.string()); }

JudgeTemplate JudgeTemplate::parse(const std::string& text, const std::string& file) {
  Problems problems(file, {});
  const std::optional<Tree> tree = config::parse_tree(text, 0, problems);
  problems.throw_if_any();
  const TextReader reader(text, problems);
  JudgeTemplate result;

  config::YamlMap root(*tree, "", {"name", "language", "ties", "messages", "answer", "headings", "marks"}, problems);
  result.name_ = root.text("name");
  if (result.name_.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != std::string::npos) {
    problems.add(root.value("name")->where, "invalid-judge-template",
                 "name: only letters, digits, _, . and - are allowed, because it is part of every label");
  }
  result.language_ = root.text("language");
  result.ties_ = root.truth("ties");

  std::string raw;
  std::vector<int> counts(kFieldNames.size());
  nlohmann::json content_messages = nlohmann::json::array();
  if (const Tree* messages = root.value("messages")) {
    if (messages->kind != Tree::Kind::list || messages->items.empty()) {
      problems.add(messages->where, "invalid-judge-template",
                   "messages: expected a list of messages, each with role and content");
    } else {
      for (std::size_t i = 0; i < messages->items.size(); ++i) {
        const std::string name = fmt::format("messages.{}", i);
        config::YamlMap message(messages->items[i], name, {"role", "content"}, problems);
        const std::string role = message.text("role"), content = message.text("content");
        if (!role.empty() && std::ranges::find(kRoles, role) == kRoles.end()) {
          problems.add(message.value("role")->where, "invalid-judge-template",
                       fmt::format("{}.role: {} is not one of {}", name, role, fmt::join(kRoles, ", ")));
        }
        if (content.empty()) continue;
        result.messages_.push_back({role, reader.read(content, name + ".content", message.value("content")->where, true)});
        for (std::size_t k = 0; k < counts.size(); ++k) counts[k] += result.messages_.back().text.count(static_cast<Field>(k));
        raw += content + '\n';
        content_messages.push_back({role, content});
      }
      if (!result.messages_.empty() && result.messages_.back().role != "user") {
        problems.add(messages->items.back().where, "invalid-judge-template",
                     "messages: the last one must have the role user, because the judge answers it");
      }
      check_fields(raw, counts, messages->where, problems);
    }
  }
  if (const Tree* answer = root.value("answer")) {
    config::YamlMap map(*answer, "answer", {"json_schema", "verdict_line"}, problems);
    for (const AnswerForm form : {AnswerForm::json_schema, AnswerForm::verdict_line}) {
      std::string& format = form == AnswerForm::json_schema ? result.json_schema_ : result.verdict_line_;
      const std::string key(to_string(form));
      format = reader.read_plain(map, key, "answer");
      if (!format.empty()) check_answers(format, form, result.ties_, map.value(key)->where, problems);
    }
  }
  if (const Tree* headings = root.value("headings")) {
    config::YamlMap map(*headings, "headings", {"system", "user", "assistant"}, problems);
    result.system_ = reader.read_plain(map, "system", "headings");
    result.user_ = reader.read_plain(map, "user", "headings");
    result.assistant_ = reader.read_plain(map, "assistant", "headings");
  }
  if (const Tree* marks = root.value("marks")) {
    config::YamlMap map(*marks, "marks", {"conversation", "response"}, problems);
    result.conversation_mark_ = reader.read_plain(map, "conversation", "marks");
    result.response_mark_ = reader.read_plain(map, "response", "marks");
  }
  problems.throw_if_any();

  const nlohmann::json content = {
      result.name_,        result.language_,          result.ties_,         std::move(content_messages),
      result.json_schema_, result.verdict_line_,      result.system_,       result.user_,
      result.assistant_,   result.conversation_mark_, result.response_mark_};
  result.digest_ = sha256(content.dump());
  return result;
}

std::string JudgeTemplate::id() const { return name_ + '@' + to_hex(digest_).substr(0, kIdDigits); }

std::vector<preference::Message> JudgeTemplate::render(FieldValues values, AnswerForm form) const {
  values[static_cast<std::size_t>(Field::answer_format)] = form == AnswerForm::json_schema ? json_schema_ : verdict_line_;
  std::vector<preference::Message> messages;
  for (const TemplateBlock& block : messages_) messages.push_back({block.role, block.text.render(values)});
  return messages;
}

const std::string& JudgeTemplate::heading(const std::string& role) const {
  return role == "system" ? system_ : role == "user" ? user_ : role == "assistant" ? assistant_ : role;
}

}  // namespace dmoerm::judge
