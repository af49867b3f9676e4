#include "preference/row_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <string_view>

#include "base/text.h"
#include "preference/row_error.h"

namespace dmoerm::preference {

using nlohmann::json;

namespace {

constexpr const char* kInvisible = "a prompt or response of nothing but white space and characters without width";

/// Whether a value says anything. Tables write "", "[]" or "null" where a row has none, and structures whose members are null.
bool holds_something(const json& value) {
  if (value.is_structured()) return std::ranges::any_of(value, holds_something);
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) return value.get<double>() != 0;
  if (!value.is_string()) return false;
  const std::string text = lower(trim(value.get_ref<const std::string&>()));
  constexpr std::array<std::string_view, 7> kNothing = {"", "[]", "{}", "null", "none", "nan", "[null]"};
  return std::ranges::find(kNothing, text) == kNothing.end();
}

bool cut_end(std::string_view& word, std::string_view end) {
  if (!word.ends_with(end)) return false;
  word.remove_suffix(end.size());
  return true;
}

/// Whether a key is one of images, videos or sounds, such as images, rejected_images, image_1, video_path or audio_url.
bool names_media(std::string_view key) {
  constexpr std::array<std::string_view, 8> kTypes = {"jpg", "jpeg", "png", "webp",
                                                      "mp4", "wav",  "mp3", "flac"};  // of WebDataset
  if (std::ranges::find(kTypes, key) != kTypes.end()) return true;
  for (const std::string_view beginning : {"rejected_", "chosen_", "prompt_", "input_", "question_", "query_"}) {
    if (key.starts_with(beginning)) key.remove_prefix(beginning.size());
  }
  const auto cut_form = [&] {  // how the medium is given
    for (const std::string_view end : {"_path", "_paths", "_url", "_urls", "_file", "_files", "_bytes", "_base64", "_b64",
                                       "_list", "_name", "_names", "_filepath", "_filename", "_uri"}) {
      if (cut_end(key, end)) break;
    }
  };
  cut_form();
  while (!key.empty() && key.back() >= '0' && key.back() <= '9') key.remove_suffix(1);
  cut_end(key, "_");
  cut_form();
  for (const std::string_view kind : {"image_data", "img_data", "audio_data", "video_data"}) {
    if (key == kind) return true;
  }
  if (key == "image_id" || key == "img_id") return true;  // a video's may be that of its transcript
  cut_end(key, "s");
  constexpr std::array<std::string_view, 10> kMedia = {
      "image", "img", "picture", "video", "audio", "waveform", "pixel_value", "multi_modal_data", "multimodal_data", "mm_data"};
  return std::ranges::find(kMedia, key) != kMedia.end();
}

/// Whether a key says that a row has media, and its value agrees: "has_image": true, "modality": "image+text".
bool tells_of_media(std::string_view key, const json& value) {
  constexpr std::array<std::string_view, 7> kYes = {"has_image", "has_images",    "has_video", "has_audio",
                                                    "has_media", "is_multimodal", "multimodal"};
  if (std::ranges::find(kYes, key) != kYes.end())
    return value.is_string() ? lower(trim(value.get_ref<const std::string&>())) == "true" : holds_something(value);
  if (key != "modality" && key != "modalities" && key != "input_modality" && key != "input_modalities") return false;
  if (value.is_array()) return std::ranges::any_of(value, [&](const json& one) { return tells_of_media(key, one); });
  // Every word must be a kind of input: "speech therapy" and "CT image" are what a text is about.
  constexpr std::array<std::string_view, 10> kKinds = {"text",  "and",    "image",  "images", "vision",
                                                       "video", "videos", "speech", "audio",  "multimodal"};
  constexpr std::ptrdiff_t kOfText = 2;  // the kinds that are no media
  std::string words = value.is_string() ? lower(value.get_ref<const std::string&>()) : "";
  std::ranges::replace_if(
      words, [](char c) { return c < 'a' || c > 'z'; }, ' ');
  bool media = false;
  std::istringstream stream(words);
  for (std::string word; stream >> word;) {
    const auto kind = std::ranges::find(kKinds, word);
    if (kind == kKinds.end()) return false;
    media = media || kind - kKinds.begin() >= kOfText;
  }
  return media;
}

/// The beginning of an image, video or sound that a text holds itself, data:image/png;base64,...; else "".
std::string_view media_inside(std::string_view begin) {
  for (const std::string_view type : {"data:image/", "data:audio/", "data:video/", "data:application/pdf"}) {
    if (begin.starts_with(type) && begin.find(";base64,") != std::string_view::npos) return type;
  }
  return {};
}

/// Whether a value is the path, address, type or content of an image, video or sound, or has one within it. A document may be
/// where a text is from.
bool is_media(const json& value) {
  if (value.is_object() && !value.contains("text") && !value.contains("content")) {  // else what it holds is there to be read
    const auto is = [&](const char* key, std::initializer_list<std::string_view> words) {
      const auto found = value.find(key);
      return found != value.end() && found->is_string() &&
             std::ranges::find(words, lower(found->get_ref<const std::string&>())) != words.end();
    };
    if (is("type", {"image", "image_url", "input_image", "photo", "video", "audio", "pdf", "application/pdf"}) ||
        is("mime_type", {"application/pdf"}))
      return true;
    const auto ends_as_pdf = [](const json& member) {
      return member.is_string() && lower(member.get_ref<const std::string&>()).ends_with(".pdf");
    };
    if (is("type", {"file"}) && std::ranges::any_of(value, ends_as_pdf)) return true;  // else one of a listing of code
  }
  if (value.is_structured()) return std::ranges::any_of(value, is_media);
  if (!value.is_string()) return false;
  const auto& whole = value.get_ref<const std::string&>();
  constexpr std::size_t kLongest = 2000;  // of a path or an address
  constexpr std::ptrdiff_t kBlanks = 4;   // in one, at most: a sentence may end with a file's name
  const std::string start = lower(trim(std::string_view(whole).substr(0, 64)));
  if (!media_inside(start).empty()) return true;
  for (const std::string_view kind : {"image/", "audio/", "video/"}) {  // a type of MIME
    if (start.starts_with(kind) && start.find_first_of(" ./", kind.size()) == std::string::npos) return true;
  }
  std::string text = whole.size() <= kLongest ? lower(trim(whole)) : "";
  if (std::ranges::count_if(text, [](char c) { return c == ' ' || c == '\n'; }) > kBlanks) return false;
  text.resize(std::min({text.size(), text.find('?'), text.find('#')}));
  return std::ranges::any_of(std::array{".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".mp4", ".webm",
                                        ".mov", ".avi", ".mkv", ".wav", ".mp3", ".flac", ".ogg", ".m4a"},
                             [&](std::string_view end) { return text.ends_with(end); });
}

/// Whether a key may name media, which its value then shows: a row's "media" may also be a newspaper.
bool may_name_media(std::string_view key) {
  while (!key.empty() && ((key.back() >= '0' && key.back() <= '9') || key.back() == '_')) key.remove_suffix(1);
  cut_end(key, "s");
  return std::ranges::any_of(
      std::array{"media", "attachment", "photo", "screenshot", "frame", "figure", "file", "clip", "sound", "speech"},
      [&](std::string_view name) { return key == name || key == std::string(name) + "_path"; });
}

/// The key of media within what a row tells about itself, as in {"metadata": {"images": ["a.png"]}}; "" if there is none.
std::string media_in_metadata(std::string_view key, const json& value) {
  constexpr std::array<std::string_view, 5> kAbout = {"metadata", "meta", "extra", "extra_info", "additional_info"};
  if (std::ranges::find(kAbout, key) == kAbout.end() || !value.is_object()) return "";
  for (const auto& [inner, media] : value.items()) {
    if (names_media(lower(inner)) && is_media(media)) return inner;
  }
  return "";
}

bool names_tools(std::string_view key) {
  return key == "tools" || key == "available_tools" || key == "functions" || key == "tool_calls" || key == "function_call" ||
         key == "function_calls" || key == "tool_definitions";
}

/// Further marks of single model families, in lower case.
constexpr std::array<std::string_view, 17> kMarks = {"<image_placeholder>",
                                                     "<im_patch>",
                                                     "<speech>",
                                                     "<start_of_image>",
                                                     "<image_soft_token>",
                                                     "<audio_soft_token>",
                                                     "<img_context>",
                                                     "<|vision_start|>",
                                                     "<|audio_bos|>",
                                                     "<|audio_start|>",
                                                     "<|image_start|>",
                                                     "<|video_start|>",
                                                     "<|media_pad|>",
                                                     "<|media_start|>",
                                                     "<imagehere>",
                                                     "<image_here>",
                                                     "[img]"};

bool may_begin_mark(char c) { return c == '<' || c == '[' || c == 'd' || c == 'D'; }

/// The mark of an image, video or sound that begins at `at`, such as <image>, <video> or <|image_1|>; else "".
std::string_view mark_at(std::string_view text, std::size_t at) {
  constexpr std::size_t kLongest = 64, kElement = 4096;
  if (text[at] != '<') {  // most are letters of words
    const std::string five = lower(text.substr(at, 5));
    if (five != "data:" && five != "[img]") return {};
  }
  const std::string begin = lower(text.substr(at, kLongest));
  if (const std::size_t length = media_inside(begin).size(); length > 0) return text.substr(at, length);
  for (const std::string_view mark : kMarks) {
    if (begin.starts_with(mark)) return text.substr(at, mark.size());
  }
  if (begin.starts_with("<img>") && lower(text.substr(at, kElement)).find("</img>") != std::string::npos)
    return text.substr(at, 5);
  std::size_t end = 1;
  const auto skip = [&](std::string_view word) {
    if (!std::string_view(begin).substr(end).starts_with(word)) return false;
    end += word.size();
    return true;
  };
  if (begin.front() != '<') return {};
  if (!skip("|")) skip("｜");
  if (!skip("image") && !skip("video") && !skip("audio")) return {};
  if (!skip("_pad") && (skip("_") || skip(" ") || true)) {
    while (end < begin.size() && begin[end] >= '0' && begin[end] <= '9') ++end;
  }
  if (!skip("|")) skip("｜");
  return skip(">") ? text.substr(at, end) : std::string_view();
}

/// Whether a text is the path of an image, video or sound in a file beside the data. Addresses of the web are what people write
/// in texts.
bool is_file_beside(std::string_view path) {
  const bool beside = path.find("://") == std::string_view::npos && path.find_first_of(" ()<>") == std::string_view::npos;
  return !path.empty() && beside && is_media(json(path));
}

/// The mark of a picture before a prompt on a line of its own: [image], or ![](images/1.png) or <img src="images/1.png"> with a
/// file beside the data; "" if the first line is another.
std::string_view picture_before(std::string_view prompt) {
  prompt = trim(prompt);
  const std::string_view line = trim(prompt.substr(0, prompt.find('\n')));
  if (line.size() == prompt.size()) return {};
  if (lower(line) == "[image]") return line;
  if (line.starts_with("![") && line.ends_with(')') && line.find("](") != std::string_view::npos) {
    const std::string_view target = line.substr(line.find("](") + 2);
    return is_file_beside(target.substr(0, target.size() - 1)) ? line : std::string_view();
  }
  const bool element = line.starts_with("<img src=\"") && line.ends_with('>');
  return element && is_file_beside(line.substr(10, line.substr(10).find('"'))) ? line : std::string_view();
}

/// Whether `at` is inside a block of code between lines of ```.
bool is_in_code(std::string_view text, std::size_t at) {
  constexpr std::string_view kFence = "```";
  bool inside = false;
  for (std::size_t fence = 0; (fence = text.find(kFence, fence)) < at; fence += kFence.size()) inside = !inside;
  return inside;
}

/// Whether a mark is closed with nothing or "./" in between, as in <image>./</image>, which stands in place of an image.
bool is_empty_element(std::string_view mark, std::string_view after) {
  const std::string end = "</" + std::string(mark.substr(1));
  const std::size_t close = mark.starts_with('<') ? after.find(end) : std::string_view::npos;
  const std::string_view inside = close == std::string_view::npos ? "?" : trim(after.substr(0, close));
  return inside == "./" || (inside.empty() && mark.starts_with("<image"));
}

/// Whether a text speaks about the mark, as about an element of HTML or BBCode, rather than having it in place of an image.
bool is_spoken_of(std::string_view text, std::size_t at, std::string_view mark) {
  const std::string_view after = text.substr(at + mark.size());
  if (is_in_code(text, at)) return true;
  if (is_empty_element(mark, after)) return false;
  if (lower(mark) == "[img]" && lower(after).find("[/img]") != std::string::npos) return true;
  const bool quoted = at > 0 && (text[at - 1] == '`' || text[at - 1] == '"' || text[at - 1] == '\'');
  const bool named = std::ranges::any_of(std::array{" tag", " element", " token", " placeholder"},
                                         [&](std::string_view word) { return after.starts_with(word); });
  const bool element = mark.starts_with('<') && mark != "<img>";
  return quoted || named || (element && text.find("</" + std::string(mark.substr(1))) != std::string_view::npos);
}

void expect_no_mark(std::string_view text) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (!may_begin_mark(text[at])) continue;
    const std::string_view mark = mark_at(text, at);
    if (!mark.empty() && !is_spoken_of(text, at, mark))
      throw RowError::unusable("mark-of-image", fmt::format("a text with the mark {}: only text is read", mark));
  }
}

