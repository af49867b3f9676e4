#include "wire/request.h"

namespace dmoerm::wire {

const char* name_of(Normalise normalise) {
  switch (normalise) {
    case Normalise::sigmoid:
      return "sigmoid";
    case Normalise::softmax:
      return "softmax";
    case Normalise::standard:
      return "standard";
    default:
      return "none";
  }
}

std::optional<Normalise> normalise_from(std::string_view name) {
  for (const Normalise known : {Normalise::none, Normalise::sigmoid, Normalise::softmax, Normalise::standard}) {
    if (name == name_of(known)) return known;
  }
  return std::nullopt;
}

std::size_t Request::size() const {
  std::size_t count = 0;
  for (const Group& group : groups) count += group.items.size();
  return count;
}

}  // namespace dmoerm::wire
