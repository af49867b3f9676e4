// What a token store holds: flat columns. Shared by writer and reader. See docs/formats.md.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace dmoerm::data {

inline constexpr std::int64_t kStoreSchema = 1;

/// All columns of a store in memory (the writer streams `tokens` and keeps it empty).
struct StoreColumns {
  std::vector<std::int32_t> tokens;               ///< of each group: prefix, then each response's own tokens; then the prompt's, where it is no part of the prefix
  // one value a group
  std::vector<std::int32_t> prefix_length, response_count, prompt_shared, prompt_extra;  ///< prompt ids = first prompt_shared of the prefix, then prompt_extra tokens
  std::vector<std::int32_t> category, id_length, file;
  std::vector<std::int64_t> line;
  std::vector<std::uint8_t> split;
  std::vector<float> weight;
  std::vector<std::uint8_t> id_bytes;
  // one value a response
  std::vector<std::int32_t> response_length;
  std::vector<double> overall;
  // sparse labels
  std::vector<std::int64_t> score_response;       ///< number of the response in the store
  std::vector<std::int32_t> score_label;
  std::vector<double> score_value;
  std::vector<std::int64_t> pair_group;
  std::vector<std::int32_t> pair_label, pair_winner, pair_loser;
  std::vector<float> pair_margin;
  std::vector<std::int64_t> verdict_group;
  std::vector<std::int32_t> verdict_label, verdict_a, verdict_b;
  std::vector<std::uint8_t> verdict_outcome;

  /// Call visit(name, column) for every column but `tokens`, in the file's order.
  template <class Self, class Visit>
  static void each(Self& self, const Visit& visit) {
    visit("groups/prefix_length", self.prefix_length), visit("groups/response_count", self.response_count), visit("groups/prompt_shared", self.prompt_shared);
    visit("groups/prompt_extra", self.prompt_extra), visit("groups/category", self.category), visit("groups/id_length", self.id_length), visit("groups/file", self.file);
    visit("groups/line", self.line), visit("groups/split", self.split), visit("groups/weight", self.weight), visit("groups/id_bytes", self.id_bytes);
    visit("responses/length", self.response_length), visit("responses/overall", self.overall);
    visit("scores/response", self.score_response), visit("scores/label", self.score_label), visit("scores/value", self.score_value);
    visit("pairs/group", self.pair_group), visit("pairs/label", self.pair_label), visit("pairs/winner", self.pair_winner), visit("pairs/loser", self.pair_loser);
    visit("pairs/margin", self.pair_margin);
    visit("verdicts/group", self.verdict_group), visit("verdicts/label", self.verdict_label), visit("verdicts/a", self.verdict_a), visit("verdicts/b", self.verdict_b);
    visit("verdicts/outcome", self.verdict_outcome);
  }
};

/// Texts about the store as a whole, attributes of the file.
struct StoreAttributes {
  std::vector<std::string> categories, labels, files;
  std::string provenance;  ///< JSON
};

}  // namespace dmoerm::data
