#include "preference/group.h"

namespace dmoerm::preference {

std::string_view to_string(Split split) {
  switch (split) {
    case Split::train:
      return "train";
    case Split::validation:
      return "validation";
    case Split::test:
      return "test";
    case Split::unset:
      break;
  }
  return "unset";
}

void replace_responses(Group& group, std::vector<Response> kept, const std::vector<int>& place) {
  group.responses = std::move(kept);
  const auto move = [&](int& index) { index = place[static_cast<std::size_t>(index)]; };
  for (StatedPair& p : group.pairs) {
    move(p.winner);
    move(p.loser);
  }
  for (RecordedVerdict& v : group.verdicts) {
    move(v.a);
    move(v.b);
  }
  std::erase_if(group.pairs, [](const StatedPair& p) { return p.winner < 0 || p.loser < 0 || p.winner == p.loser; });
  std::erase_if(group.verdicts, [](const RecordedVerdict& v) { return v.a < 0 || v.b < 0 || v.a == v.b; });
}

}  // namespace dmoerm::preference
