// Counts what libtorch computes on the host, so that a program that works on a GPU can show that nothing large moved there. A
// call counts if all its tensors, arguments and results, are on the host; calls within calls count too, views do not. Loops over
// plain memory are not seen, only the tensors that are made for them.
#pragma once
#include <cstdint>
#include <map>
#include <string>

namespace dmoerm::test {

struct HostOps {
  std::int64_t calls = 0;
  std::int64_t elements = 0;  ///< Of the largest tensor of each call

  HostOps& operator+=(const HostOps& other) {
    calls += other.calls, elements += other.elements;
    return *this;
  }
  HostOps operator-(const HostOps& other) const { return {calls - other.calls, elements - other.elements}; }
};

/// Begins to count, in all threads.
void count_host_ops();
/// What was computed so far, by the operation's name.
std::map<std::string, HostOps> host_ops();

}  // namespace dmoerm::test
