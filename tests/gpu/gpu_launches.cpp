// Counts what training steps and scoring passes ask of a GPU, on a runtime that counts (support/fake_cuda), and what they compute
// on the host beside it: the program's own trainer and scorer on a base of Qwen2.5-1.5B's widths in bfloat16, 64 pairs of
// 119 + 45 + 45 tokens a step. Without --print it checks the counts that the host's side of the GPU path keeps; with it, it
// prints one JSON line. Exits 77 where the torch wheel has no CUDA.
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/zeros.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "comm/single_process.h"
#include "data/ingest.h"
#include "kernels/kernels.h"
#include "nn/device.h"
#include "nn/transfer.h"
#include "support/expect.h"
#include "support/fake_cuda/fake_cuda.h"
#include "support/host_ops.h"
#include "support/qwen_spec.h"
#include "support/word_renderer.h"
#include "train/device_ops.h"
#include "train/gradient_norm.h"
#include "train/group_scorer.h"
#include "train/reward_trainer.h"

namespace {

using namespace dmoerm;
using test::expect;
using test::GpuCounts;
using test::HostOps;

constexpr std::int64_t kVocab = 151936;
constexpr int kPromptTokens = 119, kResponseTokens = 45;  // means of HH

struct Case {
  /// "train": a step of LoRA experts; "all": a step of all weights; "score": a scoring pass; "states": the states of all experts,
  /// which the aggregator reads
  std::string what = "train";
  std::int64_t layers = 2, experts = 1, pairs = 64, micro_batch_tokens = 16384, first_layer = 0, vocab = kVocab;
  double dropout = 0.05;
  bool recompute = false;
  nn::HeadReads reads = nn::HeadReads::last;
};

/// What one more step or pass asks of the GPU and computes on the host.
struct Asked {
  GpuCounts gpu;
  std::map<std::string, HostOps> host;  ///< By the operation's name

  [[nodiscard]] HostOps on_host() const {
    HostOps all;
    for (const auto& [name, ops] : host) all += ops;
    return all;
  }
  /// The operation on the host that has most elements.
  [[nodiscard]] std::string largest_on_host() const {
    const auto largest = std::ranges::max_element(host, {}, [](const auto& entry) { return entry.second.elements; });
    return largest == host.end() ? "nothing" : largest->first;
  }
  Asked operator-(const Asked& other) const {
    Asked rest{gpu - other.gpu, host};
    for (const auto& [name, ops] : other.host) rest.host[name] = rest.host[name] - ops;
    return rest;
  }
};

Asked asked_so_far() { return {test::gpu_counts(), test::host_ops()}; }

/// The most that a step or pass may move between host and GPU and compute on the host. It follows from what the host has to do:
/// lay out the batches, and in training the loss and the factor of clipping. No term holds a weight, a state or an activation.
struct HostShare {
  std::int64_t uploads = 0, uploaded_bytes = 0, downloads = 0, downloaded_bytes = 0;
  HostOps ops;

  /// On the host a tensor is made for each copy, and nothing is computed. Without the kernels of kernels/ some scalars are
  /// tensors.
  void compute_nothing() {
    const std::int64_t scalars = kernels::for_gpu() ? 0 : 1024;
    ops = {uploads + downloads + scalars,
           (uploaded_bytes + downloaded_bytes) / static_cast<std::int64_t>(sizeof(float)) + scalars};
  }
};

/// In words, what exceeds the host's share.
std::vector<std::string> excesses(const Asked& asked, const HostShare& most) {
  std::vector<std::string> found;
  const auto compare = [&](const std::string& what, std::int64_t is, std::int64_t limit) {
    if (is > limit) found.push_back(fmt::format("{} {}, at most {}", is, what, limit));
  };
  compare("uploads", asked.gpu.uploads, most.uploads);
  compare("bytes uploaded", asked.gpu.uploaded_bytes, most.uploaded_bytes);
  compare("downloads", asked.gpu.downloads, most.downloads);
  compare("bytes downloaded", asked.gpu.downloaded_bytes, most.downloaded_bytes);
  const HostOps on_host = asked.on_host();
  const std::string largest = asked.largest_on_host();
  compare(fmt::format("operations of libtorch on the host (the largest: {})", largest), on_host.calls, most.ops.calls);
  compare(fmt::format("elements in operations on the host (most in {})", largest), on_host.elements, most.ops.elements);
  return found;
}

/// `count` words that no other call gives.
std::string words(int count) {
  static int next = 0;
  std::string text;
  for (int i = 0; i < count; ++i) text += fmt::format("w{} ", next++);
  return text;
}

/// A token store of pairs with the mean lengths of HH's.
class Pairs {
 public:
  explicit Pairs(std::int64_t count, std::int64_t vocab = kVocab)
      : folder_(std::filesystem::temp_directory_path() / fmt::format("dmoerm_gpu_launches_{}_{}", ::getpid(), vocab)) {
    std::filesystem::create_directories(folder_);
    std::ofstream file(folder_ / "pairs.jsonl");
    for (std::int64_t i = 0; i < count; ++i)
      file << nlohmann::json{{"prompt", words(kPromptTokens - 1)},
                             {"chosen", words(kResponseTokens - 1)},
                             {"rejected", words(kResponseTokens - 1)}}
                  .dump()
           << "\n";
    file.close();
    data::IngestRequest request;
    request.data.inputs.push_back({(folder_ / "pairs.jsonl").string(), "auto", "", config::InputSplit::train, 1.0});
    request.data.validation_share = 0, request.data.test_share = 0;
    request.renderer = test::word_renderer(vocab);
    request.output = folder_ / "store.h5";
    data::ingest(request);
    store_.emplace(data::TokenStore::open(request.output));
  }
  ~Pairs() { std::filesystem::remove_all(folder_); }
  Pairs(const Pairs&) = delete;
  Pairs& operator=(const Pairs&) = delete;

