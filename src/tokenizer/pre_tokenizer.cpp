#include "tokenizer/pre_tokenizer.h"

#include <optional>

#include "tokenizer/regex.h"
#include "tokenizer/scan.h"
#include "tokenizer/unicode.h"

namespace dmoerm::tokenizer {
namespace {

/// Cuts where a character has one of `flags`.
void split_flags(Pieces& pieces, PieceScratch& scratch, Behavior behavior, std::uint16_t wanted) {
  split_pieces(pieces, scratch, behavior, [wanted](std::string_view text, Piece piece, std::vector<Match>& matches) {
    std::uint32_t done = piece.begin;
    for (std::size_t at = piece.begin; at < piece.end;) {
      const auto start = static_cast<std::uint32_t>(at);
      if ((unicode::flags(unicode::next(text, at)) & wanted) == 0) continue;
      if (start > done) matches.push_back({done, start, false});
      done = static_cast<std::uint32_t>(at);
      matches.push_back({start, done, true});
    }
    if (done < piece.end) matches.push_back({done, piece.end, false});
  });
}

/// Cuts at every occurrence of `string`.
void split_string(Pieces& pieces, PieceScratch& scratch, Behavior behavior, std::string_view string, bool invert) {
  split_pieces(pieces, scratch, behavior, [=](std::string_view text, Piece piece, std::vector<Match>& matches) {
    text = text.substr(0, piece.end);
    std::uint32_t done = piece.begin;
    for (std::size_t found; (found = text.find(string, done)) != std::string_view::npos;) {
      const auto begin = static_cast<std::uint32_t>(found), end = static_cast<std::uint32_t>(found + string.size());
      if (begin > done) matches.push_back({done, begin, invert});
      matches.push_back({begin, end, !invert});
      done = end;
    }
    if (done < piece.end) matches.push_back({done, piece.end, invert});
  });
}

/// Rewrite every piece. @param write  function write(text of the piece, number of the piece, out)
template <class Write>
void rewrite(Pieces& pieces, PieceScratch& scratch, Write write) {
  std::string& out = scratch.text;
  out.clear();
  for (std::size_t i = 0; i < pieces.pieces.size(); ++i) {
    Piece& piece = pieces.pieces[i];
    const auto begin = static_cast<std::uint32_t>(out.size());
    write(pieces.view(piece), piece.begin == 0, out);
    piece = {begin, static_cast<std::uint32_t>(out.size())};
  }
  pieces.storage.swap(out);
  pieces.text = pieces.storage;
}

class Flags : public PreTokenizer {
 public:
  Flags(std::uint16_t wanted, Behavior behavior) : wanted_(wanted), behavior_(behavior) {}
  void apply(Pieces& pieces, PieceScratch& scratch) const override { split_flags(pieces, scratch, behavior_, wanted_); }

 private:
  std::uint16_t wanted_;
  Behavior behavior_;
};

class BertWords : public PreTokenizer {
 public:
  void apply(Pieces& pieces, PieceScratch& scratch) const override {
    split_flags(pieces, scratch, Behavior::removed, unicode::kSpace);
    split_flags(pieces, scratch, Behavior::isolated, unicode::kPunctuation);
  }
};

/// Keeps runs of word characters, and runs of characters that are neither word characters nor white space.
class Whitespace : public PreTokenizer {
 public:
  void apply(Pieces& pieces, PieceScratch& scratch) const override {
    constexpr std::uint16_t kinds = unicode::kWord | unicode::kSpace;
    split_pieces(pieces, scratch, Behavior::removed, [](std::string_view text, Piece piece, std::vector<Match>& matches) {
      for (std::size_t at = piece.begin; at < piece.end;) {
        const auto begin = static_cast<std::uint32_t>(at);
        const std::uint16_t kind = unicode::flags(unicode::next(text, at)) & kinds;
        for (std::size_t ahead = at; ahead < piece.end && (unicode::flags(unicode::next(text, ahead)) & kinds) == kind;)
          at = ahead;
        matches.push_back({begin, static_cast<std::uint32_t>(at), kind == unicode::kSpace});
      }
    });
  }
};

class Split : public PreTokenizer {
 public:
  explicit Split(const JsonPart& part) : behavior_(behavior(part.at("behavior"))), invert_(part.boolean_or("invert", false)) {
    const JsonPart pattern = part.at("pattern");
    if (pattern.has("Regex")) {
      known_ = known_pattern(pattern.at("Regex").text());
      if (known_ && behavior_ == Behavior::isolated) return;
      known_.reset();
      regex_.emplace(pattern.at("Regex"));
    } else {
      if (!pattern.has("String")) pattern.fail("expected {\"String\": ...} or {\"Regex\": ...}");
      string_ = pattern.at("String").text();
      if (string_.empty()) pattern.fail("the text to split at is empty");
    }
  }

  void apply(Pieces& pieces, PieceScratch& scratch) const override {
    if (known_) {
      scratch.pieces.clear();
      for (const Piece piece : pieces.pieces) {
        if (known_->gpt2)
          scan_gpt2(pieces.text, piece, scratch.pieces);
        else
          scan_llama3(pieces.text, piece, known_->digits, scratch.pieces);
      }
      pieces.pieces.swap(scratch.pieces);
    } else if (regex_) {
      split_pieces(pieces, scratch, behavior_, [&](std::string_view text, Piece piece, std::vector<Match>& matches) {
        regex_->find(text, piece, scratch, matches);
        if (invert_)
          for (Match& match : matches) match.is_match = !match.is_match;
      });
    } else {
      split_string(pieces, scratch, behavior_, string_, invert_);
    }
  }

