// A model's own chat template in pinned form: what stands between the contents of a conversation, by the roles of the neighbours.
// launch/pin_chat_template.py makes it from a Jinja template and proves that it renders the same texts.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "preference/group.h"

namespace dmoerm::tokenizer {

/// One step on the way from a message's content to what is written of it. Each does what Python's method or slice does.
struct ContentStep {
  enum class Kind : std::uint8_t {
    strip,       ///< Removes the characters of `text` from both ends; white space if `text` is empty
    lstrip,      ///< Removes them from the start
    rstrip,      ///< Removes them from the end
    after_last,  ///< Keeps what follows the last `text` and removes the characters of `strip` from its start; without `text` all
                 ///< stays
    before_first,  ///< Keeps what precedes the first `text`; without `text` nothing stays
  } kind;
  std::string text, strip = {};

  [[nodiscard]] std::string_view apply(std::string_view content) const;
};

class ChatForm {
 public:
  /// A piece of an edge.
  struct Element {
    enum class Kind : std::uint8_t { text, token, content } kind;
    std::string text;                     ///< Literal text, or the token's content
    std::vector<ContentStep> steps = {};  ///< Steps from the message's content to what is written
  };
  using Elements = std::vector<Element>;
  /// Pieces to write, and the content that goes with them.
  struct Turn {
    const Elements* edge;
    std::string content;
  };

  /// A file that launch/pin_chat_template.py wrote. @throws IoError, or DataError that names the file and the key
  static ChatForm load(const std::filesystem::path& path);
  /// The form alone, as canonical() gave it. `place` is used in messages. @throws DataError
  static ChatForm parse(const nlohmann::json& form, std::string name, const std::string& place);

  /// Name for people, e.g. that of the model's directory.
  [[nodiscard]] const std::string& name() const { return name_; }
  /// The form as one line of JSON with sorted keys. Its SHA-256 stands in the file.
  [[nodiscard]] const std::string& canonical() const { return canonical_; }
  /// The template starts every conversation with the tokenizer's BOS, which must not be cut off.
  [[nodiscard]] bool starts_with_bos() const { return starts_with_bos_; }
  [[nodiscard]] const std::map<std::string, Elements, std::less<>>& edges() const { return edges_; }

  /// What to write for a prompt and what leads to its response; with a response also that and the end. A turn that the template
  /// refuses where it stands counts as the user's, and two turns of one role in a row that it refuses count as one, with an empty
  /// line between their contents. The turns refer to this form.
  [[nodiscard]] std::vector<Turn> turns(std::span<const preference::Message> prompt,
                                        std::optional<std::string_view> response) const;

 private:
  [[nodiscard]] const Elements* find(std::string_view from, std::string_view to) const;

  std::string name_, canonical_;
  bool starts_with_bos_ = false;
  std::map<std::string, Elements, std::less<>> edges_;
};

}  // namespace dmoerm::tokenizer
