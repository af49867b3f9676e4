// A digest that identifies a prompt with a pair of responses.
#pragma once
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "preference/group.h"

namespace dmoerm::preference {

/// SHA-256 over the prompt and both texts in the order of the data. The number of messages and ":" come first; each role, content
/// and response follows as its length in decimal, ":", and its bytes.
Digest pair_digest(const std::vector<preference::Message>& prompt, std::string_view a, std::string_view b);

}  // namespace dmoerm::preference
