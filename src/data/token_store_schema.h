// The content of a token store: flat columns, each of which is one HDF5 dataset. Writer and reader share it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace dmoerm::data {

inline constexpr std::int64_t kStoreSchema = 3;
inline constexpr std::int64_t kStoreSchemaWithoutKeys = 2;  ///< what 0.1 wrote; it is read too

struct StoreColumns {
  std::vector<std::int32_t> tokens;  ///< tokens by group: prefix, each response's own tokens, then those of the prompt if the
                                     ///< prefix does not begin with it
  // One value per group. The ids of the prompt are the first prompt_shared of the prefix, or the prompt_extra after the
  // responses.
  std::vector<std::int32_t> prefix_length, response_count, prompt_shared, prompt_extra, category, id_length, file;
  std::vector<std::int64_t> line;
  std::vector<std::uint64_t> prompt_key, session_key;  ///< preference::prompt_key(), session_key(); see TokenStore::open()
  std::vector<std::uint8_t> split;
  std::vector<float> weight;
  std::vector<std::uint8_t> id_bytes;
  // One value per response.
  std::vector<std::int32_t> response_length;
  std::vector<double> overall;  ///< overall score; NaN if there is none
  // One value per label, in the order of the groups.
  std::vector<std::int64_t> score_response;  ///< number of the response in the store
  std::vector<std::int32_t> score_label;
  std::vector<double> score_value;
  std::vector<std::int64_t> pair_group;
  std::vector<std::int32_t> pair_label, pair_winner, pair_loser;
  std::vector<float> pair_margin;
  std::vector<std::int64_t> verdict_group;
  std::vector<std::int32_t> verdict_label, verdict_a, verdict_b;
  std::vector<std::uint8_t> verdict_outcome;  ///< preference::SwapOutcome

  /// Call visit(name, column of self, same column of others...) for every column, in the order of the file.
  template <class Visit, class Self, class... Others>
  static void each(const Visit& visit, Self& self, Others&... others) {
    using C = StoreColumns;
    const auto column = [&](const char* name, auto member) { visit(name, self.*member, (others.*member)...); };
    column("tokens", &C::tokens);
    column("groups/prefix_length", &C::prefix_length);
    column("groups/response_count", &C::response_count);
    column("groups/prompt_shared", &C::prompt_shared);
    column("groups/prompt_extra", &C::prompt_extra);
    column("groups/category", &C::category);
    column("groups/id_length", &C::id_length);
    column("groups/file", &C::file);
    column("groups/line", &C::line);
    column("groups/prompt_key", &C::prompt_key);
    column("groups/session_key", &C::session_key);
    column("groups/split", &C::split);
    column("groups/weight", &C::weight);
    column("groups/id_bytes", &C::id_bytes);
    column("responses/length", &C::response_length);
    column("responses/overall", &C::overall);
    column("scores/response", &C::score_response);
    column("scores/label", &C::score_label);
    column("scores/value", &C::score_value);
    column("pairs/group", &C::pair_group);
    column("pairs/label", &C::pair_label);
    column("pairs/winner", &C::pair_winner);
    column("pairs/loser", &C::pair_loser);
    column("pairs/margin", &C::pair_margin);
    column("verdicts/group", &C::verdict_group);
    column("verdicts/label", &C::verdict_label);
    column("verdicts/a", &C::verdict_a);
    column("verdicts/b", &C::verdict_b);
    column("verdicts/outcome", &C::verdict_outcome);
  }
};

/// Texts about the store as a whole.
struct StoreAttributes {
  std::vector<std::string> categories, files;
  std::vector<std::string> labels;  ///< "overall", then "<category>/<point>"
  std::string provenance = "{}";    ///< JSON
  std::int64_t head_tokens = 0;     ///< Tokens at the start of every text that are never cut
  std::int64_t schema = kStoreSchema;
};

}  // namespace dmoerm::data
