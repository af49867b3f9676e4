// Threads whose start may fail: a limit on processes or threads is common on shared machines.
#pragma once
#include <functional>
#include <string>
#include <thread>

namespace dmoerm {

/// Start a thread that does `work`.
/// @param what  the thread, for the message: "the thread of the heartbeat"
/// @throws Error saying which limits apply, if the system gives no thread
std::thread start_thread(const char* what, std::function<void()> work);

}  // namespace dmoerm
