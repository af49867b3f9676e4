#include "run/groups_read.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "data/group_layout.h"
#include "tokenizer/chat_template.h"
#include "train/training_set.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;

/// The prompts' tokens as ingest stores them.
class PromptTokens {
 public:
  explicit PromptTokens(const config::RunConfig& config)
      : tokenizer_(tokenizer::Tokenizer::load(fs::path(config.backbone.dir) / "tokenizer.json")),
        template_(config.backbone.chat_template, tokenizer_, config.data.special_tokens_in_text),
        limits_{config.data.max_length, config.data.min_prompt_tokens, template_.head_tokens()} {}

  [[nodiscard]] std::vector<std::int32_t> of(const preference::Group& group) const {
    std::vector<std::vector<std::int32_t>> texts;
    for (const preference::Response& r : group.responses) texts.push_back(template_.render(group.prompt, r.text));
    std::vector<std::int32_t> prompt = template_.render_prompt(group.prompt);
    if (prompt.empty() || std::ranges::any_of(texts, [](const auto& ids) { return ids.empty(); })) return {};
    const auto layout = data::lay_out_group(std::move(texts), static_cast<std::int64_t>(prompt.size()), limits_);
    return data::cut_prompt(std::move(prompt), layout, limits_);
  }

 private:
  tokenizer::Tokenizer tokenizer_;
  tokenizer::ChatTemplate template_;
  data::LayoutLimits limits_;
};

/// Whether a group of the train split belongs to phase 1, by the store if there is one.
class Phase1 {
 public:
  Phase1(const config::RunConfig& config, const data::TokenStore* store) : config_(config) {
    if (store != nullptr) {
      by_store_.emplace();
      for (const std::int64_t index : train::groups_of(*store, -1, train::Subset::phase1, config)) {
        const auto [file, line] = store->source(index);
        by_store_->emplace(file, line);
      }
    } else if (fs::exists(fs::path(config.backbone.dir) / "tokenizer.json")) {
      tokens_.emplace(config);
    } else {
      spdlog::warn(
          "[label] {} has no tokenizer.json, so the groups of phase 1 are not known: all groups of the train split are asked "
          "about, "
          "and experts will read verdicts on {:.0f} % of them",
          config.backbone.dir, 100 * config.phase1_share);
    }
  }

  [[nodiscard]] bool has(const preference::Group& group) const {
    if (by_store_) return by_store_->contains({group.file, group.line});
    if (!tokens_) return true;
    const std::vector<std::int32_t> prompt = tokens_->of(group);
    return !prompt.empty() && train::in_phase1(prompt, config_);
  }

 private:
  const config::RunConfig& config_;
  std::optional<std::set<std::pair<std::string, std::int64_t>>> by_store_;
  std::optional<PromptTokens> tokens_;
};

}  // namespace

std::vector<bool> groups_read(const config::RunConfig& config, label::GroupFile& groups, const data::TokenStore* store) {
  const Phase1 phase1(config, store);
  std::vector<bool> read(groups.entries().size(), false);
  std::map<std::int32_t, std::vector<std::pair<std::uint64_t, std::size_t>>> validation;  // by category, in the order of a draw
  for (std::size_t i = 0; i < read.size(); ++i) {
    const label::GroupFile::Entry& entry = groups.entries()[i];
    if (entry.split == preference::Split::train) read[i] = phase1.has(groups.read(i));
    if (entry.split == preference::Split::validation)
      validation[entry.category].emplace_back(mix64(stable_hash(entry.id) ^ config.seed), i);
  }
  const std::int64_t most = config.experts.train.eval_groups_max;
  for (auto& [category, drawn] : validation) {
    std::ranges::sort(drawn);
    if (most > 0 && std::ssize(drawn) > most) drawn.resize(static_cast<std::size_t>(most));
    for (const auto& [draw, group] : drawn) read[group] = true;
  }
  return read;
}

}  // namespace dmoerm::run