  [[nodiscard]] const data::TokenStore& store() const { return *store_; }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
  std::optional<data::TokenStore> store_;
};

/// Runs a case. What one more step or pass asks is the difference of a run of two and a run of one.
class Measurement {
 public:
  Measurement(const Case& wanted, const Pairs& pairs)
      : case_(wanted), pairs_(pairs), device_(nn::pick_device("cuda", "device")), spec_(test::qwen_spec(wanted.layers)) {
    spec_.head_reads = case_.reads, spec_.vocab = case_.vocab;
    for (const std::string& name : pairs.store().categories()) config_.categories.push_back({name, {}, 0.0});
    compute_.micro_batch_tokens = case_.micro_batch_tokens;
    train_.lr = 1e-4, train_.groups_per_step = case_.pairs, train_.eval_every_steps = 1000000, train_.checkpoint_every_s = 1e9;
    train_.lora_dropout = case_.dropout, train_.gradient_checkpointing = case_.recompute, train_.warmup_steps = 0;
    backbone_ = std::make_shared<nn::Backbone>(spec_, nn::Weights(spec_, device_, 0, at::kBFloat16));
  }

  /// @param planted  runs after each step or pass
  Asked run(const std::function<void()>& planted = {}) {
    const auto asked = [&](std::int64_t times) {
      const Asked before = asked_so_far();
      scores() ? score(times) : train(times);
      for (std::int64_t i = 0; planted && i < times; ++i) planted();
      return asked_so_far() - before;
    };
    asked(1);  // handles, workspaces, blocks of memory
    const Asked once = asked(1);
    const auto calls_once = test::gpu_calls();
    const Asked twice = asked(2);
    calls_ = test::gpu_calls();
    for (auto& [name, count] : calls_) {
      const auto found = calls_once.find(name);
      count -= found == calls_once.end() ? 0 : found->second;
    }
    return twice - once;
  }
  /// What the case's step or pass leaves to the host, where a model's tokens fit one pass.
  [[nodiscard]] HostShare host_share() const {
    const std::int64_t pairs = scores() ? static_cast<std::int64_t>(groups().size()) : case_.pairs, models = trainees(),
                       responses = 2 * pairs * models, tokens = pairs * models * (kPromptTokens + 2 * kResponseTokens);
    HostShare share;
    // ids and positions; of a response its row, its slope and its places in eight lists of offsets; where heads read means, its
    // rows
    share.uploaded_bytes =
        8 * tokens + 64 * (responses + 1) + (case_.reads == nn::HeadReads::mean ? 8 * kResponseTokens * responses : 0);
    share.downloaded_bytes = 4 * responses;  // rewards
    if (case_.what == "states") {
      share.uploads = models, share.downloads = 2 * models;  // a pass each; states and rewards
      share.downloaded_bytes += 4 * responses * spec_.width;
      share.compute_nothing();
      // the states and the rewards of a batch are put together, and those of all batches
      share.ops += {4 + 2 * models + 2, 4 * (share.downloaded_bytes / static_cast<std::int64_t>(sizeof(float)))};
    } else if (scores()) {
      share.uploads = share.downloads = 1;
      share.compute_nothing();
    } else {
      share.uploads = share.downloads = 2;  // the batch and the slopes; the rewards and the norm
      share.downloaded_bytes += 8 * models * (norm_blocks() + 1);
      share.compute_nothing();
    }
    return share;
  }
  /// The calls of the run of two, by name.
  [[nodiscard]] const std::map<std::string, std::int64_t>& calls() const { return calls_; }

