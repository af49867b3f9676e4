#include "moe/load_bundle.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>

#include "base/dangling_link.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hub_name.h"
#include "base/json_problem.h"
#include "base/log.h"
#include "base/summed_json.h"
#include "moe/bundle_files.h"
#include "nn/device.h"
#include "nn/elected_changes.h"
#include "nn/int8_product.h"

namespace dmoerm::moe {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// What a file is instead of that of which the manifest has the checksum.
std::string what_else(const fs::path& file) {
  std::string head(4096, '\0');
  std::ifstream in(file, std::ios::binary);
  in.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<std::size_t>(in.gcount()));
  if (head.empty()) return "it is empty: copy the bundle again";
  const std::string other = foreign_type(head);
  if (!other.empty() && other != "a safetensors file") return "it is " + other;
  return fmt::format("it was damaged or edited, or not copied whole ({} bytes)", fs::file_size(file));
}

/// Score statistics and settings of the manifest itself, which no golden score shows to be changed.
void check_manifest(const fs::path& file) {
  if (!has_own_sum(read_file(file)))
    throw DataError("bundle-file-damaged",
                    fmt::format("{}: its {} is that of another content: it was damaged or edited; copy the bundle again, or "
                                "remove that entry if the change is meant",
                                file.string(), kOwnSum));
}

void check_files(const fs::path& directory, const json& expected) {
  const json found = file_sums(directory);
  for (const auto& [file, sum] : expected.items()) {
    if (!found.contains(file))
      throw DataError("bundle-file-missing",
                      fmt::format("{}: {} is missing{}", directory.string(), file, dangling_link(directory / file)));
    if (found[file] != sum)
      throw DataError("bundle-file-damaged",
                      fmt::format("{}: {} has checksum {}, {} says {}: {}", directory.string(), file, found[file].dump(),
                                  kBundleManifest, sum.dump(), what_else(directory / file)));
  }
}

/// Scores of a golden text's responses.
GroupScore score_golden(const Bundle& bundle, const json& item) {
  std::vector<preference::Message> prompt;
  for (const json& m : item.at("prompt")) prompt.push_back({m.at("role"), m.at("content")});
  return score_texts(bundle, prompt, item.at("responses").get<std::vector<std::string>>(), item.at("category"));
}

/// How far figures of one response may be from the stored ones. Rounding differs between processors and libraries.
struct Tolerance {
  double told, refused;    ///< Differences that are logged and refused, relative to 1 + |figure|
  double expert_rounding;  ///< Difference that rounding may make in one expert's reward
};
constexpr Tolerance kFloat{1e-4, 1e-4, 1e-5}, kHalf{3e-2, 0.5, 0.1};

/// Compares golden scores with those of a loaded bundle.
class GoldenCheck {
 public:
  explicit GoldenCheck(const Bundle& bundle)
      : bundle_(bundle), tolerance_(bundle.model.backbone->dtype() == at::kFloat ? kFloat : kHalf) {}

  /// The experts' rewards, where the bundle has them, and the final score of each response. @throws DataError
  void compare(const json& item) {
    const GroupScore scored = score_golden(bundle_, item);
    const std::string category = item.at("category"), model = category.empty() ? "routed" : category;
    const json rewards = item.value("expert_rewards", json::array());
    for (std::size_t i = 0; i < scored.responses.size(); ++i) {
      const Score& got = scored.responses[i];
      if (i < rewards.size() && rewards[i].size() == got.expert_rewards.size()) {
        for (std::size_t e = 0; e < got.expert_rewards.size(); ++e)
          expect(fmt::format("reward {} of {} ({})", i, e < got.points.size() ? fmt::format("expert {}", e) : "the base", model),
                 got.expert_rewards[e], rewards[i][e], 0);
      }
      expect(fmt::format("score {} ({})", i, model), got.reward, item.at("scores").at(i), rounding(scored));
    }
  }

  /// Log a difference that is large but may be rounding.
  void tell() const {
    if (largest_ > tolerance_.told)
      spdlog::warn(
          "[bundle] {}: golden scores differ by up to {:.2f} from the saved ones: this processor rounds bfloat16 differently",
          bundle_.directory.string(), largest_);
  }

