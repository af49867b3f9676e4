// The limits on processes and threads, for messages.
#pragma once
#include <string>

namespace dmoerm {

/// The limits on processes and threads that apply to this process, as part of a sentence, and what to do about them.
std::string limits_on_threads();

}  // namespace dmoerm