/// Whether a text is wholly {"name": ..., "arguments": {...}}, or a list of such, as models write calls without marks.
bool is_bare_call(std::string_view text) {
  if (!text.starts_with('{') && !text.starts_with('[')) return false;
  if (text.find("\"arguments\"") == std::string_view::npos && text.find("\"parameters\"") == std::string_view::npos) return false;
  const auto is_call = [](const json& value) {
    if (!value.is_object() || !value.contains("name") || !value["name"].is_string()) return false;
    const char* key = value.contains("arguments") ? "arguments" : "parameters";
    const std::size_t others = value.contains("id") + value.contains("type");
    return value.size() == 2 + others && value.contains(key) && value[key].is_object();
  };
  const json value = json::parse(text, nullptr, false);
  if (!value.is_array()) return is_call(value);
  return !value.empty() && std::ranges::all_of(value, is_call);
}

/// Whether a text is wholly a list of calls as Python writes them, [get_weather(city="Rome")], as Llama 4 does.
bool is_python_call(std::string_view text) {
  if (!text.starts_with('[') || !text.ends_with(")]") || text.find('\n') != std::string_view::npos) return false;
  const auto name_until = [&](std::size_t from, char end) {  // place of `end` behind a name; 0 if another character comes first
    const std::size_t at = text.find(end, from);
    const std::string_view name = at == std::string_view::npos ? "" : trim(text.substr(from, at - from));
    const bool named = !name.empty() && std::ranges::all_of(name, [](char c) {
      return c == '_' || c == '.' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    });
    return named ? at : 0;
  };
  const std::size_t open = name_until(1, '(');
  return open > 0 && name_until(open + 1, '=') > 0;
}

