// Folds of the train prompts, on a tiny model: what the aggregator learns from was said by models that were trained without it.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/stop.h"
#include "comm/single_process.h"
#include "run/plan_tasks.h"
#include "run/prompt_ratings.h"
#include "run/run_context.h"
#include "run/stage_features.h"
#include "support/said_by_experts.h"
#include "support/scratch.h"
#include "support/tiny_model_directory.h"
#include "support/word_renderer.h"
#include "synth/synth.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using plan::TaskId;

constexpr std::int64_t kVocab = 300;
constexpr int kFolds = 3;

class Folds : public test::Scratch {
 protected:
  Folds() {
    test::write_tiny_model(directory_, kVocab);
    synth::SynthOptions options;
    options.groups = 60, options.categories = 2, options.responses = 3;
    const synth::SynthData made = synth::synthesize(options);
    std::istringstream lines(made.jsonl);
    for (std::string line; std::getline(lines, line);) {
      json row = json::parse(line);
      if (row["category"] == made.categories[0].category) rows_.push_back(std::move(row));
    }
    for (std::size_t i = 0; i + 1 < rows_.size(); i += 4) {  // some prompts twice
      if (rows_[i]["split"] == "train" && rows_[i + 1]["split"] == "train") rows_[i + 1]["prompt"] = rows_[i]["prompt"];
    }
    config_.folds = kFolds;
    config_.backbone.dir = directory_;
    config_.compute.device = config::Device::cpu;
    config_.compute.micro_batch_tokens = 600;
    config_.base.tuning = config::Tuning::lora;
    for (config::TrainConfig* train : {static_cast<config::TrainConfig*>(&config_.base), &config_.experts.train}) {
      train->lr = 5e-3, train->groups_per_step = 4, train->steps_max = 6, train->eval_every_steps = 3, train->lora_rank = 4;
    }
    config_.experts.per_task = 2;
    config_.aggregator.steps_max = 10;
    config_.categories.push_back(
        {made.categories[0].category, {made.categories[0].points[0].name, made.categories[0].points[1].name}, 0.0});
    begin("run");
  }

  /// A run of rows_ in a directory of its own.
  void begin(const std::string& name) {
    std::string text;
    for (const json& row : rows_) text += row.dump() + "\n";
    data::IngestRequest request;
    request.data.inputs.push_back({write(name + ".jsonl", text), "auto", "", config::InputSplit::own, 1.0});
    request.categories = config_.categories;
    request.renderer = test::word_renderer(kVocab);
    request.output = directory_ / (name + ".h5");
    data::ingest(request);
    store_ = std::make_unique<data::TokenStore>(data::TokenStore::open(request.output));
    context_ = std::make_unique<RunContext>(config_, *store_, RunDirectory(directory_ / name));
    fold_of_ = train::fold_numbers(*store_, 0, config_);
  }

  [[nodiscard]] const std::string& category() const { return config_.categories[0].name; }
  [[nodiscard]] TaskId experts(std::int32_t fold) const {
    return TaskId::expert(category(), config_.categories[0].points, 0, fold);
  }
  void run(const TaskId& id) {
    const auto alone = comm::single();
    for (const RunTask& task : plan_tasks(config_, *store_)) {
      if (task.id == id) return task.run(*context_, task.identity, *alone);
    }
    FAIL() << id.text() << " is in no plan";
  }
  void run_all_up_to(const TaskId& last) {
    for (const RunTask& task : plan_tasks(config_, *store_)) {
      if (!task.node.external) run(task.id);
      if (task.id == last) return;
    }
  }
  [[nodiscard]] std::vector<train::LabelledGroup> groups(train::Part part, std::string_view label = preference::kOverall,
                                                         preference::Ties ties = preference::Ties::left_out) const {
    return train::labelled_groups(*store_, 0, part, label, config_, ties);
  }
  [[nodiscard]] std::string weights(const TaskId& task, const std::string& point = "") const {
    return read_file(context_->directory().task(task) / point / "adapter_model.safetensors");
  }

