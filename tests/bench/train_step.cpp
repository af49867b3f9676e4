// Times training steps of one LoRA expert (or several over one base, in turn or in one pass) on groups of token ids: the
// arithmetic of `dmoerm run` without its data path. Input: JSON lines {"prefix": [ids], "responses": [[ids], ...], "pairs":
// [[winner, loser], ...]}. Output: one JSON line; `weights_sha256` is that of the bits of what was trained, which two runs with
// the same options must share. With --profile it also says where the time goes.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/tensor.h>
#include <ATen/record_function.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "base/hash.h"
#include "base/rng.h"
#include "bench/op_times.h"
#include "nn/adamw.h"
#include "nn/backbone.h"
#include "nn/device.h"
#include "nn/pairwise_loss.h"
#include "support/expert.h"
#include "train/gradient_norm.h"

namespace {

using namespace dmoerm;

struct Texts {
  std::vector<std::int32_t> prefix;
  std::vector<std::vector<std::int32_t>> responses;
  std::vector<preference::Preference> pairs;
  [[nodiscard]] data::TokenGroup view() const {
    data::TokenGroup group;
    group.prefix = prefix;
    for (const auto& r : responses) group.responses.emplace_back(r);
    return group;
  }
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

std::vector<std::int32_t> all_responses(const Texts& texts) {
  std::vector<std::int32_t> all(texts.responses.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int32_t>(i);
  return all;
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

/// An expert under training, with its gradient and optimizer.
struct Trained {
  Trained(const nn::BackboneSpec& spec, const nn::LoraSpec& lora, std::uint64_t number, at::Device device)
      : expert(spec, lora, device), gradient(spec, lora, device), optimizer({expert.flat}, nn::AdamWOptions{}) {
    expert.adapter.initialise(17 + number);
    std::vector<float> head(static_cast<std::size_t>(spec.width));
    Rng rng(99);
    for (float& h : head) h = static_cast<float>(rng.normal() * 0.02);
    expert.head.w_D.copy_(at::tensor(head));
  }
  test::Expert expert, gradient;
  nn::AdamW optimizer;
  double loss = 0;
};

/// SHA-256 of the bits of the experts' parameters, in hexadecimal.
std::string sha256_of(std::span<const std::unique_ptr<Trained>> trained) {
  std::string bits;
  for (const auto& one : trained) {
    const at::Tensor host = one->expert.flat.cpu().contiguous();
    bits.append(static_cast<const char*>(host.const_data_ptr()), host.nbytes());
  }
  return sha256_hex(bits);
}

/// How steps are laid out in passes.
struct Passes {
  data::PackingRule rule;
  std::int64_t tokens_max;  ///< Largest number of tokens that one expert has in a pass
  bool dropout;
};

/// A pass in which some experts see the same groups, each in rows of its own: forward, losses, backward.
class Pass {
 public:
  Pass(const nn::Backbone& backbone, std::span<const std::unique_ptr<Trained>> experts, std::span<const Texts> groups,
       const Passes& how, std::int64_t step)
      : backbone_(backbone), experts_(experts), groups_(groups) {
    RECORD_FUNCTION("bench::data", {});
    for (const auto& trained : experts) {
      const std::int64_t row = batch_.tokens(), read = std::ssize(batch_.responses);
      for (const Texts& texts : groups) append_group(batch_, texts.view(), all_responses(texts), how.rule);
      rows_.push_back({&trained->expert.adapter, row, batch_.tokens() - row, read, std::ssize(batch_.responses) - read,
                       how.dropout ? static_cast<std::uint64_t>(step + 1) : 0});
      sinks_.adapters.push_back(&trained->gradient.adapter);
    }
  }

  /// @param scale  one over the groups of a step
  void run(double scale) {
    nn::ForwardState keep;
    const at::Tensor states = backbone_.forward(batch_, rows_, &keep);
    std::vector<at::Tensor> back;
    for (std::size_t k = 0; k < experts_.size(); ++k) {
      Trained& trained = *experts_[k];
      const at::Tensor own = states.narrow(0, rows_[k].first_read, rows_[k].reads);
      const at::Tensor rewards = at::mv(own, trained.expert.head.w_D).cpu();
      std::vector<float> push(static_cast<std::size_t>(rewards.numel()), 0.0F);
      std::size_t at = 0;
      for (const Texts& texts : groups_) {
        const std::size_t n = texts.responses.size();
        trained.loss += nn::pairwise_loss({rewards.data_ptr<float>() + at, n}, texts.pairs, scale, {push.data() + at, n});
        at += n;
      }
      const at::Tensor push_R = at::tensor(push).to(states.device());
      trained.gradient.head.w_D.add_(at::mv(own.t(), push_R));
      back.push_back(at::outer(push_R, trained.expert.head.w_D));
    }
    backbone_.backward(back.size() == 1 ? back.front() : at::cat(back), keep, sinks_);
  }
  [[nodiscard]] std::int64_t tokens() const { return batch_.tokens(); }

 private:
  const nn::Backbone& backbone_;
  std::span<const std::unique_ptr<Trained>> experts_;
  std::span<const Texts> groups_;
  data::PackedBatch batch_;
  std::vector<nn::AdapterRows> rows_;
  nn::BackboneGradients sinks_;
};

/// How many groups, from the first on, an expert has in one pass.
std::size_t groups_in_pass(std::span<const Texts> groups, const Passes& how) {
  std::size_t count = 0;
  for (std::int64_t tokens = 0; count < groups.size(); ++count) {
    tokens += data::packed_tokens(groups[count].view(), all_responses(groups[count]), how.rule);
    if (count > 0 && tokens > how.tokens_max) break;
  }
  return count;
}

/// One step of some experts that share its passes. @return tokens in all passes
std::int64_t step_of(const nn::Backbone& backbone, std::span<const std::unique_ptr<Trained>> experts,
                     std::span<const Texts> groups, const Passes& how, std::int64_t step) {
  for (const auto& trained : experts) trained->gradient.flat.zero_(), trained->loss = 0;
  const double scale = 1.0 / static_cast<double>(groups.size());
  std::int64_t tokens = 0;
  for (std::span<const Texts> left = groups; !left.empty();) {
    const std::size_t count = groups_in_pass(left, how);
    Pass pass(backbone, experts, left.first(count), how, step);
    pass.run(scale);
    tokens += pass.tokens();
    left = left.subspan(count);
  }
  return tokens;
}

}  // namespace

int main(int argc, char** argv) {
  std::string model_dir, groups_file, device_name = "cpu", dtype = "float32";
  std::int64_t groups_per_step = 8, threads = 2, repeats = 3, tokens_max = 2048, experts = 1, in_pass = 1, rank = 32;
  double dropout = 0.0;
  bool profile = false;
  CLI::App app{"Times training steps"};
  app.add_option("--model", model_dir)->required();
  app.add_option("--groups", groups_file)->required();
  app.add_option("--groups-per-step", groups_per_step);
  app.add_option("--threads", threads);
  app.add_option("--repeats", repeats);
  app.add_option("--micro-batch-tokens", tokens_max, "most tokens of an expert in one pass");
  app.add_option("--experts", experts, "experts over one base");
  app.add_option("--in-pass", in_pass, "so many of them share each pass; the others wait")->check(CLI::PositiveNumber);
  app.add_option("--rank", rank, "of LoRA");
  app.add_option("--dropout", dropout);
  app.add_option("--device", device_name);
  app.add_option("--dtype", dtype);
  app.add_flag("--profile", profile, "where the time of one more repeat goes");
  CLI11_PARSE(app, argc, argv);
  const at::Device device = nn::pick_device(device_name, "--device");
  at::set_num_threads(static_cast<int>(threads));
  const auto backbone = nn::Backbone::load(model_dir, device, 0, nn::pick_dtype(dtype));
  const std::vector<Texts> groups = read_groups(groups_file);

  std::vector<std::unique_ptr<Trained>> trained;
  for (std::int64_t k = 0; k < experts; ++k)
    trained.push_back(std::make_unique<Trained>(backbone->spec(), nn::LoraSpec{rank, static_cast<double>(rank), dropout},
                                                static_cast<std::uint64_t>(k), device));
  const Passes how{backbone->packing(), tokens_max, dropout > 0};
  const auto together = static_cast<std::size_t>(in_pass);
  const double lr = 1e-4;

  const double loading_mib = largest_mib();
  forget_largest();
  std::vector<double> seconds;
  double first_loss = 0, first_norm = 0;
  std::int64_t packed = 0, pairs = 0, step = 0;
  nlohmann::json where;
  for (std::int64_t repeat = 0; repeat < repeats + (profile ? 1 : 0); ++repeat) {
    std::optional<bench::OpTimes> times;
    const Usage before = usage_now();
    if (repeat == repeats) times.emplace();
    const auto start = std::chrono::steady_clock::now();
    packed = pairs = 0;
    for (std::span<const Texts> left = groups; !left.empty(); ++step) {
      const std::span<const Texts> now = left.first(std::min(left.size(), static_cast<std::size_t>(groups_per_step)));
      left = left.subspan(now.size());
      for (std::size_t k = 0; k < trained.size(); k += together) {
        const auto share = std::span<const std::unique_ptr<Trained>>(trained).subspan(k, std::min(together, trained.size() - k));
        packed += step_of(*backbone, share, now, how, step);
        RECORD_FUNCTION("bench::optimizer", {});
        for (const auto& one : share) {
          const double norm = train::gradient_norm({one->gradient.flat});
          if (step == 0 && one == trained.front()) first_loss = one->loss / static_cast<double>(now.size()), first_norm = norm;
          one->optimizer.step({one->expert.flat}, {one->gradient.flat}, lr, step + 1, norm > 1 ? 1 / norm : 1);
          for (const Texts& texts : now) pairs += std::ssize(texts.pairs);
        }
      }
    }
    const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (times) {
      where = profile_of(*times, wall, before);
    } else {
      seconds.push_back(wall);
    }
  }
  std::ranges::sort(seconds);
  const double median = seconds[seconds.size() / 2];
  double attention = 0;
  for (const Texts& texts : groups) attention += attention_flops(texts, backbone->spec()) * static_cast<double>(experts);
  const double gflops = 4e-9 * backbone->spec().linear_macs_per_token() * static_cast<double>(packed) / median;
  const double lora = 6.0 * static_cast<double>(trained.front()->expert.adapter.flat.numel()) * static_cast<double>(packed);
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
                       {"first_loss", first_loss},
                       {"first_grad_norm", first_norm}};
  if (profile) found["profile"] = where;
  fmt::print("{}\n", found.dump());
  return 0;
}
