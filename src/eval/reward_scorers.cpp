#include "eval/reward_scorers.h"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/stop.h"
#include "eval/ablations.h"
#include "hf/foreign_adapter.h"
#include "hf/foreign_model.h"
#include "moe/bundle_files.h"
#include "moe/load_bundle.h"
#include "nn/device.h"
#include "nn/reward_model.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace dmoerm::eval {
namespace {

namespace fs = std::filesystem;

/// Calls `score` for each item and reports.
template <class Score>
void each_item(const ModelSpec& spec, const Data& data, const OnScored& on_scored, const Score& score) {
  for (std::size_t i = 0; i < data.items.size(); ++i) {
    if (stop_requested())
      throw Stopped("stopped-while-scoring", fmt::format("scoring with {} was stopped by {}", spec.name, stop_signal()));
    try {
      score(data.items[i]);
    } catch (const DataError& e) {
      throw DataError(e.code(), fmt::format("{}:{}: {}", data.items[i].file, data.items[i].line, e.what()));
    }
    on_scored(spec.name, i + 1, data.items.size());
  }
}

/// Tokens that are read: those of the prompt once, and of each response those after the beginning that it shares with it.
std::int64_t tokens_of(const moe::TokenTexts& texts) {
  auto sum = std::ssize(texts.prompt);
  for (const auto& response : texts.responses) {
    const auto shared = std::mismatch(texts.prompt.begin(), texts.prompt.end(), response.begin(), response.end()).second;
    sum += response.end() - shared;
  }
  return sum;
}

std::vector<double> rewards_of(const std::vector<moe::Score>& scores) {
  std::vector<double> rewards;
  for (const moe::Score& s : scores) rewards.push_back(s.reward);
  return rewards;
}

std::vector<double> doubles_of(const at::Tensor& rewards_N) {
  std::vector<double> rewards;
  for (std::int64_t i = 0; i < rewards_N.size(0); ++i) rewards.push_back(rewards_N[i].item<double>());
  return rewards;
}

std::map<std::string, std::vector<double>> experts_of(const std::vector<moe::Score>& scores) {
  std::map<std::string, std::vector<double>> experts;
  for (const moe::Score& s : scores) {
    for (const auto& [point, reward] : s.points) experts[point].push_back(reward);
  }
  return experts;
}

bool has_category(const moe::Model& model, const std::string& name) {
  return std::ranges::find(model.categories, name, &moe::Category::name) != model.categories.end();
}

/// The mean of the experts' standardised rewards.
std::vector<double> mean_of_experts(const std::vector<moe::Score>& scores) {
  std::vector<double> means;
  for (const moe::Score& s : scores) {
    double sum = 0;
    for (const auto& [point, reward] : s.points) sum += reward;
    means.push_back(sum / static_cast<double>(std::max<std::size_t>(1, s.points.size())));
  }
  return means;
}

/// What the tables say that a model was made from.
std::string source_of(const ModelSpec& spec) {
  return spec.weights == nn::BaseWeights::int8 ? spec.what + " (int8 weights)" : spec.what;
}

std::vector<ModelScores> score_bundle(const ModelSpec& spec, const Data& data, const ScoringOptions& options,
                                      const OnScored& on_scored) {
  const moe::Bundle bundle = moe::load_bundle(spec.what, nn::pick_device(options.device, "--device"), spec.weights);
  const moe::Model& model = bundle.model;
  const std::vector<std::string>& categories = model.router.categories();
  std::vector<ModelScores> all(options.parts ? 4 : 1);
  for (std::size_t part = 0; part < all.size(); ++part) {
    constexpr const char* kParts[] = {"", ":true-category", ":mean", ":single"};
    all[part] = {spec.name + kParts[part], source_of(spec), {}, {}};
  }
  all[0].categories = categories;
  const Ablations ablations(model);
  std::vector<ModelScores> without;
  if (options.ablations) {
    all[0].note = ablations.note();
    for (const std::string& part : ablations.parts())
      without.push_back({.name = spec.name + ":without-" + part, .source = source_of(spec), .ablation_of = spec.name});
  }
  each_item(spec, data, on_scored, [&](const Item& item) {
    const moe::TokenTexts texts = moe::tokenize(bundle, item.prompt, item.responses);
    const moe::GroupScore scored = model.score(texts);
    ItemScores& own = all[0].items.emplace_back();
    own.scores = rewards_of(scored.responses);
    own.route = {scored.category, categories[static_cast<std::size_t>(scored.route.likeliest)], scored.route.confidence};
    own.experts = experts_of(scored.responses);
    own.tokens = tokens_of(texts);
    for (std::size_t part = 0; part < without.size(); ++part)
      without[part].items.push_back({.scores = ablations.scores_without(part, scored), .tokens = own.tokens});
    if (!options.parts) return;
    // What the router would reach without errors; where the category is not known, what it does reach.
    const bool known = has_category(model, item.category);
    const std::string& category = known ? item.category : scored.category;
    const bool same = category == scored.category && scored.route.second < 0;
    const std::vector<moe::Score> within = same ? scored.responses : model.scores_in(category, texts);
    const std::vector<double> single = scored.category.empty() ? own.scores : rewards_of(model.scores_in("", texts));
    all[1].items.push_back({.scores = rewards_of(within), .experts = experts_of(within), .tokens = own.tokens});
    all[2].items.push_back({.scores = category.empty() ? single : mean_of_experts(within), .tokens = own.tokens});
    all[3].items.push_back({.scores = single, .tokens = own.tokens});
  });
  std::ranges::move(without, std::back_inserter(all));
  return all;
}

/// A reward model with all that is needed to read texts as it was trained.
struct Reader {
  std::function<at::Tensor(const moe::TokenTexts&)> rewards;  ///< Of all responses, [N]
  std::shared_ptr<const tokenizer::Tokenizer> tokenizer;
  std::shared_ptr<const tokenizer::ChatTemplate> chat_template;
};

/// @param reader_of  the model that scores an item
ModelScores score_model(const ModelSpec& spec, const Data& data, const std::function<const Reader&(const Item&)>& reader_of,
                        const OnScored& on_scored) {
  ModelScores model{spec.name, source_of(spec), {}, {}};
  each_item(spec, data, on_scored, [&](const Item& item) {
    const Reader& reader = reader_of(item);
    moe::Bundle texts_only;  // tokenize() reads these two alone
    texts_only.tokenizer = reader.tokenizer;
    texts_only.chat_template = reader.chat_template;
    const moe::TokenTexts texts = moe::tokenize(texts_only, item.prompt, item.responses);
    model.items.push_back({.scores = doubles_of(reader.rewards(texts)), .tokens = tokens_of(texts)});
  });
  return model;
}

/// The bundle that a directory is a part of, or the bundle of the run that it is a task of.
std::optional<fs::path> bundle_around(const fs::path& directory) {
  for (fs::path up = fs::weakly_canonical(directory); up.has_relative_path(); up = up.parent_path()) {
    if (fs::exists(up / moe::kBundleManifest)) return up;
    if (fs::exists(up / "bundle" / moe::kBundleManifest)) return up / "bundle";
  }
  return std::nullopt;
}

/// The category of an expert's directory, which stands after "experts" (a bundle) or "expert" (a run); "" for other models.
std::string category_of_expert(const fs::path& directory) {
  for (auto part = directory.begin(); part != directory.end(); ++part) {
    if ((*part == "experts" || *part == "expert") && std::next(part) != directory.end()) return std::next(part)->string();
  }
  return "";
}

/// A part of a bundle or a task of a run. An expert adapts the base of its category.
Reader read_part(const fs::path& directory, const fs::path& around, at::Device device, nn::BaseWeights weights) {
  const moe::Bundle bundle = moe::load_bundle(around, device, weights);
  std::shared_ptr<nn::Backbone> shared = bundle.model.backbone;
  const std::string category = category_of_expert(directory);
  if (has_category(bundle.model, category)) shared = bundle.model.category(category).experts.front().shared_backbone();
  const auto own = [&] { return nn::Backbone::load(around / "base", device, 0, bundle.model.backbone->dtype()); };
  const nn::RewardModel model = nn::RewardModel::load(directory, {[&] { return shared; }, own});
  model.shared_backbone()->use(weights);
  const moe::ScoringLimits limits = bundle.model.limits;
  const auto rewards = [model, limits](const moe::TokenTexts& texts) { return moe::rewards_of(model, texts, limits); };
  return {rewards, bundle.tokenizer, bundle.chat_template};
}

/// A reward model that another program trained.
Reader read_foreign(const fs::path& directory, const ScoringOptions& options, at::Device device, nn::BaseWeights weights) {
  if (options.chat_template.empty())
    throw ConfigError(
        "no-chat-template",
        fmt::format("{}: this is not part of a bundle or of a run with one; name its chat template with --template: a "
                    "name, or the file that launch/pin_chat_template.py makes of the model's own",
                    directory.string()));
  const auto model = std::make_shared<hf::ForeignModel>(hf::ForeignModel::load(directory, options.adapter_base, device));
  model->use(weights);
  Reader reader;
  reader.tokenizer =
      std::make_shared<tokenizer::Tokenizer>(tokenizer::Tokenizer::load(model->tokenizer_directory() / "tokenizer.json"));
  reader.chat_template = std::make_shared<tokenizer::ChatTemplate>(options.chat_template, *reader.tokenizer, false);
  const moe::ScoringLimits limits = {{options.max_length, 32, reader.chat_template->head_tokens()}, options.batch_tokens};
  reader.rewards = [model, limits](const moe::TokenTexts& texts) { return model->rewards(texts, limits); };
  return reader;
}

bool holds_model(const fs::path& directory) {
  return fs::exists(directory / "adapter_config.json") || fs::exists(directory / "model.safetensors") ||
         fs::exists(directory / "config.json");
}

Reader read_model(const fs::path& directory, const ScoringOptions& options, nn::BaseWeights weights) {
  const at::Device device = nn::pick_device(options.device, "--device");
  const std::optional<fs::path> around = bundle_around(directory.parent_path());
  return around ? read_part(directory, *around, device, weights) : read_foreign(directory, options, device, weights);
}

/// A folder with a model for each category, as a run's folders base and category are: the model of its category scores an item.
ModelScores score_by_category(const ModelSpec& spec, const fs::path& directory, const Data& data, const ScoringOptions& options,
                              const OnScored& on_scored) {
  std::map<std::string, Reader> readers;
  for (const Item& item : data.items) {
    if (readers.contains(item.category)) continue;
    if (item.category.empty() || !holds_model(directory / item.category))
      throw DataError("category-without-model",
                      fmt::format("{}:{}: {} has the category \"{}\", for which {} has no folder with a reward model", item.file,
                                  item.line, item.id, item.category, directory.string()));
    readers.emplace(item.category, read_model(fs::weakly_canonical(directory / item.category), options, spec.weights));
  }
  return score_model(
      spec, data, [&](const Item& item) -> const Reader& { return readers.at(item.category); }, on_scored);
}

/// What a bundle's manifest says of its categories' aggregators: category -> kind. Empty if it is damaged, of which load_bundle()
/// says what is wrong.
std::map<std::string, std::string> aggregators_of(const fs::path& manifest) {
  std::map<std::string, std::string> kinds;
  try {
    const nlohmann::json read = read_json(manifest);
    for (const nlohmann::json& category : read.at("categories")) kinds[category.at("name")] = category.at("aggregator");
  } catch (const nlohmann::json::exception&) {
    return {};
  }
  return kinds;
}

/// The options that a folder with one reward model uses.
OptionsUsed options_of_model(const fs::path& directory) {
  if (bundle_around(directory.parent_path())) return {};
  return {.chat_template = true, .base = hf::is_adapter(directory)};
}

}  // namespace

