#include "run/stage_eval.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/json_text.h"
#include "base/stop.h"
#include "nn/pairwise_loss.h"
#include "run/task_parts.h"
#include "run/task_settings.h"

namespace dmoerm::run {
namespace {

using nlohmann::json;

// Schema of results.json. 3: computed by the scorer that users call; 4: with prompts; 5: distances; 6: all kinds of aggregators;
// 7: scores.json beside it; 8: with all aggregators but the ensembles.
constexpr int kResultsSchema = 8;
constexpr const char* kPart = "scores";
constexpr int kRanksKept = 64;  // ranks whose own parts are looked for
constexpr const char* kKinds[] = {"mean", "stack", "gate", "mlp", "paper_mlp", "wco", "uwo"};
/// Models whose scores scores.json has, besides the experts.
constexpr const char* kKeptScores[] = {"dmoerm", "oracle_route", "single", "category", "pooled",   "base",
                                       "mean",   "stack",        "gate",   "mlp",      "paper_mlp"};

std::vector<float> floats_of(const at::Tensor& rewards_N) {
  const at::Tensor local = rewards_N.to(at::kFloat).contiguous();
  return {local.const_data_ptr<float>(), local.const_data_ptr<float>() + local.numel()};
}

/// Scores a category's test groups, which the ranks share out.
class Evaluation {
 public:
  /// @param parts  where the ranks keep what is scored: the first one that of all, and each its own while it scores
  Evaluation(RunContext& context, std::int32_t category, comm::Communicator& ranks, TaskParts& parts)
      : context_(context), category_(category), ranks_(ranks), parts_(parts), overall_(labelled(preference::kOverall)) {
    std::set<std::int64_t> indices;
    for (const train::LabelledGroup& g : overall_) indices.insert(g.group);
    for (const std::string& point : context_.category(category).points) {
      points_.push_back(labelled(point));
      for (const train::LabelledGroup& g : points_.back()) indices.insert(g.group);
    }
    std::int64_t number = 0;
    for (const std::int64_t index : indices) {
      if (number++ % ranks_.size() == ranks_.rank()) own_[index] = moe::texts_of(context_.store().group(index));
    }
    take_kept();
  }

  /// The content of results.json, on every rank.
  json results() {
    const std::string& name = context_.category(category_).name;
    score_with_the_whole_model();
    for (const auto& [column, task] : models_alone()) {
      keep_all();
      score_with(column, task);
      if (column == "single") use_where_unsure(column);
    }
    gather();
    json ids = json::array(), right = json::object(), routes = json::array(), points = json::object();
    for (const train::LabelledGroup& g : overall_) {
      ids.push_back(std::string(context_.store().group(g.group).id));
      routes.push_back(routes_.at(g.group));
    }
    for (const std::string& model : models_) right[model] = right_pairs(model, overall_);
    const std::vector<std::string>& names = context_.category(category_).points;
    for (std::size_t p = 0; p < names.size(); ++p)
      points[names[p]] = {{"pairs", pair_counts(points_[p])},
                          {"right", right_pairs("point/" + names[p], points_[p])},
                          {"prompts", train::prompt_numbers(context_.store(), points_[p])}};
    return {{"category", name},
            {"ids", ids},
            {"prompts", train::prompt_numbers(context_.store(), overall_)},
            {"pairs", pair_counts(overall_)},
            {"right", right},
            {"routes", routes},
            {"points", points}};
  }

