#include "tokenizer/normalizer.h"

#include <optional>

#include "tokenizer/regex.h"
#include "tokenizer/unicode.h"

namespace dmoerm::tokenizer {
namespace {

bool is_ascii(std::string_view text) {
  for (const char c : text)
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  return true;
}

/// Rewrite `text` with `change(code point, out)`.
template <class Change>
void map_characters(std::string& text, std::string& out, Change change) {
  out.clear();
  for (std::size_t at = 0; at < text.size();) change(unicode::next(text, at), out);
  text.swap(out);
}

void normalize(std::string& text, std::string& out, unicode::Form form) {
  if (is_ascii(text)) return;
  out.clear();
  unicode::append_normalized(out, text, form);
  text.swap(out);
}

void lower(std::string& text, std::string& out) {
  map_characters(text, out, [](char32_t c, std::string& to) { unicode::append_lower(to, c); });
}

/// Remove the characters that have a flag.
void drop(std::string& text, std::string& out, std::uint16_t flag) {
  map_characters(text, out, [flag](char32_t c, std::string& to) {
    if ((unicode::flags(c) & flag) == 0) unicode::append(to, c);
  });
}

class UnicodeForm : public Normalizer {
 public:
  explicit UnicodeForm(unicode::Form form) : form_(form) {}
  void apply(std::string& text, PieceScratch& scratch) const override { normalize(text, scratch.text, form_); }

 private:
  unicode::Form form_;
};

class Lowercase : public Normalizer {
 public:
  void apply(std::string& text, PieceScratch& scratch) const override { lower(text, scratch.text); }
};

class StripAccents : public Normalizer {
 public:
  void apply(std::string& text, PieceScratch& scratch) const override {
    if (!is_ascii(text)) drop(text, scratch.text, unicode::kMark);
  }
  [[nodiscard]] bool may_drop_start() const override { return true; }
};

class Strip : public Normalizer {
 public:
  explicit Strip(const JsonPart& part) : left_(part.at("strip_left").boolean()), right_(part.at("strip_right").boolean()) {}
  void apply(std::string& text, PieceScratch&) const override {
    std::size_t end = text.size(), begin = 0;
    for (std::size_t at = end; right_ && at > 0 && (unicode::flags(unicode::previous(text, at)) & unicode::kSpace) != 0;)
      end = at;
    for (std::size_t at = 0; left_ && at < end && (unicode::flags(unicode::next(text, at)) & unicode::kSpace) != 0;) begin = at;
    text.resize(end);
    text.erase(0, begin);
  }
  [[nodiscard]] bool may_drop_start() const override { return left_; }

 private:
  bool left_, right_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(const JsonPart& part) : prefix_(part.at("prepend").text()) {}
  void apply(std::string& text, PieceScratch&) const override {
    if (!text.empty()) text.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

class Replace : public Normalizer {
 public:
  explicit Replace(const JsonPart& part) : content_(part.at("content").text()) {
    const JsonPart pattern = part.at("pattern");
    if (pattern.has("Regex")) {
      regex_.emplace(pattern.at("Regex"));
    } else {
      if (!pattern.has("String")) pattern.fail("expected {\"String\": ...} or {\"Regex\": ...}");
      string_ = pattern.at("String").text();
      if (string_.empty()) pattern.fail("the text to replace is empty");
      std::size_t at = 0;
      unicode::next(string_, at);
      one_character_ = at == string_.size();
    }
  }
  void apply(std::string& text, PieceScratch& scratch) const override {
    std::string& out = scratch.text;
    out.clear();
    if (regex_) {
      scratch.matches.clear();
      regex_->find(text, {0, static_cast<std::uint32_t>(text.size())}, scratch, scratch.matches);
      for (const Match& match : scratch.matches)
        out.append(match.is_match ? std::string_view(content_)
                                  : std::string_view(text).substr(match.begin, match.end - match.begin));
    } else {
      std::size_t done = 0;
      for (std::size_t found; (found = text.find(string_, done)) != std::string::npos; done = found + string_.size())
        out.append(text, done, found - done).append(content_);
      if (done == 0) return;
      out.append(text, done);
    }
    text.swap(out);
  }
  [[nodiscard]] bool may_drop_start() const override { return !one_character_ || content_.empty(); }

 private:
  std::string content_, string_;
  std::optional<TokenizerRegex> regex_;
  bool one_character_ = false;
};

/// The Han blocks that BERT puts between spaces. The `tokenizers` package omits U+2B820..U+2B91F, and so does this.
bool is_bert_han(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x2F800 && c <= 0x2FA1F);
}

class Bert : public Normalizer {
 public:
  explicit Bert(const JsonPart& part)
      : clean_(part.at("clean_text").boolean()),
        han_(part.at("handle_chinese_chars").boolean()),
        lowercase_(part.at("lowercase").boolean()),
        strip_accents_(part.boolean_or("strip_accents", lowercase_)) {}

