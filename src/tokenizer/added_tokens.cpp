#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "tokenizer/unicode.h"

namespace dmoerm::tokenizer {
namespace {

bool has_flag_before(std::string_view text, std::size_t at, std::uint16_t flag) {
  return at > 0 && (unicode::flags(unicode::previous(text, at)) & flag) != 0;
}

bool has_flag_at(std::string_view text, std::size_t at, std::uint16_t flag) {
  return at < text.size() && (unicode::flags(unicode::next(text, at)) & flag) != 0;
}

}  // namespace

AddedToken::AddedToken(const JsonPart& part)
    : content(part.at("content").text()),
      id(part.at("id").token_id()),
      special(part.boolean_or("special", false)),
      normalized(part.boolean_or("normalized", !special)),
      single_word(part.boolean_or("single_word", false)),
      lstrip(part.boolean_or("lstrip", false)),
      rstrip(part.boolean_or("rstrip", false)) {}

std::int32_t AddedTokenFinder::child(std::int32_t node, unsigned char byte) const {
  const auto& next = nodes_[static_cast<std::size_t>(node)].next;
  const auto found =
      std::lower_bound(next.begin(), next.end(), byte, [](const auto& entry, unsigned char b) { return entry.first < b; });
  return found != next.end() && found->first == byte ? found->second : -1;
}

void AddedTokenFinder::add(std::string_view pattern, const AddedToken& token) {
  if (pattern.empty()) return;
  starts_[static_cast<unsigned char>(pattern.front())] = true;
  std::int32_t node = 0;
  for (const char c : pattern) {
    const auto byte = static_cast<unsigned char>(c);
    std::int32_t to = child(node, byte);
    if (to < 0) {
      to = static_cast<std::int32_t>(nodes_.size());
      auto& next = nodes_[static_cast<std::size_t>(node)].next;
      next.insert(std::lower_bound(next.begin(), next.end(), std::pair{byte, std::int32_t{0}}), {byte, to});
      nodes_.emplace_back();
    }
    node = to;
  }
  nodes_[static_cast<std::size_t>(node)].token = static_cast<std::int32_t>(tokens_.size());
  tokens_.push_back(token);
}

AddedTokenFinder::Found AddedTokenFinder::find(std::string_view text, std::size_t at, std::size_t done,
                                               bool parse_special) const {
  for (;; ++at) {
    while (at < text.size() && !starts_[static_cast<unsigned char>(text[at])]) ++at;
    if (at >= text.size()) return {};
    std::int32_t longest = -1;
    std::size_t end = at;
    std::int32_t node = 0;
    for (std::size_t i = at; i < text.size() && (node = child(node, static_cast<unsigned char>(text[i]))) >= 0; ++i) {
      const std::int32_t here = nodes_[static_cast<std::size_t>(node)].token;
      if (here >= 0) {
        longest = here;
        end = i + 1;
      }
    }
    if (longest < 0) continue;
    const AddedToken& token = tokens_[static_cast<std::size_t>(longest)];
    // A token that does not count still hides tokens that overlap it, as in the `tokenizers` package.
    const bool is_data = token.special && !parse_special;
    const bool inside_word =
        token.single_word && (has_flag_before(text, at, unicode::kWord) || has_flag_at(text, end, unicode::kWord));
    if (is_data || inside_word) {
      at = end - 1;
      continue;
    }
    Found found{longest, at, end, end};
    if (token.lstrip) {
      while (has_flag_before(text, found.begin, unicode::kSpace)) unicode::previous(text, found.begin);
      found.begin = std::max(found.begin, done);
    }
    if (token.rstrip)
      while (has_flag_at(text, found.end, unicode::kSpace)) unicode::next(text, found.end);
    return found;
  }
}

}  // namespace dmoerm::tokenizer
