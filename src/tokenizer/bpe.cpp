#include "tokenizer/bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <queue>

#include "tokenizer/unicode.h"

namespace dmoerm::tokenizer {
namespace {

constexpr std::string_view kMetaspace = "\xE2\x96\x81";
constexpr std::size_t kShort = 48;        // number of symbols up to which a scan is faster than a heap
constexpr char32_t kCharacters = 0x3000;  // characters looked up in a table

/// The letter that GPT-2 writes for a byte.
char32_t byte_letter(unsigned byte) {
  const auto printable = [](unsigned b) { return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE; };
  if (printable(byte)) return byte;
  char32_t letter = 256;
  for (unsigned b = 0; b < byte; ++b)
    if (!printable(b)) ++letter;
  return letter;
}

/// The bytes of a token that is written in byte letters; nothing if it has another character.
std::optional<std::string> raw_bytes(std::string_view token) {
  static const std::array<int, 512> byte_of = [] {
    std::array<int, 512> table{};
    table.fill(-1);
    for (unsigned byte = 0; byte < 256; ++byte) table[byte_letter(byte)] = static_cast<int>(byte);
    return table;
  }();
  std::string bytes;
  for (std::size_t at = 0; at < token.size();) {
    const char32_t c = unicode::next(token, at);
    if (c >= 512 || byte_of[c] < 0) return std::nullopt;
    bytes += static_cast<char>(byte_of[c]);
  }
  return bytes;
}

}  // namespace

void MergeTable::reserve(std::size_t merges) {
  int bits = 4;
  while ((std::size_t{1} << bits) < 2 * merges) ++bits;
  slots_.assign(std::size_t{1} << bits, {});
  mask_ = slots_.size() - 1;
  shift_ = 64 - bits;
}

void MergeTable::add(std::int32_t left, std::int32_t right, Merge merge) {
  const std::uint64_t key = pack(left, right);
  std::size_t i = place(key);
  while (slots_[i].key != kEmpty && slots_[i].key != key) i = (i + 1) & mask_;
  slots_[i] = {key, merge};
}

Bpe::Bpe(const JsonPart& part, const TokenMap& vocabulary, bool byte_level)
    : vocabulary_(vocabulary),
      prefix_(part.text_or("continuing_subword_prefix", "")),
      suffix_(part.text_or("end_of_word_suffix", "")),
      byte_level_(byte_level),
      fuse_unknown_(part.boolean_or("fuse_unk", false)),
      byte_fallback_(part.boolean_or("byte_fallback", false)),
      ignore_merges_(part.boolean_or("ignore_merges", false)) {
  if (part.has("dropout") && !(part.at("dropout").value().is_number() && part.at("dropout").value().get<double>() == 0.0))
    part.at("dropout").fail_unsupported(part.at("dropout").value().dump(),
                                        "null or 0, because the same text must give the same ids");
  if (byte_level && !(prefix_.empty() && suffix_.empty()))
    part.fail(
        "continuing_subword_prefix and end_of_word_suffix are not supported behind a ByteLevel pre-tokenizer; supported: null");
  const auto id_of = [&vocabulary](std::string_view token) {
    const auto found = vocabulary.find(token);
    return found == vocabulary.end() ? -1 : found->second;
  };
  if (part.has("unk_token")) {
    const std::string unknown = part.at("unk_token").text();
    unknown_ = id_of(unknown);
    if (unknown_ < 0 && !unknown.empty()) part.at("unk_token").fail(fmt::format("\"{}\" is not in the vocabulary", unknown));
  }
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::string token;
    if (byte_level)
      unicode::append(token, byte_letter(byte));
    else
      token = fmt::format("<0x{:02X}>", byte);
    bytes_[byte] = id_of(token);
  }
  if (byte_level && byte_fallback_ && std::find(bytes_.begin(), bytes_.end(), -1) != bytes_.end())
    part.fail("byte_fallback behind a ByteLevel pre-tokenizer is supported only if the vocabulary has all 256 byte letters");
  if (byte_level && ignore_merges_)
    for (const auto& [token, id] : vocabulary)
      if (auto raw = raw_bytes(token)) raw_tokens_.emplace(std::move(*raw), id);
  if (!byte_level) {
    characters_.assign(kCharacters, -1);
    for (char32_t c = 0; c < kCharacters; ++c) {
      std::string character;
      unicode::append(character, c);
      characters_[c] = id_of(character);
    }
    cut_at_metaspace_ = prefix_.empty() && suffix_.empty() && !ignore_merges_ && id_of(kMetaspace) >= 0;
    for (const auto& [token, id] : vocabulary) {
      if (!cut_at_metaspace_) break;
      std::string_view rest = token;
      while (rest.starts_with(kMetaspace)) rest.remove_prefix(kMetaspace.size());
      cut_at_metaspace_ = rest.find(kMetaspace) == std::string_view::npos;
    }
  }
  read_merges(part.at("merges"));
}