  void apply(std::string& text, PieceScratch& scratch) const override {
    if (is_ascii(text)) return apply_ascii(text);
    std::string& out = scratch.text;
    map_characters(text, out, [this](char32_t c, std::string& to) {
      if (clean_) {
        if (c == '\t' || c == '\n' || c == '\r') {
          c = ' ';
        } else {
          const std::uint16_t flags = unicode::flags(c);
          if (c == 0 || c == 0xFFFD || (flags & unicode::kOther) != 0) return;
          if ((flags & unicode::kSpace) != 0) c = ' ';
        }
      }
      const bool spaced = han_ && is_bert_han(c);
      if (spaced) to += ' ';
      unicode::append(to, c);
      if (spaced) to += ' ';
    });
    if (strip_accents_) {
      normalize(text, out, unicode::Form::nfd);
      drop(text, out, unicode::kNonspacing);
    }
    if (lowercase_) lower(text, out);
  }
  [[nodiscard]] bool may_drop_start() const override { return clean_ || strip_accents_; }

 private:
  void apply_ascii(std::string& text) const {
    std::size_t kept = 0;
    for (const char c : text) {
      char to = c;
      if (clean_) {
        if (c == '\t' || c == '\n' || c == '\r')
          to = ' ';
        else if (c < 0x20 || c == 0x7F)
          continue;
      }
      if (lowercase_ && to >= 'A' && to <= 'Z') to = static_cast<char>(to + 32);
      text[kept++] = to;
    }
    text.resize(kept);
  }

  bool clean_, han_, lowercase_, strip_accents_;
};

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(const JsonPart& part) {
    for (const JsonPart& item : part.at("normalizers").items())
      if (auto normalizer = parse(item)) parts_.push_back(std::move(normalizer));
  }
  void apply(std::string& text, PieceScratch& scratch) const override {
    for (const auto& part : parts_) part->apply(text, scratch);
  }
  [[nodiscard]] bool may_drop_start() const override {
    for (const auto& part : parts_)
      if (part->may_drop_start()) return true;
    return false;
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

}  // namespace

std::unique_ptr<Normalizer> Normalizer::parse(const JsonPart& part) {
  if (part.is_null()) return nullptr;
  const JsonPart type = part.at("type");
  const std::string& name = type.text();
  if (name == "NFC") return std::make_unique<UnicodeForm>(unicode::Form::nfc);
  if (name == "NFD") return std::make_unique<UnicodeForm>(unicode::Form::nfd);
  if (name == "NFKC") return std::make_unique<UnicodeForm>(unicode::Form::nfkc);
  if (name == "NFKD") return std::make_unique<UnicodeForm>(unicode::Form::nfkd);
  if (name == "Lowercase") return std::make_unique<Lowercase>();
  if (name == "Strip") return std::make_unique<Strip>(part);
  if (name == "StripAccents") return std::make_unique<StripAccents>();
  if (name == "Replace") return std::make_unique<Replace>(part);
  if (name == "Prepend") return std::make_unique<Prepend>(part);
  if (name == "BertNormalizer") return std::make_unique<Bert>(part);
  if (name == "Sequence") return std::make_unique<NormalizerSequence>(part);
  type.fail_unsupported(name, "NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, Prepend, BertNormalizer, Sequence");
}

}  // namespace dmoerm::tokenizer
