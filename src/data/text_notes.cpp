#include "data/text_notes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <compare>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.h"
#include "preference/row_checks.h"
#include "tokenizer/unicode.h"

namespace dmoerm::data {
namespace {

using preference::Group;
using preference::Response;

template <class Is>
bool any_text(const Group& group, const Is& is) {
  return std::ranges::any_of(group.prompt, is, &preference::Message::content) ||
         std::ranges::any_of(group.responses, is, &Response::text);
}

/// Whether a text holds a byte-order mark, which joined files leave in texts.
bool holds_mark(std::string_view text) { return text.find("\uFEFF") != std::string_view::npos; }

/// Whether a text holds characters that a program could not read.
bool holds_unread(std::string_view text) { return text.find("\uFFFD") != std::string_view::npos; }

/// Whether a text holds UTF-8 that was read as Latin-1 or Windows-1252 and written as UTF-8 again, as â€™ for a quotation mark.
bool is_read_wrongly(std::string_view text) {
  for (const std::string_view sequence : {"â€™", "â€œ", "â€“", "â€¦", "Ã©", "Ã¨", "Ã¼", "Ã¶", "Ã¤", "Ã±", "Ã¡", "Ã³"}) {
    if (text.find(sequence) != std::string_view::npos) return true;
  }
  return false;
}

/// Whether a text is little but letters like Ä, ã and º: GB18030, Shift-JIS or the like that was read as Latin-1.
bool is_another_alphabet(std::string_view text) {
  constexpr std::size_t kFew = 6;
  const auto latin = static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return c == '\xC2' || c == '\xC3'; }));
  return latin >= kFew && 3 * latin > 2 * utf8_characters(text);
}

/// Whether a text begins with a mark of a chat template, so that a template has been written into it already.
bool begins_as_template(std::string_view text) {
  constexpr std::array<std::string_view, 21> kMarks = {"<|im_start|>",
                                                       "<s>",
                                                       "<bos>",
                                                       "GPT4 Correct User:",
                                                       "<|begin_of_text|>",
                                                       "<|start_header_id|>",
                                                       "<s>[INST]",
                                                       "[INST]",
                                                       "<start_of_turn>",
                                                       "<bos><start_of_turn>",
                                                       "<|user|>",
                                                       "<|system|>",
                                                       "<|assistant|>",
                                                       "<|prompter|>",
                                                       "<|startoftext|>",
                                                       "<|START_OF_TURN_TOKEN|>",
                                                       "<|start|>",
                                                       "<|channel|>",
                                                       "<<SYS>>",
                                                       "[gMASK]",
                                                       "<｜begin▁of▁sentence｜>"};
  text = trim(text);
  return std::ranges::any_of(kMarks, [&](std::string_view mark) { return text.starts_with(mark); });
}

/// Whether a text begins with a speaker's name, and a later line with the other's, as in templates without special tokens.
bool begins_as_transcript(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kSpeakers = {{{"USER:", "ASSISTANT:"},
                                                                                        {"User:", "Assistant:"},
                                                                                        {"Human:", "Assistant:"},
                                                                                        {"Human:", "AI:"},
                                                                                        {"### Human:", "### Assistant:"},
                                                                                        {"### Instruction:", "### Response:"},
                                                                                        {"prompter:", "assistant:"},
                                                                                        {"user:", "\nassistant:"},
                                                                                        {"human:", "\nassistant:"},
                                                                                        {"system:", "\nassistant:"},
                                                                                        {"System:", "\nUser:"},
                                                                                        {"<human>:", "<bot>:"},
                                                                                        {"Question:", "\nAnswer:"},
                                                                                        {"Q:", "\nA:"}}};
  text = trim(text);
  return std::ranges::any_of(kSpeakers, [&](const auto& pair) {
    const std::size_t at = text.starts_with(pair.first) ? text.find(pair.second) : std::string_view::npos;
    return at != std::string_view::npos && (text[at] == '\n' || text[at - 1] == '\n' || text[at - 1] == ' ');
  });
}

