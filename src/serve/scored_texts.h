// What the wire formats say of each text, made of what the model computed.
#pragma once
#include <cstdint>
#include <vector>

#include "moe/bundle.h"
#include "serve/templated_text.h"
#include "wire/reply.h"

namespace dmoerm::serve {

/// A work's texts with its scores.
struct ScoredWork {
  const moe::TokenTexts* texts = nullptr;
  const moe::GroupScore* scores = nullptr;
  Found found = Found::messages;
};

/// One row a text, work by work. @param empty_reward  score of a text without a response, raw as well as standardised @throws
/// NumericError if a score is not finite
std::vector<wire::Scored> scored_texts(const moe::Model& model, const std::vector<ScoredWork>& works, double empty_reward);

}  // namespace dmoerm::serve
