// The device and the numbers that a setting names.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <string>

#include "nn/base_weights.h"

namespace dmoerm::nn {

/// The device that a setting names. Each rank of a node takes the GPU whose number is the rank's number on that node, and makes
/// it the current one of the calling thread, so that nothing is set up on another rank's.
/// @param wanted  "cpu", "cuda", or "auto": CUDA where this build and machine have it
/// @param setting  names the setting in the message
/// @throws ConfigError for another word, or for "cuda" where there is none
c10::Device pick_device(const std::string& wanted, const std::string& setting);
/// How many GPUs this process sees; 0 without CUDA. Takes no memory of theirs.
int gpu_count();
/// Whether this build links the CUDA back end, on a machine without a GPU too.
bool built_for_cuda();
/// The element type that `compute.dtype` names: float32 or bfloat16.
c10::ScalarType pick_dtype(const std::string& name);
/// "float32" or "int8". @throws ConfigError for another word
BaseWeights pick_weights(const std::string& name);
/// Address of a GPU on its machine's bus, by which two processes find out whether they use the same GPU; "" for a CPU.
std::string gpu_address(c10::Device device);
/// Whether a GPU multiplies matrices of bfloat16 itself (compute capability 8.0 or later: A100, H100), which flash attention and
/// the kernels of kernels/ are made for. False for a CPU.
bool computes_in_bfloat16(c10::Device device);
/// Warn that a GPU is slow with float32, which has neither flash attention nor the kernels of kernels/.
/// @param what  stands before the message: what asks for these numbers
void warn_if_slow(c10::Device device, c10::ScalarType dtype, const std::string& what);
/// Memory of a GPU in MiB that libtorch can give out now: what is free, and what libtorch holds unused. 0 for a CPU, or if it is
/// not known.
double free_gpu_memory_mib(c10::Device device);
/// The most memory of a GPU in MiB that libtorch has held in this process so far; 0 for a CPU.
double peak_gpu_memory_mib(c10::Device device);
/// The stream (cudaStream_t) in which the calling thread's work on a GPU runs; null is the legacy default stream, and for a CPU.
void* current_stream(c10::Device device);

}  // namespace dmoerm::nn