OptionsUsed& OptionsUsed::operator|=(const OptionsUsed& other) {
  chat_template = chat_template || other.chat_template, base = base || other.base, bundle = bundle || other.bundle;
  return *this;
}

OptionsUsed options_used_by(const std::string& directory) {
  const fs::path folder = fs::weakly_canonical(directory);
  if (fs::exists(folder / moe::kBundleManifest)) return {.bundle = true};
  if (holds_model(folder)) return options_of_model(folder);
  OptionsUsed used;
  bool any = false;
  std::error_code ignored;
  for (const fs::directory_entry& category : fs::directory_iterator(folder, ignored)) {
    if (!holds_model(category.path())) continue;
    any = true;
    used |= options_of_model(category.path());
  }
  return any ? used : OptionsUsed{true, true, true};
}

void expect_ablations(const std::string& directory) {
  const fs::path manifest = fs::path(directory) / moe::kBundleManifest;
  if (!fs::exists(manifest)) return;
  std::vector<std::string> kinds;
  for (const auto& [category, kind] : aggregators_of(manifest)) {
    if (moe::Aggregator::is_sum(kind)) return;
    kinds.push_back(fmt::format("{} ({})", category, kind));
  }
  if (kinds.empty()) return;
  throw ConfigError(
      "nothing-to-take-out",
      fmt::format("--ablations: nothing can be taken out of {}: none of its aggregators is a sum of what the experts "
                  "add: {}. Leave --ablations out, or name a bundle with a category whose aggregator.kind is mean, "
                  "stack or gate",
                  directory, fmt::join(kinds, ", ")));
}

std::vector<ModelScores> score_directory(const ModelSpec& spec, const Data& data, const ScoringOptions& options,
                                         const OnScored& on_scored) {
  fs::path directory = fs::weakly_canonical(spec.what);
  const bool is_bundle = fs::exists(directory / moe::kBundleManifest);
  if (!is_bundle && std::ranges::any_of(data.items, [&](const Item& item) {
        return !item.category.empty() && !holds_model(directory) && holds_model(directory / item.category);
      }))
    return {score_by_category(spec, directory, data, options, on_scored)};
  if (is_bundle || !holds_model(directory)) return score_bundle(spec, data, options, on_scored);  // which says what is wrong
  const Reader reader = read_model(directory, options, spec.weights);
  return {score_model(
      spec, data, [&](const Item&) -> const Reader& { return reader; }, on_scored)};
}

}  // namespace dmoerm::eval
