// The differences between the Unicode versions of utf8proc (15.0), PCRE2 (14.0) and the parts of the `tokenizers` package 0.23.
// Oniguruma and the regex crate know Unicode 16, Rust's char 17, `unicode_categories` and `unicode-normalization-alignments`
// versions from before 2018. The tables come from asking the package about every code point;
// tests/tokenizer/tokenizer_property.py --sweep repeats that.
#pragma once
#include <utf8proc.h>

#include <span>

namespace dmoerm::tokenizer::unicode {

struct Range {
  char32_t first, last;
};
struct CategoryRange {
  char32_t first, last;
  utf8proc_category_t category;
};

/// Characters of Unicode 15.0 and 16.0, which the package's regular expressions know, but PCRE2 and utf8proc may not.
std::span<const CategoryRange> recent();
/// Punctuation that the package does not count as punctuation.
std::span<const Range> not_yet_punctuation();
/// Nonspacing marks that its BertNormalizer keeps.
std::span<const Range> not_yet_nonspacing();
/// Marks that its StripAccents keeps.
std::span<const Range> not_yet_mark();
/// Format characters that its BertNormalizer keeps.
std::span<const Range> not_yet_format();
/// Characters that its NFC, NFD, NFKC and NFKD neither decompose nor reorder nor compose.
std::span<const Range> normalization_inert();
/// Script=Han as its regular expressions know it.
std::span<const Range> han();

}  // namespace dmoerm::tokenizer::unicode