 private:
  [[nodiscard]] bool scores() const { return case_.what == "score" || case_.what == "states"; }
  [[nodiscard]] std::int64_t trainees() const { return case_.what == "all" ? 1 : case_.experts; }
  /// Numbers of which the norm of a model's gradient is made.
  [[nodiscard]] std::int64_t norm_blocks() const {
    std::int64_t blocks = 0;
    for (const at::Tensor& slice : model(0).trained_slices())
      blocks += (slice.numel() + train::kNormBlock - 1) / train::kNormBlock;
    return blocks;
  }
  [[nodiscard]] nn::RewardModel model(std::int64_t number) const {
    nn::RewardModel made = case_.what == "all"
                               ? nn::RewardModel(backbone_)
                               : nn::RewardModel(backbone_, nn::LoraSpec{32, 32.0, case_.dropout, case_.first_layer});
    if (made.adapter() != nullptr) made.adapter()->initialise(static_cast<std::uint64_t>(number));
    return made;
  }
  [[nodiscard]] std::vector<train::LabelledGroup> groups() const {
    return train::labelled_groups(pairs_.store(), -1, train::Subset::train, preference::kOverall, config_);
  }

  void train(std::int64_t steps) {
    train_.steps_max = steps;
    std::vector<train::Trainee> trainees;
    for (std::int64_t e = 0; e < this->trainees(); ++e) trainees.push_back({fmt::format("expert/{}", e), model(e), groups(), {}});
    const std::filesystem::path directory = pairs_.folder() / "run";
    std::filesystem::remove_all(directory);
    const auto alone = comm::single();
    train::TrunkCache trunks(std::size_t{1} << 30);
    const auto outcomes =
        train::train_rewards({pairs_.store(), train_, compute_, 17, *alone, directory, "key", trunks}, trainees);
    for (const auto& outcome : outcomes) expect(outcome.failure.empty(), outcome.failure);
    expect(outcomes.front().steps == steps, fmt::format("{} steps instead of {}", outcomes.front().steps, steps));
    const double taken = static_cast<double>(test::gpu_memory_peak()) / (1 << 20), said = outcomes.front().peak_mib;
    expect(said > 0.9 * taken && said < 1.01 * taken,
           fmt::format("a training says that its peak was {:.0f} MiB of the GPU's memory, where {:.0f} were taken", said, taken));
  }

  void score(std::int64_t times) {
    const auto alone = comm::single();
    train::TrunkCache trunks(std::size_t{1} << 30);
    std::vector<nn::RewardModel> scored;
    for (std::int64_t e = 0; e < case_.experts; ++e) scored.push_back(model(e));
    const train::GroupScorer scorer{pairs_.store(), compute_.micro_batch_tokens, trunks, *alone};
    for (std::int64_t i = 0; i < times; ++i) {
      const bool some = case_.what == "states" ? scorer.states(scored, groups()).rewards_NK.numel() > 0
                                               : !scorer.rewards(scored.front(), groups()).rewards.empty();
      expect(some, "nothing was scored");
    }
  }

  Case case_;
  const Pairs& pairs_;
  at::Device device_;
  nn::BackboneSpec spec_;
  config::RunConfig config_;
  config::TrainConfig train_;
  config::ComputeConfig compute_;
  std::shared_ptr<nn::Backbone> backbone_;
  std::map<std::string, std::int64_t> calls_;
};

void print_calls(const Measurement& measurement) {
  std::vector<std::pair<std::int64_t, std::string>> sorted;
  for (const auto& [name, count] : measurement.calls()) sorted.emplace_back(count, name);
  std::ranges::sort(sorted, std::greater());
  for (const auto& [count, name] : sorted)
    if (count > 0) fmt::print(stderr, "{:8} {}\n", count, name.substr(0, 200));
}

struct Limits {
  std::int64_t per_layer;        ///< Launches of a layer with the kernels of kernels/
  std::int64_t per_layer_plain;  ///< Launches of a layer in a build without nvcc
  std::int64_t beside_layers, syncs;