/// The mark of a call of a tool, or of the list of tools, that begins a line behind other text: its JSON or name follows. "" if
/// there is none.
std::string_view call_behind_text(std::string_view text) {
  if (text.find('<') == std::string_view::npos && text.find("```") == std::string_view::npos) return {};
  constexpr std::array<std::string_view, 5> kBeforeCalls = {"<tool_call>", "<function_call>", "<tools>", "<tool_response>",
                                                            "<function="};
  for (const std::string_view mark : kBeforeCalls) {
    for (std::size_t at = 0; (at = text.find(mark, at)) != std::string_view::npos; at += mark.size()) {
      const std::string_view inside = trim(text.substr(at + mark.size()));
      const bool called = mark == "<function=" || inside.starts_with('{') || inside.starts_with('[');
      if ((at == 0 || text[at - 1] == '\n') && called && !is_in_code(text, at)) return mark;
    }
  }
  constexpr std::string_view kGemma = "```tool_code\n";
  const std::size_t gemma = text.find(kGemma);
  return gemma != std::string_view::npos && (gemma == 0 || text[gemma - 1] == '\n') ? kGemma.substr(0, kGemma.size() - 1)
                                                                                    : std::string_view();
}

/// Refuse a text that is a call of a tool, or its result, in the marks of a model family, or has one behind other text.
void expect_no_call(std::string_view text) {
  constexpr std::array<std::string_view, 18> kCalls = {
      "<tool_call>",         "<tool_calls>",           "<tool_response>",
      "<|tool_call|>",       "<|tool_calls|>",         "<|tool_calls_section_begin|>",
      "<|tool_call_start|>", "[TOOL_CALLS]",           "[TOOL_RESULTS]",
      "<|python_tag|>",      "<function_call>",        "<function_calls>",
      "<function=",          "<invoke name=",          "<tool_use>",
      "functools[{",         "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"};
  const std::string_view start = trim(text);
  if (is_bare_call(start) || is_python_call(start))
    throw RowError::unusable("tool-call-in-text",
                             "a text that is a tool's name with its arguments: no chat template here writes tools");
  for (const std::string_view call : kCalls) {
    if (start.starts_with(call))
      throw RowError::unusable("tool-call-in-text",
                               fmt::format("a text that begins with {}: no chat template here writes tools", call));
  }
  if (const std::string_view call = call_behind_text(text); !call.empty())
    throw RowError::unusable("tool-call-in-text", fmt::format("a text with {}: no chat template here writes tools", call));
}

