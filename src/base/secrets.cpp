#include "base/secrets.h"

#include "base/hash.h"

namespace dmoerm {

bool equal_secrets(std::string_view one, std::string_view other) {
  const Digest a = sha256(one), b = sha256(other);
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  return difference == 0;
}

}  // namespace dmoerm
