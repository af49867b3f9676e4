#include "eval/scorers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "eval/ensemble.h"
#include "eval/given_scores.h"
#include "eval/judge_scores.h"
#include "eval/reward_scorers.h"
#include "eval/server_address.h"
#include "eval/server_scores.h"

namespace dmoerm::eval {
namespace {

ModelScores length_scores(const std::string& name, const Data& data) {
  ModelScores model{name, "length in characters", {}, {}};
  for (const Item& item : data.items) {
    ItemScores& own = model.items.emplace_back();
    for (const std::string& text : item.responses) own.scores.push_back(static_cast<double>(utf8_characters(text)));
  }
  return model;
}

/// Scores that stand in the data: of a point, or of one rater.
ModelScores field_scores(const std::string& name, const std::string& key, const Data& data) {
  ModelScores model{.name = name, .source = "field " + key + " of the data", .tokens_unknown = "scores say nothing of tokens"};
  for (const Item& item : data.items) {
    const auto found = item.scores.find(key);
    const bool complete =
        found != item.scores.end() && std::ranges::none_of(found->second, [](double s) { return std::isnan(s); });
    if (!complete)
      throw DataError("item-without-scores",
                      fmt::format("{}:{}: not every response of {} has a number \"{}\"", item.file, item.line, item.id, key));
    model.items.push_back({.scores = found->second});
  }
  return model;
}

/// A directory with each of the weights that are asked for.
std::vector<ModelSpec> with_weights(const ModelSpec& spec, const std::vector<nn::BaseWeights>& all) {
  std::vector<ModelSpec> specs;
  for (const nn::BaseWeights weights : all)
    specs.push_back({spec.name + (all.size() > 1 && weights == nn::BaseWeights::int8 ? ":int8" : ""), spec.what, weights});
  return specs;
}

/// The scores of all servers, by the model's name. They are asked before anything is computed, which a mistyped address or a
/// server that is down would lose.
std::map<std::string, ModelScores> ask_servers(const std::vector<ModelSpec>& specs, const Data& data,
                                               const ScoringOptions& options, const OnScored& on_scored) {
  std::map<std::string, ModelScores> scores;
  const auto is_server = [](const ModelSpec& spec) { return spec.what.starts_with(kServer); };
  for (const ModelSpec& spec : specs) {
    if (is_server(spec)) check_server(spec, options);
  }
  for (const ModelSpec& spec : specs) {
    if (is_server(spec)) scores[spec.name] = server_scores(spec, data, options, on_scored);
  }
  return scores;
}

OptionsUsed options_of(const ModelSpec& spec) {
  const std::string& what = spec.what;
  if (what.starts_with(kServer))
    return {.chat_template = parse_server(what.substr(kServer.size())).protocol != ServerProtocol::reward};
  const auto begins = [&](std::string_view start) { return what.starts_with(start); };
  if (what == "length" || is_ensemble(what) || begins(kGivenScores) || begins(kFieldScores) || begins(kJudges)) return {};
  return options_used_by(what);
}

/// Refuse options that no model uses: the call means other models than it names.
void expect_options_used(const std::vector<ModelSpec>& specs, const ScoringOptions& options) {
  OptionsUsed used;
  for (const ModelSpec& spec : specs) used |= options_of(spec);
  const auto refuse = [](const std::string& option, const char* who) {
    throw ConfigError(
        "option-not-used",
        fmt::format("{}: none of the models uses it; {}. Leave it out, or name such a model with --model", option, who));
  };
  if (!options.adapter_base.empty() && !used.base)
    refuse("--base " + options.adapter_base, "it is for PEFT adapters that are not part of a bundle or run");
  if (!options.chat_template.empty() && !used.chat_template)
    refuse("--template " + options.chat_template,
           "it is for reward models that are not part of a bundle or run, and for servers that take texts");
  if (options.parts && !used.bundle) refuse("--parts", "it is for bundles");
  if (options.ablations && !used.bundle) refuse("--ablations", "it is for bundles");
}

/// Refuse models that a reader of the tables could not tell apart, and scores that have no order.
void check(const std::vector<ModelScores>& models, const Data& data) {
  std::set<std::string> names;
  for (const ModelScores& model : models) {
    if (!names.insert(model.name).second)
      throw ConfigError("model-named-twice",
                        fmt::format("two models have the name {}: give NAME=WHAT with another name", model.name));
    for (std::size_t i = 0; i < model.items.size(); ++i) {
      if (std::ranges::all_of(model.items[i].scores, [](double s) { return std::isfinite(s); })) continue;
      throw NumericError("score-not-finite", fmt::format("{}:{}: {} gives a response a score that is not a number",
                                                         data.items[i].file, data.items[i].line, model.name));
    }
  }
}

}  // namespace

std::vector<ModelScores> score_all(const std::vector<ModelSpec>& specs, const Data& data, const ScoringOptions& options,
                                   const OnScored& on_scored) {
  std::set<std::string> names;
  for (const ModelSpec& spec : specs) {
    if (!names.insert(spec.name).second)
      throw ConfigError("model-named-twice",
                        fmt::format("two models have the name {}: give NAME=WHAT with another name", spec.name));
  }
  expect_options_used(specs, options);
  for (const ModelSpec& spec : specs) {
    if (options.ablations && options_of(spec).bundle) expect_ablations(spec.what);
  }
  std::vector<ModelScores> models;
  std::map<std::string, ModelScores> of_servers = ask_servers(specs, data, options, on_scored);
  for (const ModelSpec& spec : specs) {
    if (spec.what == "length") {
      models.push_back(length_scores(spec.name, data));
    } else if (spec.what.starts_with(kGivenScores)) {
      models.push_back(given_scores(spec.name, spec.what.substr(kGivenScores.size()), data));
    } else if (spec.what.starts_with(kServer)) {
      models.push_back(std::move(of_servers.at(spec.name)));
    } else if (spec.what.starts_with(kFieldScores)) {
      models.push_back(field_scores(spec.name, spec.what.substr(kFieldScores.size()), data));
    } else if (spec.what.starts_with(kJudges)) {
      models.push_back(judge_scores(spec.name, spec.what.substr(kJudges.size()), data, on_scored));
    } else if (is_ensemble(spec.what)) {
      models.push_back(ensemble(spec.name, spec.what, models));
    } else {
      for (const ModelSpec& own : with_weights(spec, options.weights)) {
        for (ModelScores& part : score_directory(own, data, options, on_scored)) models.push_back(std::move(part));
      }
    }
  }
  check(models, data);  // again: a bundle may have been scored with parts or ablations, whose names are made here
  return models;
}

}  // namespace dmoerm::eval
