#include "tokenizer/wordpiece.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "tokenizer/bpe.h"

namespace dmoerm::tokenizer {

WordPiece::WordPiece(const JsonPart& part, const TokenMap& vocabulary)
    : vocabulary_(vocabulary),
      most_characters_(static_cast<std::size_t>(part.at("max_input_chars_per_word").integer(0, INT32_MAX))) {
  const std::string unknown = part.at("unk_token").text();
  const auto found = vocabulary.find(unknown);
  if (found == vocabulary.end()) part.at("unk_token").fail(fmt::format("\"{}\" is not in the vocabulary", unknown));
  unknown_ = found->second;
  const std::string prefix = part.at("continuing_subword_prefix").text();
  for (const auto& [token, id] : vocabulary) {
    longest_ = std::max(longest_, token.size());
    if (!token.starts_with(prefix)) continue;
    continuations_.emplace(token.substr(prefix.size()), id);
    longest_continuation_ = std::max(longest_continuation_, token.size() - prefix.size());
  }
}

void WordPiece::encode(std::string_view word, ModelScratch& scratch, std::vector<std::int32_t>& ids) const {
  encode_cached(word, scratch.cache, ids, [&](std::string_view whole) { encode_whole(whole, ids); });
}

void WordPiece::encode_whole(std::string_view word, std::vector<std::int32_t>& ids) const {
  const std::size_t before = ids.size();
  const auto unknown = [&] {
    ids.resize(before);
    ids.push_back(unknown_);
  };
  if (utf8_characters(word) > most_characters_) return unknown();
  for (std::size_t start = 0; start < word.size();) {
    const TokenMap& pieces = start == 0 ? vocabulary_ : continuations_;
    std::size_t end = std::min(word.size(), start + (start == 0 ? longest_ : longest_continuation_));
    for (; end > start; --end) {
      if (end < word.size() && continues_character(word[end])) continue;
      const auto found = pieces.find(word.substr(start, end - start));
      if (found == pieces.end()) continue;
      ids.push_back(found->second);
      break;
    }
    if (end == start) return unknown();
    start = end;
  }
}

std::string Model::type(const JsonPart& part) {
  // Files of the first versions have no type; those with merges are BPE.
  const std::string type = part.has("type") ? part.at("type").text() : part.has("merges") ? "BPE" : "WordPiece";
  if (type != "BPE" && type != "WordPiece") part.at("type").fail_unsupported(type, "BPE, WordPiece");
  return type;
}

std::unique_ptr<Model> Model::parse(const JsonPart& part, const TokenMap& vocabulary, bool byte_level) {
  if (type(part) == "BPE") return std::make_unique<Bpe>(part, vocabulary, byte_level);
  if (byte_level) part.fail("WordPiece behind a ByteLevel pre-tokenizer is not supported; supported: BPE");
  return std::make_unique<WordPiece>(part, vocabulary);
}

}  // namespace dmoerm::tokenizer
