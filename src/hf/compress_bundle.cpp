#include "hf/compress_bundle.h"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/summed_json.h"
#include "hf/golden_texts.h"
#include "hf/out_folder.h"
#include "moe/bundle_files.h"
#include "moe/load_bundle.h"
#include "moe/save_bundle.h"
#include "nn/masked_weights.h"

namespace dmoerm::hf {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// A backbone that was trained whole.
struct Tuned {
  std::string folder;
  const nn::Backbone* backbone;
  fs::path pretrained;  ///< The pretrained model's folder, relative to `folder`
};

std::vector<Tuned> tuned_of(const moe::Bundle& bundle, const json& manifest) {
  const moe::Model& model = bundle.model;
  std::vector<Tuned> tuned;
  const auto add = [&](const std::string& folder, const nn::Backbone& backbone) {
    if (&backbone != model.backbone.get()) tuned.push_back({folder, &backbone, fs::path("base").lexically_relative(folder)});
  };
  for (std::size_t c = 0; c < model.categories.size(); ++c)
    add(manifest.at("categories")[c].at("base"), model.categories[c].backbone());
  add("single", model.fallback.backbone());
  return tuned;
}

std::uintmax_t bytes_of(const fs::path& directory) {
  std::uintmax_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  return bytes;
}

/// @param step  is called before the masks, and after each
void write_masks(const fs::path& directory, const moe::Bundle& bundle, const std::vector<Tuned>& tuned,
                 const std::function<void()>& step) {
  const nn::Weights& pretrained = bundle.model.backbone->weights();
  std::vector<const nn::Weights*> all;
  for (const Tuned& one : tuned) all.push_back(&one.backbone->weights());
  nn::NamedTensors elected = nn::elect(pretrained, all), stored;
  for (auto& [name, tensor] : elected) {
    stored.emplace_back(name, tensor.to(pretrained.flat.scalar_type()));
    tensor = stored.back().second.to(at::kFloat);  // masks and scales belong to what is stored
  }
  nn::save_safetensors(directory / "base" / nn::kElectedFile, stored);
  step();
  const nn::BackboneSpec& spec = bundle.model.backbone->spec();
  for (const Tuned& one : tuned) {
    nn::ValueHead head{at::zeros({spec.width})};
    nn::load_stored_head(nn::SafetensorsReader::open_model(bundle.directory / one.folder), "", spec, head);
    nn::save_masked(directory / one.folder, nn::mask_of(pretrained, elected, one.backbone->weights()), spec, head,
                    one.pretrained.string());
    step();
  }
}

double largest_difference(const json& before, const json& after) {
  double largest = 0;
  for (std::size_t i = 0; i < before.size() && i < after.size(); ++i) {
    for (std::size_t r = 0; r < before[i].at("scores").size(); ++r)
      largest = std::max(largest, std::abs(before[i]["scores"][r].get<double>() - after[i].at("scores")[r].get<double>()));
  }
  return largest;
}

}  // namespace

Compressed compress_bundle(const fs::path& directory, const fs::path& out, const OnStep& on_step) {
  on_step(0, 0);
  OutFolder folder(directory, out);
  const moe::Bundle bundle = moe::load_bundle(directory, at::kCPU, nn::BaseWeights::float32, moe::Backbones::whole);
  json manifest = read_json(directory / moe::kBundleManifest);
  const std::vector<Tuned> tuned = tuned_of(bundle, manifest);
  constexpr std::size_t kLeast = 2;
  if (tuned.size() < kLeast)
    throw ConfigError(
        "nothing-to-compress",
        fmt::format("{}: {} of its backbones was trained whole, and one vector of changes pays from two on: bundles made "
                    "with base.tuning: lora share one backbone and are small already",
                    directory.string(), tuned.empty() ? "none" : "one"));
  constexpr std::int64_t kOtherSteps = 4;  // reading the bundle, the vector of changes, the scores, and reading what was written
  std::int64_t steps = 0;
  const auto step = [&] {
    OutFolder::expect_no_stop();
    on_step(++steps, std::ssize(tuned) + kOtherSteps);
  };
  step();
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    OutFolder::expect_no_stop();
    const fs::path place = entry.path().lexically_relative(directory);
    const bool replaced = place.filename() == "model.safetensors" &&
                          std::ranges::find(tuned, place.parent_path().string(), &Tuned::folder) != tuned.end();
    fs::create_directories((folder.path() / place).parent_path());
    if (!replaced) fs::copy_file(entry.path(), folder.path() / place);
  }
  write_masks(folder.path(), bundle, tuned, step);
  Compressed result;
  const json before = std::exchange(manifest["golden"], json::array());
  manifest["schema_version"] = std::max(moe::kBundleSchemaMasked, manifest.at("schema_version").get<std::int64_t>());
  manifest["files"] = moe::file_sums(folder.path());
  write_summed_json(folder.path() / moe::kBundleManifest, manifest);
  {
    const moe::Bundle compressed = moe::load_bundle(folder.path(), at::kCPU);
    std::vector<moe::GoldenText> texts = golden_texts({{"golden", before}});
    manifest["golden"] = moe::golden_scores(compressed, texts);
  }
  step();
  write_summed_json(folder.path() / moe::kBundleManifest, manifest);
  moe::load_bundle(folder.path(), at::kCPU);
  step();
  for (const Tuned& one : tuned) result.backbones.push_back(one.folder);
  result.bytes_before = bytes_of(directory);
  result.bytes_after = bytes_of(folder.path());
  result.score_difference_max = largest_difference(before, manifest["golden"]);
  folder.publish();
  return result;
}

}  // namespace dmoerm::hf
