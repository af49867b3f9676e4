// The graph: which tasks a configuration makes of a token store, what each depends on, and what it costs.
#include <fmt/format.h>

#include "base/error.h"
#include "config/identity.h"
#include "nn/backbone_spec.h"
#include "plan/job.h"
#include "run/check_labels.h"
#include "run/pipeline.h"
#include "run/tasks.h"
#include "train/training_steps.h"

namespace dmoerm::run {
namespace {

using nlohmann::json;

// Versions of rules that decide results but are not settings. A changed rule gets a new word, so that what the old rule made is
// done again.
constexpr const char* kSplitRuleVersion = "by prompt";  ///< divides the train groups between phase 1 and the aggregator
constexpr const char* kAggregatorChoiceVersion = "held out, by a standard error";  ///< chooses for the kind `best`

/// The settings of a section that change a task's bits.
template <class Section>
json settings_of(const Section& section) {
  return config::settings_that_affect(section, config::Affects::result);
}

plan::GroupSizes sizes_of(const data::TokenStore& store, const std::vector<train::LabelledGroup>& groups) {
  plan::GroupSizes sizes{static_cast<double>(groups.size()), 0, 0};
  for (const train::LabelledGroup& g : groups) {
    sizes.tokens += static_cast<double>(data::packed_tokens(store.group(g.group), g.responses, true)) / sizes.groups;
    sizes.plain_tokens += static_cast<double>(data::packed_tokens(store.group(g.group), g.responses, false)) / sizes.groups;
  }
  return sizes;
}

/// Steps of phase 1 that visit as many groups as `expert_steps` of phase 2, rounded up.
std::int64_t budget_steps(const config::RunConfig& config, std::int64_t expert_steps) {
  const std::int64_t groups = expert_steps * config.experts.train.groups_per_step, step = config.base.groups_per_step;
  return (groups + step - 1) / step;
}

class Planner {
 public:
  Planner(const config::RunConfig& config, const data::TokenStore& store, const ComputedOn& on, const LabelPlan& labels)
      : config_(config), store_(store), labels_(labels) {
    json backbone = settings_of(config.backbone);
    backbone["digest"] = on.backbone;
    json compute = settings_of(config.compute);
    compute["device"] = on.device;
    common_ = {{"seed", config.seed},  {"data", store.digest()}, {"split_rule", kSplitRuleVersion},
               {"backbone", backbone}, {"compute", compute},     {"cluster", settings_of(config.cluster)}};
  }

  std::vector<RunTask> plan() {
    for (const auto& [id, identity] : labels_) {
      RunTask task;
      task.node.id = id, task.node.elsewhere = true;
      task.identity = identity;
      keys_[id] = identity.key();
      tasks_.push_back(std::move(task));
    }
    plan::GroupSizes prompts = sizes(-1, train::Part::train);
    prompts.tokens /= 2, prompts.plain_tokens = prompts.tokens;  // about half of a group is its prompt
    add("router", {}, "backbone", {{"router", settings_of(config_.router)}}, plan::reading_load(config_.base, prompts, 1), 1,
        [](RunContext& c, const TaskIdentity& id, comm::Communicator& g) { run_router(c, id, g); });
    std::int64_t all_steps = 0;
    for (std::int32_t i = 0; i < count(); ++i) all_steps += add_category(i);
    add_model("single", -1, train::Part::train, all_steps);
    std::vector<std::string> evals;
    for (std::int32_t i = 0; i < count(); ++i) evals.push_back(add_eval(i));
    plan::Load report;
    report.seconds = 0.1;
    add("report", evals, "", {{"categories", all_categories()}}, report, 1,
        [](RunContext& c, const TaskIdentity& id, comm::Communicator& g) { run_report(c, "report", id, g); });
    plan::wait_for_what_is_read(tasks_.back().node, earlier());
    return std::move(tasks_);
  }

 private:
  using Body = std::function<void(RunContext&, const TaskIdentity&, comm::Communicator&)>;

  [[nodiscard]] std::int32_t count() const { return static_cast<std::int32_t>(config_.categories.size()); }
  [[nodiscard]] std::int32_t index_of(const std::string& name) const {
    return static_cast<std::int32_t>(std::ranges::find(store_.categories(), name) - store_.categories().begin());
  }
  [[nodiscard]] plan::GroupSizes sizes(std::int32_t category, train::Part part) const {
    return sizes_of(store_, train::labelled_groups(store_, category, part, preference::kOverall, config_));
  }
  [[nodiscard]] json all_categories() const {
    json all = json::array();
    for (const config::CategoryConfig& c : config_.categories) all.push_back(settings_of(c));
    return all;
  }