  /// Turns all labels of fold 2 round: its models stay as they are, to the bit, and those of all other folds do not.
  void expect_independent() {
    const auto train_all = [&] {
      std::map<std::string, std::string> found;
      for (std::int32_t fold = 0; fold <= kFolds; ++fold) {
        std::vector<TaskId> tasks = {TaskId::base(category(), fold), experts(fold)};
        if (config_.base.start == config::BaseStart::all_categories) tasks.insert(tasks.begin(), TaskId::base_of_all(fold));
        for (const TaskId& task : tasks) {
          run(task);
          const bool of_points = task.kind == plan::TaskKind::expert_set;
          for (const std::string& point : of_points ? task.points : std::vector<std::string>{""})
            found[task.text() + (of_points ? "/" + point : "")] = weights(task, point);
          // The weights that are kept may be those of the start, so the course of each training counts too.
          std::istringstream lines(read_file(context_->directory().task(task) / "metrics.jsonl"));
          for (std::string line; std::getline(lines, line);) {
            const json step = json::parse(line);
            const std::string trained = step.at("task");
            found[task.text() + (of_points ? trained.substr(trained.rfind('/')) : "")] +=
                step.at("train_loss").dump() + step.at("validation_loss").dump();
          }
        }
      }
      return found;
    };
    const auto before = train_all();
    for (std::int64_t g = 0; g < store_->size(); ++g) {  // everything about fold 2 is turned round
      if (fold_of_[static_cast<std::size_t>(g)] != 2) continue;
      json& row = rows_[static_cast<std::size_t>(store_->source(g).second) - 1];
      for (json& stated : row["preferences"]) stated[2] = stated[2] == "a" ? "b" : stated[2] == "b" ? "a" : "tie";
      for (json& verdict : row["verdicts"]) {
        for (const char* order : {"first_order", "second_order"}) verdict[order] = verdict[order] == "first" ? "second" : "first";
      }
    }
    const std::vector<std::int32_t> folds = fold_of_;
    begin("turned");
    ASSERT_EQ(fold_of_, folds);
    const auto after = train_all();
    for (const auto& [model, bytes] : before)
      EXPECT_EQ(after.at(model) == bytes, model.find("-fold-2") != std::string::npos) << model;
  }

  /// Breaks tasks off after a few steps; done again, they end with the same bits.
  void expect_to_go_on(const std::vector<TaskId>& tasks) {
    run_all_up_to(TaskId::features(category()));
    const auto read_all = [&](const TaskId& id) {
      std::map<std::string, std::string> files;
      for (const auto& entry : fs::recursive_directory_iterator(context_->directory().task(id))) {
        if (entry.path().extension() == ".safetensors") files[entry.path().string()] = read_file(entry.path());
      }
      return files;
    };
    for (const TaskId& id : tasks) {
      const auto before = read_all(id);
      fs::remove_all(context_->directory().task(id));
      std::size_t steps = 0;
      train::TaskProgress progress;
      progress.doing = [&](const std::string&) {
        if (++steps == 3) request_stop(SIGTERM);
      };
      context_->set_progress(progress);
      EXPECT_THROW(run(id), Stopped) << id.text();
      request_stop(0);
      context_->set_progress({});
      run(id);
      EXPECT_EQ(read_all(id), before) << id.text();
    }
  }

  std::vector<json> rows_;
  config::RunConfig config_;
  std::unique_ptr<data::TokenStore> store_;
  std::unique_ptr<RunContext> context_;
  std::vector<std::int32_t> fold_of_;
};

TEST_F(Folds, DivideTheConversationsOfTheTrainSplitEvenly) {
  std::map<std::uint64_t, std::int32_t> of_session;
  std::map<std::int32_t, std::set<std::uint64_t>> sessions, with_overall;
  std::size_t repeated = 0;
  for (const std::int64_t g : train::groups_of(*store_, 0, train::Subset::train, config_)) {
    const std::int32_t fold = fold_of_[static_cast<std::size_t>(g)];
    const auto [known, is_new] = of_session.emplace(store_->group(g).session_key, fold);
    EXPECT_EQ(known->second, fold) << "two groups of a conversation are in two folds";
    repeated += is_new ? 0 : 1;
    sessions[fold].insert(known->first);
  }
  EXPECT_GT(repeated, 0U);
  ASSERT_EQ(sessions.size(), 3U);
  for (const train::LabelledGroup& g : groups(train::Subset::train))
    with_overall[fold_of_[static_cast<std::size_t>(g.group)]].insert(store_->group(g.group).session_key);
  for (std::int32_t fold = 2; fold <= kFolds; ++fold) {
    EXPECT_LE(sessions.at(1).size() - sessions.at(fold).size(), 1U);
    EXPECT_LE(with_overall.at(1).size() - with_overall.at(fold).size(), 1U);
  }
  for (const train::Subset other : {train::Subset::validation, train::Subset::test}) {
    for (const std::int64_t g : train::groups_of(*store_, 0, other, config_)) EXPECT_EQ(fold_of_[static_cast<std::size_t>(g)], 0);
  }
}

