#include "moe/save_bundle.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/summed_json.h"
#include "moe/bundle_files.h"
#include "moe/classifier_files.h"
#include "moe/load_bundle.h"

namespace dmoerm::moe {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

json to_json(const ScoreStats& stats) { return {{"mean", stats.mean}, {"std", stats.std}, {"count", stats.count}}; }

/// Whether the base's reward is that of a head over a backbone of the category's own; else an adapter goes before it.
bool reads_own_head(const Category& category) { return category.aggregator.reads_base() && category.base.adapter() == nullptr; }

}  // namespace

json golden_scores(const Bundle& bundle, const std::vector<GoldenText>& golden) {
  json list = json::array();
  const auto add = [&](const auto& prompt, const auto& responses, const std::string& category) {
    json messages = json::array();
    for (const preference::Message& m : prompt) messages.push_back({{"role", m.role}, {"content", m.content}});
    json scores = json::array(), rewards = json::array();
    for (const Score& s : score_texts(bundle, prompt, responses, category).responses) {
      scores.push_back(s.reward);
      rewards.push_back(s.expert_rewards);
    }
    list.push_back({{"prompt", messages},
                    {"responses", responses},
                    {"category", category},
                    {"scores", scores},
                    {"expert_rewards", rewards}});
  };
  for (const auto& [prompt, responses] : golden) {
    add(prompt, responses, "");
    for (const Category& c : bundle.model.categories) add(prompt, responses, c.name);
  }
  return list;
}

void save_bundle(const Bundle& bundle, const fs::path& directory, const fs::path& source_model,
                 const std::vector<GoldenText>& golden) {
  const Model& model = bundle.model;
  const fs::path temporary = temporary_name(directory), replaced = temporary_name(directory.string() + ".old");
  try {
    for (const fs::path& path : {directory, fs::path(directory.string() + ".old")}) remove_stale_temporaries_of(path);
    fs::remove_all(temporary);
    fs::create_directories(temporary);
    const at::Tensor zero_D = at::zeros({model.backbone->spec().width});
    const std::int64_t pad = pad_id(source_model, *bundle.tokenizer, *bundle.chat_template);
    save_classifier(temporary / "base", source_model, {model.backbone->spec(), model.backbone->weights(), zero_D}, pad);
    copy_tokenizer(source_model, temporary / "base", bundle.tokenizer->token_of(static_cast<std::int32_t>(pad)));
    json manifest = {{"schema_version", model.router.mixes() ? kBundleSchemaMixed : kBundleSchema},
                     {"template",
                      {{"name", bundle.chat_template->name()},
                       {"sha256", bundle.chat_template->digest()},
                       {"text", bundle.chat_template->text()}}},
                     {"dtype", dtype_name(model.backbone->dtype())},
                     {"max_length", model.limits.layout.max_length},
                     {"min_prompt_tokens", model.limits.layout.min_prompt_tokens},
                     {"batch_tokens", model.limits.batch_tokens},
                     {"provenance", bundle.provenance},
                     {"special_tokens_in_text", bundle.chat_template->special_in_text()}};
    if (const tokenizer::ChatForm* form = bundle.chat_template->form())
      manifest["template"]["form"] = json::parse(form->canonical());
    model.router.save(temporary / "router");
    for (const Category& c : model.categories) {
      std::string base = "base";
      if (&c.backbone() != model.backbone.get()) {
        base = "base/" + c.name;
        save_classifier(temporary / base, source_model,
                        {c.backbone().spec(), c.backbone().weights(), reads_own_head(c) ? c.base.head().w_D : zero_D}, pad);
      }
      for (std::size_t k = 0; k < c.points.size(); ++k) c.experts[k].save(temporary / "experts" / c.name / c.points[k]);
      fs::create_directories(temporary / "aggregator");
      c.aggregator.save(temporary / "aggregator" / (c.name + ".safetensors"));
      json category = {{"name", c.name}, {"base", base}, {"points", c.points}, {"aggregator", c.aggregator.kind()}};
      if (c.aggregator.reads_base()) {
        category["base_reward"] = reads_own_head(c) ? base : "base_reward/" + c.name;
        if (!reads_own_head(c)) c.base.save(temporary / "base_reward" / c.name);
      }
      manifest["categories"].push_back(std::move(category));
      manifest["score_stats"][c.name] = to_json(c.stats);
    }
    if (model.fallback.adapter() != nullptr) {
      model.fallback.save(temporary / "single");
      manifest["single"] = "adapter";
    } else {
      const nn::Backbone& own = model.fallback.backbone();
      save_classifier(temporary / "single", source_model, {own.spec(), own.weights(), model.fallback.head().w_D}, pad);
      manifest["single"] = "checkpoint";
    }
    manifest["single_stats"] = to_json(model.fallback_stats);
    manifest["golden"] = golden_scores(bundle, golden);
    manifest["files"] = file_sums(temporary);
    write_summed_json(temporary / kBundleManifest, manifest);
    load_bundle(temporary, model.backbone->device());  // checks the copy before it replaces an older bundle
    if (fs::exists(directory)) fs::rename(directory, replaced);
    fs::rename(temporary, directory);
    sync_path(directory.has_parent_path() ? directory.parent_path() : fs::path("."));
    fs::remove_all(replaced);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw;
  }
}

}  // namespace dmoerm::moe
