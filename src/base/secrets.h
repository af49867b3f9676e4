// Comparison of secrets, such as API keys.
#pragma once
#include <string_view>

namespace dmoerm {

/// Whether two texts are equal. The time this takes depends on the lengths only.
bool equal_secrets(std::string_view one, std::string_view other);

}  // namespace dmoerm
