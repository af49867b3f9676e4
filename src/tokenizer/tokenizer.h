// Converts text to token ids by a Hugging Face tokenizer.json, with the same result as the `tokenizers` package.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dmoerm::tokenizer {

/// Reads tokenizer.json: BPE (byte-level or with byte fallback) and WordPiece, with their normalisers, pre-tokenizers, added
/// tokens and post-processors. Immutable after construction and safe to use from several threads.
class Tokenizer {
 public:
  /// @param path  file tokenizer.json; its settings for truncation and padding are ignored
  /// @throws IoError, or DataError that names the file, the part (e.g. pre_tokenizer.type) and what is supported, or says what
  /// lies there if the file is missing
  static Tokenizer load(const std::filesystem::path& path);
  /// Load the content of a file. @param name  name of the file in messages
  static Tokenizer parse(std::string_view json, std::string_view name);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// Ids of `text` (UTF-8) without special tokens around it. Bytes that are not valid UTF-8 are read as U+FFFD.
  /// @param parse_special  whether the content of a special token inside the text becomes that token, as in the `tokenizers`
  ///                       package; otherwise it is data and is split like any other text. Other added tokens are always found.
  /// @param at_start       false if the text continues one whose beginning was encoded before (Metaspace "first" adds no space)
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text, bool parse_special, bool at_start = true) const;
  /// encode() with the special tokens of the post-processor around the ids, such as [CLS] ... [SEP] or a leading BOS.
  [[nodiscard]] std::vector<std::int32_t> encode_with_post_processor(std::string_view text, bool parse_special) const;

  /// The special tokens that the post-processor puts before and after a single text.
  [[nodiscard]] const std::vector<std::int32_t>& leading_ids() const;
  [[nodiscard]] const std::vector<std::int32_t>& trailing_ids() const;

  /// The id of the token with exactly this content, special or ordinary.
  [[nodiscard]] std::optional<std::int32_t> id_of(std::string_view token) const;
  /// The content of the token with this id, or "" if there is none.
  [[nodiscard]] std::string token_of(std::int32_t id) const;
  /// Whether a special token stands anywhere in a text.
  [[nodiscard]] bool has_special(std::string_view text) const;
  /// Bytes of the special token with which a text ends; 0 if it ends with none.
  [[nodiscard]] std::size_t special_at_end(std::string_view text) const;
  /// Whether a token takes the white space before and behind it from the text (lstrip, rstrip of an added token).
  struct TakesSpace {
    bool before = false, behind = false;
  };
  [[nodiscard]] TakesSpace takes_space(std::string_view token) const;
  /// One more than the largest id.
  [[nodiscard]] std::int64_t vocab_size() const;
  /// SHA-256 of the file that the tokenizer was read from.
  [[nodiscard]] const std::string& digest() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::tokenizer
