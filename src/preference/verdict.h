// A judge's verdict on two responses in the order shown.
#pragma once
#include <cstdint>
#include <string_view>

namespace dmoerm::preference {

/// What one reply says about the two responses. `first` and `second` refer to the order shown.
enum class Verdict : std::uint8_t { first = 0, second = 1, tie = 2, unparsable = 3, refused = 4, error = 5 };

/// "first", "second", "tie", "unparsable", "refused", "error".
std::string_view to_string(Verdict verdict);
/// The verdict that a word names. @throws DataError for any other word
Verdict verdict_from(std::string_view word);

}  // namespace dmoerm::preference