/// Whether a text begins with a speaker's name on a line of its own, and a later line ends with that of the assistant: what is
/// left of a chat template whose special tokens were skipped in decoding.
bool begins_as_decoded(std::string_view text) {
  text = trim(text);
  const std::string_view first = text.substr(0, text.find('\n'));
  if (first != "system" && first != "developer" && first != "user") return false;
  for (const std::string_view name : {"assistant", "\nmodel"}) {  // Llama 3 has no line end before the name
    for (std::size_t at = 0; (at = text.find(name, at)) != std::string_view::npos; at += name.size()) {
      const std::string_view after = text.substr(at + name.size());
      if (after.empty() || after.front() == '\n') return true;
    }
  }
  return false;
}

/// Whether a response begins as a decoded turn of the assistant.
bool begins_as_turn(std::string_view response) {
  response = trim(response);
  const std::string_view first = response.substr(0, response.find('\n'));
  return (first == "assistant" || first == "model") && first.size() < response.size();
}

/// Whether a text has a placeholder of a picture, video, sound or file that may also be a word of the text.
bool may_show_file(std::string_view text) {
  const std::string words = lower(text);
  if (std::ranges::any_of(std::array{"[image]", "[video]", "[audio]", "{image}", "{video}", "{audio}", "<media>"},
                          [&](std::string_view mark) { return words.find(mark) != std::string::npos; }))
    return true;
  if (preference::shows_picture(text)) return true;
  const std::size_t begin = words.find("<file>"), end = words.find("</file>", begin);
  return begin != std::string::npos && end != std::string::npos && words.find('\n', begin) > end;
}

/// Whether a response ends with the mark by which a chat template ends a turn or a text.
bool ends_as_template(std::string_view text) {
  text = trim(text);
  const std::string_view mark = end_mark_of(text);
  return !mark.empty() && text.size() > mark.size();
}

/// Whether a response goes on with turns of its own, as models write that were trained on transcripts.
bool runs_on(std::string_view response) {
  const std::size_t turn = response.find("\nuser\n");  // as a decoded template has it; a list of files may have the word alone
  if (turn != std::string_view::npos && begins_as_decoded(response.substr(turn))) return true;
  return std::ranges::any_of(std::array{"\n\nHuman:", "\n\nAssistant:", "\n### Instruction:", "<|im_start|>user"},
                             [&](std::string_view mark) { return response.find(mark) != std::string_view::npos; });
}

/// Whether a text has marks of HTML in place of characters, and no HTML that they would belong to.
bool has_entities(std::string_view text) {
  if (text.find("</") != std::string_view::npos || text.find("```") != std::string_view::npos) return false;
  return std::ranges::any_of(std::array{"&#39;", "&quot;", "&lt;", "&gt;", "&#x27;"},
                             [&](std::string_view entity) { return text.find(entity) != std::string_view::npos; });
}

/// Whether a text is wholly a list or an object, as JSON or Python write it.
bool is_written_list(std::string_view text) {
  text = trim(text);
  if (text.size() < 4) return false;
  const char first = text.front(), last = text.back(),
             inner = text[std::min(text.find_first_not_of(" \t\r\n", 1), text.size() - 1)];
  return (inner == '"' || inner == '\'') && ((first == '[' && last == ']') || (first == '{' && last == '}'));
}

/// Whether the prompt and all responses are such texts, as of a table whose cells are lists.
bool has_written_lists(const Group& group) {
  return group.prompt.size() == 1 && is_written_list(group.prompt.front().content) &&
         std::ranges::all_of(group.responses, is_written_list, &Response::text);
}

/// Whether a text has no line end, and line ends written out as \n behind sentences or twice.
bool has_written_line_ends(std::string_view text) {
  if (text.find('\n') != std::string_view::npos || text.find('`') != std::string_view::npos) return false;
  for (std::size_t at = 1; (at = text.find("\\n", at)) != std::string_view::npos; at += 2) {
    const std::string_view after = text.substr(at + 2);
    const bool sentence = std::string_view(".:!?").find(text[at - 1]) != std::string_view::npos;
    if (after.starts_with("\\n") || (sentence && !after.empty() && after.front() != '"' && after.front() != '\'')) return true;
  }
  return false;
}

