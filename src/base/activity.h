// Signs that the work of this process goes on: a counter that long work raises. A process whose threads live but whose work is
// stuck (a file system that does not answer, a kernel that does not end) does not raise it.
#pragma once
#include <cstdint>

namespace dmoerm {

/// Note that a piece of work of at most some seconds is done. Thread safe, and cheap.
void note_activity();
/// Number of calls so far.
std::uint64_t activity();

}  // namespace dmoerm