  [[nodiscard]] std::int64_t of_a_layer() const { return kernels::for_gpu() ? per_layer : per_layer_plain; }
};

/// What every case keeps, whatever its layers.
Asked checked_run(const std::string& title, const Case& wanted, const Pairs& pairs, const Limits& limits) {
  Measurement measurement(wanted, pairs);
  const Asked asked = measurement.run();
  const GpuCounts& gpu = asked.gpu;
  const HostOps on_host = asked.on_host();
  fmt::print(
      "{}, {} layers: {} launches, {} syncs, {} uploads ({} B), {} downloads ({} B), {} pageable; {} operations on the host, {} "
      "elements\n",
      title, wanted.layers, gpu.launches(), gpu.syncs, gpu.uploads, gpu.uploaded_bytes, gpu.downloads, gpu.downloaded_bytes,
      gpu.pageable, on_host.calls, on_host.elements);
  expect(gpu.kernels > 0 && gpu.products > 0, title + ": nothing ran on the GPU");
  expect(gpu.syncs <= limits.syncs, fmt::format("{}: {} syncs, at most {}", title, gpu.syncs, limits.syncs));
  expect(gpu.pageable == 0, fmt::format("{}: {} copies from or to memory that is not pinned", title, gpu.pageable));
  for (const std::string& excess : excesses(asked, measurement.host_share())) expect(false, title + ": " + excess);
  return asked;
}

/// The launches of a layer are the difference of three layers and two, what remains of two layers is beside them.
void check(const std::string& title, Case wanted, const Pairs& pairs, const Limits& limits) {
  const GpuCounts two = checked_run(title, wanted, pairs, limits).gpu;
  wanted.layers = 3;
  const GpuCounts three = checked_run(title, wanted, pairs, limits).gpu;
  const std::int64_t layer = three.launches() - two.launches(), rest = two.launches() - (2 - wanted.first_layer) * layer;
  fmt::print("{}: {} launches a layer, {} beside them\n", title, layer, rest);
  expect(layer <= limits.of_a_layer(), fmt::format("{}: {} launches a layer, at most {}", title, layer, limits.of_a_layer()));
  expect(rest <= limits.beside_layers,
         fmt::format("{}: {} launches beside the layers, at most {}", title, rest, limits.beside_layers));
  expect(two.syncs == three.syncs, title + ": layers wait for the host");
}

/// For a case whose layers are those of another one: two layers and what is beside them, together.
void check_together(const std::string& title, const Case& wanted, const Pairs& pairs, const Limits& limits) {
  const std::int64_t launches = checked_run(title, wanted, pairs, limits).gpu.launches(),
                     most = wanted.layers * limits.of_a_layer() + limits.beside_layers;
  expect(launches <= most, fmt::format("{}: {} launches, at most {}", title, launches, most));
}

/// A step rounds an adapter to bfloat16 once, whatever its passes. A pass rounds its gradient too.
void check_rounding(const Pairs& pairs) {
  constexpr std::int64_t kPasses = 4, kSteps = 2;
  Case wanted;
  wanted.micro_batch_tokens = 4096;
  Measurement measurement(wanted, pairs);
  measurement.run();
  std::int64_t rounded = 0;
  for (const auto& [name, count] : measurement.calls())
    if (name.find("bfloat16_copy_kernel_cuda") != std::string::npos) rounded += count;
  const std::int64_t most = kSteps * (kPasses + 1);
  expect(!kernels::for_gpu() || rounded <= most, fmt::format("steps of four passes round {} times, at most {}", rounded, most));
}

/// Work that does not belong to the host shows, by copies that nobody waits for too.
void check_planted(const Pairs& pairs) {
  const at::Device device = nn::pick_device("cuda", "device");
  Case wanted;
  wanted.pairs = 2;
  Measurement step(wanted, pairs);
  const HostShare most = step.host_share();
  constexpr std::int64_t kWeights = 2 * 155648;  // of the adapters in two layers
  const at::Tensor gradient = at::zeros({kWeights}, at::TensorOptions().device(device).dtype(at::kFloat)),
                   on_host = at::zeros({kWeights}, at::kFloat);
  const std::vector<float> mask(1536);
  const auto check_shows = [&](const std::string& title, const std::function<void()>& planted,
                               const std::vector<std::string>& expected) {
    const std::vector<std::string> found = excesses(step.run(planted), most);
    const auto holds = [&](const std::string& words) {
      return std::ranges::any_of(found, [&](const std::string& excess) { return excess.find(words) != std::string::npos; });
    };
    for (const std::string& words : expected)
      expect(holds(words), fmt::format("{} shows as {}; what shows: {}", title, words, fmt::join(found, "; ")));
    expect(expected.empty() == found.empty(), fmt::format("{}: what shows: {}", title, fmt::join(found, "; ")));
  };
  check_shows("a step as it is", {}, {});
  check_shows("the norm of a downloaded gradient", [&] { at::linalg_vector_norm(nn::begin_download(gradient)); },
              {"downloads", "bytes downloaded", "elements in operations on the host"});
  check_shows("a norm of values that are on the host", [&] { at::linalg_vector_norm(on_host); },
              {"elements in operations on the host (most in aten::linalg_vector_norm)"});
  const auto many_small = [] {
    for (int i = 0; i < 2000; ++i) at::zeros({1}, at::kFloat);
  };
  check_shows("many small operations", many_small, {"operations of libtorch on the host"});
  check_shows("masks from the host", [&] { nn::upload(mask, device); }, {"uploads", "bytes uploaded"});
}

/// What libtorch holds without use counts as free, pinned memory is counted as it is taken, and large copies go through pinned
/// memory without staying there.
void check_memory() {
  const at::Device device = nn::pick_device("cuda", "device");
  constexpr std::int64_t kMib = 1 << 20;
  const auto on_gpu = at::TensorOptions().device(device).dtype(at::kFloat);
  at::Tensor held = at::empty({100 * kMib}, on_gpu);
  const double before = nn::free_gpu_memory_mib(device);
  held.reset();
  const double after = nn::free_gpu_memory_mib(device);
  expect(std::abs(after - before - 400) < 1, fmt::format("{:.0f} MiB are free, and {:.0f} after 400 more", before, after));

  const at::Tensor odd = at::empty({9 * kMib + 1}, on_gpu);
  const std::int64_t pinned = test::gpu_pinned_memory();
  const at::Tensor on_host = nn::download(odd);
  const auto more = static_cast<std::size_t>(test::gpu_pinned_memory() - pinned);
  expect(more == nn::pinned_bytes(odd.nbytes()),
         fmt::format("{} bytes take {} of pinned memory, not {}", odd.nbytes(), more, nn::pinned_bytes(odd.nbytes())));

  const at::Tensor values = at::arange(40 * kMib + 3, at::TensorOptions().dtype(at::kInt));
  const at::Tensor on_device = values.to(device);
  const GpuCounts begun = test::gpu_counts();
  const std::int64_t pinned_then = test::gpu_pinned_memory();
  const at::Tensor copy = nn::download_large(on_device);
  expect(copy.equal(values) && !copy.is_pinned(), "a large copy has the values, in plain memory");
  expect((test::gpu_counts() - begun).pageable == 0, "a large copy goes through pinned memory");
  expect(test::gpu_pinned_memory() - pinned_then <= 64 * kMib, "a large copy takes one block of pinned memory");
}

/// The passes of sums over GPUs are one kernel each, in the stream that is named; the caller's stream stays what it was.
void check_device_ops() {
  const at::Device device = nn::pick_device("cuda", "device");
  const comm::DeviceOps ops = train::device_ops(device);
  constexpr std::int64_t kCount = 1001;
  const at::TensorOptions on_gpu = at::TensorOptions().device(device);
  const at::Tensor float_N = at::empty({kCount}, on_gpu.dtype(at::kFloat)), more_N = at::empty_like(float_N),
                   half_N = at::empty({kCount}, on_gpu.dtype(at::kBFloat16));
  const auto floats_of = [](const at::Tensor& t_N) { return std::span(t_N.data_ptr<float>(), kCount); };
  const std::span halves(static_cast<std::uint16_t*>(half_N.data_ptr()), kCount);
  alignas(8) static char place[8];  // any address stands for a stream here
  void* const before = nn::current_stream(device);
  const auto check_pass = [&](const std::string& what, const auto& pass) {
    const GpuCounts begun = test::gpu_counts();
    pass();
    const GpuCounts asked = test::gpu_counts() - begun;
    expect(asked.kernels == 1 && asked.launches() == 1 && asked.syncs == 0, what + " is one kernel and waits for nothing");
    expect(test::gpu_last_stream() == place, what + " runs in the stream that is named");
    expect(nn::current_stream(device) == before, what + " leaves the caller's stream as it was");
  };
  check_pass("rounding", [&] { ops.to_bfloat16(floats_of(float_N), halves, place); });
  check_pass("widening", [&] { ops.from_bfloat16(halves, floats_of(float_N), place); });
  check_pass("adding", [&] { ops.add(floats_of(float_N), floats_of(more_N), place); });
}

/// With few words, as the copies of all weights are real and take the test's time.
void check_all_weights() {
  Case all;
  all.what = "all", all.vocab = 8192;
  const Pairs pairs(all.pairs, all.vocab);
  check("a step of all weights", all, pairs, {80, 195, 150, 2});
}

int check_all() {
  check_memory();
  check_device_ops();
  const Pairs pairs(Case{}.pairs);
  check_planted(pairs);
  Case score, experts, upper, recomputed;
  score.what = "score";
  experts.experts = 6, experts.pairs = 8;
  upper.first_layer = 1, recomputed.recompute = true;
  Case states = experts, mean, score_mean = score;
  states.what = "states";
  mean.reads = score_mean.reads = nn::HeadReads::mean;
  check("a step of one expert", {}, pairs, {60, 260, 120, 2});
  check("a step of six experts", experts, pairs, {140, 800, 400, 2});
  check("a scoring pass", score, pairs, {25, 61, 50, 1});
  check("a step above a trunk that is on the GPU", upper, pairs, {60, 260, 120, 2});
  check("a step that computes layers again", recomputed, pairs, {60 + 25, 260 + 61, 120, 2});
  check_together("the states of six experts, a pass each", states, pairs, {6 * 25, 6 * 61, 6 * 50, 1});
  // A head that reads means costs as many launches for 128 responses as for one.
  check_together("a step of one expert whose head reads means", mean, pairs, {60, 260, 170, 2});
  check_together("a scoring pass of a head that reads means", score_mean, pairs, {25, 61, 60, 1});
  check_rounding(pairs);
  check_all_weights();
  return test::failures > 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  Case wanted;
  bool print = false, names = false;
  CLI::App app{"Counts what is asked of a GPU"};
  app.add_flag("--print", print, "print the counts of one case instead of checking those of several");
  app.add_flag("--names", names, "print the calls by name too");
  app.add_option("--what", wanted.what)->check(CLI::IsMember({"train", "all", "score", "states"}));
  app.add_option("--layers", wanted.layers);
  app.add_option("--experts", wanted.experts);
  app.add_option("--pairs", wanted.pairs);
  app.add_option("--first-layer", wanted.first_layer);
  app.add_option("--micro-batch-tokens", wanted.micro_batch_tokens);
  app.add_option("--dropout", wanted.dropout);
  app.add_flag("--recompute", wanted.recompute);
  app.add_flag_callback(
      "--mean", [&] { wanted.reads = nn::HeadReads::mean; }, "heads read the mean of the response's states");
  CLI11_PARSE(app, argc, argv);
  if (dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_GLOBAL) == nullptr) {
    fmt::print("skipped: the torch wheel has no CUDA: {}\n", dlerror());
    return 77;
  }
  spdlog::set_level(spdlog::level::warn);  // training reports its steps
  test::count_host_ops();
  if (!print) return check_all();
  const Pairs pairs(wanted.pairs);
  Measurement measurement(wanted, pairs);
  const Asked asked = measurement.run();
  const GpuCounts& counts = asked.gpu;
  if (names) print_calls(measurement);
  fmt::print("{}\n", nlohmann::json{{"what", wanted.what},
                                    {"layers", wanted.layers},
                                    {"launches", counts.launches()},
                                    {"kernels", counts.kernels},
                                    {"products", counts.products},
                                    {"copies", counts.copies},
                                    {"fills", counts.fills},
                                    {"syncs", counts.syncs},
                                    {"uploads", counts.uploads},
                                    {"downloads", counts.downloads},
                                    {"uploaded_bytes", counts.uploaded_bytes},
                                    {"downloaded_bytes", counts.downloaded_bytes},
                                    {"pageable", counts.pageable},
                                    {"host_operations", asked.on_host().calls},
                                    {"host_elements", asked.on_host().elements},
                                    {"product_tflops", counts.product_flops * 1e-12},
                                    {"memory_peak_gib", static_cast<double>(test::gpu_memory_peak()) / (1 << 30)}}
                         .dump());
  return test::failures > 0 ? 1 : 0;
}
