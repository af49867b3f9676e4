// The finished reward model as one directory: what `run` writes, and `score` reads. design: docs/architecture.md, "The bundle".
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "moe/aggregator.h"
#include "moe/category_router.h"
#include "nn/backbone.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace dmoerm::moe {

/// One category's part of the model.
struct CategoryModel {
  std::string name;
  std::shared_ptr<const nn::Backbone> base;  ///< shared between categories when phase 1 trained adapters only
  std::vector<std::string> points;           ///< one expert each
  std::vector<std::shared_ptr<const nn::Expert>> experts;
  moe::Aggregator aggregator;
};

/// Mean and deviation of final rewards on the training groups, per category; a consumer may normalise with them, scores are raw.
struct ScoreStats {
  double mean = 0, std = 1;
  std::int64_t count = 0;
};

/// From {"mean", "std", "count"}, as a task's metrics and a bundle's manifest have them.
ScoreStats stats_of(const nlohmann::json& score);

/// A model without experts: the single model of all categories. With an adapter, or with its own full weights and a head.
struct SingleModel {
  std::shared_ptr<const nn::Backbone> base;
  std::shared_ptr<const nn::Expert> expert;  ///< its head is always used; its adapter is zero when all weights were trained
  ScoreStats stats{};                        ///< on the validation groups
};

struct Bundle {
  std::filesystem::path directory;
  std::shared_ptr<const nn::Backbone> base;  ///< the pretrained backbone, which the router reads
  std::shared_ptr<const tokenizer::Tokenizer> tokenizer;
  std::shared_ptr<const tokenizer::ChatTemplate> chat_template;
  std::int64_t max_length = 1024, min_prompt_tokens = 32;
  std::int64_t batch_tokens = 2048;  ///< of one forward pass
  moe::CategoryRouter router;
  std::vector<CategoryModel> categories;  ///< in the router's order
  SingleModel single;                     ///< the fallback
  std::map<std::string, ScoreStats> score_stats;
  nlohmann::json provenance;  ///< run name, config hash, data digest, figures
};

/// Score of one response.
struct Score {
  double reward = 0;
  std::int64_t cut_tokens = 0;  ///< of prompt and response together that the model did not read: beyond max_length
  std::map<std::string, double>
      points;  ///< capability point -> its expert's reward, standardised on the training groups; empty when the fallback scored
};

/// A prompt with its responses, scored.
struct GroupScore {
  std::string category;  ///< the model that scored; "" = the single model of all categories
  moe::Route route;
  std::vector<Score> responses;
};

/// Score responses to one prompt. The prompt's tokens are computed once for all of them (decoders). A response that is too long
/// with its prompt is cut by the rule of `ingest`, by itself: neither the route nor any score depends on the other responses.
/// @param category  a category's name to override the router; "" = let the router choose
/// @throws DataError for an empty prompt or response or an unknown category (lists them)
GroupScore score_group(const Bundle& bundle, const std::vector<preference::Message>& prompt,
                       const std::vector<std::string>& responses, const std::string& category);

/// A category's model. @throws DataError listing those that there are
const CategoryModel& find_category(const Bundle& bundle, const std::string& name);

/// Write the bundle to `directory` (temporary name, then rename; an older bundle there is replaced only when the new one is
/// complete), load it again and compare golden scores before returning. `golden` are texts whose scores are stored and checked at
/// every load.
/// @param source_model  the Hugging Face directory of the backbone: its config.json, tokenizer files are copied
void save_bundle(const Bundle& bundle, const std::filesystem::path& directory, const std::filesystem::path& source_model,
                 const std::vector<std::pair<std::vector<preference::Message>, std::vector<std::string>>>& golden);

/// Load and check golden scores (tolerance, absolute and relative: 1e-4; of a bundle in bfloat16 0.5, with a warning above
/// 3e-2; says by how much they differ).
/// @throws DataError for an unknown schema version (names both), missing or damaged files, golden scores that differ
Bundle load_bundle(const std::filesystem::path& directory, at::Device device);

}  // namespace dmoerm::moe
