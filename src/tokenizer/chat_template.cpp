#include "tokenizer/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "tokenizer/unicode.h"

namespace dmoerm::tokenizer {
namespace {

struct Source {
  std::string_view name, text;
};

// Each line is for one role. "other" is any other role; "answer" introduces the response and belongs to the prompt. Rendering
// depends on these texts only, so that their digest identifies it. \n is a line end.
constexpr std::array<Source, 5> kSources = {{
    {"chatml",
     R"(system: {<|im_start|>}system\n{content}{<|im_end|>}\n
user: {<|im_start|>}user\n{content}{<|im_end|>}\n
assistant: {<|im_start|>}assistant\n{content}{<|im_end|>}\n
other: {<|im_start|>}{role}\n{content}{<|im_end|>}\n
answer: {<|im_start|>}assistant\n
response: {content}{<|im_end|>}
)"},
    {"llama3",
     R"(start: {<|begin_of_text|>}
system: {<|start_header_id|>}system{<|end_header_id|>}\n\n{trimmed}{<|eot_id|>}
user: {<|start_header_id|>}user{<|end_header_id|>}\n\n{trimmed}{<|eot_id|>}
assistant: {<|start_header_id|>}assistant{<|end_header_id|>}\n\n{trimmed}{<|eot_id|>}
other: {<|start_header_id|>}{role}{<|end_header_id|>}\n\n{trimmed}{<|eot_id|>}
answer: {<|start_header_id|>}assistant{<|end_header_id|>}\n\n
response: {trimmed}{<|eot_id|>}
)"},
    // The system message goes before the next user content, followed by what "folded system" says.
    {"mistral",
     R"(start: {<s>}
folded system: {content}\n\n
user: {[INST]} {content} {[/INST]}
assistant:  {content}{</s>}
other: {[INST]} {content} {[/INST]}
response:  {content}{</s>}
)"},
    {"plain",
     R"(start: {head}
between: \n
system: {content}
user: {content}
assistant: {content}
other: {content}
answer: {sep|\n}
response: {content}{tail}
)"},
    {"dmoerm",
     R"(start: {head}
system: System: {content}\n
user: User: {content}\n
assistant: Assistant: {content}\n
other: User: {content}\n
answer: Assistant:{sep|}
response:  {content}{end}
)"},
}};

constexpr std::array<std::string_view, 7> kEnds = {"[SEP]",           "<|im_end|>",    "<|eot_id|>", "</s>",
                                                   "<|end_of_text|>", "<|endoftext|>", "<eos>"};

std::string_view without_space_at_start(std::string_view text) {
  while (!text.empty()) {
    std::size_t at = 0;
    if ((unicode::flags(unicode::next(text, at)) & unicode::kSpace) == 0) break;
    text.remove_prefix(at);
  }
  return text;
}

std::string_view without_space_at_end(std::string_view text) {
  while (!text.empty()) {
    std::size_t at = text.size();
    if ((unicode::flags(unicode::previous(text, at)) & unicode::kSpace) == 0) break;
    text = text.substr(0, at);
  }
  return text;
}

std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool line_end = text.substr(i).starts_with("\\n");
    out += line_end ? '\n' : text[i];
    if (line_end) ++i;
  }
  return out;
}

}  // namespace

/// Collects the ids of a rendering. Text is kept until a token or the end follows, so that words of the template and contents are
/// tokenised together.
class ChatTemplate::Rendering {
 public:
  /// @param as_text  write the tokens out instead of tokenising
  Rendering(const ChatTemplate& chat, bool as_text)
      : tokenizer_(*chat.tokenizer_), special_in_text_(chat.special_in_text_), as_text_(as_text) {}

  void add(const std::vector<Element>& line, std::string_view role, std::string_view content) {
    for (const Element& element : line) add(element, role, content);
  }

  /// A turn of a model's own template. Its tokens take white space beside them as they do where the tokenizer finds them.
  void add(const ChatForm::Turn& turn) {
    using Kind = ChatForm::Element::Kind;
    for (const ChatForm::Element& element : *turn.edge) {
      if (element.kind == Kind::text) {
        add_text(element.text);
      } else if (element.kind == Kind::content) {
        std::string_view text = turn.content;
        for (const ContentStep& step : element.steps) text = step.apply(text);
        add_text(text);
      } else {
        const Tokenizer::TakesSpace takes = tokenizer_.takes_space(element.text);
        if (takes.before && !as_text_) text_.resize(without_space_at_end(text_).size());
        if (!add_token(element.text)) add_text(element.text);
        skips_space_ = takes.behind && !as_text_;
      }
    }
  }

  std::vector<std::int32_t> finish() {
    flush();
    return std::move(ids_);
  }
  std::string finish_text() { return std::move(text_); }

