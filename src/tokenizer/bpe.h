// Byte pair encoding, byte-level or over characters with byte fallback.
#pragma once
#include <array>
#include <optional>

#include "tokenizer/model.h"

namespace dmoerm::tokenizer {

/// A hash table with the rank and the result of merging two tokens, by their ids. It uses open addressing and is built once.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank;
    std::int32_t id;
  };
  void reserve(std::size_t merges);
  /// Add a merge. A pair that is added twice keeps the later rank.
  void add(std::int32_t left, std::int32_t right, Merge merge);
  /// The merge of two tokens; its rank is kNone if they do not merge.
  [[nodiscard]] Merge find(std::int32_t left, std::int32_t right) const {
    const std::uint64_t key = pack(left, right);
    for (std::size_t i = place(key);; i = (i + 1) & mask_)
      if (slots_[i].key == key || slots_[i].key == kEmpty) return slots_[i].merge;
  }
  static constexpr std::uint32_t kNone = UINT32_MAX;

 private:
  static constexpr std::uint64_t kEmpty = UINT64_MAX;
  struct Slot {
    std::uint64_t key = kEmpty;
    Merge merge{kNone, -1};
  };
  static std::uint64_t pack(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
  }
  [[nodiscard]] std::size_t place(std::uint64_t key) const {
    return static_cast<std::size_t>(key * 0x9e3779b97f4a7c15ULL >> shift_);
  }
  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
  int shift_ = 0;
};

class Bpe : public Model {
 public:
  Bpe(const JsonPart& part, const TokenMap& vocabulary, bool byte_level);
  void encode(std::string_view word, ModelScratch& scratch, std::vector<std::int32_t>& ids) const override;

 private:
  void read_merges(const JsonPart& part);
  // The ids of the word's bytes or characters before any merge.
  void byte_symbols(std::string_view word, std::vector<std::int32_t>& symbols) const;
  void character_symbols(std::string_view word, ModelScratch& scratch) const;
  void merge_short(ModelScratch& scratch) const;
  void merge_long(ModelScratch& scratch) const;
  void encode_whole(std::string_view word, ModelScratch& scratch, std::vector<std::int32_t>& ids) const;

  const TokenMap& vocabulary_;
  MergeTable merges_;
  std::array<std::int32_t, 256> bytes_{};  // id of each byte's letter (byte-level) or of <0xNN>; -1 if there is none
  TokenMap raw_tokens_;                    // tokens as raw bytes, for byte-level with ignore_merges
  std::vector<std::int32_t> characters_;   // id of each character below kCharacters
  std::string prefix_, suffix_;
  std::int32_t unknown_ = -1;
  bool byte_level_, fuse_unknown_ = false, byte_fallback_ = false, ignore_merges_ = false;
  bool cut_at_metaspace_ = false;  // no token crosses the border before a metaspace
};

}  // namespace dmoerm::tokenizer
