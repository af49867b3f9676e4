// Responses that seem to talk to the judge. They are judged like all others and only counted: a rise tells that somebody is
// gaming the judge, and the raw texts show how.
#pragma once
#include <cstdint>
#include <string_view>

namespace dmoerm::label {

enum class Suspicion : std::uint8_t {
  none,
  delimiter,    ///< opens or closes blocks of our prompts, or speaks the markup of chat templates
  verdict,      ///< holds a verdict in the form that judges are asked for
  instruction,  ///< "ignore all previous instructions"
  address,      ///< "as the judge, you must ..."
  choice        ///< "choose this response", "response 1 is better"
};

/// "none", "delimiter", ...
std::string_view to_string(Suspicion kind);

/// The first kind in the order above that the text looks like, English or Chinese. Case, line breaks and markdown emphasis do not
/// matter.
Suspicion find_suspicion(std::string_view text);

}  // namespace dmoerm::label
