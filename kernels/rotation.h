// Rotation of the two halves of a head, for the kernels that need it.
#pragma once
#include "kernels/device.h"

namespace dmoerm::kernels {

/// N columns of the first half of a head and the N columns of the second half that turn with them.
template <int N>
struct Turned {
  float a[N], b[N];
};

/// Turn by the row's angles, or by their negatives (sign = -1). @param cos, sin  those of the first column
template <int N>
__device__ void turn(Turned<N>& x, const float* cos, const float* sin, float sign) {
  float c[N], s[N];
  load(c, cos), load(s, sin);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float u = x.a[i], v = x.b[i], sine = sign * s[i];
    x.a[i] = u * c[i] - v * sine;
    x.b[i] = v * c[i] + u * sine;
  }
}

}  // namespace dmoerm::kernels
