#include "eval/item.h"

namespace dmoerm::eval {

const std::vector<preference::Preference>& overall_pairs(const Item& item) {
  static const std::vector<preference::Preference> kNone;
  const auto found = item.pairs.find(std::string(preference::kOverall));
  return found == item.pairs.end() ? kNone : found->second;
}

}  // namespace dmoerm::eval
