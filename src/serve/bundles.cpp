#include "serve/bundles.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "moe/bundle_files.h"
#include "moe/load_bundle.h"
#include "wire/describe.h"

namespace dmoerm::serve {
namespace {

using nlohmann::json;

json stats_json(const moe::ScoreStats& stats) { return {{"mean", stats.mean}, {"std", stats.std}, {"count", stats.count}}; }

json facts_of(const Loaded& loaded) {
  const moe::Bundle& bundle = *loaded.bundle;
  json categories = json::array();
  for (const moe::Category& category : bundle.model.categories)
    categories.push_back({{"name", category.name},
                          {"points", category.points},
                          {"aggregator", category.aggregator.kind()},
                          {"score_stats", stats_json(category.stats)}});
  json facts = {{"name", loaded.name},
                {"created", loaded.created},
                {"template", {{"name", bundle.chat_template->name()}, {"sha256", bundle.chat_template->digest()}}},
                {"tokenizer_sha256", bundle.tokenizer->digest()},
                {"max_length", bundle.model.limits.layout.max_length},
                {"dtype", bundle.model.backbone->dtype() == at::kFloat ? "float32" : "bfloat16"},
                {"categories", categories},
                {"single", {{"score_stats", stats_json(bundle.model.fallback_stats)}}},
                {"confidence_min", bundle.model.router.confidence_min()},
                {"weights", nn::name_of(bundle.model.backbone->base_weights())},
                {"provenance", bundle.provenance}};
  if (bundle.int8_drift) facts["int8_drift"] = bundle.int8_drift->to_json();
  return facts;
}

}  // namespace

BundlePlace parse_place(const std::string& text) {
  const std::size_t equals = text.find('=');
  BundlePlace place;
  if (equals != std::string::npos && text.find('/') > equals) {
    place = {text.substr(0, equals), text.substr(equals + 1)};
  } else {
    std::filesystem::path folder = std::filesystem::path(text).lexically_normal();
    if (!folder.has_filename()) folder = folder.parent_path();
    const std::filesystem::path run = folder.parent_path().filename();
    place = {folder.filename() == "bundle" && !run.empty() && run != ".." ? run.string() : folder.filename().string(), text};
  }
  if (place.name.empty() || place.directory.empty())
    throw ConfigError("bad-model-argument", fmt::format("--bundle {}: expected DIR or NAME=DIR", text));
  return place;
}

Bundles::Bundles(const std::vector<BundlePlace>& places, const std::map<std::string, std::string>& aliases, c10::Device device,
                 int threads, nn::BaseWeights weights)
    : places_(places), aliases_(aliases), device_(device), threads_(threads), weights_(weights) {
  for (const BundlePlace& place : places_) {
    const auto same = [&](const BundlePlace& other) { return other.name == place.name; };
    if (std::ranges::count_if(places_, same) > 1)
      throw ConfigError("name-given-twice",
                        fmt::format("--bundle: two bundles are called {}: name them, as in --bundle NAME=DIR", place.name));
    if (aliases_.contains(place.name))
      throw ConfigError("name-given-twice", fmt::format("--alias: {} is the name of a bundle", place.name));
  }
  for (const auto& [alias, name] : aliases_) {
    if (std::ranges::find(places_, name, &BundlePlace::name) == places_.end())
      throw ConfigError("unknown-model", fmt::format("--alias {}={}: {}", alias, name, wire::unknown_model(name, own_names())));
  }
  for (const BundlePlace& place : places_) loaded_.push_back(load(place));
}

std::shared_ptr<const Loaded> Bundles::load(const BundlePlace& place) const {
  at::set_num_threads(threads_);  // of this thread; libraries take it as everybody's, so that it is the same for all
  const std::filesystem::path manifest = place.directory / moe::kBundleManifest;
  const std::string digest = std::filesystem::exists(manifest) ? sha256_hex(read_file(manifest)) : "";
  const auto bundle = std::make_shared<const moe::Bundle>(moe::load_bundle(place.directory, device_, weights_));
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::make_shared<const Loaded>(Loaded{place.name, bundle, TemplatedTextReader(bundle),
                                               std::chrono::duration_cast<std::chrono::seconds>(now).count(), digest,
                                               ++readings_});
}

std::shared_ptr<const Loaded> Bundles::find(const std::string& name) const {
  const auto alias = aliases_.find(name);
  const std::string& own = alias == aliases_.end() ? name : alias->second;
  const std::lock_guard lock(mutex_);
  if (own.empty()) return loaded_.front();
  const auto found = std::ranges::find_if(loaded_, [&](const auto& loaded) { return loaded->name == own; });
  return found == loaded_.end() ? nullptr : *found;
}

std::vector<std::shared_ptr<const Loaded>> Bundles::all() const {
  const std::lock_guard lock(mutex_);
  return loaded_;
}

std::vector<std::string> Bundles::own_names() const {
  std::vector<std::string> names;
  for (const BundlePlace& place : places_) names.push_back(place.name);
  return names;
}

std::vector<std::string> Bundles::all_names() const {
  std::vector<std::string> all = own_names();
  for (const auto& [alias, name] : aliases_) all.push_back(alias);
  return all;
}

void Bundles::reload(const std::string& name) {
  const std::lock_guard one_at_a_time(reloading_);
  if (find(name) == nullptr) throw ConfigError("unknown-model", wire::unknown_model(name, all_names()));
  const std::string own = name.empty() ? "" : find(name)->name;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    if (!own.empty() && places_[i].name != own) continue;
    std::shared_ptr<const Loaded> fresh = load(places_[i]);
    const std::lock_guard lock(mutex_);
    loaded_[i] = std::move(fresh);
    ++reloads_;
    spdlog::info("[serve] bundle {} was read again", places_[i].name);
  }
}

std::int64_t Bundles::reloads() const {
  const std::lock_guard lock(mutex_);
  return reloads_;
}

std::string Bundles::digests() const {
  std::string digests;
  for (const auto& loaded : all()) digests += loaded->digest + " ";
  return digests;
}

json Bundles::info() const {
  json models = json::array();
  for (const auto& loaded : all()) {
    json facts = facts_of(*loaded);
    facts["aliases"] = json::array();
    for (const auto& [alias, name] : aliases_) {
      if (name == loaded->name) facts["aliases"].push_back(alias);
    }
    models.push_back(std::move(facts));
  }
  return models;
}

std::string Bundles::names() const {
  std::string names;
  for (const BundlePlace& place : places_) names += (names.empty() ? "" : ", ") + place.name;
  return names;
}

}  // namespace dmoerm::serve
