#include "plan/cost_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "base/text.h"

namespace dmoerm::plan {
namespace {

/// Known devices. Peaks (dense), memory and links (one way) are the makers' figures; what is reached is an assumption until a run
/// has been measured. CPU: one thread of a processor of this one's kind, float32 (what bfloat16 is on a CPU depends on its kind:
/// the same is assumed).
std::vector<DeviceModel> devices(bool bfloat16) {
  std::vector<DeviceModel> all;
  const auto gpu = [&](const char* name, double tflops, double float32_tflops, double memory_gib, double memory_gb_s,
                       double inside, double across, double multiprocessors) {
    DeviceModel d;
    d.name = name, d.peak_tflops = bfloat16 ? tflops : float32_tflops, d.reached = bfloat16 ? 0.4 : 0.7;
    d.float32_tflops = float32_tflops, d.weight_bytes = bfloat16 ? 2 : 4, d.memory_mib = 1024 * memory_gib,
    d.memory_gb_s = memory_gb_s;
    d.inside_gb_s = inside, d.across_gb_s = across, d.multiprocessors = multiprocessors;
    all.push_back(d);
  };
  gpu("h100", 989, 67, 78, 3350, 450, 50, 132);
  gpu("h200", 989, 67, 139, 4800, 450, 50, 132);
  gpu("a100", 312, 19.5, 78, 2000, 300, 25, 108);
  gpu("l40s", 362, 91.6, 44, 864, 25, 12, 142);
  gpu("rtx4090", 165, 82.6, 23, 1008, 12, 3, 128);
  DeviceModel cpu;
  const CpuSpeed speed = cpu_speed(cpu_kind_here());
  cpu.name = "cpu", cpu.peak_tflops = cpu.float32_tflops = speed.peak_tflops, cpu.reached = speed.reached, cpu.half_tokens = 16;
  cpu.attention_cost = speed.attention_cost;
  cpu.memory_gb_s = 10, cpu.program_mib = 300;
  cpu.inside_gb_s = 4, cpu.across_gb_s = 1, cpu.load_gb_s = 0.5, cpu.weight_bytes = bfloat16 ? 2 : 4;
  all.push_back(cpu);
  return all;
}

/// Largest share of `count` micro batches that falls to one of `ranks`: aligned blocks of a complete tree
/// (comm::micro_batch_range).
double largest_block(double count, int ranks) {
  double leaves = ranks;
  while (leaves < count) leaves *= 2;
  return std::min(count, leaves / ranks);
}

/// Seconds of a task, split by how they fall with more ranks.
struct Seconds {
  double passes = 0;  ///< Seconds of a step's micro batches
  double update = 0;  ///< Seconds of a step's optimizer
  double read = 0;    ///< Seconds of all forward passes without training
  double rest = 0;    ///< Seconds that ranks do not share
};

/// Tokens that a token of a group attends to, on average.
double visible_tokens(const Load& load, const ModelShape& model) {
  const double tokens = load.group_tokens, responses = std::max(1.0, load.responses);
  if (!model.shares_prefix) return tokens / responses;  // all of its own text
  if (responses <= 1 || load.plain_group_tokens <= tokens) return tokens / 2;
  const double prompt = (load.plain_group_tokens - tokens) / (responses - 1), response = (tokens - prompt) / responses;
  return (prompt * prompt / 2 + responses * response * (prompt + response / 2)) / tokens;
}

/// @param adapter_passes  passes over the adapter, counted as those over the model
double seconds_per_token(const ModelShape& model, const DeviceModel& device, const Load& load, double passes_over,
                         double adapter_passes, double pass_tokens) {
  const double attention = 2 * model.layers * model.q_width * visible_tokens(load, model);  // scores of keys, sums of values
  const double adapter = load.all_weights ? 0 : load.adapter_rank * model.adapter_per_rank;
  const double flops = 2 * (passes_over * (model.linear_macs + device.attention_cost * attention) + adapter_passes * adapter);
  return flops / (device.peak_tflops * 1e12 * device.reached * pass_tokens / (pass_tokens + device.half_tokens));
}

/// Seconds of the fits of aggregators. The paper's MLP has models * width^2 weights, a small network 64 units in the place of a
/// width: a step computes forward and the gradient in the weights for its rows, then AdamW reads and writes the weights, gradient
/// and moments about ten times.
double fitting_seconds(const Load& load, const ModelShape& model, const DeviceModel& device) {
  if (load.fit_steps <= 0) return 0;
  constexpr double kStepSeconds = 1e-3;  // some dozen small operations
  constexpr double kHidden = 64;
  const auto products = [&](double rows, double passes, double weights) {
    const double reached = device.reached * rows / (rows + device.half_tokens);
    return rows * passes * 2 * weights / (device.float32_tflops * 1e12 * reached);
  };
  const auto steps = [&](double count, double weights) {
    const double update = device.memory_gb_s > 0 ? 10 * 4 * weights / (device.memory_gb_s * 1e9) : 0;
    return count * (products(load.fit_rows, 2, weights) + update + kStepSeconds);
  };
  const double large = load.models * model.width * model.width, small = load.models * model.width * kHidden;
  return steps(load.fit_steps, large) + products(load.fit_read_rows, 1, large) + steps(load.small_steps, small) +
         products(load.small_read_rows, 1, small);
}

double adapted_share(const Load& load, const ModelShape& model) {
  return load.all_weights || load.adapted_layers <= 0 ? 1.0 : std::min(1.0, load.adapted_layers / model.layers);
}

double trained_parameters(const Load& load, const ModelShape& model) {
  return load.all_weights ? model.parameters
                          : adapted_share(load, model) * load.adapter_rank * model.adapter_per_rank + model.width;
}

}  // namespace

ModelShape decoder_shape(std::string name, double vocab, double width, double intermediate, double layers, double heads,
                         double kv_heads, double head_dim, bool tied_embeddings) {
  ModelShape m;
  m.name = std::move(name), m.layers = layers, m.width = width, m.q_width = heads * head_dim, m.intermediate = intermediate;
  m.qkv_width = m.q_width + 2 * kv_heads * head_dim;
  m.heads = heads, m.head_dim = head_dim;
  m.linear_macs = layers * (width * m.qkv_width + m.q_width * width + 3 * width * intermediate);
  m.parameters = m.linear_macs + vocab * width * (tied_embeddings ? 1 : 2);
  m.adapter_per_rank = layers * (width + m.q_width + width + kv_heads * head_dim);
  return m;
}

std::optional<ModelShape> find_shape(const std::string& name) {
  // A reward model has no output embedding, so all count as tied.
  const ModelShape known[] = {decoder_shape("smollm2-135m", 49152, 576, 1536, 30, 9, 3, 64, true),
                              decoder_shape("qwen2.5-0.5b", 151936, 896, 4864, 24, 14, 2, 64, true),
                              decoder_shape("qwen2.5-1.5b", 151936, 1536, 8960, 28, 12, 2, 128, true),
                              decoder_shape("qwen2.5-7b", 152064, 3584, 18944, 28, 28, 4, 128, true),
                              decoder_shape("llama3-8b", 128256, 4096, 14336, 32, 32, 8, 128, true)};
  for (const ModelShape& shape : known) {
    if (shape.name == name) return shape;
  }
  return std::nullopt;
}

std::vector<std::string> shape_names() { return {"smollm2-135m", "qwen2.5-0.5b", "qwen2.5-1.5b", "qwen2.5-7b", "llama3-8b"}; }

std::optional<DeviceModel> find_device(const std::string& name, bool bfloat16) {
  for (const DeviceModel& device : devices(bfloat16)) {
    if (device.name == name) return device;
  }
  return std::nullopt;
}

CpuKind cpu_kind_here() {
#if defined(__x86_64__)
#if defined(__AVX512F__)  // else products do not use it (nn/lanes.h)
  if (__builtin_cpu_supports("avx512f") != 0) return CpuKind::avx512;
#endif
  if (__builtin_cpu_is("znver1") != 0) return CpuKind::avx2_in_halves;
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0) return CpuKind::avx2;
#endif
  return CpuKind::other;
}

