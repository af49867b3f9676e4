// The "model" of tokenizer.json: turns one word into token ids.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/json.h"
#include "tokenizer/pieces.h"

namespace dmoerm::tokenizer {

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using TokenMap = std::unordered_map<std::string, std::int32_t, StringHash, std::equal_to<>>;

/// Ids of words met before. One slot per hash, short words and few ids only: no allocation, bounded memory, old words give way.
class WordCache {
 public:
  /// Ids of a word; nullptr if it is not kept.
  [[nodiscard]] const std::int32_t* find(std::string_view word, std::size_t hash, std::size_t& count) const {
    const Entry& entry = entries_[hash % kEntries];
    if (word.size() > kBytes || entry.length != word.size() || word.compare({entry.word, entry.length}) != 0) return nullptr;
    count = entry.count;
    return entry.ids;
  }
  void keep(std::string_view word, std::size_t hash, const std::int32_t* ids, std::size_t count) {
    if (word.size() > kBytes || count > kIds) return;
    Entry& entry = entries_[hash % kEntries];
    entry.length = static_cast<std::uint8_t>(word.size());
    entry.count = static_cast<std::uint8_t>(count);
    word.copy(entry.word, word.size());
    std::copy(ids, ids + count, entry.ids);
  }

 private:
  static constexpr std::size_t kEntries = 1 << 15, kBytes = 30, kIds = 8;
  struct Entry {
    std::uint8_t length = 0, count = 0;  // length 0: empty slot, which no word matches
    char word[kBytes];
    std::int32_t ids[kIds];
  };
  std::vector<Entry> entries_ = std::vector<Entry>(kEntries);
};

/// Symbols of the word in work.
struct ModelScratch {
  WordCache cache;
  std::vector<std::int32_t> symbols;
  std::vector<std::uint64_t> merges;
  std::vector<std::int32_t> next, previous;
  std::string text;
};

class Model {
 public:
  virtual ~Model() = default;
  /// Append the ids of a word (not empty), from the cache where they are.
  virtual void encode(std::string_view word, ModelScratch& scratch, std::vector<std::int32_t>& ids) const = 0;

  /// BPE or WordPiece. @throws DataError naming another type and these
  static std::string type(const JsonPart& part);
  /// @param byte_level  words are raw bytes that stand for GPT-2's byte alphabet
  /// @throws DataError naming the part and what is supported
  static std::unique_ptr<Model> parse(const JsonPart& part, const TokenMap& vocabulary, bool byte_level);
};

/// Append the ids of a word: those kept for it, or what `encode(word)` appends.
template <class Encode>
void encode_cached(std::string_view word, WordCache& cache, std::vector<std::int32_t>& ids, Encode encode) {
  const std::size_t hash = StringHash{}(word);
  std::size_t count = 0;
  if (const std::int32_t* known = cache.find(word, hash, count)) {
    ids.insert(ids.end(), known, known + count);
    return;
  }
  const std::size_t before = ids.size();
  encode(word);
  cache.keep(word, hash, ids.data() + before, ids.size() - before);
}

}  // namespace dmoerm::tokenizer
