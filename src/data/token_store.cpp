#include "data/token_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "data/columns_file.h"
#include "data/preference_rule.h"
#include "data/token_store_hdf5.h"

namespace dmoerm::data {

struct TokenStore::Impl {
  StoreColumns own;  // empty if the store is mapped
  std::optional<StoreIndex> own_index;
  std::shared_ptr<const void> mapping;
  StoreView columns;
  IndexView index;
  StoreAttributes attributes;
  std::string digest;
};

TokenStore::TokenStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TokenStore::~TokenStore() = default;
TokenStore::TokenStore(TokenStore&&) noexcept = default;

namespace {

/// The store mapped from its columns file, which is made if needed. Empty if the store is small, or the file cannot be written.
std::optional<MappedStore> map_store(const std::filesystem::path& path, std::uintmax_t mapped_from) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error || size < mapped_from) return std::nullopt;
  if (auto mapped = open_columns_file(path)) return mapped;
  try {
    return make_columns_file(path);
  } catch (const IoError& e) {
    spdlog::warn("[data] the store is read into memory, because its columns file cannot be written: {}", e.what());
    return std::nullopt;
  }
}

}  // namespace

TokenStore TokenStore::open(const std::filesystem::path& path, std::uintmax_t mapped_from) {
  auto impl = std::make_unique<Impl>();
  if (auto mapped = map_store(path, mapped_from)) {
    impl->mapping = std::move(mapped->mapping);
    impl->columns = mapped->columns;
    impl->index = mapped->index;
    impl->attributes = std::move(mapped->attributes);
    impl->digest = std::move(mapped->digest);
    return TokenStore(std::move(impl));
  }
  read_store(path, impl->own, impl->attributes, impl->digest);
  const bool without_keys = impl->attributes.schema == kStoreSchemaWithoutKeys;
  StoreColumns& own = impl->own;
  if (without_keys) own.prompt_key.resize(own.category.size()), own.session_key.resize(own.category.size());
  impl->columns = view_of(own);
  impl->own_index = index_of_file(path, impl->columns, impl->attributes);
  impl->index = impl->own_index->view();
  TokenStore store(std::move(impl));
  if (without_keys) store.make_keys();
  return store;
}

void TokenStore::make_keys() {
  for (std::int64_t i = 0; i < size(); ++i) {
    const std::span<const std::int32_t> ids = group(i).prompt;
    const std::uint64_t key = stable_hash({reinterpret_cast<const char*>(ids.data()), ids.size_bytes()});
    impl_->own.prompt_key[static_cast<std::size_t>(i)] = impl_->own.session_key[static_cast<std::size_t>(i)] = key;
  }
}

std::int64_t TokenStore::size() const { return static_cast<std::int64_t>(impl_->columns.category.size()); }
const std::vector<std::string>& TokenStore::categories() const { return impl_->attributes.categories; }
const std::vector<std::string>& TokenStore::labels() const { return impl_->attributes.labels; }
const std::string& TokenStore::digest() const { return impl_->digest; }
const std::string& TokenStore::provenance() const { return impl_->attributes.provenance; }
std::int64_t TokenStore::head_tokens() const { return impl_->attributes.head_tokens; }

TokenGroup TokenStore::group(std::int64_t number) const {
  DMOERM_CHECK(number >= 0 && number < size(), "group number is in range");
  const auto g = static_cast<std::size_t>(number);
  const StoreView& c = impl_->columns;
  const IndexView& index = impl_->index;
  TokenGroup group;
  group.id = {reinterpret_cast<const char*>(c.id_bytes.data()) + index.ids[g], static_cast<std::size_t>(c.id_length[g])};
  group.category = c.category[g];
  group.split = static_cast<preference::Split>(c.split[g]);
  group.weight = c.weight[g];
  group.prompt_key = c.prompt_key[g];
  group.session_key = c.session_key[g];
  const std::int32_t* token = c.tokens.data() + index.tokens[g];
  group.prefix = {token, static_cast<std::size_t>(c.prefix_length[g])};
  token += c.prefix_length[g];
  for (std::int64_t r = index.responses[g]; r < index.responses[g + 1]; ++r) {
    const auto length = static_cast<std::size_t>(c.response_length[static_cast<std::size_t>(r)]);
    group.responses.emplace_back(token, length);
    token += length;
  }
  group.prompt = c.prompt_extra[g] > 0 ? std::span(token, static_cast<std::size_t>(c.prompt_extra[g]))
                                       : group.prefix.first(static_cast<std::size_t>(c.prompt_shared[g]));
  group.prompt_tokens = std::ssize(group.prompt);
  return group;
}

std::pair<std::string_view, std::int64_t> TokenStore::source(std::int64_t index) const {
  DMOERM_CHECK(index >= 0 && index < size(), "group number is in range");
  const auto g = static_cast<std::size_t>(index);
  return {impl_->attributes.files[static_cast<std::size_t>(impl_->columns.file[g])], impl_->columns.line[g]};
}

std::int32_t TokenStore::label_index(std::int32_t category, std::string_view label) const {
  if (label == preference::kOverall) return kOverallLabel;
  const std::string name = fmt::format("{}/{}", categories()[static_cast<std::size_t>(category)], label);
  const auto found = std::ranges::find(labels(), name);
  return found == labels().end() ? -1 : static_cast<std::int32_t>(found - labels().begin());
}

std::vector<preference::Preference> TokenStore::preferences(std::int64_t group, std::string_view label, double score_gap_min,
                                                            preference::Ties ties) const {
  const std::int32_t category = impl_->columns.category[static_cast<std::size_t>(group)];
  return preferences_of(impl_->columns, impl_->index, group, label_index(category, label), score_gap_min, ties);
}

std::vector<double> TokenStore::scores(std::int64_t group, std::string_view label) const {
  const std::int32_t category = impl_->columns.category[static_cast<std::size_t>(group)];
  return scores_of(impl_->columns, impl_->index, group, label_index(category, label));
}

}  // namespace dmoerm::data