/// Add the keys of reasoning in the objects within a value.
void collect_reasoning(const json& value, std::vector<std::string>& keys) {
  constexpr std::array<std::string_view, 9> kReasoning = {"reasoning_content", "reasoning",        "reasoning_details",
                                                          "reasoning_text",    "thinking",         "thinking_blocks",
                                                          "thinking_content",  "chain_of_thought", "thought"};
  if (!value.is_structured()) return;
  const bool has_text =
      value.is_object() && std::ranges::any_of(std::array{"content", "value", "text", "response", "completion", "answer"},
                                               [&](const char* key) { return value.contains(key); });
  for (const auto& [key, inner] : value.items()) {
    const bool in_part =
        inner.is_array() && (key == "content" || key == "value") && std::ranges::any_of(inner, is_reasoning_part);
    const bool reasons =
        in_part || (has_text && std::ranges::find(kReasoning, key) != kReasoning.end() && holds_something(inner));
    const std::string name = in_part ? kReasoningPart : key;
    if (reasons && std::ranges::find(keys, name) == keys.end()) keys.push_back(name);
    if (!reasons) collect_reasoning(inner, keys);
  }
}

}  // namespace

bool shows_picture(std::string_view prompt) {
  for (std::size_t at = 0; (at = prompt.find("![", at)) != std::string_view::npos; at += 2) {
    const std::string_view line = prompt.substr(at, prompt.substr(at).find('\n'));
    const std::size_t path = line.find("]("), end = line.find(')', path);
    if (path == std::string_view::npos || end == std::string_view::npos) continue;
    const std::string_view target = line.substr(path + 2, end - path - 2);
    if (!is_file_beside(target.substr(0, target.find(" \"")))) continue;  // a title may follow
    const char before = at > 0 ? prompt[at - 1] : ' ';
    if ((before == ' ' || before == '\n') && !is_in_code(prompt, at)) return true;
  }
  return false;
}

