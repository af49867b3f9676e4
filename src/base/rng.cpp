#include "base/rng.h"

#include <cmath>
#include <numbers>

namespace dmoerm {

double Rng::normal() {
  const double u = 1.0 - uniform();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * uniform());
}

}  // namespace dmoerm
