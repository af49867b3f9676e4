#include "tokenizer/chat_form.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "tokenizer/json.h"
#include "tokenizer/unicode.h"

namespace dmoerm::tokenizer {
namespace {

using Kind = ChatForm::Element::Kind;
using nlohmann::json;

constexpr std::int64_t kSchema = 1;
constexpr std::array<std::string_view, 3> kRoles = {"system", "user", "assistant"};
constexpr std::array<std::pair<std::string_view, ContentStep::Kind>, 5> kSteps = {
    {{"strip", ContentStep::Kind::strip},
     {"lstrip", ContentStep::Kind::lstrip},
     {"rstrip", ContentStep::Kind::rstrip},
     {"after_last", ContentStep::Kind::after_last},
     {"before_first", ContentStep::Kind::before_first}}};

/// Whether Python's str.strip() removes it.
bool is_blank(char32_t c) { return (c >= 0x1c && c <= 0x1f) || (unicode::flags(c) & unicode::kSpace) != 0; }

bool is_one_of(char32_t c, std::string_view characters) {
  for (std::size_t at = 0; at < characters.size();) {
    if (unicode::next(characters, at) == c) return true;
  }
  return false;
}

std::string_view stripped(std::string_view text, std::string_view characters, bool left, bool right) {
  const auto goes = [&](char32_t c) { return characters.empty() ? is_blank(c) : is_one_of(c, characters); };
  while (left && !text.empty()) {
    std::size_t at = 0;
    if (!goes(unicode::next(text, at))) break;
    text.remove_prefix(at);
  }
  while (right && !text.empty()) {
    std::size_t at = text.size();
    if (!goes(unicode::previous(text, at))) break;
    text = text.substr(0, at);
  }
  return text;
}

/// The members of an object, if all of them are known.
void refuse_other_keys(const JsonPart& part, const std::set<std::string>& known) {
  if (!part.value().is_object()) part.fail(fmt::format("expected an object, found {}", part.value().type_name()));
  for (const auto& [key, value] : part.value().items()) {
    if (!known.contains(key)) part.fail(fmt::format("unknown key \"{}\"; known here: {}", key, fmt::join(known, ", ")));
  }
}

ContentStep read_step(const JsonPart& part) {
  const std::vector<JsonPart> words = part.items();
  if (words.empty()) part.fail("expected a step such as [\"strip\"], found an empty list");
  const auto* const kind = std::ranges::find(kSteps, words[0].text(), &std::pair<std::string_view, ContentStep::Kind>::first);
  if (kind == kSteps.end()) words[0].fail_unsupported(words[0].text(), "strip, lstrip, rstrip, after_last, before_first");
  const bool marks = kind->second == ContentStep::Kind::after_last || kind->second == ContentStep::Kind::before_first;
  const std::size_t least = marks ? 2 : 1, most = kind->second == ContentStep::Kind::after_last ? 3 : 2;
  if (words.size() < least || words.size() > most)
    part.fail(fmt::format("{} takes {} to {} texts, found {}", kind->first, least - 1, most - 1, words.size() - 1));
  ContentStep step{kind->second, words.size() > 1 ? words[1].text() : ""};
  if (words.size() > 1 && step.text.empty()) words[1].fail("must not be empty");
  if (words.size() > 2) step.strip = words[2].text();
  return step;
}

ChatForm::Element read_element(const JsonPart& part) {
  if (part.value().is_string()) return {Kind::text, part.text()};
  refuse_other_keys(part, {"token", "content"});
  if (part.value().size() != 1) part.fail("expected a text, {\"token\": TEXT} or {\"content\": STEPS}");
  if (part.has("token")) {
    if (part.at("token").text().empty()) part.at("token").fail("must not be empty");
    return {Kind::token, part.at("token").text()};
  }
  ChatForm::Element element{Kind::content, ""};
  for (const JsonPart& step : part.at("content").items()) element.steps.push_back(read_step(step));
  return element;
}

/// Every edge that a template may have: from the start or a turn to a turn; to the response; from it to the end.
std::set<std::string> possible_edges() {
  std::set<std::string> names = {"start>generation", "start>response", "response>end"};
  for (const std::string_view to : {"system", "user", "assistant"}) names.insert(fmt::format("start>{}", to));
  for (const std::string_view from : kRoles) {
    for (const std::string_view to : {"system", "user", "assistant", "generation", "response"})
      names.insert(fmt::format("{}>{}", from, to));
  }
  return names;
}

/// As the tokenizer reads it: the steps walk over whole characters.
std::string valid(std::string_view text) {
  return unicode::valid_prefix(text) < text.size() ? unicode::repair(text) : std::string(text);
}

}  // namespace

std::string_view ContentStep::apply(std::string_view content) const {
  switch (kind) {
    case Kind::strip:
      return stripped(content, text, true, true);
    case Kind::lstrip:
      return stripped(content, text, true, false);
    case Kind::rstrip:
      return stripped(content, text, false, true);
    case Kind::after_last: {
      const std::size_t at = content.rfind(text);
      if (at == std::string_view::npos) return content;
      content.remove_prefix(at + text.size());
      return strip.empty() ? content : stripped(content, strip, true, false);
    }
    case Kind::before_first: {
      const std::size_t at = content.find(text);
      return at == std::string_view::npos ? "" : content.substr(0, at);
    }
  }
  return content;
}

ChatForm ChatForm::load(const std::filesystem::path& path) {
  const std::string file = path.string();
  const json document = read_json(path);
  const JsonPart root(document, file, "");
  refuse_other_keys(root, {"schema_version", "name", "source", "proof", "sha256", "form"});
  const std::int64_t schema = root.at("schema_version").integer(0, INT64_MAX);
  if (schema != kSchema)
    root.at("schema_version")
        .fail(fmt::format("expected {}, found {}: pin the template again with this program's launch/pin_chat_template.py",
                          kSchema, schema));
  ChatForm form = parse(root.at("form").value(), root.at("name").text(), file);
  if (const std::string found = sha256_hex(form.canonical_); found != root.at("sha256").text())
    root.at("sha256").fail(fmt::format("expected {}, found {} for this form: it was damaged or edited; pin the template again",
                                       root.at("sha256").text(), found));
  return form;
}

ChatForm ChatForm::parse(const json& form, std::string name, const std::string& place) {
  const JsonPart root(form, place, "form");
  refuse_other_keys(root, {"starts_with_bos", "edges"});
  ChatForm result;
  result.name_ = std::move(name);
  result.canonical_ = form.dump();
  result.starts_with_bos_ = root.at("starts_with_bos").boolean();
  const JsonPart edges = root.at("edges");
  refuse_other_keys(edges, possible_edges());
  for (const auto& [key, value] : edges.value().items()) {
    const JsonPart edge(value, place, "form.edges." + key);
    Elements& elements = result.edges_[key];
    for (const JsonPart& element : edge.items()) elements.push_back(read_element(element));
    const bool has_content = std::ranges::any_of(elements, [](const Element& e) { return e.kind == Kind::content; });
    const bool wants_content = !key.ends_with(">generation") && !key.ends_with(">end");
    if (has_content != wants_content) edge.fail(wants_content ? "expected a content" : "expected no content, found one");
  }
  std::vector<const char*> needed = {"start>user",      "user>assistant", "assistant>user",
                                     "user>generation", "user>response",  "response>end"};
  if (std::ranges::any_of(result.edges_, [](const auto& edge) { return edge.first.ends_with(">system"); }))
    needed.push_back("system>user");
  for (const char* key : needed) {
    if (!edges.has(key)) edges.fail(fmt::format("\"{}\" is missing", key));
  }
  return result;
}

const ChatForm::Elements* ChatForm::find(std::string_view from, std::string_view to) const {
  const auto found = edges_.find(fmt::format("{}>{}", from, to));
  return found == edges_.end() ? nullptr : &found->second;
}

std::vector<ChatForm::Turn> ChatForm::turns(std::span<const preference::Message> prompt,
                                            std::optional<std::string_view> response) const {
  std::vector<Turn> turns;
  std::string_view last = "start";
  for (const preference::Message& message : prompt) {
    const auto* const known = std::ranges::find(kRoles, message.role);
    std::string_view role = known == kRoles.end() ? "user" : *known;
    if (find(last, role) == nullptr && role != last) role = "user";
    if (const Elements* edge = find(last, role)) {
      turns.push_back({edge, valid(message.content)});
      last = role;
    } else {
      turns.back().content += "\n\n" + valid(message.content);
    }
  }
  const auto lead = [&](std::string_view to) {
    const Elements* edge = find(last, to);
    return edge != nullptr ? edge : find("user", to);
  };
  if (response) {
    turns.push_back({lead("response"), valid(*response)});
    turns.push_back({find("response", "end"), ""});
  } else {
    turns.push_back({lead("generation"), ""});
  }
  return turns;
}

}  // namespace dmoerm::tokenizer
