#include "tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "base/dangling_link.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json_problem.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/model.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/post_processor.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/unicode.h"

namespace dmoerm::tokenizer {
namespace {

/// The buffers of an encode() call. They are kept for the next call.
struct Scratch {
  PieceScratch pieces;
  ModelScratch model;
  Pieces words;
  std::string normalized;
};

/// A stock of scratch buffers. Each call takes one, so that calls in several threads use different ones.
class ScratchPool {
 public:
  std::unique_ptr<Scratch> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<Scratch>();
    auto scratch = std::move(free_.back());
    free_.pop_back();
    return scratch;
  }
  void give(std::unique_ptr<Scratch> scratch) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(scratch));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> free_;
};

/// Refuse a folder without tokenizer.json. @throws DataError that says what lies there instead, and how to make the file
[[noreturn]] void refuse_missing(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  if (!std::filesystem::is_directory(folder))
    throw DataError("no-tokenizer-json", fmt::format("{}: there is no directory {}", path.string(), folder.string()));
  std::string other;
  for (const char* name : {"tokenizer.model", "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "tekken.json"}) {
    if (std::filesystem::exists(folder / name)) other += (other.empty() ? "" : ", ") + std::string(name);
  }
  if (other.empty() && std::filesystem::exists(folder / "adapter_config.json"))
    throw DataError(
        "no-tokenizer-json",
        fmt::format("{}: there is no such file; {} holds a PEFT adapter: give the directory of the model that it adapts",
                    path.string(), folder.string()));
  throw DataError(
      "no-tokenizer-json",
      fmt::format("{}: there is no such file{}. dmoerm reads tokenizer.json alone; transformers writes it: "
                  "AutoTokenizer.from_pretrained(\"{}\").save_pretrained(\"{}\")",
                  path.string(), other.empty() ? "" : fmt::format(", only {}", other), folder.string(), folder.string()));
}

}  // namespace

struct Tokenizer::Impl {
  TokenMap vocabulary;  // tokens of the model
  std::unordered_map<std::string, AddedToken, StringHash, std::equal_to<>> added;
  std::unordered_map<std::int32_t, std::string> tokens;  // tokens by id, with the added ones
  std::int64_t vocab_size = 0;
  std::unique_ptr<Normalizer> normalizer;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  std::unique_ptr<Model> model;
  AddedTokenFinder plain_finder, normalized_finder;  // finders before and behind the normalizer
  PostProcessor post_processor;
  std::string digest, name;
  mutable ScratchPool pool;

  void read_vocabulary(const JsonPart& part);
  void read_added(const JsonPart& part);
  void name_token(const std::string& token, std::int32_t id, const JsonPart& part);
  void encode(std::string_view text, bool parse_special, bool at_start, Scratch& scratch, std::vector<std::int32_t>& ids) const;
};

void Tokenizer::Impl::name_token(const std::string& token, std::int32_t id, const JsonPart& part) {
  const auto [known, fresh] = tokens.emplace(id, token);
  if (!fresh && known->second != token) part.fail(fmt::format("id {} belongs to \"{}\" and to \"{}\"", id, known->second, token));
  vocab_size = std::max<std::int64_t>(vocab_size, id + 1);
}

void Tokenizer::Impl::read_vocabulary(const JsonPart& part) {
  if (!part.value().is_object())
    part.fail(fmt::format("expected an object of tokens and their ids, found {}", part.value().type_name()));
  vocabulary.reserve(part.value().size());
  for (const auto& [token, id] : part.value().items()) {
    const JsonPart entry(id, name, "model.vocab[\"" + token + "\"]");
    vocabulary.emplace(token, entry.token_id());
    name_token(token, entry.token_id(), part);
  }
}

void Tokenizer::Impl::read_added(const JsonPart& part) {
  if (part.is_null()) return;
  PieceScratch scratch;
  for (const JsonPart& item : part.items()) {
    const AddedToken token(item);
    if (token.content.empty()) continue;
    if (const auto found = vocabulary.find(token.content); found != vocabulary.end() && found->second != token.id)
      item.fail(fmt::format("\"{}\" has id {} here and {} in the vocabulary", token.content, token.id, found->second));
    if (!added.emplace(token.content, token).second) item.fail(fmt::format("\"{}\" is added twice", token.content));
    name_token(token.content, token.id, item);
    std::string pattern = token.content;
    if (token.normalized && normalizer) normalizer->apply(pattern, scratch);
    (token.normalized ? normalized_finder : plain_finder).add(pattern, token);
  }
}