  /// @param base  names the weights that its ranks load
  void add(const std::string& id, const std::vector<std::string>& inputs, const std::string& base, json settings,
           const plan::Load& load, int ranks_max, Body body) {
    RunTask task;
    task.node.id = id, task.node.inputs = inputs, task.node.base = base, task.node.ranks_max = ranks_max;
    task.load = load;
    settings.update(common_);
    settings["task"] = id;
    task.identity.settings = std::move(settings);
    for (const std::string& input : inputs) task.identity.inputs[input] = keys_.at(input);
    keys_[id] = task.identity.key();
    task.run = std::move(body);
    tasks_.push_back(std::move(task));
  }

  /// A phase-1 model on overall labels. @param steps_max  0: as configured
  std::int64_t add_model(const std::string& id, std::int32_t category, train::Part part, std::int64_t steps_max) {
    const auto groups = train::labelled_groups(store_, category, part, preference::kOverall, config_);
    const std::int64_t steps = steps_max > 0 ? steps_max : train::total_steps(config_.base, store_, groups);
    const plan::Load load = plan::training_load(config_.base, config_.cluster, sizes_of(store_, groups),
                                                sizes(category, train::Part::validation), static_cast<double>(steps), 1);
    json margins = all_categories();
    add(id, {}, "backbone",
        {{"train", settings_of(config_.base)}, {"steps", steps}, {"phase1_share", config_.phase1_share}, {"categories", margins}},
        load, kRanksMax, [id, category, part, steps_max](RunContext& c, const TaskIdentity& identity, comm::Communicator& g) {
          run_base(c, id, category, part, steps_max, identity, g);
        });
    return steps;
  }

  /// Base, experts, features, aggregator of a category, and its baseline. Returns the steps of phase 1 that visit as many groups
  /// as base and experts together: the baseline's budget.
  std::int64_t add_category(std::int32_t i) {
    const config::CategoryConfig& c = config_.categories[static_cast<std::size_t>(i)];
    const std::int32_t category = i;
    const std::int64_t base_steps = add_model("base/" + c.name, category, train::Part::base, 0);
    const std::string own_base = config_.base.tuning == config::Tuning::full ? "base/" + c.name : "backbone";
    std::int64_t expert_steps = 0;
    std::vector<std::string> experts;
    const auto per_task = static_cast<std::size_t>(config_.experts.per_task);
    for (std::size_t first = 0; first < c.points.size(); first += per_task) {
      const std::size_t points = std::min(per_task, c.points.size() - first);
      std::string id = fmt::format("expert/{}/", c.name);
      double steps_max = 0;
      plan::GroupSizes labelled;  // means over the points
      std::vector<std::string> inputs = {"base/" + c.name};
      json settings{
          {"train", settings_of(config_.experts.train)}, {"phase1_share", config_.phase1_share}, {"category", settings_of(c)}};
      for (std::size_t p = first; p < first + points; ++p) {
        id += (p > first ? "+" : "") + c.points[p];
        const std::string label = fmt::format("label/{}/{}", c.name, c.points[p]);
        const bool judged = labels_.contains(label);
        if (judged) {
          inputs.push_back(label);
          settings["labels"] = settings_of(config_.labels);
        }
        // How many groups the judges will label is not known yet: at most all, so the baselines' budget is not below the
        // experts'.
        const auto groups = judged ? train::whole_groups(store_, category, train::Part::base, config_)
                                   : train::labelled_groups(store_, category, train::Part::base, c.points[p], config_);
        const std::int64_t own = train::total_steps(config_.experts.train, store_, groups);
        expert_steps += own;
        const plan::GroupSizes point = sizes_of(store_, groups);
        const auto share = 1.0 / static_cast<double>(points);
        labelled.groups += share * point.groups, labelled.tokens += share * point.tokens;
        labelled.plain_tokens += share * point.plain_tokens, steps_max += share * static_cast<double>(own);
      }
      experts.push_back(id);
      const plan::Load load = plan::training_load(config_.experts.train, config_.cluster, labelled,
                                                  sizes(category, train::Part::validation), steps_max, static_cast<int>(points));
      add(id, inputs, own_base, std::move(settings), load, kRanksMax,
          [id, category, first, points](RunContext& run, const TaskIdentity& identity, comm::Communicator& g) {
            run_experts(run, id, category, first, points, identity, g);
          });
    }
    const auto k = static_cast<int>(c.points.size());
    plan::GroupSizes read = sizes(category, train::Part::aggregator);
    read.groups += sizes(category, train::Part::validation).groups;
    const std::string features = "features/" + c.name, aggregator = "aggregator/" + c.name;
    add(features, experts, own_base, {{"phase1_share", config_.phase1_share}, {"category", settings_of(c)}},
        plan::reading_load(config_.experts.train, read, k), kRanksMax,
        [features, category](RunContext& run, const TaskIdentity& identity, comm::Communicator& g) {
          run_features(run, features, category, identity, g);
        });
    json fit = settings_of(config_.aggregator);
    fit["choice_rule"] = kAggregatorChoiceVersion;
    add(aggregator, {features}, "", {{"aggregator", fit}}, plan::fitting_load(config_.aggregator, k), 1,
        [aggregator, category](RunContext& run, const TaskIdentity& identity, comm::Communicator& g) {
          run_aggregator(run, aggregator, category, identity, g);
        });
    const std::int64_t steps = base_steps + budget_steps(config_, expert_steps);
    if (config_.baselines) add_model("category/" + c.name, category, train::Part::train, steps);
    return steps;
  }

