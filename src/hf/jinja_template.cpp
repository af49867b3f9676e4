#include "hf/jinja_template.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <vector>

#include "base/text.h"
#include "preference/group.h"

namespace dmoerm::hf {
namespace {

using preference::Message;
using tokenizer::ChatForm;
using tokenizer::ChatTemplate;
using tokenizer::ContentStep;
using Edges = std::map<std::string, std::string>;  // "user>response" -> what Jinja writes of it, with the content of its end

constexpr const char *kFirst = "\x01", *kSecond = "\x02";  // contents that stand nowhere in a template

std::string jinja_string(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\\' || c == '\'') out += '\\';
    out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : std::string(1, c);
  }
  return out + "'";
}

std::string literal(std::string_view text) { return text.empty() ? "" : "{{ " + jinja_string(text) + " }}"; }

/// A named template is known by what it renders: the text between two contents.
class NamedEdges {
 public:
  explicit NamedEdges(const ChatTemplate& chat_template) : chat_(chat_template) {}

  [[nodiscard]] Edges all() const {
    Edges edges;
    for (const std::string from : {"start", "system", "user", "assistant"}) {
      for (const std::string to : {"system", "user", "assistant", "response", "generation"}) {
        if (from == "start" && (to == "generation" || to == "response")) continue;
        edges[from + ">" + to] = literal(between(from, to)) + (to == "generation" ? "" : content(to));
      }
    }
    const std::string text = chat_.render_text(std::vector<Message>{{"user", kFirst}}, kSecond);
    edges["response>end"] = literal(text.substr(text.find(kSecond) + 1));
    return edges;
  }

 private:
  [[nodiscard]] std::string between(const std::string& from, const std::string& to) const {
    std::vector<Message> turns;
    if (from == "assistant") turns.push_back({"user", "x"});
    if (from != "start") turns.push_back({from, kFirst});
    const bool ends = to == "generation" || to == "response";
    if (!ends) turns.push_back({to, kSecond});
    const std::string text =
        chat_.render_text(turns, to == "response" ? std::optional<std::string_view>(kSecond) : std::optional<std::string_view>());
    const std::size_t begin = from == "start" ? 0 : text.find(kFirst) + 1;
    return to == "generation" ? text.substr(begin) : text.substr(begin, text.find(kSecond) - begin);
  }

  /// The content of a turn, trimmed if the template trims it.
  [[nodiscard]] std::string content(const std::string& of) const {
    return trims(of) ? fmt::format("{{{{ content.strip({}) }}}}", jinja_string(kWhiteSpace)) : "{{ content }}";
  }

  /// Whether white space at a content's ends disappears. What a template writes beside the content may be white space too.
  [[nodiscard]] bool trims(const std::string& of) const {
    const auto length = [&](const std::string& text) {
      const std::vector<Message> user = {{"user", "x"}};
      return of == "response" ? chat_.render_text(user, text).size()
                              : chat_.render_text(std::vector<Message>{{"user", "x"}, {of, text}}, std::nullopt).size();
    };
    return length(std::string("  ") + kFirst + "  ") == length(kFirst);
  }

  const ChatTemplate& chat_;
};

std::string with_steps(const std::vector<ContentStep>& steps) {
  using Kind = ContentStep::Kind;
  std::string content = "content";
  for (const ContentStep& step : steps) {
    const std::string text = step.text.empty() ? "" : jinja_string(step.text);
    switch (step.kind) {
      case Kind::strip:
        content += fmt::format(".strip({})", text);
        break;
      case Kind::lstrip:
        content += fmt::format(".lstrip({})", text);
        break;
      case Kind::rstrip:
        content += fmt::format(".rstrip({})", text);
        break;
      case Kind::after_last:
        content = fmt::format("({0}.split({1})[-1]{2} if {1} in {0} else {0})", content, text,
                              step.strip.empty() ? "" : fmt::format(".lstrip({})", jinja_string(step.strip)));
        break;
      case Kind::before_first:
        content = fmt::format("({0}.split({1})[0] if {1} in {0} else '')", content, text);
        break;
    }
  }
  return "{{ " + content + " }}";
}

Edges edges_of(const ChatForm& form) {
  Edges edges;
  for (const auto& [name, elements] : form.edges()) {
    std::string& text = edges[name];
    for (const ChatForm::Element& element : elements)
      text += element.kind == ChatForm::Element::Kind::content ? with_steps(element.steps) : literal(element.text);
  }
  return edges;
}

}  // namespace

std::string jinja_template(const ChatTemplate& chat_template) {
  const Edges edges = chat_template.form() != nullptr ? edges_of(*chat_template.form()) : NamedEdges(chat_template).all();
  std::string turns, leads, end;
  for (const auto& [name, text] : edges) {
    if (name == "response>end") {
      end = text;
    } else if (name.ends_with(">generation")) {
      const std::string from = name.substr(0, name.find('>'));
      leads += fmt::format("{{%- elif add_generation_prompt and turn.last == '{}' -%}}{}", from, text);
    } else {
      turns += fmt::format("{{%- {} edge == '{}' -%}}{}", turns.empty() ? "if" : "elif", name, text);
    }
  }
  return "{%- set turn = namespace(last='start') -%}{%- for message in messages -%}{%- set role = message['role'] -%}"
         "{%- if loop.last and role == 'assistant' -%}{%- set role = 'response' -%}{%- endif -%}"
         "{%- set edge = turn.last ~ '>' ~ role -%}{%- set content = message['content'] -%}" +
         turns +
         "{%- else -%}{{ raise_exception('no turn of ' ~ role ~ ' may follow ' ~ turn.last) }}{%- endif -%}"
         "{%- set turn.last = role -%}{%- endfor -%}{%- if turn.last == 'response' -%}" +
         end + leads + "{%- endif -%}";
}

}  // namespace dmoerm::hf