bool is_reasoning_part(const json& part) {
  constexpr std::array<std::string_view, 4> kTypes = {"thinking", "redacted_thinking", "reasoning", "thought"};
  if (!part.is_object()) return false;
  const auto type = part.find("type"), thought = part.find("thought");
  if (thought != part.end() && *thought == true) return true;
  if (type != part.end() && type->is_string())
    return std::ranges::find(kTypes, type->get_ref<const std::string&>()) != kTypes.end();
  return !part.contains("text") && part.contains("reasoningContent") && part["reasoningContent"].is_object();
}

void expect_more_than_reasoning(const json& parts, const char* key) {
  if (!parts.empty() && std::ranges::all_of(parts, is_reasoning_part))
    throw RowError::unusable("part-is-not-text", fmt::format("\"{}\" with parts of reasoning alone: only text is read", key));
}

std::vector<std::string> reasoning_keys(const json& row) {
  std::vector<std::string> keys;
  for (const auto& column : row) collect_reasoning(column, keys);  // a column of the row itself may be about the pair
  for (const char* beginning : {"initial_reason_steps", "response_prefix", "assistant_prefix",  // of Math-Step-DPO and others
                                kReasoningPart}) {
    if (row.is_object() && row.contains(beginning) && holds_something(row[beginning])) keys.emplace_back(beginning);
  }
  return keys;
}