  /// Ids of all tasks but the last.
  [[nodiscard]] std::vector<std::string> earlier() const {
    std::vector<std::string> ids;
    for (std::size_t t = 0; t + 1 < tasks_.size(); ++t) ids.push_back(tasks_[t].node.id);
    return ids;
  }

  std::string add_eval(std::int32_t i) {
    const std::string& name = config_.categories[static_cast<std::size_t>(i)].name;
    std::string id = "eval/" + name;
    std::vector<std::string> inputs = {"router", "single", "base/" + name};
    for (const config::CategoryConfig& c : config_.categories)
      inputs.push_back("aggregator/" + c.name);  // a prompt may be routed to any of them
    if (config_.baselines) inputs.push_back("category/" + name);
    const auto models =
        static_cast<int>(config_.categories[static_cast<std::size_t>(i)].points.size()) + (config_.baselines ? 3 : 2);
    add(id, inputs, "backbone", {{"categories", all_categories()}, {"baselines", config_.baselines}, {"results", kResultsSchema}},
        plan::reading_load(config_.experts.train, sizes(i, train::Part::test), models), kRanksMax,
        [id, i](RunContext& c, const TaskIdentity& identity, comm::Communicator& g) { run_eval(c, id, i, identity, g); });
    plan::wait_for_what_is_read(tasks_.back().node, earlier());
    return id;
  }

  static constexpr int kRanksMax = 64;
  static constexpr int kResultsSchema = 2;  ///< of eval's results.json; 2: the likeliest category of each route
  const config::RunConfig& config_;
  const data::TokenStore& store_;
  const LabelPlan& labels_;
  json common_;
  std::map<std::string, std::string> keys_;
  std::vector<RunTask> tasks_;
};

}  // namespace

plan::ModelShape shape_of(const config::RunConfig& config) {
  nn::BackboneSpec spec = nn::read_backbone_spec(config.backbone.dir);
  if (config.backbone.layers > 0) spec.layers = std::min(spec.layers, config.backbone.layers);
  const auto number = [](std::int64_t n) { return static_cast<double>(n); };
  plan::ModelShape shape =
      plan::decoder_shape(config.backbone.dir, number(spec.vocab), number(spec.width), number(spec.intermediate),
                          number(spec.layers), number(spec.heads), number(spec.kv_heads), number(spec.head_dim), true);
  shape.linear_macs = spec.linear_macs_per_token();
  shape.shares_prefix = !spec.encoder();
  return shape;
}

void price_tasks(std::vector<RunTask>& tasks, const config::RunConfig& config, const plan::DeviceModel& device) {
  const plan::ModelShape shape = shape_of(config);
  for (RunTask& task : tasks) {
    if (!task.node.elsewhere) plan::price(task.node, task.load, shape, device, config.compute.micro_batch_tokens);
  }
}

std::vector<RunTask> plan_tasks(const config::RunConfig& config, const data::TokenStore& store, const ComputedOn& on,
                                const LabelPlan& labels) {
  std::vector<std::string> names;
  for (const config::CategoryConfig& c : config.categories) names.push_back(c.name);
  const config::TrainConfig &base = config.base, &experts = config.experts.train;
  if (base.tuning == config::Tuning::lora &&
      (base.lora_rank != experts.lora_rank || base.lora_alpha != experts.lora_alpha || base.lora_layers != experts.lora_layers)) {
    const auto said = [](const config::TrainConfig& t) {
      return fmt::format("lora_rank {}, lora_alpha {}, lora_layers {}", t.lora_rank, t.lora_alpha, t.lora_layers);
    };
    throw ConfigError(fmt::format(
        "base.tuning is lora, so experts start as copies of the base's adapter: base has {}, experts.train {}; make them equal",
        said(base), said(experts)));
  }
  check_labels(config, store);
  if (names != store.categories())
    throw ConfigError("the token store has other categories than the configuration, or another order: ingest again");
  return Planner(config, store, on, labels).plan();
}

}  // namespace dmoerm::run
