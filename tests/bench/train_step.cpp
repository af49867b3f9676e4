// Times training steps of one LoRA expert (or several over one base) on groups of token ids: the program's own trainer, as
// `dmoerm run` calls it, on a token store of these groups. Input: JSON lines {"prefix": [ids], "responses": [[ids], ...],
// "pairs": [[winner, loser], ...]}. Output: one JSON line; `weights_sha256` is that of the bits of what was trained, which two
// runs with the same options must share. With --profile it also says where the time goes.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/rng.h"
#include "bench/op_times.h"
#include "comm/single_process.h"
#include "data/store_builder.h"
#include "nn/backbone.h"
#include "nn/device.h"
#include "train/reward_trainer.h"

namespace {

using namespace dmoerm;

struct Texts {
  std::vector<std::int32_t> prefix;
  std::vector<std::vector<std::int32_t>> responses;
  std::vector<preference::Preference> pairs;
};

std::vector<Texts> read_groups(const std::string& path) {
  std::ifstream file(path);
  std::vector<Texts> groups;
  for (std::string line; std::getline(file, line);) {
    const auto row = nlohmann::json::parse(line);
    Texts texts{row.at("prefix"), row.at("responses"), {}};
    for (const auto& pair : row.at("pairs")) texts.pairs.push_back({pair.at(0), pair.at(1), 0.0F});
    groups.push_back(std::move(texts));
  }
  return groups;
}

/// What attention must compute for a group, forward and backward, in all layers but the last: two products of each visible pair
/// of rows forward and four backward.
double attention_flops(const Texts& texts, const nn::BackboneSpec& spec) {
  const auto prefix = static_cast<double>(texts.prefix.size());
  double pairs = prefix * (prefix + 1) / 2;
  for (const auto& r : texts.responses) {
    const auto own = static_cast<double>(r.size());
    pairs += spec.encoder() ? own * own : own * prefix + own * (own + 1) / 2;
  }
  return 12.0 * pairs * static_cast<double>(spec.q_width() * (spec.layers - 1));
}

struct Usage {
  double user_s = 0, system_s = 0;
  std::int64_t faults = 0;
};

Usage usage_now() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
  return {seconds(usage.ru_utime), seconds(usage.ru_stime), usage.ru_minflt};
}

/// Largest resident memory since it was forgotten, in MiB.
double largest_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}
void forget_largest() { std::ofstream("/proc/self/clear_refs") << "5"; }

nlohmann::json profile_of(const bench::OpTimes& times, double wall, const Usage& before) {
  nlohmann::json kinds = nlohmann::json::object();
  for (const auto& [name, kind] : times.kinds())
    kinds[name] = {{"seconds", kind.seconds}, {"flops", kind.flops}, {"calls", kind.calls}};
  const Usage now = usage_now();
  return {{"wall_s", wall},
          {"kinds", kinds},
          {"user_s", now.user_s - before.user_s},
          {"system_s", now.system_s - before.system_s},
          {"page_faults", now.faults - before.faults}};
}

/// A token store of the groups, in a folder that goes with it.
class Store {
 public:
  explicit Store(std::span<const Texts> groups) {
    std::filesystem::create_directories(folder_);
    data::StoreBuilder builder(folder_ / "store.h5", {"category"}, 1);
    for (const Texts& texts : groups) {
      preference::Group group;
      group.id = fmt::format("group {}", ++count_), group.category = "category", group.responses.resize(texts.responses.size());
      const auto key = static_cast<std::uint64_t>(count_);
      builder.add(group, {key, key}, {texts.prefix, texts.responses}, texts.prefix, preference::Split::train, 1.0, 0);
    }
    builder.finish("{}", 0);
    store_.emplace(data::TokenStore::open(folder_ / "store.h5"));
  }
  ~Store() { std::filesystem::remove_all(folder_); }
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  [[nodiscard]] const data::TokenStore& operator*() const { return *store_; }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_ = std::filesystem::temp_directory_path() / fmt::format("dmoerm_train_step_{}", ::getpid());
  std::int64_t count_ = 0;
  std::optional<data::TokenStore> store_;
};

