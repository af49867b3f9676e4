// The "model" of tokenizer.json, which turns one word into token ids.
#pragma once
#include <algorithm>
#include <array>
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

/// A cache of the ids of words. It holds only short words with few ids, so that it never allocates. Words whose hashes fall
/// together share a row of places; a new word replaces the one that came first.
class WordCache {
 public:
  /// The ids of a word, or nullptr if it is not in the cache.
  [[nodiscard]] const std::int32_t* find(std::string_view word, std::size_t hash, std::size_t& count) const {
    if (word.empty() || word.size() > kBytes) return nullptr;
    for (const Entry& entry : rows_[hash % kRows]) {
      if (entry.length != word.size() || word.compare({entry.word, entry.length}) != 0) continue;
      count = entry.count;
      return entry.ids;
    }
    return nullptr;
  }
  void keep(std::string_view word, std::size_t hash, const std::int32_t* ids, std::size_t count) {
    if (word.size() > kBytes || count > kIds) return;
    Row& row = rows_[hash % kRows];
    std::copy_backward(row.begin(), row.end() - 1, row.end());
    Entry& entry = row.front();
    entry.length = static_cast<std::uint8_t>(word.size());
    entry.count = static_cast<std::uint8_t>(count);
    word.copy(entry.word, word.size());
    std::copy(ids, ids + count, entry.ids);
  }

 private:
  static constexpr std::size_t kRows = 1 << 13, kBytes = 30, kIds = 8;
  struct Entry {
    std::uint8_t length = 0, count = 0;  // length 0: empty place, which no word matches
    char word[kBytes];
    std::int32_t ids[kIds];
  };
  using Row = std::array<Entry, 4>;
  std::vector<Row> rows_ = std::vector<Row>(kRows);
};

/// Buffers for the word that is being encoded.
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
  /// Append the ids of a word, which must not be empty. They come from the cache if it has them.
  virtual void encode(std::string_view word, ModelScratch& scratch, std::vector<std::int32_t>& ids) const = 0;

  /// The type of the model, "BPE" or "WordPiece". @throws DataError for another type
  static std::string type(const JsonPart& part);
  /// @param byte_level  whether words are raw bytes, which GPT-2's byte alphabet stands for
  /// @throws DataError naming the part and what is supported
  static std::unique_ptr<Model> parse(const JsonPart& part, const TokenMap& vocabulary, bool byte_level);
};

/// Append the ids of a word from the cache, or let `encode(word)` append them and put them into the cache.
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
