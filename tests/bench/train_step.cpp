// Times training steps of one LoRA expert (or several over one base) on groups of token ids: the arithmetic of `dmoerm run`
// without its data path. Input: JSON lines {"prefix": [ids], "responses": [[ids], ...], "pairs": [[winner, loser], ...]}. Output:
// one JSON line. With --profile it also says where the time goes.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
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
  std::int64_t faults = 0, peak_mib = 0;
};

Usage usage_now() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
  return {seconds(usage.ru_utime), seconds(usage.ru_stime), usage.ru_minflt, usage.ru_maxrss / 1024};
}

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

}  // namespace

int main(int argc, char** argv) {
  std::string model_dir, groups_file, device_name = "cpu", dtype = "float32";
  std::int64_t groups_per_step = 8, threads = 2, repeats = 3, tokens_max = 2048, experts = 1, rank = 32;
  double dropout = 0.0;
  bool profile = false;
  CLI::App app{"Times training steps"};
  app.add_option("--model", model_dir)->required();
  app.add_option("--groups", groups_file)->required();
  app.add_option("--groups-per-step", groups_per_step);
  app.add_option("--threads", threads);
  app.add_option("--repeats", repeats);
  app.add_option("--micro-batch-tokens", tokens_max);
  app.add_option("--experts", experts);
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
  const data::PackingRule rule = backbone->packing();

  std::vector<test::Expert> trained, gradients;
  std::vector<std::unique_ptr<nn::AdamW>> optimizers;
  const double lr = 1e-4;
  for (std::int64_t k = 0; k < experts; ++k) {
    trained.emplace_back(backbone->spec(), nn::LoraSpec{rank, static_cast<double>(rank), dropout}, device);
    trained.back().adapter.initialise(17 + static_cast<std::uint64_t>(k));
    gradients.emplace_back(backbone->spec(), trained.back().adapter.lora(), device);
    optimizers.push_back(std::make_unique<nn::AdamW>(std::vector<at::Tensor>{trained.back().flat}, nn::AdamWOptions{}));
    std::vector<float> head(static_cast<std::size_t>(backbone->spec().width));
    Rng rng(99);
    for (float& h : head) h = static_cast<float>(rng.normal() * 0.02);
    trained.back().head.w_D.copy_(at::tensor(head));
  }

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
    for (std::size_t begin = 0; begin < groups.size(); begin += static_cast<std::size_t>(groups_per_step), ++step) {
      const std::size_t end = std::min(groups.size(), begin + static_cast<std::size_t>(groups_per_step));
      for (std::size_t k = 0; k < trained.size(); ++k) {
        gradients[k].flat.zero_();
        double loss = 0;
        for (std::size_t i = begin; i < end;) {
          data::PackedBatch batch;
          const std::size_t first = i;
          {
            RECORD_FUNCTION("bench::data", {});
            do {
              append_group(batch, groups[i].view(), all_responses(groups[i]), rule);
              ++i;
            } while (i < end &&
                     batch.tokens() + data::packed_tokens(groups[i].view(), all_responses(groups[i]), rule) <= tokens_max);
          }
          packed += batch.tokens();
          const nn::AdapterRows rows{&trained[k].adapter,
                                     0,
                                     batch.tokens(),
                                     0,
                                     static_cast<std::int64_t>(batch.responses.size()),
                                     dropout > 0 ? static_cast<std::uint64_t>(step + 1) : 0};
          nn::ForwardState keep;
          const at::Tensor states = backbone->forward(batch, {&rows, 1}, &keep);
          const at::Tensor rewards = at::mv(states, trained[k].head.w_D).cpu();
          std::vector<float> push(static_cast<std::size_t>(rewards.numel()), 0.0F);
          std::size_t at = 0;
          for (std::size_t g = first; g < i; ++g) {
            const std::size_t n = groups[g].responses.size();
            loss += nn::pairwise_loss({rewards.data_ptr<float>() + at, n}, groups[g].pairs,
                                      1.0 / static_cast<double>(end - begin), {push.data() + at, n});
            at += n;
            pairs += static_cast<std::int64_t>(groups[g].pairs.size());
          }
          const at::Tensor push_R = at::tensor(push).to(device);
          gradients[k].head.w_D.add_(at::mv(states.t(), push_R));
          backbone->backward(at::outer(push_R, trained[k].head.w_D), keep, {nullptr, {&gradients[k].adapter}});
        }
        RECORD_FUNCTION("bench::optimizer", {});
        const double norm = train::gradient_norm({gradients[k].flat});
        if (step == 0 && k == 0) first_loss = loss / static_cast<double>(end - begin), first_norm = norm;
        optimizers[k]->step({trained[k].flat}, {gradients[k].flat}, lr, step + 1, norm > 1 ? 1 / norm : 1);
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
  const double lora = 6.0 * static_cast<double>(trained.front().adapter.flat.numel()) * static_cast<double>(packed);
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
                       {"peak_mib", usage_now().peak_mib},
                       {"first_loss", first_loss},
                       {"first_grad_norm", first_norm}};
  if (profile) found["profile"] = where;
  fmt::print("{}\n", found.dump());
  return 0;
}
