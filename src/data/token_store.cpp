#include "data/token_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "data/token_store_hdf5.h"
#include "pair/swap_check.h"

namespace dmoerm::data {

struct TokenStore::Impl {
  StoreColumns columns;
  StoreAttributes attributes;
  std::string digest;
  // Where each group's part begins; one more entry than groups.
  std::vector<std::int64_t> token_begin, response_begin, id_begin, pair_begin, verdict_begin;
  std::vector<std::int64_t> score_begin;  ///< of each response

  void index(const std::string& path);
  void check(bool good, const std::string& path, const char* what) const {
    if (!good) throw DataError(fmt::format("{}: {}: damaged, ingest again", path, what));
  }
};

namespace {

/// Begins of runs of equal values in a sorted column: entry g is where group g starts.
std::vector<std::int64_t> runs(const std::vector<std::int64_t>& sorted, std::int64_t groups) {
  std::vector<std::int64_t> begin(static_cast<std::size_t>(groups) + 1, static_cast<std::int64_t>(sorted.size()));
  for (std::int64_t i = static_cast<std::int64_t>(sorted.size()); i-- > 0;) begin[static_cast<std::size_t>(sorted[static_cast<std::size_t>(i)])] = i;
  for (std::int64_t g = groups; g-- > 0;) begin[static_cast<std::size_t>(g)] = std::min(begin[static_cast<std::size_t>(g)], begin[static_cast<std::size_t>(g) + 1]);
  return begin;
}

bool in_range(const auto& values, std::int64_t low, std::int64_t end) {
  return std::ranges::all_of(values, [&](auto v) { return static_cast<std::int64_t>(v) >= low && static_cast<std::int64_t>(v) < end; });
}

bool rising(const std::vector<std::int64_t>& values) { return std::ranges::is_sorted(values); }

}  // namespace

void TokenStore::Impl::index(const std::string& path) {
  const StoreColumns& c = columns;
  const std::size_t n = c.prefix_length.size();
  for (const std::size_t size : {c.response_count.size(), c.prompt_shared.size(), c.prompt_extra.size(), c.category.size(), c.id_length.size(), c.file.size(), c.line.size(), c.split.size(),
                                 c.weight.size()}) {
    check(size == n, path, "columns of groups differ in length");
  }
  const auto labels = static_cast<std::int64_t>(attributes.labels.size());
  check(in_range(c.category, 0, static_cast<std::int64_t>(attributes.categories.size())) && in_range(c.split, 0, 3), path, "a category or split is out of range");
  check(in_range(c.prefix_length, 0, INT32_MAX) && in_range(c.response_count, 1, INT32_MAX) && in_range(c.prompt_extra, 0, INT32_MAX) && in_range(c.response_length, 1, INT32_MAX) &&
            in_range(c.id_length, 0, INT32_MAX),
        path, "a length is out of range");
  token_begin = response_begin = id_begin = {0};
  for (std::size_t g = 0; g < n; ++g) {
    const std::int64_t first = response_begin.back(), last = first + c.response_count[g];
    check(last <= static_cast<std::int64_t>(c.response_length.size()), path, "responses are missing");
    std::int64_t tokens = c.prefix_length[g] + c.prompt_extra[g];
    for (std::int64_t r = first; r < last; ++r) tokens += c.response_length[static_cast<std::size_t>(r)];
    check(c.prompt_shared[g] >= 0 && c.prompt_shared[g] <= c.prefix_length[g], path, "a prompt is out of range");
    token_begin.push_back(token_begin.back() + tokens);
    response_begin.push_back(last);
    id_begin.push_back(id_begin.back() + c.id_length[g]);
  }
  const std::int64_t responses = response_begin.back();
  check(token_begin.back() == static_cast<std::int64_t>(c.tokens.size()) && responses == static_cast<std::int64_t>(c.response_length.size()) &&
            id_begin.back() == static_cast<std::int64_t>(c.id_bytes.size()) && c.overall.size() == c.response_length.size(),
        path, "columns do not add up");
  check(c.score_label.size() == c.score_response.size() && c.score_value.size() == c.score_response.size() && rising(c.score_response) && in_range(c.score_response, 0, responses) &&
            in_range(c.score_label, 0, labels),
        path, "scores are out of range");
  const auto groups = static_cast<std::int64_t>(n);
  check(rising(c.pair_group) && in_range(c.pair_group, 0, groups) && in_range(c.pair_label, 0, labels) && c.pair_label.size() == c.pair_group.size() &&
            c.pair_winner.size() == c.pair_group.size() && c.pair_loser.size() == c.pair_group.size() && c.pair_margin.size() == c.pair_group.size(),
        path, "pairs are out of range");
  check(rising(c.verdict_group) && in_range(c.verdict_group, 0, groups) && in_range(c.verdict_label, 0, labels) && c.verdict_label.size() == c.verdict_group.size() &&
            c.verdict_a.size() == c.verdict_group.size() && c.verdict_b.size() == c.verdict_group.size() && c.verdict_outcome.size() == c.verdict_group.size() &&
            in_range(c.verdict_outcome, 0, 7),
        path, "verdicts are out of range");
  for (std::size_t i = 0; i < c.pair_group.size(); ++i) {
    const std::int32_t count = c.response_count[static_cast<std::size_t>(c.pair_group[i])];
    check(c.pair_winner[i] >= 0 && c.pair_winner[i] < count && c.pair_loser[i] >= 0 && c.pair_loser[i] < count, path, "a pair names no response");
  }
  for (std::size_t i = 0; i < c.verdict_group.size(); ++i) {
    const std::int32_t count = c.response_count[static_cast<std::size_t>(c.verdict_group[i])];
    check(c.verdict_a[i] >= 0 && c.verdict_a[i] < count && c.verdict_b[i] >= 0 && c.verdict_b[i] < count, path, "a verdict names no response");
  }
  pair_begin = runs(c.pair_group, groups);
  verdict_begin = runs(c.verdict_group, groups);
  score_begin = runs(c.score_response, responses);
}

TokenStore::TokenStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TokenStore::~TokenStore() = default;
TokenStore::TokenStore(TokenStore&&) noexcept = default;

TokenStore TokenStore::open(const std::filesystem::path& path) {
  auto impl = std::make_unique<Impl>();
  read_store(path, impl->columns, impl->attributes, impl->digest);
  impl->index(path.string());
  return TokenStore(std::move(impl));
}

std::int64_t TokenStore::size() const { return static_cast<std::int64_t>(impl_->columns.category.size()); }
const std::vector<std::string>& TokenStore::categories() const { return impl_->attributes.categories; }
const std::vector<std::string>& TokenStore::labels() const { return impl_->attributes.labels; }
const std::string& TokenStore::digest() const { return impl_->digest; }
const std::string& TokenStore::provenance() const { return impl_->attributes.provenance; }

TokenGroup TokenStore::group(std::int64_t index) const {
  DMOERM_CHECK(index >= 0 && index < size(), "group index is in range");
  const auto g = static_cast<std::size_t>(index);
  const StoreColumns& c = impl_->columns;
  TokenGroup group;
  group.id = {reinterpret_cast<const char*>(c.id_bytes.data()) + impl_->id_begin[g], static_cast<std::size_t>(c.id_length[g])};
  group.category = c.category[g];
  group.split = static_cast<pair::Split>(c.split[g]);
  group.weight = c.weight[g];
  const std::int32_t* token = c.tokens.data() + impl_->token_begin[g];
  group.prefix = {token, static_cast<std::size_t>(c.prefix_length[g])};
  token += c.prefix_length[g];
  for (std::int64_t r = impl_->response_begin[g]; r < impl_->response_begin[g + 1]; ++r) {
    const auto length = static_cast<std::size_t>(c.response_length[static_cast<std::size_t>(r)]);
    group.responses.emplace_back(token, length);
    token += length;
  }
  group.prompt = c.prompt_extra[g] > 0 ? std::span(token, static_cast<std::size_t>(c.prompt_extra[g])) : group.prefix.first(static_cast<std::size_t>(c.prompt_shared[g]));
  return group;
}

std::int32_t TokenStore::label_index(std::int32_t category, std::string_view label) const {
  const std::string name = label == pair::kOverall ? std::string(label) : fmt::format("{}/{}", categories()[static_cast<std::size_t>(category)], label);
  const auto found = std::ranges::find(labels(), name);
  return found == labels().end() ? -1 : static_cast<std::int32_t>(found - labels().begin());
}

std::vector<Preference> TokenStore::preferences(std::int64_t index, std::string_view label, double clear_margin) const {
  const auto g = static_cast<std::size_t>(index);
  const StoreColumns& c = impl_->columns;
  const std::int32_t wanted = label_index(c.category[g], label);
  std::vector<Preference> result;
  std::set<std::pair<std::int32_t, std::int32_t>> settled;  // unordered pairs that a stated pair or a verdict decides
  const auto key = [](std::int32_t a, std::int32_t b) { return std::pair<std::int32_t, std::int32_t>(std::min(a, b), std::max(a, b)); };
  if (wanted >= 0) {
    std::map<std::pair<std::int32_t, std::int32_t>, std::vector<Preference>> stated;
    for (auto i = static_cast<std::size_t>(impl_->pair_begin[g]); i < static_cast<std::size_t>(impl_->pair_begin[g + 1]); ++i) {
      if (c.pair_label[i] == wanted) stated[key(c.pair_winner[i], c.pair_loser[i])].push_back({c.pair_winner[i], c.pair_loser[i], c.pair_margin[i]});
    }
    for (const auto& [pair, said] : stated) {
      settled.insert(pair);
      const bool agreed = std::ranges::all_of(said, [&](const Preference& p) { return p.winner == said.front().winner; });
      if (agreed) result.push_back(said.front());  // contradictions cancel out
    }
    for (auto i = static_cast<std::size_t>(impl_->verdict_begin[g]); i < static_cast<std::size_t>(impl_->verdict_begin[g + 1]); ++i) {
      if (c.verdict_label[i] != wanted || !settled.insert(key(c.verdict_a[i], c.verdict_b[i])).second) continue;
      const auto outcome = static_cast<pair::SwapOutcome>(c.verdict_outcome[i]);
      if (outcome == pair::SwapOutcome::first) result.push_back({c.verdict_a[i], c.verdict_b[i], 0.0F});
      if (outcome == pair::SwapOutcome::second) result.push_back({c.verdict_b[i], c.verdict_a[i], 0.0F});
    }
  }
  const auto score = [&](std::int64_t response) {
    if (label == pair::kOverall) return c.overall[static_cast<std::size_t>(response)];
    for (auto i = static_cast<std::size_t>(impl_->score_begin[static_cast<std::size_t>(response)]); i < static_cast<std::size_t>(impl_->score_begin[static_cast<std::size_t>(response) + 1]); ++i) {
      if (c.score_label[i] == wanted) return c.score_value[i];
    }
    return pair::kMissing;
  };
  std::vector<double> scores;
  for (std::int64_t r = impl_->response_begin[g]; r < impl_->response_begin[g + 1]; ++r) scores.push_back(score(r));
  for (std::size_t a = 0; a < scores.size(); ++a) {
    for (std::size_t b = a + 1; b < scores.size(); ++b) {
      const auto i = static_cast<std::int32_t>(a), j = static_cast<std::int32_t>(b);
      const double gap = scores[a] - scores[b];
      // A hair below the margin still counts: means of ratings are rounded.
      if (std::isnan(gap) || gap == 0 || std::abs(gap) < clear_margin - 1e-9 || settled.contains(key(i, j))) continue;
      result.push_back(gap > 0 ? Preference{i, j, 0.0F} : Preference{j, i, 0.0F});
    }
  }
  return result;
}

}  // namespace dmoerm::data
