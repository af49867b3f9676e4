// Pinned chat templates, which say how a prompt and a response become token ids. Every artefact has the hash of their text.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "preference/group.h"
#include "tokenizer/chat_form.h"
#include "tokenizer/tokenizer.h"

namespace dmoerm::tokenizer {

/// A template with a tokenizer. Markers of the template become special tokens if the tokenizer has them, and ordinary text if
/// not. Contents of messages are data: special tokens written in them stay text, unless `special_in_text` is set.
class ChatTemplate {
 public:
  /// @param name  one of names(), or a file that launch/pin_chat_template.py wrote (it ends in .json or has a slash)
  /// @throws ConfigError listing the names; IoError or DataError naming the file and the key
  ChatTemplate(std::string_view name, const Tokenizer& tokenizer, bool special_in_text);
  /// A model's own template.
  ChatTemplate(ChatForm form, const Tokenizer& tokenizer, bool special_in_text);

  /// The names of the templates: chatml, llama3, mistral, plain, dmoerm.
  static std::vector<std::string> names();

  /// Ids of prompt + response in full, ending as the template ends an assistant's turn, usually with a marker: what the reward
  /// model reads. The ids of `prompt` are the same for every response up to tokens that merge across the border: share the
  /// longest common prefix.
  [[nodiscard]] std::vector<std::int32_t> render(std::span<const preference::Message> prompt, std::string_view response) const;
  /// Ids of the prompt alone, which the router reads.
  [[nodiscard]] std::vector<std::int32_t> render_prompt(std::span<const preference::Message> prompt) const;
  /// Ids of a prompt alone and with each of several responses.
  struct GroupIds {
    std::vector<std::int32_t> prompt;
    std::vector<std::vector<std::int32_t>> texts;
  };
  /// The results of render_prompt() and of render() for each response. What the prompt has alone is tokenised once.
  [[nodiscard]] GroupIds render_group(std::span<const preference::Message> prompt,
                                      std::span<const std::string_view> responses) const;
  /// The text of render() or, without a response, of render_prompt(), tokens written out.
  [[nodiscard]] std::string render_text(std::span<const preference::Message> prompt,
                                        std::optional<std::string_view> response) const;
  /// Number of ids at the start of every rendering that left-cutting must keep (e.g. a BOS or [CLS]).
  [[nodiscard]] std::int64_t head_tokens() const;

  [[nodiscard]] const std::string& name() const { return name_; }
  /// Tokens of the template that the tokenizer does not have, each once. They are written as text, which suggests that the
  /// template belongs to another model.
  [[nodiscard]] const std::vector<std::string>& missing_tokens() const { return missing_tokens_; }
  /// The form of a model's own template, or nullptr.
  [[nodiscard]] const ChatForm* form() const { return form_ ? &*form_ : nullptr; }
  /// A model's own template: its form. A named one: the template written out, one role a line; rendering interprets this text.
  /// {x} is the token x (text where the tokenizer lacks it), {head} and {tail} what the tokenizer's post-processor puts around a
  /// text, {end} its end-of-text token, {sep|x} its [SEP] or else x.
  [[nodiscard]] const std::string& text() const { return text_; }
  /// Whether special tokens written in a text count as tokens.
  [[nodiscard]] bool special_in_text() const { return special_in_text_; }
  /// SHA-256 of text() in hexadecimal.
  [[nodiscard]] const std::string& digest() const { return digest_; }

 private:
  /// One element of a line of the template: literal text, or a placeholder in braces.
  struct Element {
    enum class Kind : std::uint8_t { text, token, content, trimmed, role, head, tail, separator, end } kind;
    std::string text;  ///< literal text, content of the token, or substitute for a separator that the tokenizer does not have
  };
  class Rendering;

  [[nodiscard]] const std::vector<Element>& line(std::string_view role) const;
  void read_lines(std::string_view source);
  void note_missing(const std::string& token);
  void render(std::span<const preference::Message> prompt, std::optional<std::string_view> response, Rendering& out) const;
  void render_prompt(std::span<const preference::Message> prompt, Rendering& out) const;

  std::string name_, text_, digest_;
  std::map<std::string, std::vector<Element>, std::less<>> lines_;
  std::optional<ChatForm> form_;
  std::vector<std::string> missing_tokens_;
  const Tokenizer* tokenizer_;
  bool special_in_text_;
};

}  // namespace dmoerm::tokenizer