void Tokenizer::Impl::encode(std::string_view text, bool parse_special, bool at_start, Scratch& scratch,
                             std::vector<std::int32_t>& ids) const {
  constexpr std::size_t longest = std::size_t{1} << 30;
  if (text.size() > longest)
    throw DataError("text-too-long", fmt::format("{}: a text of {} bytes is too long to be tokenised, at most {} are supported",
                                                 name, text.size(), longest));
  std::string repaired;
  if (unicode::valid_prefix(text) < text.size()) text = repaired = unicode::repair(text);
  const auto token = [&ids](std::int32_t id) { ids.push_back(id); };
  const auto words = [&](std::string_view piece, bool starts) {
    scratch.words.reset(piece, starts);
    if (pre_tokenizer) pre_tokenizer->apply(scratch.words, scratch.pieces);
    for (const Piece word : scratch.words.pieces) model->encode(scratch.words.view(word), scratch.model, ids);
  };
  plain_finder.split(
      text, parse_special,
      [&](std::string_view piece) {
        const bool starts = at_start && piece.data() == text.data();
        if (normalizer) {
          scratch.normalized.assign(piece);
          normalizer->apply(scratch.normalized, scratch.pieces);
          piece = scratch.normalized;
        }
        normalized_finder.split(
            piece, parse_special, [&](std::string_view part) { words(part, starts && part.data() == piece.data()); }, token);
      },
      token);
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path) && dangling_link(path).empty()) refuse_missing(path);
  return parse(read_file(path), path.string());
}

Tokenizer Tokenizer::parse(std::string_view json, std::string_view name) {
  const nlohmann::json document = parse_json(json, std::string(name));
  auto impl = std::make_unique<Impl>();
  impl->name = name;
  impl->digest = sha256_hex(json);
  const JsonPart root(document, std::string(name), "");
  Model::type(root.at("model"));  // this comes first, because other models have other kinds of vocabularies
  impl->read_vocabulary(root.at("model").at("vocab"));
  impl->normalizer = Normalizer::parse(root.get("normalizer"));
  impl->pre_tokenizer = PreTokenizer::parse(root.get("pre_tokenizer"));
  impl->model = Model::parse(root.at("model"), impl->vocabulary, impl->pre_tokenizer && impl->pre_tokenizer->byte_level());
  impl->read_added(root.get("added_tokens"));
  impl->post_processor = PostProcessor::parse(root.get("post_processor"));
  if (impl->pre_tokenizer && impl->pre_tokenizer->needs_start() && impl->normalizer && impl->normalizer->may_drop_start())
    root.at("pre_tokenizer")
        .fail(
            "Metaspace with prepend_scheme \"first\" behind a normalizer that removes characters is not supported; "
            "supported: always, never, or normalizers that keep the start");
  return Tokenizer(std::move(impl));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, bool parse_special, bool at_start) const {
  auto scratch = impl_->pool.take();
  std::vector<std::int32_t> ids;
  ids.reserve(text.size() / 4 + 8);
  impl_->encode(text, parse_special, at_start, *scratch, ids);
  impl_->pool.give(std::move(scratch));
  return ids;
}

std::vector<std::int32_t> Tokenizer::encode_with_post_processor(std::string_view text, bool parse_special) const {
  std::vector<std::int32_t> ids = encode(text, parse_special);
  ids.insert(ids.begin(), leading_ids().begin(), leading_ids().end());
  ids.insert(ids.end(), trailing_ids().begin(), trailing_ids().end());
  return ids;
}

bool Tokenizer::has_special(std::string_view text) const {
  return std::ranges::any_of(impl_->added, [&](const auto& one) {
    return one.second.special && !one.first.empty() && text.find(one.first) != std::string_view::npos;
  });
}

std::size_t Tokenizer::special_at_end(std::string_view text) const {
  std::size_t longest = 0;
  for (const auto& [content, token] : impl_->added) {
    if (token.special && text.ends_with(content)) longest = std::max(longest, content.size());
  }
  return longest;
}

const std::vector<std::int32_t>& Tokenizer::leading_ids() const { return impl_->post_processor.before; }
const std::vector<std::int32_t>& Tokenizer::trailing_ids() const { return impl_->post_processor.after; }

std::optional<std::int32_t> Tokenizer::id_of(std::string_view token) const {
  if (const auto added = impl_->added.find(token); added != impl_->added.end()) return added->second.id;
  if (const auto found = impl_->vocabulary.find(token); found != impl_->vocabulary.end()) return found->second;
  return std::nullopt;
}

std::string Tokenizer::token_of(std::int32_t id) const {
  const auto found = impl_->tokens.find(id);
  return found == impl_->tokens.end() ? std::string() : found->second;
}

Tokenizer::TakesSpace Tokenizer::takes_space(std::string_view token) const {
  const auto found = impl_->added.find(token);
  return found == impl_->added.end() ? TakesSpace{} : TakesSpace{found->second.lstrip, found->second.rstrip};
}

std::int64_t Tokenizer::vocab_size() const { return impl_->vocab_size; }
const std::string& Tokenizer::digest() const { return impl_->digest; }

}  // namespace dmoerm::tokenizer