  static Behavior behavior(const JsonPart& part) {
    const std::string& name = part.text();
    if (name == "Removed") return Behavior::removed;
    if (name == "Isolated") return Behavior::isolated;
    if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
    if (name == "MergedWithNext") return Behavior::merged_with_next;
    if (name == "Contiguous") return Behavior::contiguous;
    part.fail_unsupported(name, "Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
  }

 private:
  Behavior behavior_;
  bool invert_;
  std::string string_;
  std::optional<TokenizerRegex> regex_;
  std::optional<KnownPattern> known_;
};

class ByteLevel : public PreTokenizer {
 public:
  explicit ByteLevel(const JsonPart& part)
      : prefix_space_(part.at("add_prefix_space").boolean()), use_regex_(part.boolean_or("use_regex", true)) {}
  void apply(Pieces& pieces, PieceScratch& scratch) const override {
    if (prefix_space_)
      rewrite(pieces, scratch, [](std::string_view piece, bool, std::string& out) {
        if (!piece.starts_with(' ')) out += ' ';
        out += piece;
      });
    if (!use_regex_) return;
    scratch.pieces.clear();
    for (const Piece piece : pieces.pieces) scan_gpt2(pieces.text, piece, scratch.pieces);
    pieces.pieces.swap(scratch.pieces);
  }
  [[nodiscard]] bool byte_level() const override { return true; }

 private:
  bool prefix_space_, use_regex_;
};

class Metaspace : public PreTokenizer {
 public:
  explicit Metaspace(const JsonPart& part) : split_(part.boolean_or("split", true)) {
    unicode::append(replacement_, part.at("replacement").character());
    const std::string scheme = part.text_or("prepend_scheme", "always");
    if (scheme == "first")
      scheme_ = Scheme::first;
    else if (scheme == "never")
      scheme_ = Scheme::never;
    else if (scheme != "always")
      part.at("prepend_scheme").fail_unsupported(scheme, "first, never, always");
    if (part.has("add_prefix_space") && !part.at("add_prefix_space").boolean()) {
      if (part.has("prepend_scheme") && scheme_ != Scheme::never)
        part.fail("add_prefix_space false contradicts prepend_scheme \"" + scheme + "\"");
      scheme_ = Scheme::never;
    }
  }

  void apply(Pieces& pieces, PieceScratch& scratch) const override {
    const bool at_start = pieces.at_start;
    rewrite(pieces, scratch, [&](std::string_view piece, bool first, std::string& out) {
      const bool wanted = scheme_ == Scheme::always || (scheme_ == Scheme::first && first && at_start);
      if (wanted && !piece.starts_with(' ') && !piece.starts_with(replacement_)) out += replacement_;
      for (std::size_t done = 0; done < piece.size();) {
        const std::size_t space = std::min(piece.find(' ', done), piece.size());
        out += piece.substr(done, space - done);
        if (space < piece.size()) out += replacement_;
        done = space + 1;
      }
    });
    if (split_) split_string(pieces, scratch, Behavior::merged_with_next, replacement_, false);
  }
  [[nodiscard]] bool needs_start() const override { return scheme_ == Scheme::first; }

 private:
  enum class Scheme : std::uint8_t { always, first, never };
  std::string replacement_;
  Scheme scheme_ = Scheme::always;
  bool split_;
};

class PreTokenizerSequence : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(const JsonPart& part) {
    for (const JsonPart& item : part.at("pretokenizers").items()) {
      auto step = parse(item);
      if (!step) continue;
      if (byte_level()) item.fail("nothing may follow ByteLevel; supported: ByteLevel at the end of a Sequence");
      if (step->needs_start() && !steps_.empty())
        item.fail("prepend_scheme \"first\" is supported only at the start of a Sequence");
      steps_.push_back(std::move(step));
    }
  }
  void apply(Pieces& pieces, PieceScratch& scratch) const override {
    for (const auto& step : steps_) step->apply(pieces, scratch);
  }
  [[nodiscard]] bool byte_level() const override { return !steps_.empty() && steps_.back()->byte_level(); }
  [[nodiscard]] bool needs_start() const override { return !steps_.empty() && steps_.front()->needs_start(); }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

}  // namespace

std::unique_ptr<PreTokenizer> PreTokenizer::parse(const JsonPart& part) {
  if (part.is_null()) return nullptr;
  const JsonPart type = part.at("type");
  const std::string& name = type.text();
  if (name == "ByteLevel") return std::make_unique<ByteLevel>(part);
  if (name == "Split") return std::make_unique<Split>(part);
  if (name == "Digits")
    return std::make_unique<Flags>(unicode::kNumeric,
                                   part.at("individual_digits").boolean() ? Behavior::isolated : Behavior::contiguous);
  if (name == "Punctuation")
    return std::make_unique<Flags>(unicode::kPunctuation,
                                   part.has("behavior") ? Split::behavior(part.at("behavior")) : Behavior::isolated);
  if (name == "Metaspace") return std::make_unique<Metaspace>(part);
  if (name == "BertPreTokenizer") return std::make_unique<BertWords>();
  if (name == "Whitespace") return std::make_unique<Whitespace>();
  if (name == "WhitespaceSplit") return std::make_unique<Flags>(unicode::kSpace, Behavior::removed);
  if (name == "Sequence") return std::make_unique<PreTokenizerSequence>(part);
  type.fail_unsupported(
      name, "ByteLevel, Split, Digits, Punctuation, Metaspace, BertPreTokenizer, Whitespace, WhitespaceSplit, Sequence");
}

}  // namespace dmoerm::tokenizer
