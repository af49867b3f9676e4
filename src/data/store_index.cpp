#include "data/store_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <climits>
#include <cmath>

#include "base/error.h"
#include "preference/group.h"

namespace dmoerm::data {
namespace {

void check(bool good, const char* what) {
  if (!good) throw DataError("token-store-damaged", what);
}

bool in_range(const auto& values, std::int64_t low, std::size_t end) {
  return std::ranges::all_of(values, [&](auto v) { return v >= low && v < static_cast<std::int64_t>(end); });
}

template <class... Columns>
bool same_size(std::size_t size, const Columns&... columns) {
  return ((columns.size() == size) && ...);
}

/// Where the values 0, 1, 2, ... begin in a sorted column; one more entry than values.
std::vector<std::int64_t> runs(std::span<const std::int64_t> sorted, std::size_t count) {
  std::vector<std::int64_t> begin(count + 1, 0);
  for (const std::int64_t value : sorted) ++begin[static_cast<std::size_t>(value) + 1];
  for (std::size_t i = 0; i < count; ++i) begin[i + 1] += begin[i];
  return begin;
}

/// Whether every entry names two different responses of its group.
bool name_two(const StoreView& c, std::span<const std::int64_t> group, std::span<const std::int32_t> a,
              std::span<const std::int32_t> b) {
  for (std::size_t i = 0; i < group.size(); ++i) {
    const std::int32_t count = c.response_count[static_cast<std::size_t>(group[i])];
    if (a[i] < 0 || a[i] >= count || b[i] < 0 || b[i] >= count || a[i] == b[i]) return false;
  }
  return true;
}

}  // namespace

StoreIndex::StoreIndex(const StoreView& c, const StoreAttributes& attributes) {
  tokens = responses = ids = {0};
  const std::size_t n = c.category.size(), labels = attributes.labels.size();
  check(labels > 0 && attributes.labels[0] == preference::kOverall, "the first label is not overall");
  check(same_size(n, c.prefix_length, c.response_count, c.prompt_shared, c.prompt_extra, c.id_length, c.file, c.line,
                  c.prompt_key, c.session_key, c.split, c.weight),
        "the columns of groups differ in length");
  check(in_range(c.category, 0, attributes.categories.size()) && in_range(c.file, 0, attributes.files.size()) &&
            in_range(c.split, 0, 3),
        "a category, file or split is out of range");
  check(std::ranges::all_of(c.weight, [](float w) { return std::isfinite(w) && w > 0; }), "a weight is not above 0");
  check(in_range(c.prefix_length, 0, INT_MAX) && in_range(c.response_count, 1, INT_MAX) && in_range(c.prompt_extra, 0, INT_MAX) &&
            in_range(c.response_length, 1, INT_MAX) && in_range(c.id_length, 0, INT_MAX) && in_range(c.tokens, 0, INT_MAX),
        "a length or token is out of range");
  for (std::size_t g = 0; g < n; ++g) {
    const std::int64_t first = responses.back(), last = first + c.response_count[g];
    check(last <= static_cast<std::int64_t>(c.response_length.size()), "responses are missing");
    check(c.prompt_shared[g] >= 0 && c.prompt_shared[g] <= c.prefix_length[g], "a prompt is out of range");
    std::int64_t length = std::int64_t{c.prefix_length[g]} + c.prompt_extra[g];
    for (std::int64_t r = first; r < last; ++r) length += c.response_length[static_cast<std::size_t>(r)];
    tokens.push_back(tokens.back() + length);
    responses.push_back(last);
    ids.push_back(ids.back() + c.id_length[g]);
  }
  const auto response_total = static_cast<std::size_t>(responses.back());
  check(same_size(static_cast<std::size_t>(tokens.back()), c.tokens) &&
            same_size(static_cast<std::size_t>(ids.back()), c.id_bytes) &&
            same_size(response_total, c.response_length, c.overall),
        "the columns do not add up");
  check(same_size(c.score_response.size(), c.score_label, c.score_value) && std::ranges::is_sorted(c.score_response) &&
            in_range(c.score_response, 0, response_total) && in_range(c.score_label, 0, labels),
        "a score is out of range");
  check(same_size(c.pair_group.size(), c.pair_label, c.pair_winner, c.pair_loser, c.pair_margin) &&
            std::ranges::is_sorted(c.pair_group) && in_range(c.pair_group, 0, n) && in_range(c.pair_label, 0, labels) &&
            name_two(c, c.pair_group, c.pair_winner, c.pair_loser),
        "a stated pair is out of range");
  check(same_size(c.verdict_group.size(), c.verdict_label, c.verdict_a, c.verdict_b, c.verdict_outcome) &&
            std::ranges::is_sorted(c.verdict_group) && in_range(c.verdict_group, 0, n) && in_range(c.verdict_label, 0, labels) &&
            in_range(c.verdict_outcome, 0, 7) && name_two(c, c.verdict_group, c.verdict_a, c.verdict_b),
        "a verdict is out of range");
  pairs = runs(c.pair_group, n);
  verdicts = runs(c.verdict_group, n);
  scores = runs(c.score_response, response_total);
}

StoreIndex index_of_file(const std::filesystem::path& file, const StoreView& columns, const StoreAttributes& attributes) {
  try {
    return {columns, attributes};
  } catch (const DataError& e) {
    throw DataError(e.code(), fmt::format("{}: {}: damaged; ingest again", file.string(), e.what()));
  }
}

IndexView StoreIndex::view() const {
  IndexView view;
  IndexView::each([](const char*, auto& seen, const auto& own) { seen = own; }, view, *this);
  return view;
}

}  // namespace dmoerm::data