  /// The content of scores.json, on every rank, after results(): of each test group its id, the number of its prompt, the tokens
  /// of its responses, its pairs by label, and the scores of the models and experts.
  [[nodiscard]] json scores() const {
    std::map<std::int64_t, json> groups;
    std::vector<train::LabelledGroup> whole;
    for (const auto& [index, rewards] : rewards_) {
      const data::TokenGroup group = context_.store().group(index);
      json lengths = json::array(), own = json::object();
      for (const auto& tokens : group.responses) lengths.push_back(tokens.size());
      for (const auto& [model, values] : rewards) {
        if (model.starts_with("point/") || std::ranges::find(kKeptScores, model) != std::end(kKeptScores)) own[model] = values;
      }
      groups[index] = {{"id", std::string(group.id)}, {"lengths", lengths}, {"scores", own}, {"pairs", json::object()}};
      whole.push_back({.group = index, .responses = {}, .pairs = {}});
    }
    const std::vector<std::string>& names = context_.category(category_).points;
    add_pairs(groups, "overall", overall_);
    for (std::size_t p = 0; p < names.size(); ++p) add_pairs(groups, "point/" + names[p], points_[p]);
    const std::vector<std::int64_t> prompts = train::prompt_numbers(context_.store(), whole);
    json list = json::array();
    for (auto& [index, group] : groups) {
      group["prompt"] = prompts[list.size()];
      list.push_back(std::move(group));
    }
    return {{"schema", 1}, {"category", context_.category(category_).name}, {"points", names}, {"groups", list}};
  }

 private:
  /// The pairs of a label as [better, worse], places among the group's responses.
  static void add_pairs(std::map<std::int64_t, json>& groups, const std::string& label,
                        const std::vector<train::LabelledGroup>& labelled) {
    for (const train::LabelledGroup& g : labelled) {
      json pairs = json::array();
      for (const preference::Preference& p : g.pairs)
        pairs.push_back({g.responses[static_cast<std::size_t>(p.winner)], g.responses[static_cast<std::size_t>(p.loser)]});
      groups.at(g.group)["pairs"][label] = std::move(pairs);
    }
  }

  [[nodiscard]] std::vector<train::LabelledGroup> labelled(std::string_view label) const {
    return train::labelled_groups(context_.store(), category_, train::Subset::test, label, context_.config());
  }

  /// Score with the double-layer model and its own routing, and with the parts of it that the report shows separately. Categories
  /// that have backbones of their own are loaded one after the other, because memory may not hold all of them. What a category's
  /// model says of a prompt of another category, or of one whose rewards are mixed, stands in a column of its own until then.
  void score_with_the_whole_model() {
    std::vector<std::string> all;
    for (const config::CategoryConfig& c : context_.config().categories) all.push_back(c.name);
    const bool apart = backbones_apart();
    const std::string& own = context_.category(category_).name;
    const std::map<std::string, std::vector<std::int64_t>> routed =
        route(*context_.assemble_model(apart ? std::vector{own} : all));
    std::map<std::string, moe::ScoreStats> stats;
    for (const std::string& name : all) {
      const auto found = routed.find(name);
      if (found == routed.end() && name != own) continue;
      const std::shared_ptr<const moe::Model> model = context_.assemble_model(apart ? std::vector{name} : all);
      stats[name] = model->category(name).stats;
      if (name == own) score_with_parts(*model, model->category(own));
      if (found == routed.end()) continue;
      for (const std::int64_t index : found->second) {
        if (stop_requested()) return;
        if (rewards_[index].contains("dmoerm") || rewards_[index].contains("in/" + name)) continue;
        std::vector<float>& rewards = rewards_[index]["in/" + name];
        if (name == own) {  // the aggregator has made these rewards of the same experts
          rewards = rewards_[index].at("oracle_route");
          continue;
        }
        for (const moe::Score& score : model->scores_in(name, own_.at(index)))
          rewards.push_back(static_cast<float>(score.reward));
      }
    }
    if (stop_requested()) return;  // routes that an earlier start kept may have no rewards yet
    for (const auto& [index, route] : routes_) mix(rewards_[index], route, stats);
    context_.release_models();
    models_.insert({"dmoerm", "oracle_route"});
    models_.insert(std::begin(kKinds), std::end(kKinds));
  }

