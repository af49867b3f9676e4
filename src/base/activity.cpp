#include "base/activity.h"

#include <atomic>

namespace dmoerm {
namespace {

std::atomic<std::uint64_t> noted{0};

}  // namespace

void note_activity() { noted.fetch_add(1, std::memory_order_relaxed); }

std::uint64_t activity() { return noted.load(std::memory_order_relaxed); }

}  // namespace dmoerm