CpuSpeed cpu_speed(CpuKind kind) {
  switch (kind) {
    case CpuKind::avx512:
      return {0.262, 0.89, 3.1};
    case CpuKind::avx2_in_halves:
      return {0.040, 0.79, 1.8};
    case CpuKind::avx2:
    case CpuKind::other:
      break;
  }
  return {0.115, 0.80, 1.8};
}

std::vector<std::string> device_names() {
  std::vector<std::string> names;
  for (const DeviceModel& device : devices(false)) names.push_back(device.name);
  return names;
}

std::string gpu_kind(const std::string& driver_name) {
  std::string words = " ";  // with blanks around each, and none within "rtx4090"
  for (const char c : lower(driver_name)) words += c == '-' ? ' ' : c;
  if (const std::size_t at = words.find(" rtx "); at != std::string::npos) words.erase(at + 4, 1);
  words += ' ';
  for (const DeviceModel& device : devices(false)) {
    if (device.multiprocessors > 0 && words.find(" " + device.name + " ") != std::string::npos) return device.name;
  }
  return "";
}

std::string nearest_gpu(const std::string& driver_name) {
  const std::string known = gpu_kind(driver_name);
  return known.empty() ? kAssumedGpu : known;
}

DeviceModel device_of(const config::ComputeConfig& compute, const std::string& gpu) {
  const bool on_gpu = compute.device == config::Device::cuda || (compute.device == config::Device::automatic && !gpu.empty());
  const std::string name = !on_gpu ? "cpu" : gpu.empty() ? kAssumedGpu : gpu;
  DeviceModel device = find_device(name, compute.dtype == config::Dtype::bfloat16).value();
  const auto threads = static_cast<double>(on_gpu ? 1 : compute.threads);
  const double scale = compute.peak_tflops > 0 ? compute.peak_tflops / device.peak_tflops : threads;
  device.peak_tflops *= scale;
  device.float32_tflops *= scale;
  return device;
}