 private:
  void add(const Element& element, std::string_view role, std::string_view content) {
    using Kind = Element::Kind;
    switch (element.kind) {
      case Kind::text:
        text_ += element.text;
        break;
      case Kind::content:
        text_ += content;
        break;
      case Kind::trimmed:
        text_ += trim(content);
        break;
      case Kind::role:
        text_ += role;
        break;
      case Kind::head:
        add(tokenizer_.leading_ids());
        break;
      case Kind::tail:
        add(tokenizer_.trailing_ids());
        break;
      case Kind::token:
        if (!add_token(element.text)) text_ += element.text;
        break;
      case Kind::separator:
        if (!add_token("[SEP]")) text_ += element.text;
        break;
      case Kind::end:
        std::ranges::any_of(kEnds, [this](std::string_view token) { return add_token(token); });
        break;
    }
  }

  /// Text of a model's own template or content, without the white space that the token before it takes.
  void add_text(std::string_view text) {
    if (skips_space_) text = without_space_at_start(text);
    if (!text.empty()) skips_space_ = false;
    text_ += text;
  }

  void add(const std::vector<std::int32_t>& ids) {
    if (ids.empty()) return;
    if (as_text_) {
      for (const std::int32_t id : ids) text_ += tokenizer_.token_of(id);
      return;
    }
    flush();
    ids_.insert(ids_.end(), ids.begin(), ids.end());
  }

  bool add_token(std::string_view token) {
    const auto id = tokenizer_.id_of(token);
    if (id) add({*id});
    return id.has_value();
  }

  void flush() {
    if (text_.empty()) return;
    const auto ids = tokenizer_.encode(text_, special_in_text_, ids_.empty());
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    text_.clear();
  }

  const Tokenizer& tokenizer_;
  bool special_in_text_, as_text_;
  bool skips_space_ = false;
  std::vector<std::int32_t> ids_;
  std::string text_;
};

ChatTemplate::ChatTemplate(std::string_view name, const Tokenizer& tokenizer, bool special_in_text)
    : name_(name), tokenizer_(&tokenizer), special_in_text_(special_in_text) {
  const auto source = std::ranges::find(kSources, name, &Source::name);
  if (source == kSources.end()) {
    if (!name.ends_with(".json") && name.find('/') == std::string_view::npos)
      throw ConfigError(
          "unknown-chat-template",
          fmt::format("chat template \"{}\" is unknown; expected one of {}, or a file that launch/pin_chat_template.py wrote",
                      name, fmt::join(names(), ", ")));
    *this = ChatTemplate(ChatForm::load(name), tokenizer, special_in_text);
    return;
  }
  text_ =
      fmt::format("template: {}\n{}special tokens in contents: {}\n", name, source->text, special_in_text ? "parsed" : "data");
  digest_ = sha256_hex(text_);
  read_lines(source->text);
}

ChatTemplate::ChatTemplate(ChatForm form, const Tokenizer& tokenizer, bool special_in_text)
    : name_(form.name()), form_(std::move(form)), tokenizer_(&tokenizer), special_in_text_(special_in_text) {
  text_ = fmt::format("form: {}\nspecial tokens in contents: {}\n", form_->canonical(), special_in_text ? "parsed" : "data");
  digest_ = sha256_hex(text_);
  for (const auto& [name, elements] : form_->edges()) {
    for (const ChatForm::Element& element : elements) {
      if (element.kind == ChatForm::Element::Kind::token) note_missing(element.text);
    }
  }
}

void ChatTemplate::note_missing(const std::string& token) {
  if (tokenizer_->id_of(token) || std::ranges::find(missing_tokens_, token) != missing_tokens_.end()) return;
  missing_tokens_.push_back(token);
}

void ChatTemplate::read_lines(std::string_view source) {
  using Kind = Element::Kind;
  static const std::map<std::string_view, Kind> kinds = {{"content", Kind::content}, {"trimmed", Kind::trimmed},
                                                         {"role", Kind::role},       {"head", Kind::head},
                                                         {"tail", Kind::tail},       {"end", Kind::end}};
  for (std::string_view rest = source; !rest.empty(); rest.remove_prefix(rest.find('\n') + 1)) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    const std::size_t colon = line.find(": ");
    std::vector<Element>& elements = lines_[std::string(line.substr(0, colon))];
    for (line.remove_prefix(colon + 2); !line.empty();) {
      const std::size_t open = std::min(line.find('{'), line.size()), close = std::min(line.find('}'), line.size());
      if (open > 0) {
        elements.push_back({Kind::text, unescaped(line.substr(0, open))});
        line.remove_prefix(open);
        continue;
      }
      const std::string_view inside = line.substr(1, close - 1);
      const auto kind = kinds.find(inside);
      if (kind != kinds.end())
        elements.push_back({kind->second, ""});
      else if (inside.starts_with("sep|"))
        elements.push_back({Kind::separator, unescaped(inside.substr(4))});
      else
        elements.push_back({Kind::token, std::string(inside)});
      line.remove_prefix(close + 1);
      if (elements.back().kind == Kind::token) note_missing(elements.back().text);
    }
  }
}