TEST_F(Folds, TheModelsOfAFoldDoNotDependOnItsLabels) { expect_independent(); }

TEST_F(Folds, NorWhereBasesLearnFromPointsAndStartFromOneOfAllCategories) {
  config_.base.labels = config::BaseLabels::all;
  config_.base.start = config::BaseStart::all_categories;
  expect_independent();
}

TEST_F(Folds, OfAllCategoriesHaveTheConversationsThatAreInTheFoldOfAny) {
  const std::size_t own = rows_.size();
  for (std::size_t i = 0; i < own; i += 2) {  // half of the prompts are in a second category too
    json row = rows_[i];
    row["category"] = "second";
    row["id"] = "second " + row.value("id", std::to_string(i));
    rows_.push_back(std::move(row));
  }
  config_.categories.push_back({"second", config_.categories[0].points, 0.0});
  begin("two");
  bool apart = false;
  for (std::int32_t fold = 1; fold <= kFolds; ++fold) {
    std::set<std::uint64_t> inside;
    for (std::int32_t c = 0; c < 2; ++c) {
      const std::vector<std::int32_t> folds = train::fold_numbers(*store_, c, config_);
      for (std::int64_t g = 0; g < store_->size(); ++g) {
        if (folds[static_cast<std::size_t>(g)] == fold) inside.insert(store_->group(g).session_key);
      }
    }
    const auto all = [&](train::Subset subset) { return train::groups_of(*store_, -1, {subset, fold}, config_); };
    for (const std::int64_t g : all(train::Subset::phase1)) EXPECT_FALSE(inside.contains(store_->group(g).session_key));
    for (const std::int64_t g : all(train::Subset::phase3)) EXPECT_TRUE(inside.contains(store_->group(g).session_key));
    const std::size_t phase1 = all(train::Subset::phase1).size();
    EXPECT_EQ(phase1 + all(train::Subset::phase3).size(), train::groups_of(*store_, -1, train::Subset::train, config_).size());
    std::size_t by_category = 0;
    for (std::int32_t c = 0; c < 2; ++c)
      by_category += train::groups_of(*store_, c, {train::Subset::phase1, fold}, config_).size();
    apart = apart || phase1 < by_category;
    config_.base.start = config::BaseStart::all_categories;
    config_.base.labels = config::BaseLabels::all;
    run(TaskId::base_of_all(fold));
    std::size_t taught = 0;
    for (const std::int64_t g : all(train::Subset::phase1)) {
      for (const std::string& label :
           {std::string(preference::kOverall), config_.categories[0].points[0], config_.categories[0].points[1]})
        taught += store_->preferences(g, label, 0.0).empty() ? 0 : 1;
    }
    EXPECT_EQ(context_->directory().metrics(TaskId::base_of_all(fold)).at("groups"), taught) << fold;
  }
  EXPECT_TRUE(apart) << "or this test could not tell them from the folds of each category";
}