double flash_backward_bytes(const ModelShape& model, const DeviceModel& device, const Pass& pass) {
  const auto head_dim = static_cast<std::int64_t>(model.head_dim);
  if (device.multiprocessors <= 0 || device.weight_bytes != 2 || head_dim <= 0 || head_dim % 8 != 0 || head_dim > 256) return 0;
  const std::int64_t multiple = head_dim <= 128 ? 32 : 64;
  const auto rounded = static_cast<double>((head_dim + multiple - 1) / multiple * multiple);
  const auto sums = [&](double sequences) {
    const double copies = std::ceil(device.multiprocessors / (sequences * model.heads));
    return 4 * model.heads * (pass.tokens + 128 * sequences) * (copies * rounded + 1);
  };
  // One call for what sees its own rows; one for what sees a prompt, in which each prompt also makes two sequences of the rows
  // that are left out.
  const double most =
      model.shares_prefix ? std::max(sums(pass.prompts + pass.responses), sums(3 * pass.prompts)) : sums(pass.responses);
  const bool shared_keys = model.qkv_width < 3 * model.q_width;
  return most + (shared_keys ? 2 * device.weight_bytes * pass.tokens * model.q_width : 0);
}

double micro_batches(const Load& load, std::int64_t micro_batch_tokens) {
  const auto limit = static_cast<double>(micro_batch_tokens);
  if (load.group_tokens > limit) return load.groups_per_step * std::ceil(load.group_tokens / limit);  // portions of groups
  const double fewest = std::ceil(load.groups_per_step / std::max(1.0, std::floor(limit / std::max(1.0, load.group_tokens))));
  const auto whole = static_cast<std::uint64_t>(std::max(1.0, fewest));
  return std::max(1.0, std::min(load.groups_per_step, static_cast<double>(std::bit_ceil(whole))));  // train::cut_step()
}

