// How fast this machine's CPU multiplies and adds.
#pragma once
#include <optional>

namespace dmoerm::plan {

/// TFLOP/s of fused multiply-adds of float32 in one thread's widest registers that this program uses: the best of short bursts,
/// some 5 ms in all, so that a busy machine shows nearly what an idle one does. Nothing where the processor has neither AVX-512
/// nor AVX2 with FMA.
std::optional<double> multiply_adds_here();

}  // namespace dmoerm::plan