TEST_F(Folds, ServeEveryTrainGroupOnceWithTheExpertsThatDidNotSeeIt) {
  run_all_up_to(TaskId::aggregator(category()));
  const auto metrics = [&](const TaskId& id) { return context_->directory().metrics(id); };
  std::set<std::int64_t> rated;
  for (std::int32_t fold = 0; fold <= kFolds; ++fold) {
    const train::Part own{train::Subset::phase1, fold};
    EXPECT_EQ(metrics(TaskId::base(category(), fold)).at("groups"), groups(own).size());
    for (const std::string& point : config_.categories[0].points)
      EXPECT_EQ(metrics(experts(fold)).at(point).at("groups"), groups(own, point, preference::Ties::judged).size());
    std::set<std::uint64_t> seen;
    for (const std::int64_t g : train::groups_of(*store_, 0, own, config_)) seen.insert(store_->group(g).session_key);
    if (fold == 0) continue;
    for (const train::LabelledGroup& g : groups({train::Subset::phase3, fold})) {
      EXPECT_TRUE(rated.insert(g.group).second) << "a group is in two folds";
      EXPECT_FALSE(seen.contains(store_->group(g.group).session_key));
    }
  }
  EXPECT_EQ(rated.size(), groups(train::Subset::train).size());
  EXPECT_EQ(groups(train::Subset::phase1).size(), rated.size()) << "all labels serve base and experts";
  EXPECT_EQ(metrics(TaskId::aggregator(category())).at("groups"), rated.size()) << "and the aggregator";

  // Each row is what the experts of the group's fold say of it, on the final experts' scale.
  const moe::ExpertFeatures features = load_features(*context_, 0, "train");
  const auto validation = groups(train::Subset::validation);
  const auto rewards_of = [&](std::int32_t fold, const std::vector<train::LabelledGroup>& some) {
    return test::said_by_experts(*context_, 0, some, directory_ / "said", fold).rewards_NK;
  };
  const at::Tensor final_NK = rewards_of(0, validation);
  const auto spread = [&](const at::Tensor& rewards_NK) {
    return moe::spread_within_groups(rewards_NK, feature_groups_of(*store_, validation));
  };
  std::int64_t row = 0;
  for (std::int32_t fold = 1; fold <= kFolds; ++fold) {
    const at::Tensor said_NK = rewards_of(fold, groups({train::Subset::phase3, fold})), own_NK = rewards_of(fold, validation);
    const at::Tensor mapped_NK = (said_NK - own_NK.mean(0)) * spread(final_NK) / spread(own_NK) + final_NK.mean(0);
    EXPECT_TRUE(at::allclose(features.rewards_NK.narrow(0, row, said_NK.size(0)), mapped_NK, 1e-4, 1e-5)) << fold;
    EXPECT_FALSE(at::allclose(said_NK, rewards_of(0, groups({train::Subset::phase3, fold})))) << "as the final experts say it";
    row += said_NK.size(0);
  }
  EXPECT_EQ(row, features.rewards_NK.size(0));
}

TEST_F(Folds, FeaturesTakeTheRoomThatThePlanCounts) {
  constexpr double kMib = 1024.0 * 1024.0;
  run_all_up_to(TaskId::features(category()));
  std::vector<RunTask> tasks = plan_tasks(config_, *store_);
  price_tasks(tasks, config_, plan::device_of(config_.compute));
  const auto task = std::ranges::find(tasks, TaskId::features(category()), &RunTask::id);
  ASSERT_NE(task, tasks.end());
  double bytes = 0;
  int files = 0;
  for (const auto& entry : fs::directory_iterator(context_->directory().task(task->id))) {
    if (entry.path().extension() != ".safetensors") continue;
    std::uint64_t head = 0;
    std::ifstream(entry.path(), std::ios::binary).read(reinterpret_cast<char*>(&head), sizeof(head));
    bytes += static_cast<double>(entry.file_size() - head - sizeof(head));
    ++files;
  }
  EXPECT_EQ(files, 2 * kFolds + 1) << "each fold has both splits, and the final experts rate the validation groups";
  EXPECT_NEAR(task->node.output_mib * kMib, bytes, 0.5);
}

TEST_F(Folds, RatePromptsByBasesThatDidNotSeeThem) {
  for (std::int32_t fold = 0; fold <= kFolds; ++fold) run(TaskId::base(category(), fold));
  const auto alone = comm::single();
  TaskParts parts(directory_ / "ratings", "key");
  const PromptRatings ratings = rate_prompts(*context_, parts, *alone);
  const auto expect_rated = [&](const std::vector<train::LabelledGroup>& some, std::int32_t fold) {
    const nn::RewardModel base = context_->load_model(TaskId::base(category(), fold));
    for (const train::LabelledGroup& g : some) {
      const double loss = train::pair_figures(context_->scorer(*alone).rewards(base, {g}), {g}).loss;
      EXPECT_NEAR(ratings.at(g.group).at(0), -loss, 1e-5) << fold;
    }
    return some.size();
  };
  std::size_t rated = expect_rated(groups(train::Subset::validation), 0);
  for (std::int32_t fold = 1; fold <= kFolds; ++fold) rated += expect_rated(groups({train::Subset::phase3, fold}), fold);
  EXPECT_EQ(ratings.size(), rated);
}