/// Whether a text stands in quotation marks as a whole, which has none inside.
bool is_quoted(std::string_view text) {
  text = trim(text);
  return text.size() > 2 && text.front() == '"' && text.find('"', 1) == text.size() - 1;
}

/// Whether the prompt and all responses are such texts, as of a table that was written twice.
bool is_quoted_throughout(const Group& group) {
  return group.prompt.size() == 1 && is_quoted(group.prompt.front().content) &&
         std::ranges::all_of(group.responses, is_quoted, &Response::text);
}

/// Whether a text is bytes as Python prints them: b'...'.
bool is_printed_bytes(std::string_view text) {
  text = trim(text);
  return text.size() > 3 && text[0] == 'b' && (text[1] == '\'' || text[1] == '"') && text.back() == text[1];
}

/// Whether a text may have letters whose accents, voicing marks or parts are characters of their own.
bool may_be_decomposed(std::string_view text) {
  for (const std::string_view mark : {"\xCC", "\xCD", "\xE1\x84", "\xE1\x85", "\xE3\x82\x99", "\xE3\x82\x9A"}) {
    if (text.find(mark) != std::string_view::npos) return true;
  }
  return false;
}

/// Number of bytes of the white space or the character without width at text[at]; 0 if there is neither.
std::size_t space_at(std::string_view text, std::size_t at) {
  if (text[at] == ' ' || (text[at] >= '\t' && text[at] <= '\r')) return 1;
  for (const std::string_view wide : {"\u00A0", "\u3000", "\u200B", "\uFEFF"}) {
    if (text[at] == wide[0] && text.substr(at).starts_with(wide)) return wide.size();
  }
  return 0;
}

/// A text as a reader sees it: one space for each run of white space, none at its ends, and letters as one character each (NFC).
/// It is read byte by byte, because most texts differ soon.
class PlainText {
 public:
  explicit PlainText(std::string_view text) : text_(text) {
    if (may_be_decomposed(text))
      tokenizer::unicode::append_normalized(composed_, tokenizer::unicode::repair(text), tokenizer::unicode::Form::nfc);
  }
  [[nodiscard]] std::string_view given() const { return text_; }

  friend std::strong_ordering operator<=>(const PlainText& a, const PlainText& b) {
    Bytes left{a.seen()}, right{b.seen()};
    for (;;) {
      const int l = left.next(), r = right.next();
      if (l != r || l == Bytes::kEnd) return l <=> r;
    }
  }
  friend bool operator==(const PlainText& a, const PlainText& b) { return (a <=> b) == 0; }

 private:
  struct Bytes {
    static constexpr int kEnd = -1;
    std::string_view text;
    std::size_t at = 0;
    bool begun = false;

    int next() {
      const std::size_t before = at;
      while (at < text.size()) {
        const std::size_t width = space_at(text, at);
        if (width == 0) break;
        at += width;
      }
      if (at == text.size()) return kEnd;
      if (at > before && begun) return ' ';
      begun = true;
      return static_cast<unsigned char>(text[at++]);
    }
  };
  [[nodiscard]] std::string_view seen() const { return composed_.empty() ? text_ : composed_; }

  std::string_view text_;
  std::string composed_;  ///< if composing may change the text
};

/// Whether two responses are different texts that a reader cannot tell apart.
bool has_twins(const Group& group) {
  std::vector<PlainText> texts;
  for (const Response& r : group.responses) texts.emplace_back(r.text);
  std::ranges::sort(texts);
  return std::ranges::adjacent_find(
             texts, [](const PlainText& a, const PlainText& b) { return a == b && a.given() != b.given(); }) != texts.end();
}

/// Whether a text is what programs write for an empty cell of a table, or a site for a text that is gone.
bool stands_for_nothing(std::string_view text) {
  constexpr std::array<std::string_view, 16> kWords = {"None",      "nan",       "NaN",  "null",      "NULL", "N/A",
                                                       "<NA>",      "undefined", "NA",   "[deleted]", "NIL",  "[removed]",
                                                       "[no text]", "&nbsp;",    "<br>", "\"\""};
  text = trim(text);
  return text.size() <= 9 && std::ranges::find(kWords, text) != kWords.end();
}

}  // namespace