std::string unread_words(const Group& group) {
  if (group.unread.empty()) return "";
  return fmt::format("; \"{}\" is not read", fmt::join(group.unread, "\" and \""));
}

void expect_text_only(const json& object) {
  if (!object.is_object()) return;
  for (const auto& [key, value] : object.items()) {
    const std::string name = lower(key);
    if ((names_media(name) && holds_something(value)) || (may_name_media(name) && is_media(value)) || tells_of_media(name, value))
      throw RowError::unusable("row-with-images", fmt::format("\"{}\" beside the text: only text is read", key));
    if (const std::string media = media_in_metadata(name, value); !media.empty())
      throw RowError::unusable("row-with-images", fmt::format("\"{}\" in \"{}\": only text is read", media, key));
    if (names_tools(name) && holds_something(value))
      throw RowError::unusable("row-with-tools", fmt::format("\"{}\" beside the text: no chat template here writes them", key));
  }
}

void check_texts(const Group& group) {
  const auto is_empty = [](const Message& m) { return shows_nothing(m.content); };
  const auto says = [](const Message& m) { return m.role != "system"; };
  const bool unsaid = std::ranges::any_of(group.prompt, says) &&
                      std::ranges::none_of(group.prompt, [&](const Message& m) { return says(m) && !is_empty(m); });
  if (unsaid || std::ranges::all_of(group.prompt, is_empty)) {
    const bool blank = std::ranges::all_of(group.prompt, [&](const Message& m) { return is_blank(m.content) || !says(m); });
    if (!blank) throw RowError::unusable("invisible-text", kInvisible);
    throw RowError("empty-prompt", "expected a prompt, found an empty one");
  }
  for (std::size_t i = 0; i < group.responses.size(); ++i) {
    if (is_blank(group.responses[i].text))
      throw RowError("empty-response",
                     fmt::format("expected a text in response {}, found an empty one{}", i, unread_words(group)));
    if (shows_nothing(group.responses[i].text)) throw RowError::unusable("invisible-text", kInvisible);
  }
  const auto check = [](std::string_view text) {
    expect_no_mark(text);
    expect_no_call(text);
  };
  for (const Message& m : group.prompt) {
    check(m.content);
    if (m.role != "user") continue;
    if (const std::string_view mark = picture_before(m.content); !mark.empty())
      throw RowError::unusable("mark-of-image", fmt::format("a prompt below the picture {}: only text is read", mark));
  }
  for (const Response& r : group.responses) check(r.text);
}

}  // namespace dmoerm::preference