/// An expert whose value head is random, so that gradients reach all layers.
train::Trainee expert_of(const std::shared_ptr<nn::Backbone>& backbone, const nn::LoraSpec& lora, std::int64_t number,
                         std::span<const Texts> groups) {
  train::Trainee trainee{fmt::format("expert/{}", number), nn::RewardModel(backbone, lora), {}, {}};
  trainee.model.adapter()->initialise(static_cast<std::uint64_t>(17 + number));
  std::vector<float> head(static_cast<std::size_t>(backbone->spec().width));
  Rng rng(99);
  for (float& h : head) h = static_cast<float>(rng.normal() * 0.02);
  at::Tensor w_D = trainee.model.head().w_D;
  w_D.copy_(at::tensor(head));
  for (const Texts& texts : groups) {
    train::LabelledGroup group{std::ssize(trainee.training), std::vector<std::int32_t>(texts.responses.size()), texts.pairs};
    std::iota(group.responses.begin(), group.responses.end(), 0);
    trainee.training.push_back(std::move(group));
  }
  return trainee;
}

/// SHA-256 of the bits of the experts' parameters, in hexadecimal.
std::string sha256_of(const std::vector<train::Trainee>& trained) {
  std::string bits;
  for (const train::Trainee& one : trained) {
    for (const at::Tensor& slice : one.model.trained_slices()) {
      const at::Tensor host = slice.cpu().contiguous();
      bits.append(static_cast<const char*>(host.const_data_ptr()), host.nbytes());
    }
  }
  return sha256_hex(bits);
}

/// How the trainer is called.
struct Settings {
  config::TrainConfig train;
  config::ComputeConfig compute;
};

/// What a training says while it runs.
struct Watched {
  std::vector<std::chrono::steady_clock::time_point> at;  ///< When each step began; the last: when the last one had ended
  nlohmann::json last = nlohmann::json::object();         ///< The last report of its loss and its gradient's norm
  std::int64_t tokens = 0;                                ///< Tokens of all its passes
};

/// @param before_step  is called as each step begins
Watched train_on(const Store& store, Settings settings, std::int64_t steps, std::vector<train::Trainee>& trainees,
                 const std::function<void(std::int64_t step)>& before_step = {}) {
  settings.train.steps_max = steps;
  std::filesystem::remove_all(store.folder() / "run");
  Watched watched;
  train::TaskProgress progress;
  progress.doing = [&](const std::string& what) {  // "step N", twice where the step is evaluated
    const std::size_t step = std::stoul(what.substr(what.find(' ') + 1));
    if (before_step) before_step(static_cast<std::int64_t>(step));
    watched.at.resize(step + 1);
    watched.at[step] = std::chrono::steady_clock::now();
  };
  progress.report = [&](const nlohmann::json& said) {
    if (said.contains("train_loss")) watched.last = said;
  };
  const auto alone = comm::single();
  train::TrunkCache trunks(0);
  const auto outcomes = train::train_rewards(
      {*store, settings.train, settings.compute, 17, *alone, store.folder() / "run", "key", trunks, progress}, trainees);
  for (const auto& outcome : outcomes) {
    if (!outcome.failure.empty() || outcome.steps != steps)
      throw std::runtime_error(fmt::format("{} of {} steps: {}", outcome.steps, steps, outcome.failure));
  }
  watched.tokens = outcomes.front().tokens;
  return watched;
}

}  // namespace