std::vector<std::string> ChatTemplate::names() {
  std::vector<std::string> names;
  for (const Source& source : kSources) names.emplace_back(source.name);
  return names;
}

const std::vector<ChatTemplate::Element>& ChatTemplate::line(std::string_view role) const {
  static const std::vector<Element> none;
  const auto found = lines_.find(role);
  return found == lines_.end() ? none : found->second;
}

void ChatTemplate::render_prompt(std::span<const preference::Message> prompt, Rendering& out) const {
  const bool folds = lines_.contains("folded system");
  const std::string behind_system = folds ? line("folded system").back().text : "";
  out.add(line("start"), "", "");
  std::string system;
  bool first = true;
  const auto message = [&](std::string_view role, std::string_view content) {
    if (!first) out.add(line("between"), "", "");
    first = false;
    const bool known = role == "system" || role == "user" || role == "assistant";
    out.add(line(known ? role : "other"), role, content);
  };
  for (const auto& [role, content] : prompt) {
    if (folds && role == "system") {
      system += content + behind_system;
    } else if (role == "assistant") {
      message(role, content);
    } else {
      message(role, system + content);
      system.clear();
    }
  }
  if (!system.empty()) message("user", std::string_view(system).substr(0, system.size() - behind_system.size()));
  out.add(line("answer"), "", "");
}

void ChatTemplate::render(std::span<const preference::Message> prompt, std::optional<std::string_view> response,
                          Rendering& out) const {
  if (form_) {
    for (const ChatForm::Turn& turn : form_->turns(prompt, response)) out.add(turn);
    return;
  }
  render_prompt(prompt, out);
  if (response) out.add(line("response"), "", *response);
}

std::vector<std::int32_t> ChatTemplate::render_prompt(std::span<const preference::Message> prompt) const {
  Rendering out(*this, false);
  render(prompt, std::nullopt, out);
  return out.finish();
}

std::vector<std::int32_t> ChatTemplate::render(std::span<const preference::Message> prompt, std::string_view response) const {
  Rendering out(*this, false);
  render(prompt, response, out);
  return out.finish();
}

ChatTemplate::GroupIds ChatTemplate::render_group(std::span<const preference::Message> prompt,
                                                  std::span<const std::string_view> responses) const {
  Rendering begin(*this, false);  // what all renderings begin with
  GroupIds group;
  const auto finished = [&](const auto& add_rest) {
    Rendering one(begin);
    add_rest(one);
    return one.finish();
  };
  if (!form_) {
    render_prompt(prompt, begin);
    group.prompt = finished([](Rendering&) {});
    for (const std::string_view response : responses)
      group.texts.push_back(finished([&](Rendering& out) { out.add(line("response"), "", response); }));
    return group;
  }
  const std::vector<ChatForm::Turn> alone = form_->turns(prompt, std::nullopt);
  std::size_t shared = alone.size();
  std::vector<std::vector<ChatForm::Turn>> all;
  const auto same = [](const ChatForm::Turn& a, const ChatForm::Turn& b) { return a.edge == b.edge && a.content == b.content; };
  for (const std::string_view response : responses) {
    all.push_back(form_->turns(prompt, response));
    const auto end = alone.begin() + static_cast<std::ptrdiff_t>(shared);
    shared = static_cast<std::size_t>(std::mismatch(alone.begin(), end, all.back().begin(), all.back().end(), same).first -
                                      alone.begin());
  }
  for (std::size_t i = 0; i < shared; ++i) begin.add(alone[i]);
  const auto rest_of = [&](const std::vector<ChatForm::Turn>& turns) {
    return finished([&](Rendering& out) {
      for (std::size_t i = shared; i < turns.size(); ++i) out.add(turns[i]);
    });
  };
  group.prompt = rest_of(alone);
  for (const auto& turns : all) group.texts.push_back(rest_of(turns));
  return group;
}

std::string ChatTemplate::render_text(std::span<const preference::Message> prompt,
                                      std::optional<std::string_view> response) const {
  Rendering out(*this, true);
  render(prompt, response, out);
  return out.finish_text();
}

std::int64_t ChatTemplate::head_tokens() const {
  if (form_) {
    const ChatForm::Elements& start = form_->edges().at("start>user");
    const bool token = start.front().kind == ChatForm::Element::Kind::token && tokenizer_->id_of(start.front().text);
    return form_->starts_with_bos() && token ? 1 : 0;
  }
  const auto& start = line("start");
  if (start.empty()) return 0;
  if (start.front().kind == Element::Kind::head) return static_cast<std::int64_t>(tokenizer_->leading_ids().size());
  return tokenizer_->id_of(start.front().text) ? 1 : 0;
}

}  // namespace dmoerm::tokenizer
