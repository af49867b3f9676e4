// Counts what scoring asks of a GPU, on a runtime that counts (support/fake_cuda): a router, six experts and an aggregator over
// Qwen2.5-1.5B's widths in bfloat16, and a bundle that is loaded from its folder. Without --print it checks what the host's side
// of `dmoerm score` and `serve` keeps: a request is waited for twice (once for the router, which says which experts are to run,
// and once for their states), however many experts, responses and passes it has, and takes the memory of one pass. With --print
// it prints one JSON line. Exits 77 where the torch wheel has no CUDA.
#include <dlfcn.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "kernels/kernels.h"
#include "moe/aggregator_fit.h"
#include "moe/load_bundle.h"
#include "nn/device.h"
#include "nn/elected_changes.h"
#include "serve/engine.h"
#include "support/bundle.h"
#include "support/expect.h"
#include "support/fake_cuda/fake_cuda.h"
#include "support/qwen_spec.h"
#include "support/tiny_model_directory.h"

namespace {

namespace fs = std::filesystem;
using namespace dmoerm;
using test::expect;
using test::GpuCounts;

struct Case {
  std::int64_t layers = 2, experts = 6, responses = 64, prompt_tokens = 200, response_tokens = 120;
  std::int64_t batch_tokens = 65536;  ///< So many that one pass takes all experts
  std::int64_t first_layer = 0;       ///< Of the adapters
  nn::HeadReads reads = nn::HeadReads::last;
  std::string aggregator = "stack";
};

constexpr const char* kCategory = "chat";

at::Device gpu() { return nn::pick_device("cuda", "device"); }

moe::CategoryRouter router_of(std::int64_t width) {
  const at::Tensor states_ND = at::randn({4, width});
  const moe::RoutedPrompts prompts{states_ND, {0, 1, 0, 1}, {}};
  config::RouterConfig config;
  config.steps_max = 1, config.keep_share = 1;
  return moe::CategoryRouter::fit({kCategory, "code"}, prompts, prompts, config);
}

moe::Aggregator aggregator_of(const Case& wanted, std::int64_t width) {
  moe::ExpertFeatures features{at::randn({8, wanted.experts, width}), at::randn({8, wanted.experts}), {{0, 4, {}}, {4, 4, {}}}};
  features.prompts_GH = at::randn({2, width});
  return moe::fit_aggregator(wanted.aggregator, features, {}, {}, 3);
}

/// One category of experts whose weights are zeros: no kernel reads them.
moe::Category category_of(const Case& wanted, const std::shared_ptr<nn::Backbone>& backbone) {
  moe::Category category{kCategory, {}, {}, aggregator_of(wanted, backbone->spec().width), {}};
  for (std::int64_t e = 0; e < wanted.experts; ++e) {
    category.points.push_back(fmt::format("point-{}", e));
    category.experts.emplace_back(backbone, nn::LoraSpec{32, 32.0, 0.05, wanted.first_layer});
  }
  return category;
}

std::shared_ptr<const moe::Bundle> bundle_of(const Case& wanted) {
  nn::BackboneSpec spec = test::qwen_spec(wanted.layers);
  spec.head_reads = wanted.reads;
  auto bundle = std::make_shared<moe::Bundle>();
  moe::Model& model = bundle->model;
  model.backbone = std::make_shared<nn::Backbone>(spec, nn::Weights(spec, gpu(), 0, at::kBFloat16));
  model.router = router_of(spec.width);
  model.categories.push_back(category_of(wanted, model.backbone));
  model.fallback = nn::RewardModel(model.backbone, nn::LoraSpec{});
  model.limits = {{4096, 64, 0}, wanted.batch_tokens};
  return bundle;
}

/// A prompt with its responses, all of them different.
moe::TokenTexts texts_of(const Case& wanted, std::int64_t vocab) {
  std::int32_t next = 0;
  const auto ids = [&](std::int64_t count) {
    std::vector<std::int32_t> some(static_cast<std::size_t>(count));
    for (std::int32_t& id : some) id = static_cast<std::int32_t>(4 + next++ % (vocab - 4));
    return some;
  };
  moe::TokenTexts texts{ids(wanted.prompt_tokens), {}};
  for (std::int64_t r = 0; r < wanted.responses; ++r) {
    std::vector<std::int32_t> own = ids(wanted.response_tokens);
    own.front() = static_cast<std::int32_t>(4 + r % (vocab - 4));
    own.insert(own.begin(), texts.prompt.begin(), texts.prompt.end());
    texts.responses.push_back(std::move(own));
  }
  return texts;
}

template <class Work>
GpuCounts asked_by(const Work& work) {
  const GpuCounts before = test::gpu_counts();
  work();
  return test::gpu_counts() - before;
}

/// What one more request asks of the GPU. @param category  "" = route
GpuCounts counts_of_request(const moe::Model& model, const moe::TokenTexts& texts, const std::string& category) {
  const auto score = [&] {
    const moe::GroupScore scored = model.score(texts, category);
    expect(scored.responses.size() == texts.responses.size(), "every response has a score");
  };
  score();  // handles, workspaces, blocks of memory
  return asked_by(score);
}

GpuCounts counts_of(const Case& wanted) {
  const auto bundle = bundle_of(wanted);
  return counts_of_request(bundle->model, texts_of(wanted, bundle->model.backbone->spec().vocab), kCategory);
}

/// The single model alone, without the router.
GpuCounts counts_of_fallback(const Case& wanted) {
  const auto bundle = bundle_of(wanted);
  const moe::TokenTexts texts = texts_of(wanted, bundle->model.backbone->spec().vocab);
  const auto score = [&] { (void)bundle->model.scores_in("", texts); };
  score();
  return asked_by(score);
}

/// What a request keeps, whatever its size.
void expect_no_waits(const std::string& title, const GpuCounts& counts, std::int64_t syncs) {
  fmt::print("{}: {} launches; {} syncs, {} uploads, {} downloads ({} kB), {} pageable\n", title, counts.launches(), counts.syncs,
             counts.uploads, counts.downloads, counts.downloaded_bytes / 1000, counts.pageable);
  expect(counts.kernels > 0 && counts.products > 0, title + ": nothing ran on the GPU");
  expect(counts.syncs <= syncs, fmt::format("{}: {} syncs, at most {}", title, counts.syncs, syncs));
  expect(counts.pageable == 0, fmt::format("{}: {} copies from or to memory that is not pinned", title, counts.pageable));
}

/// The launches of a layer are the difference of three layers and two, what remains of two layers is beside them. A request has
/// two passes: the router's and that of all experts.
void check_launches() {
  constexpr std::int64_t kLayer = 45, kLayerPlain = 160, kBeside = 70;
  Case wanted;
  const GpuCounts two = counts_of(wanted);
  wanted.layers = 3;
  const GpuCounts three = counts_of(wanted);
  const std::int64_t layer = three.launches() - two.launches(), rest = two.launches() - 2 * layer;
  fmt::print("best of 64, six experts: {} launches a layer, {} beside them\n", layer, rest);
  expect_no_waits("best of 64, six experts", two, 2);
  const std::int64_t most = kernels::for_gpu() ? kLayer : kLayerPlain;
  expect(layer <= most, fmt::format("a request: {} launches a layer, at most {}", layer, most));
  expect(rest <= kBeside, fmt::format("a request: {} launches beside the layers, at most {}", rest, kBeside));
  expect(two.syncs == three.syncs, "layers wait for the host");
}

/// Responses add nothing that is paid by the piece.
void check_responses() {
  for (const nn::HeadReads reads : {nn::HeadReads::last, nn::HeadReads::mean}) {
    Case few, many;
    few.responses = 16, many.responses = 64;
    few.response_tokens = many.response_tokens = 40;  // no tensor is so large that libtorch takes two kernels for it
    few.reads = many.reads = reads;
    const std::string title = fmt::format("heads that read {}", reads == nn::HeadReads::mean ? "means" : "last states");
    const GpuCounts less = counts_of(few), more = counts_of(many);
    expect_no_waits(title, more, 2);
    expect(less.launches() == more.launches(),
           fmt::format("{}: {} launches with 16 responses, {} with 64", title, less.launches(), more.launches()));
    expect(less.uploads == more.uploads && less.downloads == more.downloads, title + ": copies by the response");
  }
}

/// Passes follow each other without the host: of parts of a group, of experts that do not fit one pass, over a trunk.
void check_passes() {
  Case parts, above, gate;
  parts.batch_tokens = 2048;
  above.batch_tokens = 16384, above.first_layer = 1;
  gate.aggregator = "gate";
  expect_no_waits("a request of many passes", counts_of(parts), 2);
  expect_no_waits("adapters above a trunk", counts_of(above), 2);
  expect_no_waits("a gate over the router's states", counts_of(gate), 2);
  const GpuCounts many = counts_of_fallback(parts), one = counts_of_fallback({});
  expect_no_waits("the fallback in many passes", many, 1);
  expect(many.launches() > 2 * one.launches(), "texts take several passes of 2,048 tokens");
}

/// Best of N takes the memory of a pass, whatever N is.
void check_memory() {
  Case wanted;
  wanted.batch_tokens = wanted.prompt_tokens + wanted.responses * wanted.response_tokens;  // parts of 64 responses each
  const auto bundle = bundle_of(wanted);
  const std::int64_t vocab = bundle->model.backbone->spec().vocab, before = test::gpu_memory_peak();
  counts_of_request(bundle->model, texts_of(wanted, vocab), kCategory);
  const std::int64_t of_64 = test::gpu_memory_peak() - before;
  wanted.responses *= 4;
  counts_of_request(bundle->model, texts_of(wanted, vocab), kCategory);
  const std::int64_t of_256 = test::gpu_memory_peak() - before;
  fmt::print("best of 64 takes {} MiB of the GPU beside the weights, {} kB a token of a pass; best of 256 {} MiB\n", of_64 >> 20,
             of_64 / wanted.batch_tokens / 1000, of_256 >> 20);
  expect(of_64 > 0, "scoring took no memory");
  expect(of_64 <= 256'000 * wanted.batch_tokens,
         fmt::format("best of 64 takes {} MiB for {} tokens a pass", of_64 >> 20, wanted.batch_tokens));
  constexpr std::int64_t kSlack = std::int64_t{32} << 20;  // a block of libtorch's for states
  expect(of_256 <= of_64 + kSlack, fmt::format("best of 64 takes {} MiB, best of 256 {}", of_64 >> 20, of_256 >> 20));
}

serve::Outcome ask(serve::Engine& engine, const std::shared_ptr<const moe::Bundle>& bundle, const moe::TokenTexts& texts) {
  const auto answered = std::make_shared<std::promise<serve::Outcome>>();
  std::future<serve::Outcome> outcome = answered->get_future();
  serve::Ask request;
  request.works.push_back({bundle, texts, kCategory});
  request.client = "a", request.deadline = serve::Clock::now() + std::chrono::seconds(200);
  const auto admission =
      engine.submit(std::move(request), [answered](serve::Outcome given) { answered->set_value(std::move(given)); });
  expect(admission.refused == serve::Engine::Refused::no, "the engine takes the request");
  return outcome.get();
}

/// The thread of `dmoerm serve` that computes asks no more of the GPU than this one.
void check_engine() {
  const Case wanted;
  const auto bundle = bundle_of(wanted);
  const moe::TokenTexts texts = texts_of(wanted, bundle->model.backbone->spec().vocab);
  serve::Engine engine(serve::EngineOptions{});
  const auto request = [&] {
    const serve::Outcome outcome = ask(engine, bundle, texts);
    expect(outcome.end == serve::End::scored, "the engine scores: " + outcome.problem);
    expect(outcome.groups.at(0).responses.size() == texts.responses.size(), "the engine scores every response");
  };
  request();
  expect_no_waits("a request to the engine", asked_by(request), 2);
}

/// A copy of the bundle of version 0.1.0 whose golden scores nobody checks: no kernel computes here.
fs::path bundle_folder(const fs::path& folder, const std::string& dtype) {
  fs::copy(test::earlier_bundle_folder(), folder / dtype, fs::copy_options::recursive);
  nlohmann::json manifest = read_json(folder / dtype / "dmoerm.json");
  manifest["golden"] = nlohmann::json::array();
  manifest["dtype"] = dtype;
  write_json_atomically(folder / dtype / "dmoerm.json", manifest);
  return folder / dtype;
}

void check_bundle(const fs::path& folder) {
  for (const std::string dtype : {"bfloat16", "float32"}) {
    const fs::path directory = bundle_folder(folder, dtype);
    const moe::Bundle bundle = moe::load_bundle(directory, gpu());
    expect(bundle.model.backbone->device().is_cuda(), "the bundle is on the GPU");
    Case wanted;
    wanted.prompt_tokens = 12, wanted.response_tokens = 9, wanted.responses = 10;
    const moe::TokenTexts texts = texts_of(wanted, bundle.model.backbone->spec().vocab);
    for (const std::string category : {kCategory, ""})
      expect_no_waits(fmt::format("a bundle in {}, scored by {}", dtype, category.empty() ? "a route" : category),
                      counts_of_request(bundle.model, texts, category), 2);
    try {
      (void)moe::load_bundle(directory, gpu(), nn::BaseWeights::int8);
      expect(false, "int8 weights are refused on a GPU");
    } catch (const ConfigError& e) {
      expect(std::string_view(e.code().text()) == "int8-not-possible", std::string("int8 weights are refused: ") + e.what());
    }
  }
}

/// A pretrained tiny model in a folder, and two fine-tuned ones as masks over it, as `export --compress emr` leaves them.
void write_masked(const fs::path& folder) {
  nn::BackboneSpec spec = test::tiny_spec(64);
  spec.width = 32, spec.head_dim = 8;  // that flash attention takes
  const std::vector<std::string> names = {"one", "two"};
  for (const std::string name : {"base", "one", "two"}) {
    fs::create_directories(folder / name);
    write_json_atomically(folder / name / "config.json", test::tiny_config(spec));
  }
  const std::shared_ptr<nn::Backbone> made = test::random_backbone(spec);
  const nn::Weights& pretrained = made->weights();
  nn::save_safetensors(folder / "base" / "model.safetensors", pretrained.named());
  std::vector<nn::Weights> tuned;
  std::vector<const nn::Weights*> all;
  for (std::size_t i = 0; i < names.size(); ++i) {
    tuned.push_back(pretrained.clone());
    tuned.back().flat.add_(at::randn_like(tuned.back().flat) * 0.1);
  }
  for (const nn::Weights& one : tuned) all.push_back(&one);
  const nn::NamedTensors elected = nn::elect(pretrained, all);
  nn::save_safetensors(folder / "base" / nn::kElectedFile, elected);
  for (std::size_t i = 0; i < names.size(); ++i)
    nn::save_masked(folder / names[i], nn::mask_of(pretrained, elected, tuned[i]), spec, {at::rand({spec.width})}, "../base");
}

/// Categories over masks make their layers again when they take turns, without a wait of the host.
void check_masks(const fs::path& folder) {
  write_masked(folder);
  const std::shared_ptr<nn::Backbone> base = nn::Backbone::load(folder / "base", gpu(), 0, at::kBFloat16);
  const auto changes = nn::ElectedChanges::load(folder / "base", base->spec(), {base, &base->weights()});
  Case wanted;
  wanted.experts = 2, wanted.prompt_tokens = 12, wanted.response_tokens = 9;
  moe::Model model;
  model.backbone = base;
  model.router = router_of(base->spec().width);
  model.limits = {{256, 8, 0}, 4096};
  for (const char* name : {"one", "two"}) {
    const std::shared_ptr<nn::Backbone> masked = nn::Backbone::load_as_mask(folder / name, changes, nn::HeadReads::last);
    expect(masked != nullptr && masked->device().is_cuda(), "the mask is on the GPU");
    model.categories.push_back(category_of(wanted, masked));
    model.categories.back().name = name;
  }
  const moe::TokenTexts texts = texts_of(wanted, base->spec().vocab);
  const std::vector<moe::ScoreCall> calls = {{&texts, "one"}, {&texts, "two"}};
  const auto score = [&] { (void)model.score(calls); };
  score();
  expect_no_waits("two categories over masks", asked_by(score), 3);
}

int check_all() {
  check_memory();  // first, as what libtorch holds it keeps
  check_launches();
  check_responses();
  check_passes();
  check_engine();
  const fs::path folder = fs::temp_directory_path() / fmt::format("dmoerm_gpu_scoring_{}", ::getpid());
  fs::create_directories(folder);
  check_bundle(folder);
  check_masks(folder / "masks");
  fs::remove_all(folder);
  return test::failures > 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  Case wanted;
  bool print = false;
  CLI::App app{"Counts what scoring asks of a GPU"};
  app.add_flag("--print", print, "print the counts of one request instead of checking those of several");
  app.add_option("--layers", wanted.layers);
  app.add_option("--experts", wanted.experts);
  app.add_option("--responses", wanted.responses);
  app.add_option("--prompt-tokens", wanted.prompt_tokens);
  app.add_option("--response-tokens", wanted.response_tokens);
  app.add_option("--batch-tokens", wanted.batch_tokens);
  app.add_option("--first-layer", wanted.first_layer);
  app.add_option("--aggregator", wanted.aggregator);
  CLI11_PARSE(app, argc, argv);
  if (dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_GLOBAL) == nullptr) {
    fmt::print("skipped: the torch wheel has no CUDA: {}\n", dlerror());
    return 77;
  }
  spdlog::set_level(spdlog::level::warn);
  if (!print) return check_all();
  const GpuCounts counts = counts_of(wanted);
  fmt::print("{}\n", nlohmann::json{{"responses", wanted.responses},
                                    {"experts", wanted.experts},
                                    {"layers", wanted.layers},
                                    {"launches", counts.launches()},
                                    {"syncs", counts.syncs},
                                    {"uploads", counts.uploads},
                                    {"downloads", counts.downloads},
                                    {"downloaded_bytes", counts.downloaded_bytes},
                                    {"pageable", counts.pageable},
                                    {"peak_bytes", test::gpu_memory_peak()}}
                         .dump());
}