 private:
  /// The difference that rounding of the experts' rewards may make in a final score. Standardising divides by the deviation of an
  /// expert's rewards, which is tiny for one that tells no responses apart.
  [[nodiscard]] double rounding(const GroupScore& scored) const {
    if (scored.category.empty()) return 0;
    const Category& first = bundle_.model.category(scored.category);
    double sensitivity = first.aggregator.sensitivity();
    if (scored.route.second >= 0) {
      const Category& second = bundle_.model.categories[static_cast<std::size_t>(scored.route.second)];
      const double scale = at_scale_of(first.stats, 1, second.stats) - at_scale_of(first.stats, 0, second.stats);
      sensitivity += second.aggregator.sensitivity() * scale;
    }
    return tolerance_.expert_rounding * sensitivity;
  }

  void expect(const std::string& what, double got, double expected, double allowed) {
    const double difference = std::max(0.0, std::abs(got - expected) - allowed) / (1 + std::abs(expected));
    largest_ = std::max(largest_, difference);
    if (difference <= tolerance_.refused && std::isfinite(got)) return;
    throw DataError(
        "golden-scores-differ",
        fmt::format("{}: golden {} is {:.6f} here, {:.6f} when it was saved: this program or machine computes different "
                    "scores",
                    bundle_.directory.string(), what, got, expected));
  }

  const Bundle& bundle_;
  Tolerance tolerance_;
  double largest_ = 0;
};

/// Turn all backbones of a bundle to int8 weights, and find out what that does to its golden scores.
void use_int8(Bundle& bundle, const json& golden) {
  std::set<nn::Backbone*> backbones = {bundle.model.backbone.get(), bundle.model.fallback.shared_backbone().get()};
  for (const Category& category : bundle.model.categories) {
    backbones.insert(category.base.shared_backbone().get());
    for (const nn::RewardModel& expert : category.experts) backbones.insert(expert.shared_backbone().get());
  }
  backbones.erase(nullptr);
  for (nn::Backbone* backbone : backbones) backbone->use(nn::BaseWeights::int8);
  ScoreDrift& drift = bundle.int8_drift.emplace();
  for (const json& item : golden) {
    const GroupScore scored = score_golden(bundle, item);
    std::vector<double> scores;
    for (const Score& score : scored.responses) scores.push_back(score.reward);
    drift.add(item.at("scores").get<std::vector<double>>(), scores, bundle.model.stats(scored.category).std);
  }
  spdlog::warn("[bundle] {}: int8 weights: on the golden texts {}", bundle.directory.string(), drift.text());
  if (const auto note = nn::int8_saves_no_time(); !note.empty()) spdlog::warn("[bundle] {}", note);
}

ModelFiles files_of(const fs::path& directory, const json& manifest) {
  ModelFiles files;
  files.router = directory / "router";
  const json stats = manifest.value("score_stats", json::object());
  for (const json& c : manifest.at("categories")) {
    ModelFiles::CategoryFiles category;
    category.name = c.at("name");
    category.points = c.at("points").get<std::vector<std::string>>();
    if (c.at("base") != "base") category.base = directory / c.at("base").get<std::string>();
    for (const std::string& point : category.points) category.experts.push_back(directory / "experts" / category.name / point);
    if (c.contains("base_reward")) category.base_reward = directory / c["base_reward"].get<std::string>();
    category.aggregator = directory / "aggregator" / (category.name + ".safetensors");
    if (stats.contains(category.name)) category.stats = stats_of(stats[category.name]);
    files.categories.push_back(std::move(category));
  }
  files.fallback = directory / "single";
  if (manifest.contains("single_stats")) files.fallback_stats = stats_of(manifest["single_stats"]);
  return files;
}

/// The bundle's chat template: a named one, or the model's own, which the manifest describes.
std::shared_ptr<const tokenizer::ChatTemplate> read_template(const fs::path& directory, const json& manifest,
                                                             const tokenizer::Tokenizer& tokenizer) {
  const json& about = manifest.at("template");
  const std::string name = about.at("name");
  const bool special_in_text = manifest.at("special_tokens_in_text");
  if (!about.contains("form")) return std::make_shared<tokenizer::ChatTemplate>(name, tokenizer, special_in_text);
  const std::string place = (directory / kBundleManifest).string() + ": template";
  return std::make_shared<tokenizer::ChatTemplate>(tokenizer::ChatForm::parse(about.at("form"), name, place), tokenizer,
                                                   special_in_text);
}

