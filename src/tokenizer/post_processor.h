// The "post_processor" of tokenizer.json, which puts special tokens around a text.
#pragma once
#include <cstdint>
#include <vector>

#include "tokenizer/json.h"

namespace dmoerm::tokenizer {

/// The ids that a post-processor puts before and after a single text.
struct PostProcessor {
  std::vector<std::int32_t> before, after;

  /// @throws DataError naming the part and what is supported
  static PostProcessor parse(const JsonPart& part);
};

}  // namespace dmoerm::tokenizer
