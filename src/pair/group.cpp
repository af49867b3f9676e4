#include "pair/group.h"

namespace dmoerm::pair {

std::string_view to_string(Split split) {
  switch (split) {
    case Split::train: return "train";
    case Split::validation: return "validation";
    case Split::test: return "test";
    case Split::unset: break;
  }
  return "unset";
}

}  // namespace dmoerm::pair