Bundle read(const fs::path& directory, const json& manifest, at::Device device, Backbones backbones) {
  Bundle bundle;
  bundle.directory = directory;
  bundle.tokenizer = std::make_shared<tokenizer::Tokenizer>(tokenizer::Tokenizer::load(directory / "base" / "tokenizer.json"));
  const std::string name = manifest.at("template").at("name");
  bundle.chat_template = read_template(directory, manifest, *bundle.tokenizer);
  if (bundle.chat_template->digest() != manifest.at("template").at("sha256").get<std::string>()) {
    throw DataError("template-changed",
                    fmt::format("{}: template {} has digest {} in this program, the bundle was made with {}", directory.string(),
                                name, bundle.chat_template->digest(), manifest.at("template").at("sha256").get<std::string>()));
  }
  bundle.provenance = manifest.at("provenance");
  const std::shared_ptr<nn::Backbone> base =
      nn::Backbone::load(directory / "base", device, 0, nn::pick_dtype(manifest.value("dtype", "float32")));
  const ScoringLimits limits{{manifest.at("max_length"), manifest.at("min_prompt_tokens"), bundle.chat_template->head_tokens()},
                             manifest.at("batch_tokens")};
  nn::BackboneSource source{[&] { return base; }, {}};
  if (backbones == Backbones::as_stored)
    source.changes = nn::ElectedChanges::load(directory / "base", base->spec(), {base, &base->weights()});
  bundle.model = assemble(files_of(directory, manifest), source, limits);
  return bundle;
}

/// What lies in a place that is no bundle, and what to do.
std::string why_no_bundle(const fs::path& directory) {
  if (!fs::exists(directory)) return no_such_directory(directory) + "; give the directory of a bundle" + dangling_link(directory);
  if (!fs::is_directory(directory)) return "this is a file; give the directory of a bundle";
  const std::string no_manifest = fmt::format("there is no {}", kBundleManifest);
  if (fs::exists(directory / "bundle" / kBundleManifest))
    return fmt::format("{}: did you mean {}?", no_manifest, (directory / "bundle").string());
  if (fs::exists(directory / "owner.json") || fs::exists(directory / "config.yaml"))
    return no_manifest + ": this run has no bundle yet; `dmoerm run` makes it at the end";
  if (fs::exists(directory / "adapter_config.json")) return no_manifest + ": this is a PEFT adapter, a part of a bundle at most";
  if (fs::exists(directory / "config.json")) return no_manifest + ": this is a Hugging Face model, a part of a bundle at most";
  return no_manifest + ": is this the bundle of a finished run?";
}

}  // namespace

Bundle load_bundle(const fs::path& directory, at::Device device, nn::BaseWeights weights, Backbones backbones) {
  if (!fs::exists(directory / kBundleManifest))
    throw DataError("not-a-bundle", fmt::format("{}: {}", directory.string(), why_no_bundle(directory)));
  const json manifest = read_json(directory / kBundleManifest);
  try {
    const json version = manifest.value("schema_version", json());
    if (!version.is_number_integer() || version < kBundleSchemaBefore || version > kBundleSchemaMixed)
      throw DataError("unknown-bundle-schema",
                      fmt::format("{}: schema version {}, this program reads {} to {}: use the program that wrote it",
                                  directory.string(), version.dump(), kBundleSchemaBefore, kBundleSchemaMixed));
    const at::ScalarType dtype = nn::pick_dtype(manifest.value("dtype", "float32"));
    if (weights == nn::BaseWeights::int8) nn::Backbone::expect_int8_possible(directory.string(), device, dtype);
    nn::warn_if_slow(device, dtype, "[bundle] " + directory.string());
    check_manifest(directory / kBundleManifest);
    check_files(directory, manifest.at("files"));
    Bundle bundle = read(directory, manifest, device, backbones);
    GoldenCheck check(bundle);
    for (const json& item : manifest.at("golden")) check.compare(item);
    check.tell();
    if (weights == nn::BaseWeights::int8) use_int8(bundle, manifest.at("golden"));
    return bundle;
  } catch (const json::exception& e) {
    throw DataError("bundle-manifest-damaged", fmt::format("{}: {}", (directory / kBundleManifest).string(), json_mismatch(e)));
  }
}

}  // namespace dmoerm::moe