int main(int argc, char** argv) {
  std::string model_dir, groups_file, device_name = "cpu", dtype = "float32";
  std::int64_t threads = 2, repeats = 3, experts = 1;
  nn::LoraSpec shape{.dropout = 0};
  Settings settings;
  settings.compute.micro_batch_tokens = 2048;
  bool profile = false;
  CLI::App app{"Times training steps"};
  app.add_option("--model", model_dir)->required();
  app.add_option("--groups", groups_file)->required();
  app.add_option("--groups-per-step", settings.train.groups_per_step, "at most all groups, which it must divide");
  app.add_option("--threads", threads);
  app.add_option("--repeats", repeats, "of steps over all groups")->check(CLI::PositiveNumber);
  app.add_option("--micro-batch-tokens", settings.compute.micro_batch_tokens, "most tokens of a pass, which experts share");
  app.add_option("--experts", experts, "experts over one base")->check(CLI::PositiveNumber);
  app.add_option("--rank", shape.rank, "of LoRA");
  app.add_option("--dropout", shape.dropout);
  app.add_option("--device", device_name);
  app.add_option("--dtype", dtype);
  app.add_flag("--profile", profile, "where the time of one more repeat goes");
  CLI11_PARSE(app, argc, argv);
  spdlog::set_level(spdlog::level::warn);  // the result is what is printed
  const at::Device device = nn::pick_device(device_name, "--device");
  at::set_num_threads(static_cast<int>(threads));
  const auto backbone = nn::Backbone::load(model_dir, device, 0, nn::pick_dtype(dtype));
  const std::vector<Texts> groups = read_groups(groups_file);
  std::int64_t& in_step = settings.train.groups_per_step;
  in_step = std::min(in_step, std::ssize(groups));
  if (in_step < 1 || std::ssize(groups) % in_step != 0) {
    fmt::print(stderr, "--groups-per-step {}: {} has {} groups, which are no whole steps\n", in_step, groups_file, groups.size());
    return 2;
  }
  shape.alpha = static_cast<double>(shape.rank);
  settings.train.lr = 1e-4, settings.train.lora_rank = shape.rank, settings.train.lora_dropout = shape.dropout;
  settings.train.eval_every_steps = std::int64_t{1} << 40, settings.train.checkpoint_every_s = 1e9;
  const Store store(groups);

  const double loading_mib = largest_mib();
  forget_largest();
  // One step on the first groups warms up, and tells the first loss.
  std::vector<train::Trainee> first{expert_of(backbone, shape, 0, std::span(groups).first(static_cast<std::size_t>(in_step)))};
  const nlohmann::json first_step = train_on(store, settings, 1, first).last;
  first.clear();
  std::vector<train::Trainee> trained;
  for (std::int64_t k = 0; k < experts; ++k) trained.push_back(expert_of(backbone, shape, k, groups));
  const std::int64_t steps = std::ssize(groups) / in_step, profiled_from = repeats * steps;
  const std::int64_t end = profiled_from + (profile ? steps : 0);
  std::optional<bench::OpTimes> times;
  std::chrono::steady_clock::time_point began;
  Usage before;
  nlohmann::json where;
  const Watched watched = train_on(store, settings, end, trained, [&](std::int64_t step) {
    const auto now = std::chrono::steady_clock::now();
    if (times && step == end) {
      where = profile_of(*times, std::chrono::duration<double>(now - began).count(), before);
      times.reset();
    } else if (profile && step == profiled_from) {
      began = now, before = usage_now();
      times.emplace();
    }
  });
  const auto seconds_between = [&](std::int64_t from, std::int64_t to) {
    return std::chrono::duration<double>(watched.at[static_cast<std::size_t>(to)] - watched.at[static_cast<std::size_t>(from)])
        .count();
  };
  std::vector<double> seconds;
  for (std::int64_t repeat = 0; repeat < repeats; ++repeat)
    seconds.push_back(seconds_between(repeat * steps, (repeat + 1) * steps));
  const std::int64_t packed = watched.tokens / (repeats + (profile ? 1 : 0));
  std::int64_t pairs = 0;
  for (const Texts& texts : groups) pairs += experts * std::ssize(texts.pairs);
  std::ranges::sort(seconds);
  const double median = seconds[seconds.size() / 2];
  double attention = 0;
  for (const Texts& texts : groups) attention += attention_flops(texts, backbone->spec()) * static_cast<double>(experts);
  const double gflops = 4e-9 * backbone->spec().linear_macs_per_token() * static_cast<double>(packed) / median;
  const double lora = 6.0 * static_cast<double>(trained.front().model.adapter()->flat.numel()) * static_cast<double>(packed);
  nlohmann::json found{{"seconds", seconds},
                       {"pairs", pairs},
                       {"packed_tokens", packed},
                       {"pairs_per_s", static_cast<double>(pairs) / median},
                       {"packed_tokens_per_s", static_cast<double>(packed) / median},
                       {"gflops_linear", gflops},
                       {"gflops", gflops + 1e-9 * (lora + attention) / median},
                       {"attention_flops", attention},
                       {"lora_flops", lora},
                       {"linear_flops", 1e9 * gflops * median},
                       {"peak_mib", std::max(loading_mib, largest_mib())},
                       {"training_mib", largest_mib()},
                       {"training_gpu_mib", nn::peak_gpu_memory_mib(device)},
                       {"weights_sha256", sha256_of(trained)},
                       {"first_loss", first_step.at("train_loss")},
                       {"first_grad_norm", first_step.at("gradient_norm")}};
  if (profile) found["profile"] = where;
  fmt::print("{}\n", found.dump());
  return 0;
}
