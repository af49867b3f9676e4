// The places at which the values of each group begin in the columns of a store.
#pragma once
#include <cstdint>
#include <vector>

#include "data/token_store_schema.h"

namespace dmoerm::data {

struct StoreIndex {
  /// Index columns after checking every number in them. @throws DataError saying which columns do not fit together
  StoreIndex(const StoreColumns& columns, const StoreAttributes& attributes);

  std::vector<std::int64_t> tokens, responses, ids, pairs,
      verdicts;                      ///< begin of each group's values; one more entry than groups
  std::vector<std::int64_t> scores;  ///< begin of each response's scores; one more entry than responses
};

}  // namespace dmoerm::data
