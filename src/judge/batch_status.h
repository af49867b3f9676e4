// The words in which providers say what has become of a batch.
#pragma once
#include <string>
#include <string_view>

namespace dmoerm::judge {

/// Whether a provider refuses a batch because of a limit that passes. @param report  codes and messages of its report
bool passes_by_itself(std::string_view report);

/// The status that a batch has ended with, in OpenAI's word ("completed", "failed", "expired", "cancelled"); "" if it goes on.
/// @param status  the provider's word, in any case
std::string batch_end(std::string_view status);

/// Whether a status is a known one of a batch that goes on.
bool is_batch_under_way(std::string_view status);

}  // namespace dmoerm::judge