void price(Task& task, const Load& stated, const ModelShape& model, const DeviceModel& device, std::int64_t micro_batch_tokens) {
  Load load = stated;
  if (!model.shares_prefix && load.plain_group_tokens > 0) load.group_tokens = load.plain_group_tokens;
  const double adapted = adapted_share(load, model);
  const auto limit = static_cast<double>(micro_batch_tokens);
  const double count = micro_batches(load, micro_batch_tokens);
  const double own_tokens = load.groups_per_step * load.group_tokens / count;
  const double together = std::clamp(std::floor(limit / std::max(1.0, own_tokens)), 1.0, static_cast<double>(load.models));
  const double trained = trained_parameters(load, model);
  // Forward once; backward once for the states, and once more for the weights where they are trained. Groups of several portions
  // go forward once more before that, for their rewards.
  const double again = (load.recompute ? 1.0 : 0.0) + (load.group_tokens > limit ? 1.0 : 0.0);
  const double passes_over = (load.all_weights ? 3.0 : 2.0 * adapted) + again * adapted;

  Seconds s;
  const double per_token =  // a task without training has no tokens of its own
      own_tokens > 0 ? seconds_per_token(model, device, load, passes_over, passes_over + adapted, own_tokens * together) : 0;
  s.passes = per_token * load.groups_per_step * load.group_tokens * load.models;
  const double of_average = load.averages ? 12 : 0;  // bytes that an update reads and writes of it
  s.update = device.memory_gb_s > 0
                 ? trained * load.models * ((load.all_weights ? 28 : 24) + of_average) / (device.memory_gb_s * 1e9)
                 : 0;
  const double read = load.read_groups * load.models * adapted + load.trunk_groups * (1 - adapted) + load.whole_read_groups;
  s.read = read * load.group_tokens * seconds_per_token(model, device, load, 1, 1, limit);
  s.rest = load.seconds + fitting_seconds(load, model, device);

  const auto seconds_on = [&](int ranks, bool across) {
    const double share = largest_block(count, ranks) / count;
    double sums = 0;
    if (ranks > 1 && load.steps > 0) {
      const double bytes = trained * load.models * load.bytes_sent,
                   new_weights = trained * load.models * device.weight_bytes,  // to all ranks, never rounded
          rate = (across ? device.across_gb_s : device.inside_gb_s) * 1e9;
      const double hops = std::log2(ranks);
      // Sharded: every rank gets the sum of its part, and the new weights of all. Else up a tree and down again.
      sums = load.shard ? (bytes + new_weights) / rate + 2 * hops * device.hop_us * 1e-6
                        : 2 * hops * (bytes / rate + device.hop_us * 1e-6);
    }
    const double update = s.update / (load.shard ? ranks : 1);
    return load.steps * (s.passes * share + update + sums) + s.read / ranks + s.rest;
  };
  constexpr double kLeast = 1e-3;
  task.cost = std::max(kLeast, seconds_on(1, false));
  task.speedup.clear(), task.speedup_across.clear();
  for (int ranks = 1; ranks <= task.ranks_max; ranks *= 2) {
    task.speedup.push_back(task.cost / std::max(kLeast, seconds_on(ranks, false)));
    task.speedup_across.push_back(task.cost / std::max(kLeast, seconds_on(ranks, true)));
  }

  constexpr double kMib = 1024.0 * 1024.0;
  const double weights = model.parameters * device.weight_bytes;
  // Per trained number, float32: sums of gradients, both moments, the best so far, and an average if there is one; and the
  // weights themselves where the forward pass uses fewer bits. The tree of sums over a rank's micro batches keeps one for each
  // of its levels (comm::TreeSum); in shards there are at least two ranks.
  const double levels = std::ceil(std::log2(count / (load.shard ? 2 : 1)));
  const double average = load.averages ? 4.0 : 0.0, sums = 4 * std::max(1.0, levels);
  const double state =
      trained * load.models * (12.0 + sums + average + (load.all_weights && device.weight_bytes >= 4 ? 0.0 : 4.0));
  const double kept_layers = adapted * model.layers;
  // A decoder layer keeps its input, q, k and v, what attention gives, the state after it and both halves of the MLP
  // (nn::LayerSaved); the layer that is being computed has more in hand.
  const double of_a_layer = 2 * model.width + model.q_width + model.qkv_width + 2 * model.intermediate;
  const double in_hand = 4 * model.width + model.qkv_width + 3 * model.intermediate;
  const double kept = in_hand + (load.steps <= 0  ? 0
                                 : load.recompute ? kept_layers * model.width + of_a_layer
                                                  : kept_layers * of_a_layer);
  const double pass_tokens = std::max(own_tokens * together, limit), groups = pass_tokens / std::max(1.0, load.group_tokens);
  const double activations = kept * pass_tokens * device.weight_bytes;
  const Pass pass{pass_tokens, std::max(1.0, groups), std::max(1.0, groups * load.responses)};
  const double attention = load.steps > 0 ? flash_backward_bytes(model, device, pass) : 0;
  // Whole gradients of two layers and the embeddings, while they are summed into shards.
  const double buffers =
      load.shard && load.steps > 0 ? 4 * (2 * model.linear_macs / model.layers + (model.parameters - model.linear_macs)) : 0;
  const double whole_state = load.shard || load.steps <= 0 ? 0 : state;
  task.memory_mib = device.program_mib + (weights + activations + attention + buffers + whole_state) / kMib;
  task.sharded_mib = load.shard && load.steps > 0 ? state / kMib : 0;
  // Weights, both moments, the best so far, and an average if there is one.
  task.checkpoint_mib = load.steps > 0 ? trained * load.models * (16.0 + average) / kMib : 0;
  const double of_a_model = load.all_weights ? model.parameters * device.weight_bytes + 4 * model.width : 4 * trained;
  const double written = 4 * (load.written_states * model.width + load.written_numbers);
  task.output_mib = (load.steps > 0 ? of_a_model * load.models : written) / kMib;
  task.pauses = load.steps > 0;
  task.load_cost = weights / (device.load_gb_s * 1e9);
}

}  // namespace dmoerm::plan
