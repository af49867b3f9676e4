// The content of a token store: flat columns, each of which is one HDF5 dataset. Writer and readers share it.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace dmoerm::data {

inline constexpr std::int64_t kStoreSchema = 3;
inline constexpr std::int64_t kStoreSchemaWithoutKeys = 2;  ///< what 0.1 wrote; it is read too

/// @tparam Column  what holds the values of a column: StoreColumns has vectors, StoreView looks at memory of others
template <template <class> class Column>
struct ColumnsOf {
  Column<std::int32_t> tokens;  ///< tokens by group: prefix, each response's own tokens, then those of the prompt if the
                                ///< prefix does not begin with it
  // One value per group. The ids of the prompt are the first prompt_shared of the prefix, or the prompt_extra after the
  // responses.
  Column<std::int32_t> prefix_length, response_count, prompt_shared, prompt_extra, category, id_length, file;
  Column<std::int64_t> line;
  Column<std::uint64_t> prompt_key, session_key;  ///< preference::prompt_key(), session_key(); see TokenStore::open()
  Column<std::uint8_t> split;
  Column<float> weight;
  Column<std::uint8_t> id_bytes;
  // One value per response.
  Column<std::int32_t> response_length;
  Column<double> overall;  ///< overall score; NaN if there is none
  // One value per label, in the order of the groups.
  Column<std::int64_t> score_response;  ///< number of the response in the store
  Column<std::int32_t> score_label;
  Column<double> score_value;
  Column<std::int64_t> pair_group;
  Column<std::int32_t> pair_label, pair_winner, pair_loser;
  Column<float> pair_margin;
  Column<std::int64_t> verdict_group;
  Column<std::int32_t> verdict_label, verdict_a, verdict_b;
  Column<std::uint8_t> verdict_outcome;  ///< preference::SwapOutcome

  /// Call visit(name, column of self, same column of others...) for every column, in the order of the file.
  template <class Visit, class Self, class... Others>
  static void each(const Visit& visit, Self& self, Others&... others) {
    const auto column = [&](const char* name, auto pick) { visit(name, pick(self), pick(others)...); };
    column(
        "tokens", [](auto& c) -> auto& { return c.tokens; });
    column(
        "groups/prefix_length", [](auto& c) -> auto& { return c.prefix_length; });
    column(
        "groups/response_count", [](auto& c) -> auto& { return c.response_count; });
    column(
        "groups/prompt_shared", [](auto& c) -> auto& { return c.prompt_shared; });
    column(
        "groups/prompt_extra", [](auto& c) -> auto& { return c.prompt_extra; });
    column(
        "groups/category", [](auto& c) -> auto& { return c.category; });
    column(
        "groups/id_length", [](auto& c) -> auto& { return c.id_length; });
    column(
        "groups/file", [](auto& c) -> auto& { return c.file; });
    column(
        "groups/line", [](auto& c) -> auto& { return c.line; });
    column(
        "groups/prompt_key", [](auto& c) -> auto& { return c.prompt_key; });
    column(
        "groups/session_key", [](auto& c) -> auto& { return c.session_key; });
    column(
        "groups/split", [](auto& c) -> auto& { return c.split; });
    column(
        "groups/weight", [](auto& c) -> auto& { return c.weight; });
    column(
        "groups/id_bytes", [](auto& c) -> auto& { return c.id_bytes; });
    column(
        "responses/length", [](auto& c) -> auto& { return c.response_length; });
    column(
        "responses/overall", [](auto& c) -> auto& { return c.overall; });
    column(
        "scores/response", [](auto& c) -> auto& { return c.score_response; });
    column(
        "scores/label", [](auto& c) -> auto& { return c.score_label; });
    column(
        "scores/value", [](auto& c) -> auto& { return c.score_value; });
    column(
        "pairs/group", [](auto& c) -> auto& { return c.pair_group; });
    column(
        "pairs/label", [](auto& c) -> auto& { return c.pair_label; });
    column(
        "pairs/winner", [](auto& c) -> auto& { return c.pair_winner; });
    column(
        "pairs/loser", [](auto& c) -> auto& { return c.pair_loser; });
    column(
        "pairs/margin", [](auto& c) -> auto& { return c.pair_margin; });
    column(
        "verdicts/group", [](auto& c) -> auto& { return c.verdict_group; });
    column(
        "verdicts/label", [](auto& c) -> auto& { return c.verdict_label; });
    column(
        "verdicts/a", [](auto& c) -> auto& { return c.verdict_a; });
    column(
        "verdicts/b", [](auto& c) -> auto& { return c.verdict_b; });
    column(
        "verdicts/outcome", [](auto& c) -> auto& { return c.verdict_outcome; });
  }
};

template <class T>
using OwnColumn = std::vector<T>;
template <class T>
using ColumnView = std::span<const T>;
using StoreColumns = ColumnsOf<OwnColumn>;
using StoreView = ColumnsOf<ColumnView>;

/// The columns of `columns`, which must outlive the view.
inline StoreView view_of(const StoreColumns& columns) {
  StoreView view;
  StoreView::each([](const char*, auto& seen, const auto& own) { seen = own; }, view, columns);
  return view;
}

/// Texts about the store as a whole.
struct StoreAttributes {
  std::vector<std::string> categories, files;
  std::vector<std::string> labels;  ///< "overall", then "<category>/<point>"
  std::string provenance = "{}";    ///< JSON
  std::int64_t head_tokens = 0;     ///< Tokens at the start of every text that are never cut
  std::int64_t schema = kStoreSchema;
};

}  // namespace dmoerm::data