  /// The rewards of the model that stands in for the double-layer model where the router is not sure.
  void use_where_unsure(const std::string& model) {
    for (const auto& [index, route] : routes_) {
      std::map<std::string, std::vector<float>>& rewards = rewards_[index];
      if (route.at("category") == "" && rewards.contains(model)) rewards["dmoerm"] = rewards.at(model);
    }
  }

  /// The models that stand alone, by their columns in the results.
  [[nodiscard]] std::vector<std::pair<std::string, plan::TaskId>> models_alone() const {
    const std::string& name = context_.category(category_).name;
    std::vector<std::pair<std::string, plan::TaskId>> models{{"single", plan::TaskId::single()}};
    if (context_.config().baselines) models.emplace_back("category", plan::TaskId::category_baseline(name));
    if (context_.config().pooled_baseline) models.emplace_back("pooled", plan::TaskId::pooled_baseline(name));
    models.emplace_back("base", plan::TaskId::base(name));
    return models;
  }

  /// Make the reward of the double-layer model of what the categories of its route say.
  static void mix(std::map<std::string, std::vector<float>>& rewards, const json& route,
                  const std::map<std::string, moe::ScoreStats>& stats) {
    const std::string name = route.at("category"), second = route.value("second", "");
    if (name.empty() || rewards.contains("dmoerm")) return;
    std::vector<float> mixed = std::move(rewards.at("in/" + name));
    const double share = route.value("second_share", 0.0);
    for (std::size_t i = 0; i < mixed.size() && !second.empty(); ++i)
      mixed[i] = static_cast<float>((1 - share) * mixed[i] +
                                    share * moe::at_scale_of(stats.at(name), rewards.at("in/" + second)[i], stats.at(second)));
    rewards.erase("in/" + name);
    rewards.erase("in/" + second);
    rewards["dmoerm"] = std::move(mixed);
  }

  /// Whether each model of phase 1 has a backbone of its own.
  [[nodiscard]] bool backbones_apart() const { return context_.config().base.tuning == config::Tuning::full; }

  /// Groups of this rank by the category that the router picks, or by both that it mixes; "" if it is unsure.
  std::map<std::string, std::vector<std::int64_t>> route(const moe::Model& model) {
    limits_ = model.limits;
    const auto name_of = [&](std::int32_t category) {
      return category < 0 ? std::string() : model.router.categories()[static_cast<std::size_t>(category)];
    };
    std::map<std::string, std::vector<std::int64_t>> routed;
    for (const auto& [index, texts] : own_) {
      if (stop_requested()) break;
      if (!routes_.contains(index)) {
        const moe::Route route = model.route(texts.prompt);
        routes_[index] = {{"category", name_of(route.category)},
                          {"likeliest", name_of(route.likeliest)},
                          {"confidence", route.confidence},
                          {"distance", route.distance}};
        if (route.second >= 0) routes_[index].update({{"second", name_of(route.second)}, {"second_share", route.second_share}});
      }
      const json& route = routes_.at(index);
      routed[route.at("category")].push_back(index);
      if (route.contains("second")) routed[route["second"]].push_back(index);
    }
    return routed;
  }