void Bpe::read_merges(const JsonPart& part) {
  if (!part.value().is_array()) part.fail("expected a list of merges");
  merges_.reserve(part.value().size());
  std::uint32_t rank = 0;
  std::size_t number = 0;
  const auto fail = [&](const std::string& problem) { part.fail(fmt::format("merge {}: {}", number, problem)); };
  const auto id_of = [&](std::string_view token) {
    const auto found = vocabulary_.find(token);
    if (found == vocabulary_.end()) fail(fmt::format("\"{}\" is not in the vocabulary", token));
    return found->second;
  };
  for (const auto& item : part.value()) {
    std::string_view left, right;
    if (item.is_string()) {
      const std::string_view line = item.get_ref<const std::string&>();
      const std::size_t space = line.find(' ');
      if (line.starts_with("#version")) continue;
      if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
        fail("expected two tokens with a space between");
      left = line.substr(0, space);
      right = line.substr(space + 1);
    } else {
      if (!item.is_array() || item.size() != 2 || !item[0].is_string() || !item[1].is_string())
        fail("expected a list of two texts");
      left = item[0].get_ref<const std::string&>();
      right = item[1].get_ref<const std::string&>();
    }
    if (!right.starts_with(prefix_)) fail(fmt::format("\"{}\" does not begin with the prefix \"{}\"", right, prefix_));
    const std::int32_t left_id = id_of(left), right_id = id_of(right);
    const std::int32_t joined_id = id_of(std::string(left).append(right.substr(prefix_.size())));
    merges_.add(left_id, right_id, {rank++, joined_id});
    ++number;
  }
}

void Bpe::byte_symbols(std::string_view word, std::vector<std::int32_t>& symbols) const {
  for (const char c : word) {
    const std::int32_t id = bytes_[static_cast<unsigned char>(c)];
    if (id >= 0) {
      symbols.push_back(id);
    } else if (unknown_ >= 0 && !(fuse_unknown_ && !symbols.empty() && symbols.back() == unknown_)) {
      symbols.push_back(unknown_);
    }
  }
}

void Bpe::character_symbols(std::string_view word, ModelScratch& scratch) const {
  std::vector<std::int32_t>& symbols = scratch.symbols;
  // An unknown character is added only when a known one follows; bytes of a fallback come before it. The `tokenizers` package
  // does the same.
  int waiting = 0;
  const auto release = [&] {
    if (waiting > 0) symbols.push_back(unknown_);
    waiting = 0;
  };
  for (std::size_t at = 0; at < word.size();) {
    const std::size_t begin = at;
    const char32_t c = unicode::next(word, at);
    std::string_view symbol = word.substr(begin, at - begin);
    const bool plain = (begin == 0 || prefix_.empty()) && (at < word.size() || suffix_.empty());
    std::int32_t id = -1;
    if (plain && c < kCharacters) {
      id = characters_[c];
    } else {
      if (!plain) {
        scratch.text = begin > 0 ? prefix_ : "";
        scratch.text += symbol;
        if (at == word.size()) scratch.text += suffix_;
        symbol = scratch.text;
      }
      const auto found = vocabulary_.find(symbol);
      if (found != vocabulary_.end()) id = found->second;
    }
    if (id >= 0) {
      release();
      symbols.push_back(id);
      continue;
    }
    const auto byte_id = [this](char byte) { return bytes_[static_cast<unsigned char>(byte)]; };
    if (byte_fallback_ && std::all_of(symbol.begin(), symbol.end(), [&](char byte) { return byte_id(byte) >= 0; })) {
      for (const char byte : symbol) symbols.push_back(byte_id(byte));
    } else if (unknown_ >= 0) {
      if (!fuse_unknown_) release();
      waiting = 1;
    }
  }
  release();
}

