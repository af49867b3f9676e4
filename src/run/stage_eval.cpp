#include "run/stage_eval.h"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "base/files.h"
#include "nn/pairwise_loss.h"
#include "run/stage_router.h"
#include "run/task_settings.h"

namespace dmoerm::run {
namespace {

using nlohmann::json;

constexpr int kResultsSchema = 2;  // of results.json; 2: the likeliest category of each route

/// Pairs ordered rightly, for each group.
std::vector<double> right_pairs(const std::vector<float>& rewards, const std::vector<std::size_t>& first,
                                const std::vector<train::LabelledGroup>& groups) {
  std::vector<double> right;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    right.push_back(
        nn::pairs_right(std::span<const float>(rewards.data() + first[i], groups[i].responses.size()), groups[i].pairs));
  }
  return right;
}

std::vector<double> right_pairs(const at::Tensor& rewards_N, const std::vector<train::LabelledGroup>& groups) {
  const at::Tensor local = rewards_N.contiguous();
  std::vector<std::size_t> first;
  std::size_t total = 0;
  for (const train::LabelledGroup& g : groups) {
    first.push_back(total);
    total += g.responses.size();
  }
  return right_pairs(std::vector<float>(local.const_data_ptr<float>(), local.const_data_ptr<float>() + local.numel()), first,
                     groups);
}

std::vector<train::LabelledGroup> pick(const std::vector<train::LabelledGroup>& groups, const std::vector<std::size_t>& indices) {
  std::vector<train::LabelledGroup> picked;
  for (const std::size_t i : indices) picked.push_back(groups[i]);
  return picked;
}

moe::Aggregator load_aggregator(const RunContext& context, std::int32_t category, const std::string& kind) {
  const std::string task = "aggregator/" + context.category(category).name;
  const std::string file = kind == "chosen" ? context.directory().metrics(task).at("chosen").get<std::string>() : kind;
  return moe::Aggregator::load(context.directory().task(task) / (file + ".safetensors"));
}

/// Accuracy of each expert on its own point's test labels.
json point_figures(RunContext& context, std::int32_t category, comm::Communicator& group) {
  json points = json::object();
  const config::CategoryConfig& c = context.category(category);
  const LoadedModel base = context.load_model("base/" + c.name);
  const auto experts = context.load_experts(category);
  for (std::size_t k = 0; k < experts.size(); ++k) {
    const auto groups = train::labelled_groups(context.store(), category, train::Part::test, c.points[k], context.config());
    const train::GroupRewards scored = train::score_groups(context.store(), context.frozen(base, *experts[k]), groups,
                                                           context.config().compute.micro_batch_tokens, false, group);
    json pairs = json::array();
    for (const train::LabelledGroup& g : groups) pairs.push_back(g.pairs.size());
    points[c.points[k]] = {{"pairs", pairs}, {"right", right_pairs(scored.rewards, scored.first, groups)}};
  }
  return points;
}

}  // namespace

json eval_settings(const config::RunConfig& config) {
  return {{"categories", all_categories(config)}, {"baselines", config.baselines}, {"results", kResultsSchema}};
}

void run_eval(RunContext& context, const std::string& task, std::int32_t category, const TaskIdentity& identity,
              comm::Communicator& group) {
  const std::string& name = context.category(category).name;
  const std::vector<train::LabelledGroup> groups =
      train::labelled_groups(context.store(), category, train::Part::test, preference::kOverall, context.config());
  const std::int64_t tokens = context.config().compute.micro_batch_tokens;
  json models;
  const auto add_base = [&](const char* label, const std::string& source) {
    const train::GroupRewards scored =
        train::score_groups(context.store(), context.frozen(context.load_model(source)), groups, tokens, false, group);
    models[label] = right_pairs(scored.rewards, scored.first, groups);
  };
  add_base("single", "single");
  if (context.config().baselines) add_base("category", "category/" + name);
  add_base("base", "base/" + name);
  const moe::ExpertFeatures own = expert_features(context, category, groups, group);
  for (const char* kind : {"mean", "linear", "mlp", "chosen"}) {
    models[std::string(kind) == "chosen" ? "oracle_route" : kind] =
        right_pairs(load_aggregator(context, category, kind).forward(own.states_NKH, own.rewards_NK), groups);
  }

  // DMoERM end to end: the router chooses; below its threshold the single model scores.
  const auto router = moe::CategoryRouter::load(context.directory().task("router"));
  std::vector<std::int64_t> indices;
  for (const train::LabelledGroup& g : groups) indices.push_back(g.group);
  const at::Tensor pooled_ND = pooled_prompts(context, indices);
  std::map<std::int32_t, std::vector<std::size_t>> by_route;
  json routes = json::array();
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const moe::Route route = router.route(pooled_ND[static_cast<std::int64_t>(i)]);
    by_route[route.category].push_back(i);
    routes.push_back({{"category", route.category < 0 ? "" : router.categories()[static_cast<std::size_t>(route.category)]},
                      {"likeliest", router.categories()[static_cast<std::size_t>(route.likeliest)]},
                      {"confidence", route.confidence}});
  }
  std::vector<double> routed(groups.size());
  for (const auto& [target, members] : by_route) {
    std::vector<double> right;
    if (target == category || target < 0) {
      for (const std::size_t i : members) right.push_back(models[target < 0 ? "single" : "oracle_route"][i].get<double>());
    } else {
      const std::vector<train::LabelledGroup> picked = pick(groups, members);
      const moe::ExpertFeatures features = expert_features(context, target, picked, group);
      right = right_pairs(load_aggregator(context, target, "chosen").forward(features.states_NKH, features.rewards_NK), picked);
    }
    for (std::size_t m = 0; m < members.size(); ++m) routed[members[m]] = right[m];
  }
  models["dmoerm"] = routed;
  const json points = point_figures(context, category, group);
  if (group.rank() != 0) return;
  json ids = json::array(), pairs = json::array();
  for (const train::LabelledGroup& g : groups) {
    ids.push_back(std::string(context.store().group(g.group).id));
    pairs.push_back(g.pairs.size());
  }
  std::filesystem::create_directories(context.directory().task(task));
  write_json_atomically(
      context.directory().task(task) / "results.json",
      {{"category", name}, {"ids", ids}, {"pairs", pairs}, {"right", models}, {"routes", routes}, {"points", points}});
  context.directory().complete(task, identity, {"results.json"}, json::object());
}

}  // namespace dmoerm::run
