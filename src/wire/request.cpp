#include "wire/request.h"

namespace dmoerm::wire {

std::size_t Request::size() const {
  std::size_t count = 0;
  for (const Group& group : groups) count += group.items.size();
  return count;
}

}  // namespace dmoerm::wire