void Bpe::merge_short(ModelScratch& scratch) const {
  std::vector<std::int32_t>& symbols = scratch.symbols;
  std::array<MergeTable::Merge, kShort> pairs;  // merges of symbols i and i + 1
  std::size_t count = symbols.size();
  for (std::size_t i = 0; i + 1 < count; ++i) pairs[i] = merges_.find(symbols[i], symbols[i + 1]);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i)
      if (pairs[i].rank < pairs[best].rank) best = i;
    if (pairs[best].rank == MergeTable::kNone) break;
    symbols[best] = pairs[best].id;
    --count;
    std::copy(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 2, symbols.begin() + static_cast<std::ptrdiff_t>(count) + 1,
              symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    if (best + 1 < count) {
      std::copy(pairs.begin() + best + 2, pairs.begin() + count, pairs.begin() + best + 1);
      pairs[best] = merges_.find(symbols[best], symbols[best + 1]);
    }
    if (best > 0) pairs[best - 1] = merges_.find(symbols[best - 1], symbols[best]);
  }
  symbols.resize(count);
}

void Bpe::merge_long(ModelScratch& scratch) const {
  // A heap of (rank, place) over a linked list. An entry is stale if its pair no longer has that rank; a removed symbol is -1.
  std::vector<std::int32_t>&symbols = scratch.symbols, &next = scratch.next, &previous = scratch.previous;
  std::vector<std::uint64_t>& heap = scratch.merges;
  const auto count = static_cast<std::int32_t>(symbols.size());
  next.resize(symbols.size());
  previous.resize(symbols.size());
  heap.clear();
  const auto later = std::greater<>{};
  const auto consider = [&](std::int32_t left) {
    const std::int32_t right = next[static_cast<std::size_t>(left)];
    if (right == count) return false;
    const auto merge = merges_.find(symbols[static_cast<std::size_t>(left)], symbols[static_cast<std::size_t>(right)]);
    if (merge.rank == MergeTable::kNone) return false;
    heap.push_back(static_cast<std::uint64_t>(merge.rank) << 32 | static_cast<std::uint32_t>(left));
    return true;
  };
  for (std::int32_t i = 0; i < count; ++i) {
    next[static_cast<std::size_t>(i)] = i + 1;
    previous[static_cast<std::size_t>(i)] = i - 1;
  }
  for (std::int32_t i = 0; i < count; ++i) consider(i);
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const std::uint64_t top = heap.back();
    heap.pop_back();
    const auto left = static_cast<std::size_t>(top & UINT32_MAX);
    if (symbols[left] < 0 || next[left] == count) continue;
    const auto right = static_cast<std::size_t>(next[left]);
    const auto merge = merges_.find(symbols[left], symbols[right]);
    if (merge.rank != top >> 32) continue;
    symbols[left] = merge.id;
    symbols[right] = -1;
    next[left] = next[right];
    if (next[left] < count) previous[static_cast<std::size_t>(next[left])] = static_cast<std::int32_t>(left);
    if (consider(static_cast<std::int32_t>(left))) std::push_heap(heap.begin(), heap.end(), later);
    if (previous[left] >= 0 && consider(previous[left])) std::push_heap(heap.begin(), heap.end(), later);
  }
  std::erase(symbols, -1);
}

void Bpe::encode_whole(std::string_view word, ModelScratch& scratch, std::vector<std::int32_t>& ids) const {
  if (ignore_merges_) {
    const TokenMap& tokens = byte_level_ ? raw_tokens_ : vocabulary_;
    if (const auto found = tokens.find(word); found != tokens.end()) return ids.push_back(found->second);
  }
  scratch.symbols.clear();
  if (byte_level_)
    byte_symbols(word, scratch.symbols);
  else
    character_symbols(word, scratch);
  if (scratch.symbols.size() <= kShort)
    merge_short(scratch);
  else
    merge_long(scratch);
  ids.insert(ids.end(), scratch.symbols.begin(), scratch.symbols.end());
}

void Bpe::encode(std::string_view word, ModelScratch& scratch, std::vector<std::int32_t>& ids) const {
  const auto whole = [&](std::string_view part) { encode_whole(part, scratch, ids); };
  if (!cut_at_metaspace_) return encode_cached(word, scratch.cache, ids, whole);
  // Models without a pre-tokenizer get whole texts. They are cut where no merge can cross, so that the cache works.
  while (!word.empty()) {
    std::size_t begin = 0;
    while (word.substr(begin).starts_with(kMetaspace)) begin += kMetaspace.size();
    const std::string_view part = word.substr(0, word.find(kMetaspace, begin));
    word.remove_prefix(part.size());
    encode_cached(part, scratch.cache, ids, whole);
  }
}

}  // namespace dmoerm::tokenizer