std::vector<std::string> text_notes(const Group& group) {
  std::vector<std::string> notes;
  const auto note_if = [&](bool odd, const char* words) {
    if (odd) notes.emplace_back(words);
  };
  note_if(any_text(group, holds_mark), "rows with a byte-order mark (U+FEFF) inside a text");
  note_if(any_text(group, holds_unread), "rows with the character U+FFFD, which stands for what a program could not decode");
  note_if(any_text(group, is_read_wrongly),
          "rows with a text like \"itâ€™s\" or \"cafÃ©\", which is UTF-8 that was read in another encoding: read the source as "
          "UTF-8");
  note_if(any_text(group, is_another_alphabet),
          "rows with a text of little but letters like Ä, ã and º, which may be GB18030, Shift-JIS or the like that was read in "
          "another "
          "encoding: read the source in its own");
  const bool prompt_begins = !group.prompt.empty() && (begins_as_template(group.prompt.front().content) ||
                                                       begins_as_transcript(group.prompt.front().content));
  note_if(
      prompt_begins || std::ranges::any_of(group.responses, begins_as_template, &Response::text),
      "rows whose prompt or response begins with a mark of a chat template (<|im_start|>, [INST], ...), so that it is written "
      "twice: give messages, or the bare text");
  const bool decoded = any_text(group, begins_as_decoded);
  note_if(
      decoded || std::ranges::any_of(group.responses, begins_as_turn, &Response::text),
      "rows with a text that has lines of nothing but user, assistant, system or model, as a chat template leaves them that was "
      "decoded without its special tokens: give messages, or the bare text");
  note_if(std::ranges::any_of(group.prompt, may_show_file, &preference::Message::content),
          "rows whose prompt has [image], {image}, ![](a.png), <file>...</file> or the like: leave them out, if a picture or "
          "file stood there, "
          "because only text is read");
  note_if(std::ranges::any_of(group.responses, ends_as_template, &Response::text),
          "rows with a response that ends with a mark of a chat template (<|im_end|>, </s>, ...), so that it is written twice: "
          "give the bare text");
  note_if(!decoded && std::ranges::any_of(group.responses, runs_on, &Response::text),
          "rows with a response that goes on with turns of its own (Human: ...): cut it before them");
  note_if(
      !group.prompt.empty() && group.prompt.back().role == "assistant",
      "rows whose prompt ends with a message of the assistant: the response is read as another message, not as its continuation");
  note_if(any_text(group, has_entities),
          "rows with characters as HTML writes them (&#39;, &quot;, &lt;): write the characters, if no HTML is meant");
  note_if(has_written_lists(group),
          "rows whose prompt and responses are all lists or objects in JSON or Python, such as [\"Hello\"], which are read as "
          "texts: write the texts themselves, or messages");
  note_if(any_text(group, has_written_line_ends),
          "rows with a text whose line ends are written out as \\n: write them as line ends, which JSON has as \\n between plain "
          "quotes");
  note_if(is_quoted_throughout(group),
          "rows whose prompt and responses all stand in quotation marks of their own: take them off, if the texts have none");
  note_if(any_text(group, is_printed_bytes),
          "rows with a text like b'...', which is bytes that Python printed: decode them before they are written");
  const bool empty_prompt = group.prompt.size() == 1 && stands_for_nothing(group.prompt.front().content);
  note_if(empty_prompt || std::ranges::any_of(group.responses, stands_for_nothing, &Response::text),
          "rows with a prompt or response that is nothing but None, nan, null, N/A, [deleted] or the like, as tables and sites "
          "write an "
          "empty one: leave these rows out, if they are empty");
  for (const std::string& key : group.unread)
    notes.push_back(
        fmt::format("rows with a message that has \"{}\" beside its text, which is not read: put it into the text, if "
                    "it belongs to the response",
                    key));
  note_if(group.raters_alone, kRatersAloneNote);
  note_if(
      has_twins(group),
      "rows with two responses that differ only in white space, or in how accents are written (é as one character or as two): "
      "a reader cannot tell them apart, so leave these rows out");
  return notes;
}

}  // namespace dmoerm::data
