// What a task costs: seconds, speed-up with more ranks and memory, from its tokens, the model's shape and the device.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "plan/task_graph.h"

namespace dmoerm::plan {

/// The backbone as far as cost goes.
struct ModelShape {
  std::string name;
  bool shares_prefix = true;  ///< a group's prompt is computed once; encoders cannot
  double parameters = 0;      ///< weights, embeddings included
  double linear_macs = 0;     ///< multiply-adds of all linear layers for one token, forward
  double layers = 0, width = 0, q_width = 0, qkv_width = 0, intermediate = 0;
  double adapter_per_rank = 0;  ///< parameters of an adapter on q and v of all layers, for each unit of its rank
};
/// Shapes that are known by name, for plans without the weights: qwen2.5-1.5b, llama3-8b, ...
std::optional<ModelShape> find_shape(const std::string& name);
std::vector<std::string> shape_names();
/// A decoder's shape from the numbers of its config.json.
ModelShape decoder_shape(std::string name, double vocab, double width, double intermediate, double layers, double heads,
                         double kv_heads, double head_dim, bool tied_embeddings);

/// One rank's device. Rates are what is reached, not what is on the box, unless it says peak.
struct DeviceModel {
  std::string name;
  double peak_tflops = 0;    ///< dense, in the type that weights are kept in
  double reached = 0.4;      ///< share of the peak that long passes reach
  double half_tokens = 256;  ///< tokens of a pass at which half of that is reached
  double memory_mib = 0;     ///< 0 = not limited
  double memory_gb_s = 0;    ///< of the device's own memory
  double inside_gb_s = 0;    ///< between two devices of a node, one way
  double across_gb_s = 0;    ///< between two devices of two nodes, one way
  double hop_us = 20;        ///< of a message between devices, whatever its size
  double load_gb_s = 2;      ///< reading weights from the file system
  double weight_bytes = 2;   ///< of a weight in the forward pass: 2 = bfloat16, 4 = float32
};
std::optional<DeviceModel> find_device(const std::string& name);
std::vector<std::string> device_names();
/// The device that a configuration asks for: a CPU's threads, or the GPU that "cuda" is taken to be.
DeviceModel device_of(const config::ComputeConfig& compute);

/// What a task computes.
struct Load {
  double steps = 0;               ///< of its longest course
  double groups_per_step = 1;     ///< of one model
  double group_tokens = 0;        ///< of one group in the packed batch, its prompt once
  double plain_group_tokens = 0;  ///< of one group with the prompt before every response (encoders); 0 = not known
  double read_groups = 0;         ///< in the forward pass only: evaluations, features, figures
  int models = 1;                 ///< that step together over one base, or that read the same groups
  bool all_weights = false;       ///< else an adapter
  double adapted_layers = 0;      ///< that the adapter is on, 0 = all; those below are computed once a group
  double trunk_groups = 0;        ///< groups whose layers below are computed
  double adapter_rank = 0;
  bool shard = false, recompute = false;
  double bytes_sent = 4;  ///< of a gradient's number between ranks
  double fit_steps = 0;   ///< groups that a small fit on the models' states sees (aggregators), not to be shared
  double seconds = 0;     ///< beside all that, not to be shared
};

/// Set a task's cost (seconds on one rank of the device), speed-up, memory, and whether it can pause (what trains can). The
/// speed-up is limited by the micro batches of a step (ranks beyond them have nothing to do) and by the sums that go over the
/// links.
void price(Task& task, const Load& load, const ModelShape& model, const DeviceModel& device, std::int64_t micro_batch_tokens);

/// Micro batches of one model's step.
double micro_batches(const Load& load, std::int64_t micro_batch_tokens);

}  // namespace dmoerm::plan