  /// Score with each expert of the category, and with each kind of aggregator over them. The models that stand alone share the
  /// experts' pass where all are adapters over one backbone; else score_with() loads them one by one.
  void score_with_parts(const moe::Model& model, const moe::Category& own) {
    std::map<std::string, moe::Aggregator> aggregators;
    for (const char* kind : kKinds) {
      aggregators.emplace(kind, moe::Aggregator::load(context_.directory().task(plan::TaskId::aggregator(own.name)) /
                                                      (std::string(kind) + ".safetensors")));
    }
    std::vector<std::string> columns;
    std::vector<nn::RewardModel> alone;
    const bool some_to_do = std::ranges::any_of(own_, [&](const auto& g) { return !rewards_[g.first].contains("oracle_route"); });
    if (some_to_do && !backbones_apart()) {
      for (const auto& [column, task] : models_alone()) {
        if (column == "base" && own.has_base()) continue;  // it is one of the parts
        columns.push_back(column);
        alone.push_back(context_.load_beside(task));
      }
    }
    std::vector<const nn::RewardModel*> others;
    for (const nn::RewardModel& m : alone) others.push_back(&m);
    for (const auto& [index, texts] : own_) {
      if (stop_requested()) return;
      if (rewards_[index].contains("oracle_route")) continue;
      const auto [features, others_NM] = model.experts(own, texts, others);
      for (std::size_t m = 0; m < columns.size(); ++m)
        rewards_[index][columns[m]] = floats_of(others_NM.select(1, static_cast<std::int64_t>(m)));
      rewards_[index]["oracle_route"] = floats_of(model.aggregate(own, features));
      for (const auto& [kind, aggregator] : aggregators) rewards_[index][kind] = floats_of(aggregator.rewards(features));
      if (features.base_N.defined()) rewards_[index]["base"] = floats_of(features.base_N);
      for (std::size_t p = 0; p < own.points.size(); ++p)
        rewards_[index]["point/" + own.points[p]] = floats_of(features.rewards_NK.select(1, static_cast<std::int64_t>(p)));
      if (parts_.due()) keep(own_part(ranks_.rank()), own_results());
    }
  }

  /// Score with a model that stands alone: the single model, or the category's base or a baseline.
  void score_with(const std::string& column, const plan::TaskId& task) {
    models_.insert(column);
    std::optional<nn::RewardModel> model;
    for (const auto& [index, texts] : own_) {
      if (stop_requested()) return;
      if (rewards_[index].contains(column)) continue;
      if (!model) model = context_.load_model(task);
      rewards_[index][column] = floats_of(moe::rewards_of(*model, texts, limits_));
    }
  }

  /// Give every rank the results of all ranks. A signal to one of them ends the evaluation of all, after they are kept.
  void gather() {
    const bool stops = comm::largest_of(ranks_, stop_requested() ? 1 : 0) > 0;
    if (stops) keep_all();
    if (stops) throw Stopped("stopped-in-evaluation", "the evaluation was interrupted");
    const std::vector<std::uint8_t> own = own_results();
    for (const auto& bytes : ranks_.all_gather(std::as_bytes(std::span(own)))) take(bytes);
  }

  /// What this rank has scored, as CBOR, which is exact for every number: [[group, {model: rewards}, route or null], ...].
  [[nodiscard]] std::vector<std::uint8_t> own_results() const {
    json own = json::array();
    for (const auto& [index, texts] : own_) {
      const auto rewards = rewards_.find(index);
      const auto route = routes_.find(index);
      if (rewards == rewards_.end() && route == routes_.end()) continue;
      own.push_back({index, rewards == rewards_.end() ? json::object() : json(rewards->second),
                     route == routes_.end() ? json() : route->second});
    }
    return json::to_cbor(own);
  }

  void take(std::span<const std::byte> bytes) {
    const auto* begin = reinterpret_cast<const std::uint8_t*>(bytes.data());
    for (const json& group : json::from_cbor(begin, begin + bytes.size())) {
      rewards_[group.at(0)].merge(group.at(1).get<std::map<std::string, std::vector<float>>>());
      if (!group.at(2).is_null()) routes_[group.at(0)] = group.at(2);
    }
  }

  static std::string own_part(int rank) { return fmt::format("{}-{}", kPart, rank); }

  void keep(const std::string& part, std::vector<std::uint8_t> bytes) {
    parts_.keep(part, {{"cbor", at::from_blob(bytes.data(), {std::ssize(bytes)}, at::kByte)}});
  }