TEST_F(Folds, GoOnWhereTheyWereBrokenOff) {
  expect_to_go_on({TaskId::base(category(), 2), experts(2), TaskId::features(category())});
}

TEST_F(Folds, GoOnWhereBasesLearnFromPointsAndStartFromOneOfAllCategories) {
  config_.base.labels = config::BaseLabels::all;
  config_.base.start = config::BaseStart::all_categories;
  expect_to_go_on({TaskId::base_of_all(2), TaskId::base(category(), 2)});
}

TEST_F(Folds, ASettingRemakesOnlyWhatItDecides) {
  const auto keys = [&] {
    std::map<std::string, std::string> found;
    for (const RunTask& task : plan_tasks(config_, *store_)) found[task.id.text()] = task.identity.key();
    return found;
  };
  const auto changed = [&](const std::map<std::string, std::string>& before) {
    std::set<std::string> tasks;
    for (const auto& [task, key] : keys()) {
      if (before.contains(task) && before.at(task) != key) tasks.insert(task);
    }
    return tasks;
  };
  const std::string points = "/" + config_.categories[0].points[0] + "+" + config_.categories[0].points[1];
  const auto three = keys();
  config_.phase1_share = 0.3;
  EXPECT_EQ(changed(three), std::set<std::string>{}) << "it has no effect";
  config_.folds = 4;
  std::set<std::string> expected;
  for (int fold = 1; fold <= 3; ++fold) {
    expected.insert(fmt::format("base-fold-{}/{}", fold, category()));
    expected.insert(fmt::format("expert-fold-{}/{}{}", fold, category(), points));
  }
  for (const char* later : {"features/", "aggregator/", "eval/"}) expected.insert(later + category());
  expected.insert({"report", "bundle"});
  EXPECT_EQ(changed(three), expected) << "models of all train groups stay, and so do the baselines";
  EXPECT_TRUE(keys().contains("base-fold-4/" + category()));
  const auto four = keys();
  const config::BaseConfig four_base = config_.base;
  for (const bool start : {false, true}) {
    if (start)
      config_.base.start = config::BaseStart::all_categories;
    else
      config_.base.labels = config::BaseLabels::all;
    const std::set<std::string> remade = changed(four);
    for (const std::string& task :
         {"base/" + category(), "base-fold-4/" + category(), "expert-fold-1/" + category() + points, std::string("bundle")})
      EXPECT_TRUE(remade.contains(task)) << task;
    for (const char* task : {"router", "ingest"}) EXPECT_FALSE(remade.contains(task)) << task;
    EXPECT_EQ(keys().contains("base-of-all-fold-4"), start);
    config_.base = four_base;
  }
  config_.folds = 0;
  config_.phase1_share = 0.6;
  const auto none = keys();
  config_.phase1_share = 0.7;
  EXPECT_TRUE(changed(none).contains("base/" + category()));
}

TEST_F(Folds, NeedPromptsAndPairs) {
  config_.folds = 10;
  std::size_t kept = 0;
  for (json& row : rows_) {  // leaves few train prompts with an overall preference
    if (row.value("split", "") == "train" && ++kept > 6) {
      row["preferences"] = json::array();
    }
  }
  begin("few");
  const std::string few = test::message_of<ConfigError>([&] { (void)plan_tasks(config_, *store_); });
  EXPECT_NE(few.find("prompts with ordered pairs in the train split, at least 10 needed, one for each of the folds"),
            std::string::npos)
      << few;
  config_.folds = 2;
  EXPECT_FALSE(plan_tasks(config_, *store_).empty());
  const std::string point = config_.categories[0].points[1];
  std::size_t left = 0;
  for (json& row : rows_) {  // one prompt has all labels of a point
    if (row.value("split", "") == "train" && ++left > 1) {
      auto& verdicts = row["verdicts"].get_ref<json::array_t&>();
      std::erase_if(verdicts, [&](const json& verdict) { return verdict["point"] == point; });
    }
  }
  config_.experts.labels_min = 2;
  begin("fewer");
  const std::string none = test::message_of<ConfigError>([&] { (void)plan_tasks(config_, *store_); });
  EXPECT_NE(none.find("0 ordered pairs, at least 1 needed (half of experts.labels_min), in the train groups outside of fold"),
            std::string::npos)
      << none;
}

}  // namespace
}  // namespace dmoerm::run
