// The places at which the values of each group begin in the columns of a store.
#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "data/token_store_schema.h"

namespace dmoerm::data {

template <template <class> class Column>
struct IndexOf {
  Column<std::int64_t> tokens, responses, ids, pairs, verdicts;  ///< begin of each group's values; one more entry than groups
  Column<std::int64_t> scores;  ///< begin of each response's scores; one more entry than responses

  /// Call visit(name, part of self, same part of others...) for every part.
  template <class Visit, class Self, class... Others>
  static void each(const Visit& visit, Self& self, Others&... others) {
    visit("index/tokens", self.tokens, others.tokens...);
    visit("index/responses", self.responses, others.responses...);
    visit("index/ids", self.ids, others.ids...);
    visit("index/pairs", self.pairs, others.pairs...);
    visit("index/verdicts", self.verdicts, others.verdicts...);
    visit("index/scores", self.scores, others.scores...);
  }
};

using IndexView = IndexOf<ColumnView>;
struct StoreIndex : IndexOf<OwnColumn> {
  /// Index columns after checking every number in them. @throws DataError saying which columns do not fit together
  StoreIndex(const StoreView& columns, const StoreAttributes& attributes);
  StoreIndex(const StoreColumns& columns, const StoreAttributes& attributes) : StoreIndex(view_of(columns), attributes) {}
  /// Valid as long as this object.
  [[nodiscard]] IndexView view() const;
};

/// The index of a store that was read from a file. @throws DataError naming the file
StoreIndex index_of_file(const std::filesystem::path& file, const StoreView& columns, const StoreAttributes& attributes);

}  // namespace dmoerm::data