  /// Keep what all ranks have scored so far, for the case that the task is broken off. Collective.
  void keep_all() {
    json all = json::array();
    const std::vector<std::uint8_t> own = own_results();
    for (const auto& bytes : ranks_.all_gather(std::as_bytes(std::span(own)))) {
      const auto* begin = reinterpret_cast<const std::uint8_t*>(bytes.data());
      for (json& group : json::from_cbor(begin, begin + bytes.size())) all.push_back(std::move(group));
    }
    if (ranks_.rank() != 0) return;
    keep(kPart, json::to_cbor(all));
  }

  /// Every rank takes over what was kept of its groups, by however many ranks. Collective.
  void take_kept() {
    json all = json::array();
    const auto add = [&](const std::string& part) {
      const auto kept = parts_.load(part);
      if (!kept || kept->empty()) return;
      const auto* begin = static_cast<const std::uint8_t*>(kept->front().second.const_data_ptr());
      for (json& group : json::from_cbor(begin, begin + kept->front().second.nbytes())) all.push_back(std::move(group));
    };
    if (ranks_.rank() == 0) {
      add(kPart);
      for (int rank = 0; rank < kRanksKept; ++rank) add(own_part(rank));
    }
    const std::vector<std::uint8_t> bytes = json::to_cbor(all);
    take(ranks_.all_gather(std::as_bytes(std::span(bytes))).front());
    std::erase_if(rewards_, [&](const auto& group) { return !own_.contains(group.first); });
    std::erase_if(routes_, [&](const auto& group) { return !own_.contains(group.first); });
  }

  /// Number of pairs that a model orders correctly in each labelled group.
  [[nodiscard]] json right_pairs(const std::string& model, const std::vector<train::LabelledGroup>& groups) const {
    json right = json::array();
    for (const train::LabelledGroup& g : groups) {
      const std::vector<float>& all = rewards_.at(g.group).at(model);
      std::vector<float> own;  // rewards of the responses in pairs
      for (const std::int32_t r : g.responses) own.push_back(all[static_cast<std::size_t>(r)]);
      right.push_back(nn::pairs_right(own, g.pairs));
    }
    return right;
  }
  [[nodiscard]] static json pair_counts(const std::vector<train::LabelledGroup>& groups) {
    json pairs = json::array();
    for (const train::LabelledGroup& g : groups) pairs.push_back(g.pairs.size());
    return pairs;
  }

  RunContext& context_;
  std::int32_t category_;
  comm::Communicator& ranks_;
  TaskParts& parts_;
  std::vector<train::LabelledGroup> overall_;
  std::vector<std::vector<train::LabelledGroup>> points_;                      ///< Labelled groups of each point
  std::map<std::int64_t, moe::TokenTexts> own_;                                ///< Texts of this rank's groups
  std::map<std::int64_t, std::map<std::string, std::vector<float>>> rewards_;  ///< Group -> model -> rewards of its responses
  std::map<std::int64_t, json> routes_;
  std::set<std::string> models_;
  moe::ScoringLimits limits_;
};

}  // namespace

json eval_settings(const config::RunConfig& config) {
  json settings{{"categories", all_categories(config)}, {"baselines", config.baselines}, {"results", kResultsSchema}};
  if (config.pooled_baseline) settings["pooled_baseline"] = true;
  return settings;
}

void run_eval(RunContext& context, const plan::TaskId& task, const TaskIdentity& identity, comm::Communicator& ranks) {
  TaskParts parts(context.directory().task(task), identity.key());
  Evaluation evaluation(context, context.category_index(task), ranks, parts);
  const json results = evaluation.results();
  if (ranks.rank() != 0) return;
  std::filesystem::create_directories(context.directory().task(task));
  write_json_atomically(context.directory().task(task) / "results.json", results);
  write_file_atomically(context.directory().task(task) / "scores.json", json_line(evaluation.scores()) + "\n");
  context.directory().complete(task, identity, {"results.json", "scores.json"}, json::object());
  TaskParts::remove(context.directory().task(task));
}

}  // namespace dmoerm::run
