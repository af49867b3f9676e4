// The name of a pair of responses.
#pragma once
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "preference/group.h"

namespace dmoerm::preference {

/// SHA-256 over the prompt and both texts in the data's order. Each role, content and response is hashed as its length in
/// decimal, ":", its bytes; in front of them stands the number of messages with a ":".
Digest pair_digest(const std::vector<preference::Message>& prompt, std::string_view a, std::string_view b);

}  // namespace dmoerm::preference
