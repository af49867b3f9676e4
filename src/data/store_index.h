// Where each group's parts begin in the columns of a store.
#pragma once
#include <cstdint>
#include <vector>

#include "data/token_store_schema.h"

namespace dmoerm::data {

struct StoreIndex {
  /// Index consistent columns. @throws DataError saying which columns do not fit together; every number in them is checked
  StoreIndex(const StoreColumns& columns, const StoreAttributes& attributes);

  std::vector<std::int64_t> tokens, responses, ids, pairs, verdicts;  ///< begin of each group's part; one more entry than groups
  std::vector<std::int64_t> scores;                                   ///< of each response
};

}  // namespace dmoerm::data
