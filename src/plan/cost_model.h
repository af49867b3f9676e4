// What a task costs: seconds, speed-up with more ranks and memory, from its tokens, the model's shape and the device.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "plan/task_graph.h"

namespace dmoerm::plan {

/// Sizes of the backbone that decide what it costs.
struct ModelShape {
  std::string name;
  bool shares_prefix = true;  ///< Whether a group's prompt is computed once; encoders cannot
  double parameters = 0;      ///< Number of weights, embeddings included
  double linear_macs = 0;     ///< Multiply-adds of all linear layers for one token, forward
  double layers = 0, width = 0, q_width = 0, qkv_width = 0, intermediate = 0;
  double heads = 0, head_dim = 0;
  double adapter_per_rank = 0;  ///< Parameters of an adapter on q and v of all layers, per unit of its rank
};
/// Shape of a model known by name, for plans without its weights: qwen2.5-1.5b, llama3-8b, ...
std::optional<ModelShape> find_shape(const std::string& name);
std::vector<std::string> shape_names();
/// A decoder's shape from the numbers of its config.json.
ModelShape decoder_shape(std::string name, double vocab, double width, double intermediate, double layers, double heads,
                         double kv_heads, double head_dim, bool tied_embeddings);

/// One rank's device. Rates are those that programs reach, except where the name says peak.
struct DeviceModel {
  std::string name;
  double peak_tflops = 0;      ///< Peak of dense products in the type that weights are kept in
  double float32_tflops = 0;   ///< The same in float32, in which aggregators are fitted
  double reached = 0.4;        ///< Share of the peak that long passes reach
  double half_tokens = 256;    ///< Tokens of a pass at which half of that is reached
  double memory_mib = 0;       ///< Memory; 0 = unlimited
  double program_mib = 0;      ///< Memory of the program and its libraries, where `memory_mib` is not what they leave
  double memory_gb_s = 0;      ///< Bandwidth of the device's own memory
  double inside_gb_s = 0;      ///< Bandwidth between two devices of a node, one way
  double across_gb_s = 0;      ///< Bandwidth between devices of two nodes, one way
  double hop_us = 20;          ///< Latency of a message between devices
  double load_gb_s = 2;        ///< Bandwidth of reading weights from the file system
  double weight_bytes = 2;     ///< Bytes of a weight in the forward pass: 2 = bfloat16, 4 = float32
  double multiprocessors = 0;  ///< Multiprocessors of a GPU; 0 = a CPU
  double attention_cost = 1;   ///< Time of a multiply-add of attention, in that of one of the other products
};
/// What a thread of a CPU does in float32: the peak of multiply-adds in its registers, the share of it that the products of
/// training reach, and how much longer a multiply-add of attention takes.
struct CpuSpeed {
  double peak_tflops = 0, reached = 0, attention_cost = 1;
};
/// Processors by what is known of their speed. `avx2_in_halves` is AMD's first Zen, which takes two steps for a register of 256
/// bits; `other` has no AVX2 with FMA, such as an older one or an ARM.
enum class CpuKind { avx512, avx2, avx2_in_halves, other };
/// The processor that this program runs on, as far as the program was compiled for it.
CpuKind cpu_kind_here();
/// Peaks of the kind, so that all ranks of a run, and the run that continues it, price tasks alike; the processor's own peak is
/// multiply_adds_here(). AVX-512 and Zen as measured (docs/results/speed.md), AVX2 with the products of the BLAS on the machine
/// with AVX-512; `other` has less (`compute.peak_tflops`), but how much is not known: it is taken for AVX2.
CpuSpeed cpu_speed(CpuKind kind);

/// A device by name. "cpu" is a thread of a processor of the kind that this program runs on, see cpu_speed().
/// @param bfloat16  weights and products in bfloat16, as GPUs are rated; else in float32
std::optional<DeviceModel> find_device(const std::string& name, bool bfloat16 = false);
std::vector<std::string> device_names();
/// The GPU that is taken where nothing says its type.
inline constexpr const char* kAssumedGpu = "h100";
/// Name of the device that a GPU is, from what its driver calls it: "a100" for "NVIDIA A100-SXM4-80GB"; "" if it is none of them.
std::string gpu_kind(const std::string& driver_name);
/// The same; an H100 for a GPU that is none of them.
std::string nearest_gpu(const std::string& driver_name);
/// The device that a configuration asks for: threads of a CPU, or a GPU.
/// @param gpu  name of the GPU's device, see find_device(); with "", "auto" takes the CPU, and "cuda" an H100
DeviceModel device_of(const config::ComputeConfig& compute, const std::string& gpu = "");

/// The work of a task.
struct Load {
  double steps = 0;               ///< Updates of its longest training
  double groups_per_step = 1;     ///< Groups per step of one model
  double group_tokens = 0;        ///< Tokens of a group in the packed batch, its prompt once
  double plain_group_tokens = 0;  ///< Tokens of a group with the prompt before every response (encoders); 0 = not known
  double responses = 1;           ///< Responses of a group
  double read_groups = 0;         ///< Groups of forward passes only: evaluations, features, test figures
  double whole_read_groups = 0;   ///< Groups of further such passes, each by one model through all of its layers
  int models = 1;                 ///< Models that step together over one base, or that read the same groups
  bool all_weights = false;       ///< Whether all weights are trained, else an adapter
  double adapted_layers = 0;      ///< Layers with an adapter, 0 = all; the layers below are computed once per group
  double trunk_groups = 0;        ///< Groups whose layers below the adapter are computed
  double adapter_rank = 0;
  bool shard = false, recompute = false;
  bool averages = false;       ///< Whether an average of the weights is kept beside them
  double bytes_sent = 4;       ///< Bytes of a gradient's number between ranks
  double seconds = 0;          ///< Further seconds, not shared among ranks
  double fit_steps = 0;        ///< Steps of the paper's MLP, which is fitted once; not shared among ranks
  double fit_rows = 0;         ///< Responses that a step of a fit sees
  double fit_read_rows = 0;    ///< Responses that the paper's MLP only scores: evaluations and all groups
  double small_steps = 0;      ///< Steps of all fits of the small networks (mlp, gate)
  double small_read_rows = 0;  ///< Responses that these only score: evaluations, held-out groups
  double written_states = 0;   ///< States that are written: of responses under each expert, and of prompts
  double written_numbers = 0;  ///< Further numbers that are written, float32: rewards and lengths of responses
};

/// Set a task's cost (seconds on one rank of the device), speed-up, memory, and whether it can pause (what trains can). The
/// speed-up is limited by the micro batches of a step (ranks beyond them have nothing to do) and by the sums that go over the
/// links.
void price(Task& task, const Load& load, const ModelShape& model, const DeviceModel& device, std::int64_t micro_batch_tokens);

/// Tokens of a pass, and the sequences that attention sees in it.
struct Pass {
  double tokens = 0, prompts = 0, responses = 0;
};
/// Bytes that flash attention's backward pass takes on a GPU beside its inputs and results, for one layer at a time. libtorch's
/// kernel with a fixed order of sums (nn/attention_flash.cpp) keeps the queries' gradients in float32, each sequence with 128
/// more rows, once for each block of keys that works at the same time; it also keeps the keys' and values' gradients of every
/// query head. 0 where another attention computes.
double flash_backward_bytes(const ModelShape& model, const DeviceModel& device, const Pass& pass);

/// Micro batches of one model's step.
double micro_batches(const Load& load, std::int64_t micro_batch_tokens);

}  // namespace dmoerm::plan
