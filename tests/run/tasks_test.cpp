// The tasks of a run on a tiny model: the groups that each phase trains on, what an expert starts from, and the figures of
// evaluation and report, which the test counts again from the models on disk.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/stop.h"
#include "comm/single_process.h"
#include "hf/foreign_model.h"
#include "nn/pairwise_loss.h"
#include "run/head_start.h"
#include "run/imported_experts.h"
#include "run/plan_tasks.h"
#include "run/pooled_prompts.h"
#include "run/prompt_ratings.h"
#include "run/rows_writer.h"
#include "run/run_context.h"
#include "run/stage_aggregator.h"
#include "run/stage_features.h"
#include "run/stage_gaps.h"
#include "support/captured_log.h"
#include "support/foreign_adapter.h"
#include "support/said_by_experts.h"
#include "support/scratch.h"
#include "support/thread_group.h"
#include "support/tiny_model_directory.h"
#include "support/word_renderer.h"
#include "synth/synth.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t kVocab = 300;

/// A whole run, made once with adapters and once with bases that train all weights.
class Tasks : public testing::TestWithParam<const char*> {
 protected:
  struct Run {
    config::RunConfig config;
    std::unique_ptr<data::TokenStore> store;
    std::unique_ptr<RunContext> context;
  };

  static Run& run_of(const std::string& tuning) {
    static std::map<std::string, Run> runs;
    const auto [at, added] = runs.try_emplace(tuning);
    if (added) make(at->second, tuning);
    return at->second;
  }
  static const fs::path& folder() {
    static const fs::path kFolder = fs::temp_directory_path() / ("dmoerm_tasks_" + std::to_string(::getpid()));
    return kFolder;
  }
  static void TearDownTestSuite() { fs::remove_all(folder()); }

  static void make(Run& run, const std::string& tuning) {
    const fs::path place = folder() / tuning;
    test::write_tiny_model(place, kVocab);
    synth::SynthOptions options;
    options.groups = 90;
    options.categories = 2;
    options.responses = 3;
    const synth::SynthData made = synth::synthesize(options);
    std::ofstream(place / "synth.jsonl") << made.jsonl;
    run.config.backbone.dir = place;
    run.config.compute.device = config::Device::cpu;
    run.config.compute.micro_batch_tokens = 600;
    run.config.router.confidence_min = 0.0;
    run.config.router.keep_share = 1;
    run.config.base.tuning = *config::from_word<config::Tuning>(tuning);
    for (config::TrainConfig* train : {static_cast<config::TrainConfig*>(&run.config.base), &run.config.experts.train}) {
      train->lr = 5e-3;
      train->groups_per_step = 4;
      train->steps_max = 6;
      train->eval_every_steps = 3;
      train->lora_rank = 4;
    }
    run.config.aggregator.lr = run.config.aggregator.mlp_lr = run.config.aggregator.gate_lr = 1e-2;
    run.config.aggregator.steps_max = 40;

    data::IngestRequest request;
    request.data.inputs.push_back({(place / "synth.jsonl").string(), "auto", "", config::InputSplit::own, 1.0});
    request.renderer = test::word_renderer(kVocab);
    request.output = place / "store.h5";
    data::ingest(request);
    run.store = std::make_unique<data::TokenStore>(data::TokenStore::open(request.output));
    for (const std::string& name : run.store->categories()) {
      const auto& summary = *std::ranges::find(made.categories, name, &synth::SynthSummary::category);
      run.config.categories.push_back({name, {summary.points[0].name, summary.points[1].name}, 0.0});
    }
    run.context = std::make_unique<RunContext>(run.config, *run.store, RunDirectory(place / "run"));
    for (const RunTask& task : plan_tasks(run.config, *run.store)) {
      if (!task.node.external && task.id != plan::TaskId::bundle()) redo(run, task.node.id);  // a bundle needs a tokenizer
    }
  }

  /// Run one task of the plan.
  static void redo(Run& run, const std::string& id, const ComputedOn& on = {}) {
    const auto alone = comm::single();
    for (const RunTask& task : plan_tasks(run.config, *run.store, on)) {
      if (task.node.id == id) task.run(*run.context, task.identity, *alone);
    }
  }

  Run& run_ = run_of(GetParam());
  RunContext& context_ = *run_.context;

  std::vector<train::LabelledGroup> groups(std::int32_t category, train::Subset subset,
                                           std::string_view label = preference::kOverall,
                                           preference::Ties ties = preference::Ties::left_out) const {
    return train::labelled_groups(*run_.store, category, subset, label, run_.config, ties);
  }
  static std::int64_t responses(const std::vector<train::LabelledGroup>& groups) {
    std::int64_t n = 0;
    for (const train::LabelledGroup& g : groups) n += static_cast<std::int64_t>(g.responses.size());
    return n;
  }
  void expect_learnt_from(const json& metrics, const std::vector<train::LabelledGroup>& training,
                          const std::vector<train::LabelledGroup>& validation, const std::string& what) const {
    EXPECT_NE(training.size(), validation.size());
    EXPECT_EQ(metrics.at("groups"), training.size()) << what;
    EXPECT_EQ(metrics.at("pairs"), train::count_pairs(training)) << what;
    EXPECT_EQ(metrics.at("validation_groups"), validation.size()) << what;
    EXPECT_EQ(metrics.at("validation_pairs"), train::count_pairs(validation)) << what;
  }

  /// Files of features in a task's folder that are not finished.
  static std::vector<fs::path> unfinished_in(const fs::path& task_folder) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(task_folder)) {
      if (entry.path().extension() == ".unfinished") found.push_back(entry.path());
    }
    return found;
  }

  /// Rewards of the responses of one group.
  std::vector<float> rewards(const nn::RewardModel& model, const train::LabelledGroup& group) {
    const auto alone = comm::single();
    return context_.scorer(*alone).rewards(model, {group}).rewards;
  }
  std::vector<float> rewards(std::int32_t category, const std::string& aggregator, const train::LabelledGroup& group) {
    const moe::ExpertFeatures features = test::said_by_experts(context_, category, {group}, folder() / "said");
    const at::Tensor rewards_N =
        moe::Aggregator::load(context_.directory().task("aggregator/" + context_.category(category).name) /
                              (aggregator + ".safetensors"))
            .rewards(features)
            .contiguous();
    return {rewards_N.const_data_ptr<float>(), rewards_N.const_data_ptr<float>() + rewards_N.numel()};
  }
  /// Number of pairs whose winner has the higher reward.
  static double right(const std::vector<float>& rewards, const train::LabelledGroup& group) {
    double count = 0;
    for (const preference::Preference& p : group.pairs) {
      const float winner = rewards[static_cast<std::size_t>(p.winner)], loser = rewards[static_cast<std::size_t>(p.loser)];
      count += winner > loser ? 1 : winner == loser ? 0.5 : 0;
    }
    return count;
  }
  /// Reward of a response laid out by itself, added up in float64.
  static double reward_by_hand(const nn::RewardModel& model, const data::TokenGroup& group, std::size_t response) {
    std::vector<std::int32_t> ids(group.prefix.begin(), group.prefix.end());
    ids.insert(ids.end(), group.responses[response].begin(), group.responses[response].end());
    data::PackedBatch batch;
    data::append_sequence(batch, ids, data::PackingRule::causal);
    const nn::AdapterRows rows{model.adapter(), 0, batch.tokens(), 0, 1, 0};
    const at::Tensor state = model.backbone().forward(batch, {&rows, 1}, nullptr).contiguous(), head = model.head().w_D;
    double reward = 0;
    for (std::int64_t d = 0; d < head.numel(); ++d)
      reward += static_cast<double>(state.const_data_ptr<float>()[d]) * static_cast<double>(head.const_data_ptr<float>()[d]);
    return reward;
  }
  /// The trained weights in a task's folder.
  static std::string weights_in(const fs::path& task) {
    const fs::path adapter = task / "adapter_model.safetensors";
    return read_file(fs::exists(adapter) ? adapter : task / "model.safetensors");
  }
  json results(const std::string& category) const {
    return read_json(context_.directory().task("eval/" + category) / "results.json");
  }
  std::string chosen(std::int32_t category) const {
    return context_.directory().metrics("aggregator/" + context_.category(category).name).at("chosen");
  }
};

TEST_P(Tasks, TrainsEachPhaseOnItsOwnGroups) {
  expect_learnt_from(context_.directory().metrics("single"), groups(-1, train::Subset::train),
                     groups(-1, train::Subset::validation), "single");
  for (std::int32_t i = 0; i < 2; ++i) {
    const config::CategoryConfig& c = context_.category(i);
    ASSERT_NE(groups(i, train::Subset::phase1).size(), groups(i, train::Subset::phase3).size())
        << "or this test could not tell them apart";
    const auto metrics = [&](const plan::TaskId& task) { return context_.directory().metrics(task); };
    expect_learnt_from(metrics(plan::TaskId::base(c.name)), groups(i, train::Subset::phase1),
                       groups(i, train::Subset::validation), "base");
    expect_learnt_from(metrics(plan::TaskId::category_baseline(c.name)), groups(i, train::Subset::train),
                       groups(i, train::Subset::validation), "category");
    for (std::size_t p = 0; p < 2; ++p) {
      expect_learnt_from(metrics(context_.expert_task(i, p)).at(c.points[p]),
                         groups(i, train::Subset::phase1, c.points[p], preference::Ties::judged),
                         groups(i, train::Subset::validation, c.points[p]), c.points[p]);
    }
    for (const auto& [part, from] :
         {std::pair("train", train::Subset::phase3), std::pair("validation", train::Subset::validation)}) {
      const auto reader =
          nn::SafetensorsReader::open(context_.directory().task("features/" + c.name) / (std::string(part) + ".safetensors"));
      EXPECT_EQ(reader.load("rewards").size(0), responses(groups(i, from))) << part;
      EXPECT_EQ(reader.load("prompts").size(0), std::ssize(groups(i, from))) << part;
      const nn::RewardModel base = context_.load_model(plan::TaskId::base(c.name));
      const train::LabelledGroup first = groups(i, from).front();
      EXPECT_NEAR(reader.load("base")[0].item<float>(), rewards(base, first)[0], 1e-5) << part;
    }
  }
}

TEST_P(Tasks, FeaturesTakeTheRoomThatThePlanCounts) {
  constexpr double kMib = 1024.0 * 1024.0;
  std::vector<RunTask> tasks = plan_tasks(run_.config, *run_.store);
  price_tasks(tasks, run_.config, plan::device_of(run_.config.compute));
  for (const config::CategoryConfig& c : run_.config.categories) {
    const auto task = std::ranges::find(tasks, plan::TaskId::features(c.name), &RunTask::id);
    ASSERT_NE(task, tasks.end());
    double heads = 0, bytes = 0;
    for (const char* name : {"train.safetensors", "validation.safetensors"}) {
      const fs::path file = context_.directory().task(task->id) / name;
      std::uint64_t head = 0;  // how long the list of tensors is, which the plan leaves out
      std::ifstream(file, std::ios::binary).read(reinterpret_cast<char*>(&head), sizeof(head));
      heads += static_cast<double>(head + sizeof(head)), bytes += static_cast<double>(fs::file_size(file));
    }
    EXPECT_LT(heads, 2000);
    EXPECT_NEAR(task->node.output_mib * kMib, bytes - heads, 0.5) << c.name;
  }
}

TEST_P(Tasks, StartsExpertsFromTheirBase) {
  run_.config.experts.train.lr = 1e-30;
  const std::string name = context_.category(0).name, point = context_.category(0).points[1];
  const fs::path kept = folder() / "kept", expert = context_.directory().task(context_.expert_task(0, 1));
  fs::rename(expert, kept);
  redo(run_, context_.expert_task(0, 1).text());
  run_.config.experts.train.lr = 5e-3;
  const nn::RewardModel base = context_.load_model(plan::TaskId::base(name));
  const nn::BackboneSource over_base{[&] { return base.shared_backbone(); }, {}};
  const nn::RewardModel still = nn::RewardModel::load(expert / point, over_base);
  EXPECT_TRUE(still.head().w_D.equal(base.head().w_D));
  if (base.adapter() != nullptr) {
    EXPECT_TRUE(still.adapter()->flat.equal(base.adapter()->flat)) << "a copy of the base's adapter";
  }
  fs::remove_all(expert);
  fs::rename(kept, expert);
  const nn::RewardModel moved = nn::RewardModel::load(expert / point, over_base);
  EXPECT_FALSE(moved.head().w_D.equal(base.head().w_D)) << "the expert trains the head too";
}

TEST_P(Tasks, TrainExpertsOnInt8WeightsAndLeaveTheBaseInFloat32) {
  const std::string point = context_.category(0).points[1];
  const plan::TaskId id = context_.expert_task(0, 1);
  const fs::path kept = folder() / "kept", expert = context_.directory().task(id);
  fs::rename(expert, kept);
  run_.config.experts.base_weights = config::BaseWeights::int8;
  const test::CapturedLog log;
  redo(run_, id.text());
  EXPECT_TRUE(log.has("the base is multiplied in int8 while its experts train")) << log.text();
  const auto manifest = [](const fs::path& folder) { return read_json(folder / "manifest.json"); };
  EXPECT_EQ(manifest(expert).at("settings").at("base_weights"), "int8");
  EXPECT_FALSE(manifest(kept).at("settings").contains("base_weights"));
  run_.config.experts.base_weights = config::BaseWeights::float32;
  const nn::RewardModel base = context_.load_model(plan::TaskId::base(context_.category(0).name));
  EXPECT_EQ(base.backbone().base_weights(), nn::BaseWeights::float32);
  const nn::BackboneSource over_base{[&] { return base.shared_backbone(); }, {}};
  const at::Tensor in_int8 = nn::RewardModel::load(expert / point, over_base).adapter()->flat,
                   exact = nn::RewardModel::load(kept / point, over_base).adapter()->flat;
  EXPECT_FALSE(in_int8.equal(exact));
  EXPECT_LT(((in_int8 - exact).norm() / exact.norm()).item<double>(), 0.5) << "it learns about the same";
  fs::remove_all(expert);
  fs::rename(kept, expert);
}

TEST_P(Tasks, TakeOverAnImportedExpertInsteadOfTrainingIt) {
  if (std::string(GetParam()) == "full") GTEST_SKIP() << "the configuration refuses it there";
  const std::string name = context_.category(0).name, point = context_.category(0).points[1];
  const plan::TaskId id = context_.expert_task(0, 1);
  const std::vector<plan::TaskId> tasks = {id, plan::TaskId::features(name), plan::TaskId::aggregator(name)};
  const fs::path kept = folder() / "kept", adapter = folder() / "adapter";
  test::ForeignFiles(test::tiny_spec(kVocab)).add_all(3).write(adapter);
  run_.config.categories[0].imported_experts = {{point, adapter.string()}};
  HashCache hashes(folder() / "hashes.json");
  const ComputedOn on{"weights", "cpu", check_imported_experts(run_.config, hashes)};
  const auto directory_of = [&](const plan::TaskId& task) { return context_.directory().task(task); };
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    fs::create_directories(kept);
    fs::rename(directory_of(tasks[i]), kept / std::to_string(i));
    context_.release_models();
    redo(run_, tasks[i].text(), on);
  }

  const json figures = context_.directory().metrics(id).at(point);
  EXPECT_EQ(figures.at("imported_from"), adapter.string());
  for (const char* none : {"steps", "tokens", "pairs", "groups"}) EXPECT_EQ(figures.at(none), 0) << none;
  const nn::RewardModel base = context_.load_model(plan::TaskId::base(name));
  const nn::RewardModel taken = nn::RewardModel::load(directory_of(id) / point, {[&] { return base.shared_backbone(); }, {}});
  EXPECT_EQ(taken.adapter()->lora().rank, 3) << "experts of one category may have several ranks";
  const auto validation = groups(0, train::Subset::validation, point);
  const auto alone = comm::single();
  const train::PairFigures measured = train::pair_figures(context_.scorer(*alone).rewards(taken, validation), validation);
  EXPECT_DOUBLE_EQ(figures.at("validation_accuracy").get<double>(), measured.accuracy);
  EXPECT_DOUBLE_EQ(figures.at("validation_loss").get<double>(), measured.loss);
  EXPECT_EQ(figures.at("validation_pairs"), measured.pairs);

  const hf::ForeignModel foreign = hf::ForeignModel::load(adapter, run_.config.backbone.dir, at::kCPU);
  const moe::TokenTexts texts = moe::texts_of(context_.store().group(validation.front().group));
  const at::Tensor wanted = foreign.rewards(texts, {{.max_length = 1024}});
  const auto model = context_.assemble_model({name});
  const std::vector<moe::Score> scores = model->scores_in(name, texts);
  ASSERT_EQ(std::ssize(scores), wanted.size(0));
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double reward = wanted[static_cast<std::int64_t>(i)].item<double>();
    EXPECT_NEAR(scores[i].expert_rewards.at(1), reward, 1e-5 * (1 + std::abs(reward)));
    EXPECT_TRUE(std::isfinite(scores[i].reward));
  }

  test::ForeignFiles(test::tiny_spec(kVocab), 12).add_all(3).write(adapter);
  EXPECT_NE(check_imported_experts(run_.config, hashes), on.imported) << "another adapter is another identity";
  const std::string changed = test::message_of<DataError>([&] { redo(run_, id.text(), on); });
  EXPECT_NE(changed.find("start the run again with --update"), std::string::npos) << changed;

  run_.config.categories[0].imported_experts.clear();
  context_.release_models();
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    fs::remove_all(directory_of(tasks[i]));
    fs::rename(kept / std::to_string(i), directory_of(tasks[i]));
  }
  fs::remove_all(kept);
}

TEST_P(Tasks, MayStartHeadsFromARidgeOnTheStatesOfTheirTrainPairs) {
  const std::string name = context_.category(0).name, point = context_.category(0).points[1];
  const auto alone = comm::single();
  const auto loss_of = [&](const nn::RewardModel& model, const std::vector<train::LabelledGroup>& some) {
    return train::pair_figures(context_.scorer(*alone).rewards(model, some), some).loss;
  };
  run_.config.head.start = config::HeadStart::ridge;
  run_.config.experts.train.lr = 1e-30;  // an expert stays where it starts
  const fs::path kept = folder() / "kept", expert = context_.directory().task(context_.expert_task(0, 1));
  fs::rename(expert, kept);
  redo(run_, context_.expert_task(0, 1).text());
  {
    const nn::RewardModel base = context_.load_model(plan::TaskId::base(name));
    const nn::RewardModel started = nn::RewardModel::load(expert / point, {[&] { return base.shared_backbone(); }, {}});
    EXPECT_FALSE(started.head().w_D.equal(base.head().w_D));
    const auto training = groups(0, train::Subset::phase1, point);
    EXPECT_LT(loss_of(started, training), loss_of(base, training));
  }
  std::vector<train::Trainee> bases(1);
  bases[0] = {"base", context_.fresh_model(plan::TaskId::base(name)), groups(0, train::Subset::phase1),
              groups(0, train::Subset::validation)};
  EXPECT_EQ(bases[0].model.head().w_D.abs().max().item<float>(), 0);
  start_heads(context_, bases, *alone);
  EXPECT_LT(loss_of(bases[0].model, bases[0].training), std::log(2.0) - 1e-4);
  run_.config.head.start = config::HeadStart::random;
  run_.config.experts.train.lr = 5e-3;
  const at::Tensor random_D = context_.fresh_model(plan::TaskId::base(name)).head().w_D.clone();
  bases[0].model.head().w_D.copy_(random_D);
  start_heads(context_, bases, *alone);
  EXPECT_TRUE(bases[0].model.head().w_D.equal(random_D)) << "by default it is left alone";
  fs::remove_all(expert);
  fs::rename(kept, expert);
}

TEST_P(Tasks, BasesMayLearnFromThePairsOfPointsToo) {
  const config::CategoryConfig& c = context_.category(0);
  const plan::TaskId id = plan::TaskId::base(c.name);
  const fs::path kept = folder() / "kept", base = context_.directory().task(id);
  fs::rename(base, kept);
  run_.config.base.labels = config::BaseLabels::all;
  redo(run_, id.text());
  std::vector<train::LabelledGroup> all = groups(0, train::Subset::phase1);
  for (const std::string& point : c.points) std::ranges::copy(groups(0, train::Subset::phase1, point), std::back_inserter(all));
  expect_learnt_from(context_.directory().metrics(id), all, groups(0, train::Subset::validation), "overall and two points");
  EXPECT_EQ(read_json(base / "manifest.json").at("settings").at("labels"), "all");
  EXPECT_FALSE(read_json(kept / "manifest.json").at("settings").contains("labels"));
  fs::remove_all(base);

  run_.config.labels.judges.resize(1);
  const fs::path labels = context_.directory().root() / "label";
  std::size_t judged = groups(0, train::Subset::phase1).size();
  for (const std::string& point : c.points) {
    const fs::path label = labels / c.name / point;
    fs::create_directories(label);
    std::ofstream verdicts(label / "verdicts.jsonl");
    for (const train::LabelledGroup& group : groups(0, train::Subset::phase1, point)) {
      const auto [file, line] = run_.store->source(group.group);
      const preference::Preference& first = group.pairs.front();
      verdicts << json{{"file", file}, {"line", line}, {"pairs", {{first.winner, first.loser, "first", 1.0}}}} << "\n";
      ++judged;
    }
  }
  redo(run_, id.text());
  EXPECT_EQ(context_.directory().metrics(id).at("groups"), judged) << "a pair of each group that the judges labelled";
  fs::remove_all(base);
  run_.config.experts.labels_min = 1000;
  const std::string few = test::message_of<DataError>([&] { redo(run_, id.text()); });
  EXPECT_NE(few.find("label/" + c.name + "/" + c.points[0]), std::string::npos) << few;
  EXPECT_NE(few.find("pairs of phase 1 have the same verdict in both orders, at least 1000 are needed"), std::string::npos)
      << few;
  run_.config.experts.labels_min = 8;
  run_.config.labels.judges.clear();
  run_.config.base.labels = config::BaseLabels::overall;
  fs::remove_all(labels);
  fs::remove_all(base);
  fs::rename(kept, base);
}

TEST_P(Tasks, APooledBaselineIsTestedBesideTheOthers) {
  run_.config.pooled_baseline = true;
  for (std::int32_t i = 0; i < 2; ++i) {
    const config::CategoryConfig& c = context_.category(i);
    const plan::TaskId id = plan::TaskId::pooled_baseline(c.name);
    redo(run_, id.text());
    std::vector<train::LabelledGroup> all = groups(i, train::Subset::train);
    for (const std::string& point : c.points) std::ranges::copy(groups(i, train::Subset::train, point), std::back_inserter(all));
    expect_learnt_from(context_.directory().metrics(id), all, groups(i, train::Subset::validation), "pooled");
    redo(run_, "eval/" + c.name);
    const json found = results(c.name);
    const nn::RewardModel pooled = context_.load_model(id);
    const auto test = groups(i, train::Subset::test);
    for (std::size_t g = 0; g < test.size(); ++g)
      EXPECT_EQ(found.at("right").at("pooled").at(g), right(rewards(pooled, test[g]), test[g])) << g;
    const json scores = read_json(context_.directory().task("eval/" + c.name) / "scores.json");
    EXPECT_TRUE(scores.at("groups").at(0).at("scores").contains("pooled"));
  }
  redo(run_, "report");
  const fs::path report = context_.directory().task("report");
  const json numbers = read_json(report / "report.json");
  EXPECT_TRUE(numbers.at("accuracy").at("all").contains("pooled"));
  EXPECT_TRUE(numbers.at("difference").contains("dmoerm-pooled"));
  EXPECT_NE(read_file(report / "report.md").find("| one per category, all labels |"), std::string::npos);
  EXPECT_TRUE(read_json(report / "cost.json").contains("one per category, all labels " + context_.category(1).name));
  run_.config.pooled_baseline = false;
  for (std::int32_t i = 0; i < 2; ++i) redo(run_, "eval/" + context_.category(i).name);
  redo(run_, "report");
  EXPECT_EQ(read_file(report / "report.md").find("all labels"), std::string::npos);
}

TEST_P(Tasks, BasesMayStartFromTheModelOfAllCategories) {
  const plan::TaskId all = plan::TaskId::base_of_all(), id = plan::TaskId::base(context_.category(0).name);
  const fs::path kept = folder() / "kept", base = context_.directory().task(id);
  fs::rename(base, kept);
  run_.config.base.start = config::BaseStart::all_categories;
  redo(run_, all.text());
  expect_learnt_from(context_.directory().metrics(all), groups(-1, train::Subset::phase1), groups(-1, train::Subset::validation),
                     "no prompt of phase 3");
  const std::string trained_before = weights_in(context_.directory().task(all));
  run_.config.base.lr = 1e-30;  // a base stays where it starts
  redo(run_, id.text());
  EXPECT_TRUE(weights_in(base) == trained_before);
  fs::remove_all(base);
  run_.config.base.lr = 5e-3;
  redo(run_, id.text());
  const auto losses = [](const fs::path& task) {
    std::string found;
    std::istringstream lines(read_file(task / "metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) found += json::parse(line).at("validation_loss").dump() + " ";
    return found;
  };
  EXPECT_NE(losses(base), losses(kept)) << "it took another course";
  redo(run_, "report");
  EXPECT_TRUE(read_json(context_.directory().task("report") / "cost.json").contains("base of all categories"));
  EXPECT_TRUE(weights_in(context_.directory().task(all)) == trained_before) << "and left alone what it started from";
  fs::remove_all(base);
  fs::remove_all(context_.directory().task(all));
  run_.config.base.start = config::BaseStart::backbone;
  fs::rename(kept, base);
  redo(run_, "report");
}

TEST_P(Tasks, SayWhenTheDataDecideWhenAnExpertStopsBecauseTheJudgesDoNot) {
  const std::string id = context_.expert_task(0, 0).text(), point = context_.category(0).points[0];
  const fs::path kept = folder() / "kept", expert = context_.directory().task(id),
                 label = context_.directory().task("label/" + context_.category(0).name + "/" + point);
  fs::rename(expert, kept);
  fs::create_directories(label);
  run_.config.labels.judges.resize(1);
  run_.config.experts.labels_min = 1;
  const std::string warning =
      "the judges gave no verdict on the validation split: the data's own labels of it decide when to stop";
  std::ofstream verdicts(label / "verdicts.jsonl");
  for (const auto& [subset, warned] : {std::pair(train::Subset::phase1, true), std::pair(train::Subset::validation, false)}) {
    for (const train::LabelledGroup& group : groups(0, subset, point)) {
      const auto [file, line] = run_.store->source(group.group);
      const preference::Preference& first = group.pairs.front();
      verdicts << json{{"file", file}, {"line", line}, {"pairs", {{first.winner, first.loser, "first", 1.0}}}} << std::endl;
    }
    const test::CapturedLog log;
    redo(run_, id);
    EXPECT_EQ(log.has(warning), warned) << log.text();
    const auto validation = groups(0, train::Subset::validation, point);
    EXPECT_EQ(context_.directory().metrics(id).at(point).at("validation_pairs"),
              warned ? train::count_pairs(validation) : std::ssize(validation));
    fs::remove_all(expert);
  }
  run_.config.labels.judges.clear();
  fs::rename(kept, expert);
}

TEST_P(Tasks, ChoosesTheSmallestAggregatorThatOrdersHeldOutGroups) {
  const std::string name = context_.category(0).name;
  std::map<std::string, std::string> cached;
  for (const char* split : {"train", "validation"})
    cached[split] = read_file(context_.directory().task("features/" + name) / (std::string(split) + ".safetensors"));
  /// Puts rewards and states in the place of the cached ones. `quality` is larger for the winner of every pair.
  const auto chosen_for =
      [&](const std::function<void(moe::ExpertFeatures&, at::Tensor & states_NKH, const at::Tensor& quality_N)>& plant) {
        at::manual_seed(5);
        for (const auto& [split, subset] :
             {std::pair("train", train::Subset::phase3), std::pair("validation", train::Subset::validation)}) {
          const fs::path file = context_.directory().task("features/" + name) / (std::string(split) + ".safetensors");
          moe::ExpertFeatures features = load_features(context_, 0, split);
          const std::int64_t responses = features.states_NKH.size(0);
          const at::Tensor prompts_GH = features.prompts_GH.read(at::arange(features.prompts_GH.size(0)));
          at::Tensor states_NKH = at::randn({responses, features.states_NKH.size(1), features.states_NKH.size(2)});
          features.rewards_NK.normal_();
          features.base_N.normal_();
          at::Tensor quality_N = at::zeros({responses});
          std::int64_t first = 0;
          for (const train::LabelledGroup& group : groups(0, subset)) {
            for (const preference::Preference& p : group.pairs) quality_N[first + p.winner] += 1, quality_N[first + p.loser] -= 1;
            first += std::ssize(group.responses);
          }
          plant(features, states_NKH, quality_N);
          fs::remove(file);
          nn::save_safetensors(file, {{"states", states_NKH},
                                      {"rewards", features.rewards_NK},
                                      {"base", features.base_N},
                                      {"lengths", features.length_N},
                                      {"prompts", prompts_GH}});
        }
        redo(run_, "aggregator/" + name);
        return chosen(0);
      };
  EXPECT_EQ(chosen_for([](moe::ExpertFeatures& f, at::Tensor&, const at::Tensor& quality_N) {
              f.rewards_NK.copy_(quality_N.unsqueeze(1).expand({-1, 2}));
            }),
            "stack")
      << "every kind orders all pairs";
  EXPECT_EQ(chosen_for([](moe::ExpertFeatures& f, at::Tensor&, const at::Tensor& quality_N) {
              f.rewards_NK.select(1, 0).copy_(quality_N);
              f.rewards_NK.select(1, 1).copy_(-quality_N);
            }),
            "stack")
      << "the second expert is always wrong, so the mean knows nothing";
  EXPECT_EQ(chosen_for([](moe::ExpertFeatures& f, at::Tensor&, const at::Tensor& quality_N) { f.base_N.copy_(quality_N); }),
            "stack")
      << "the base knows it all";
  EXPECT_EQ(chosen_for([](moe::ExpertFeatures&, at::Tensor& states_NKH, const at::Tensor& quality_N) {
              states_NKH.zero_();  // among noise of other states, so few prompts would not show it
              states_NKH.select(1, 1).select(1, 3).copy_(4 * quality_N);
            }),
            "mlp")
      << "only the states tell";
  for (const auto& [split, bytes] : cached)
    std::ofstream(context_.directory().task("features/" + name) / (split + ".safetensors"), std::ios::binary) << bytes;
  redo(run_, "aggregator/" + name);
}

TEST_P(Tasks, TakesTheAggregatorThatIsAskedFor) {
  const std::string task = "aggregator/" + context_.category(0).name, before = chosen(0);
  using config::AggregatorKind;
  for (const AggregatorKind kind :
       {AggregatorKind::mean, AggregatorKind::stack, AggregatorKind::gate, AggregatorKind::paper_mlp, AggregatorKind::best}) {
    run_.config.aggregator.kind = kind;
    redo(run_, task);
    EXPECT_EQ(chosen(0), kind == AggregatorKind::best ? before : config::word(kind));
  }
}

TEST_P(Tasks, KeepsTheScoresBehindItsCounts) {
  for (std::int32_t i = 0; i < 2; ++i) {
    const std::string& name = context_.category(i).name;
    const json found = results(name), kept = read_json(context_.directory().task("eval/" + name) / "scores.json");
    EXPECT_EQ(kept.at("points"), json(context_.category(i).points));
    std::size_t place = 0;
    for (const json& group : kept.at("groups")) {
      ASSERT_EQ(group.at("lengths").size(), group.at("scores").at("dmoerm").size());
      if (!group.at("pairs").contains("overall")) continue;
      ASSERT_EQ(group.at("id"), found.at("ids").at(place));
      for (const char* model : {"dmoerm", "single", "category", "base", "mean"}) {
        const std::vector<float> scores = group.at("scores").at(model);
        std::vector<preference::Preference> pairs;
        for (const json& pair : group.at("pairs").at("overall")) pairs.push_back({pair.at(0), pair.at(1)});
        EXPECT_EQ(found.at("right").at(model).at(place), nn::pairs_right(scores, pairs)) << model;
      }
      ++place;
    }
    EXPECT_EQ(place, found.at("ids").size());
    for (const std::string& point : context_.category(i).points) {
      std::int64_t pairs = 0, wanted = 0;
      for (const json& group : kept.at("groups")) pairs += std::ssize(group.at("pairs").value("point/" + point, json::array()));
      for (const json& n : found.at("points").at(point).at("pairs")) wanted += n.get<std::int64_t>();
      EXPECT_EQ(pairs, wanted) << point;
    }
  }
}

TEST_P(Tasks, CountsPairsAsTheFileStatesThemAndRewardsComputedByHand) {
  std::vector<json> rows;  // of the file, by line
  std::ifstream lines(folder() / GetParam() / "synth.jsonl");
  for (std::string line; std::getline(lines, line);) rows.push_back(json::parse(line));
  for (std::int32_t i = 0; i < 2; ++i) {
    const std::string name = context_.category(i).name;
    const json found = results(name);
    std::vector<double> checked = {0, 0};
    const auto count = [&](const std::string& column, const std::function<double(const data::TokenGroup&, std::size_t)>& reward) {
      std::size_t place = 0;
      for (const train::LabelledGroup& g : groups(i, train::Subset::test)) {
        const std::size_t at = place++;
        const json& row = rows.at(static_cast<std::size_t>(run_.store->source(g.group).second) - 1);
        ASSERT_EQ(row.at("id"), found.at("ids").at(at));
        double pairs = 0, ordered = 0, least = 1;
        for (const json& better : row.at("responses")) {
          for (const json& worse : row.at("responses")) {
            if (better.at("overall").get<double>() <= worse.at("overall").get<double>()) continue;
            const data::TokenGroup texts = run_.store->group(g.group);
            const double gap = reward(texts, better.at("rid")) - reward(texts, worse.at("rid"));
            pairs += 1, ordered += gap > 0, least = std::min(least, std::abs(gap));
          }
        }
        EXPECT_EQ(found.at("pairs").at(at), pairs);
        if (least < 1e-5) continue;  // rounding may decide
        EXPECT_EQ(found.at("right").at(column).at(at), ordered) << column << " " << at;
        checked[0] += pairs, checked[1] += ordered;
      }
    };
    const nn::RewardModel single = context_.load_model(plan::TaskId::single());
    count("single", [&](const data::TokenGroup& texts, std::size_t r) { return reward_by_hand(single, texts, r); });
    const std::vector<nn::RewardModel> experts = context_.load_experts(i);
    const auto mean =
        nn::SafetensorsReader::open(context_.directory().task("aggregator/" + name) / "mean.safetensors").load("reward_std");
    count("mean", [&](const data::TokenGroup& texts, std::size_t r) {
      double sum = 0;
      for (std::size_t k = 0; k < experts.size(); ++k)
        sum += reward_by_hand(experts[k], texts, r) / mean.const_data_ptr<float>()[k] / static_cast<double>(experts.size());
      return sum;
    });
    EXPECT_GT(checked[0], 20);
    EXPECT_NE(checked[1], checked[0] / 2) << "or the opposite order would count the same";
  }
}

TEST_P(Tasks, CountsThePairsThatTheModelsOrder) {  // every group of the test split
  for (std::int32_t i = 0; i < 2; ++i) {
    const std::string name = context_.category(i).name;
    const json found = results(name);
    const auto test = groups(i, train::Subset::test);
    ASSERT_EQ(found.at("pairs").size(), test.size());
    const nn::RewardModel single = context_.load_model(plan::TaskId::single());
    const auto counted = [&](const std::string& model,
                             const std::function<std::vector<float>(const train::LabelledGroup&)>& rewards_of) {
      for (std::size_t g = 0; g < test.size(); ++g)
        EXPECT_EQ(found.at("right").at(model).at(g), right(rewards_of(test[g]), test[g])) << model << " " << g;
    };
    counted("single", [&](const train::LabelledGroup& g) { return rewards(single, g); });
    const nn::RewardModel own = context_.load_model(plan::TaskId::category_baseline(name));
    counted("category", [&](const train::LabelledGroup& g) { return rewards(own, g); });
    for (const char* kind : {"mean", "stack", "gate", "mlp", "paper_mlp", "wco", "uwo"})
      counted(kind, [&](const train::LabelledGroup& g) { return rewards(i, kind, g); });
    for (const std::string& point : context_.category(i).points) {
      double pairs = 0;
      for (const json& n : found.at("points").at(point).at("pairs")) pairs += n.get<double>();
      EXPECT_EQ(pairs, train::count_pairs(groups(i, train::Subset::test, point)));
    }
  }
}

TEST_P(Tasks, ScoresDmoermWithTheModelOfTheRoute) {
  const std::string name = context_.category(0).name;
  const auto test = groups(0, train::Subset::test);
  const auto check = [&] {
    redo(run_, "eval/" + name);
    const json found = results(name);
    std::set<std::string> scored_by;
    for (std::size_t g = 0; g < test.size(); ++g) {
      const std::string route = found.at("routes").at(g).at("category");
      scored_by.insert(route);
      const auto target =
          static_cast<std::int32_t>(std::ranges::find(run_.store->categories(), route) - run_.store->categories().begin());
      const std::vector<float> said = route.empty() ? rewards(context_.load_model(plan::TaskId::single()), test[g])
                                                    : rewards(target, chosen(target), test[g]);
      EXPECT_EQ(found.at("right").at("dmoerm").at(g), right(said, test[g])) << g << " " << route;
    }
    return scored_by;
  };
  check();
  const fs::path weights = context_.directory().task("router") / "router.safetensors";
  {
    const auto reader = nn::SafetensorsReader::open(weights);
    nn::NamedTensors turned;
    for (const char* name_of : {"mean", "std", "weight", "bias"}) turned.emplace_back(name_of, reader.load(name_of));
    for (std::size_t t : {2, 3}) turned[t].second = turned[t].second.flip(0).contiguous();  // swaps the categories
    nn::save_safetensors(weights, turned);
  }
  EXPECT_TRUE(check().contains(context_.category(1).name));
  run_.config.router.confidence_min = 1.1;  // no confidence is high enough
  redo(run_, "router");
  EXPECT_EQ(check(), std::set<std::string>{""});
  run_.config.router.confidence_min = 0.0;
  redo(run_, "router");
  redo(run_, "eval/" + name);
}

TEST_P(Tasks, MixTheRewardsOfTheTwoCategoriesOfARoute) {
  const std::string name = context_.category(0).name;
  const auto test = groups(0, train::Subset::test);
  run_.config.router.mix_top = 2, run_.config.router.mix_gap = 1;
  redo(run_, "router");
  redo(run_, "eval/" + name);
  const json found = results(name);
  std::vector<moe::ScoreStats> stats;
  for (std::int32_t i = 0; i < 2; ++i)
    stats.push_back(
        moe::stats_of(context_.directory().metrics("aggregator/" + context_.category(i).name).at(chosen(i)).at("score")));
  for (std::size_t g = 0; g < test.size(); ++g) {
    const json& route = found.at("routes").at(g);
    const std::int32_t first = route.at("category") == name ? 0 : 1, second = 1 - first;
    EXPECT_EQ(route.at("second"), context_.category(second).name);
    const double share = route.at("second_share");
    EXPECT_NEAR(share, 1 - route.at("confidence").get<double>(), 1e-9) << "of two categories";
    std::vector<float> mixed = rewards(first, chosen(first), test[g]);
    const std::vector<float> others = rewards(second, chosen(second), test[g]);
    const moe::ScoreStats own = stats[static_cast<std::size_t>(first)], other = stats[static_cast<std::size_t>(second)];
    for (std::size_t i = 0; i < mixed.size(); ++i)
      mixed[i] = static_cast<float>((1 - share) * mixed[i] + share * (own.mean + own.std * (others[i] - other.mean) / other.std));
    EXPECT_EQ(found.at("right").at("dmoerm").at(g), right(mixed, test[g])) << g;
  }
  run_.config.router.mix_top = 1, run_.config.router.mix_gap = 0.5;
  redo(run_, "router");
  redo(run_, "eval/" + name);
  EXPECT_FALSE(results(name).at("routes").at(0).contains("second"));
}

TEST_P(Tasks, ARouterMayLearnHowWellEachBaseOrdersPromptsThatNoneWasTrainedOn) {
  const fs::path place = context_.directory().task("router"), kept = folder() / "kept";
  fs::rename(place, kept);
  const auto alone = comm::single();
  TaskParts parts(folder() / GetParam() / "ratings", "key");
  const PromptRatings ratings = rate_prompts(context_, parts, *alone);
  std::size_t rated = 0;
  for (std::int32_t m = 0; m < 2; ++m) {
    const nn::RewardModel base = context_.load_model(plan::TaskId::base(context_.category(m).name));
    for (std::int32_t i = 0; i < 2; ++i) {
      for (const train::Subset subset : {train::Subset::phase3, train::Subset::validation}) {
        for (const train::LabelledGroup& group : groups(i, subset)) {
          const std::vector<float> said = rewards(base, group);
          double sum = 0;
          for (const preference::Preference& p : group.pairs)
            sum -= std::log1p(std::exp(said[static_cast<std::size_t>(p.loser)] - said[static_cast<std::size_t>(p.winner)]));
          EXPECT_NEAR(ratings.at(group.group).at(static_cast<std::size_t>(m)), sum / static_cast<double>(group.pairs.size()),
                      1e-4);
          if (m == 0) ++rated;
        }
      }
    }
  }
  EXPECT_EQ(ratings.size(), rated) << "those of phase 1 are not rated";

  run_.config.router.kind = config::RouterKind::reward;
  redo(run_, "router");
  const std::string learnt = read_file(place / "router.safetensors");
  EXPECT_NE(learnt, read_file(kept / "router.safetensors"));
  fs::remove_all(place);
  int asked = 0;
  train::TaskProgress progress;
  progress.doing = [&](const std::string& what) {
    if (what.starts_with("rates") && ++asked == 2) request_stop(SIGTERM);
  };
  context_.set_progress(progress);
  EXPECT_THROW(redo(run_, "router"), Stopped);
  request_stop(0);
  EXPECT_EQ(asked, 2);
  redo(run_, "router");
  EXPECT_EQ(asked, 3) << "what the first base said was kept";
  context_.set_progress({});
  EXPECT_EQ(read_file(place / "router.safetensors"), learnt);
  EXPECT_FALSE(fs::exists(place / "parts"));
  run_.config.router.kind = config::RouterKind::trained;
  fs::remove_all(place);
  fs::rename(kept, place);
}

TEST_P(Tasks, GoOnWhereTheyWereBrokenOff) {
  const std::string name = context_.category(0).name;
  for (const std::string& id : {std::string("router"), "features/" + name, "aggregator/" + name, "eval/" + name}) {
    const fs::path place = context_.directory().task(id);
    std::map<std::string, std::string> before;
    for (const auto& entry : fs::directory_iterator(place)) {
      if (entry.path().filename() != "manifest.json") before[entry.path().filename().string()] = read_file(entry.path());
    }
    fs::remove_all(place);
    int stops = 0;
    for (auto patience = std::chrono::microseconds(0); !fs::exists(place / "manifest.json");
         patience = patience * 3 / 2 + std::chrono::milliseconds(1)) {
      std::thread stopper([&] {
        std::this_thread::sleep_for(patience);
        request_stop(SIGTERM);
      });
      try {
        redo(run_, id);
      } catch (const Stopped&) {
        ++stops;
      }
      stopper.join();
      if (id.starts_with("eval/") && !fs::exists(place / "manifest.json")) {  // it may have kept routes without rewards
        EXPECT_THROW(redo(run_, id), Stopped) << "the stop comes before the first prompt is routed again";
      }
      request_stop(0);
    }
    EXPECT_GE(stops, 1) << id;
    for (const auto& [file, content] : before) EXPECT_EQ(read_file(place / file), content) << id << " " << file;
    EXPECT_FALSE(fs::exists(place / "parts")) << id;
  }
}

TEST_P(Tasks, FeaturesStopInTheMiddleOfASplitAndKeepWhatTheyHave) {
  const std::string id = "features/" + context_.category(0).name;
  const fs::path place = context_.directory().task(id);
  const std::string before = read_file(place / "train.safetensors");
  std::vector<std::string> done;
  std::size_t stop_at = 0;
  train::TaskProgress progress;
  progress.doing = [&](const std::string& what) {
    done.push_back(what);
    if (done.size() == stop_at) request_stop(SIGTERM);
  };
  context_.set_progress(progress);
  const auto do_again = [&](std::size_t stop) {
    done.clear();
    stop_at = stop;
    redo(run_, id);
  };
  fs::remove_all(place);
  do_again(0);
  const std::size_t rounds = done.size();
  ASSERT_GT(rounds, 6U);
  fs::remove_all(place);
  for (int stops = 0; stops < 2; ++stops) {
    const std::string said = test::message_of<Stopped>([&] { do_again(2); });
    EXPECT_NE(said.find("responses of the split train"), std::string::npos) << said;
    EXPECT_EQ(said.find("only the first"), std::string::npos) << said;
    request_stop(0);
    const std::vector<fs::path> begun = unfinished_in(place);
    ASSERT_EQ(begun.size(), 1U);
    EXPECT_EQ(fs::file_size(begun[0]), before.size()) << "rows are where they stay";
    for (const auto& part : fs::directory_iterator(place / "parts"))
      EXPECT_LT(part.file_size(), 1000U) << part.path() << " has no rows";
  }
  do_again(0);
  EXPECT_EQ(done.size(), rounds - 4) << "each interrupted start did two rounds, which are not done again";
  EXPECT_EQ(read_file(place / "train.safetensors"), before);
  EXPECT_TRUE(unfinished_in(place).empty());
  fs::remove_all(place);
  fs::create_directories(place);
  std::ofstream(place / "parts") << "a file where the parts' folder should be";
  const std::string said = test::message_of<Stopped>([&] { do_again(2); });
  EXPECT_NE(said.find("only the first 0 of them could be kept"), std::string::npos) << said;
  request_stop(0);
  fs::remove_all(place);
  do_again(0);
  context_.set_progress({});
}

TEST_P(Tasks, FeaturesStopAmongThePromptsAndGoOnThere) {
  const std::int64_t tokens = std::exchange(run_.config.compute.micro_batch_tokens, 150);  // several batches of prompts
  const std::string id = "features/" + context_.category(0).name;
  const fs::path place = context_.directory().task(id);
  bool stop = false;
  std::size_t responses = 0, prompts = 0;
  train::TaskProgress progress;
  progress.doing = [&](const std::string& what) {
    if (what.find("of the split train") == std::string::npos) return;
    const bool of_prompts = what.find("prompts of") != std::string::npos;
    ++(of_prompts ? prompts : responses);
    if (of_prompts && stop) request_stop(SIGTERM);
  };
  context_.set_progress(progress);
  const auto do_again = [&](bool stopping) {
    stop = stopping, responses = prompts = 0;
    redo(run_, id);
  };
  fs::remove_all(place);
  do_again(false);
  const std::size_t all_prompts = prompts;
  const std::string before = read_file(place / "train.safetensors");
  ASSERT_GT(responses, 0U);
  ASSERT_GT(all_prompts, 1U) << "a stop is noticed before the next batch";
  fs::remove_all(place);
  const std::string said = test::message_of<Stopped>([&] { do_again(true); });
  EXPECT_NE(said.find("prompts of the split train"), std::string::npos) << said;
  request_stop(0);
  EXPECT_GT(responses, 0U);
  EXPECT_EQ(prompts, 1U);
  do_again(false);
  EXPECT_EQ(responses, 0U) << "no response is computed again";
  EXPECT_EQ(prompts, all_prompts - 1);
  EXPECT_EQ(read_file(place / "train.safetensors"), before);
  context_.set_progress({});
  run_.config.compute.micro_batch_tokens = tokens;
  fs::remove_all(place);
  redo(run_, id);  // as other tests find it
}

TEST_P(Tasks, EveryRankPoolsItsShareOfThePrompts) {
  const std::int64_t tokens = run_.config.compute.micro_batch_tokens;
  const PooledPrompts prompts{train::groups_of(*run_.store, -1, train::Subset::train, run_.config), "states", 0, "test",
                              "prompts"};
  const std::int64_t count = std::ssize(prompts.groups), width = context_.pretrained()->spec().width;
  const auto reading_of_rank = [](int rank) { return moe::PromptReading{config::Pooling::mean, rank == 0 ? 0 : 1}; };
  const moe::TokensOf prompt = [&](std::int64_t i) {
    return run_.store->group(prompts.groups[static_cast<std::size_t>(i)]).prompt;
  };
  std::vector<at::Tensor> expected;  // the batches of the two ranks in turn, which read differently
  for (std::int64_t first = 0, end = 0; first < count; first = end) {
    end = moe::end_of_batch(prompt, first, count, tokens);
    const int rank = static_cast<int>(expected.size() % 2);
    expected.push_back(moe::pool_batch(*context_.pretrained(), prompt, first, end, reading_of_rank(rank)));
  }
  ASSERT_GT(expected.size(), 3U);
  const fs::path place = folder() / "pooled", file = place / "states.safetensors";
  TaskParts parts(place, "a key of this test");
  test::on_ranks(2, [&](comm::Communicator& ranks) {
    RunContext own(run_.config, *run_.store, RunDirectory(folder() / GetParam() / "run"));
    std::optional<RowsWriter> writer;
    if (ranks.rank() == 0) writer.emplace(file, std::vector<nn::TensorLayout>{{"states", at::kFloat, {count, width}}}, 1, parts);
    write_pooled_prompts(own, prompts, *own.pretrained(), reading_of_rank(ranks.rank()), writer ? &*writer : nullptr, ranks);
    if (writer) writer->publish();
  });
  EXPECT_TRUE(nn::SafetensorsReader::open(file).load("states").equal(at::cat(expected)));
  fs::remove_all(place);
}

TEST_P(Tasks, FeaturesAndRouterHaveTheSameBitsOnSeveralRanks) {
  const std::string features = "features/" + context_.category(0).name;
  const std::map<std::string, std::vector<std::string>> files = {{features, {"train.safetensors", "validation.safetensors"}},
                                                                 {"router", {"router.safetensors"}}};
  for (const auto& [id, names] : files) {
    const fs::path place = context_.directory().task(id);
    std::map<std::string, std::string> before;
    for (const std::string& name : names) before[name] = read_file(place / name);
    fs::remove_all(place);
    test::on_ranks(3, [&, task_id = id](comm::Communicator& ranks) {
      RunContext own(run_.config, *run_.store, RunDirectory(folder() / GetParam() / "run"));
      for (const RunTask& task : plan_tasks(run_.config, *run_.store)) {
        if (task.node.id == task_id) task.run(own, task.identity, ranks);
      }
    });
    for (const auto& [name, content] : before) EXPECT_EQ(read_file(place / name), content) << id << " " << name;
    EXPECT_FALSE(fs::exists(place / "parts")) << id;
  }
}

TEST_P(Tasks, TheRouterKeepsTheStatesThatItHasComputed) {
  const fs::path place = context_.directory().task("router");
  const std::string before = read_file(place / "router.safetensors");
  fs::remove_all(place);
  std::size_t batches = 0, stop_at = 0;
  train::TaskProgress progress;
  progress.doing = [&](const std::string& what) {
    if (what.find("prompts of the split") != std::string::npos && ++batches == stop_at) request_stop(SIGTERM);
  };
  context_.set_progress(progress);
  redo(run_, "router");
  const std::size_t all = batches;
  ASSERT_GT(all, 3U);
  fs::remove_all(place);
  batches = 0, stop_at = all - 1;
  const std::string said = test::message_of<Stopped>([&] { redo(run_, "router"); });
  request_stop(0);
  EXPECT_NE(said.find("router: interrupted after"), std::string::npos) << said;
  ASSERT_EQ(unfinished_in(place / "parts" / "states").size(), 1U);
  batches = stop_at = 0;
  redo(run_, "router");
  EXPECT_EQ(batches, 1U) << "the others are on the disk";
  EXPECT_EQ(read_file(place / "router.safetensors"), before);
  EXPECT_FALSE(fs::exists(place / "parts"));
  context_.set_progress({});
}

TEST_P(Tasks, FeaturesBelieveNoNoteOfAnotherFile) {
  const plan::TaskId task = plan::TaskId::features(context_.category(0).name);
  const fs::path place = context_.directory().task(task), kept = folder() / "kept-features";
  const std::string before = read_file(place / "train.safetensors");
  fs::rename(place, kept);
  TaskIdentity identity, other;
  identity.settings = {{"task", task.text()}}, other.settings = {{"task", "another"}};
  std::size_t done = 0, of_train = 0, stop_at = 0, die_at = 0;
  train::TaskProgress progress;
  progress.doing = [&](const std::string& what) {
    ++done;
    if (what.find("of the split train") != std::string::npos) ++of_train;
    if (done == stop_at) request_stop(SIGTERM);
    if (done == die_at) throw std::runtime_error("as if it were killed");
  };
  context_.set_progress(progress);
  const auto do_again = [&](const TaskIdentity& as, std::size_t stop, std::size_t die) {
    done = 0, stop_at = stop, die_at = die;
    run_features(context_, task, as, *comm::single());
  };
  do_again(identity, 0, 0);
  const std::size_t rounds = done, rounds_of_train = of_train;
  ASSERT_GT(rounds_of_train, 3U);
  ASSERT_GT(rounds, rounds_of_train);
  fs::remove_all(place);
  const auto interrupt = [&] {
    EXPECT_THROW(do_again(identity, 2, 0), Stopped);
    request_stop(0);
    ASSERT_EQ(unfinished_in(place).size(), 1U);
  };
  interrupt();
  EXPECT_THROW(do_again(other, 0, 1), std::runtime_error);
  do_again(identity, 0, 0);
  EXPECT_EQ(done, rounds) << "other settings removed what was written, and the note counts for nothing";
  EXPECT_EQ(read_file(place / "train.safetensors"), before);
  EXPECT_TRUE(unfinished_in(place).empty());

  fs::remove_all(place);
  interrupt();
  fs::remove(unfinished_in(place)[0]);
  EXPECT_THROW(do_again(identity, 0, 1), std::runtime_error);  // a new file has begun, of which nothing is noted
  do_again(identity, 0, 0);
  EXPECT_EQ(done, rounds);
  EXPECT_EQ(read_file(place / "train.safetensors"), before);

  fs::remove_all(place);
  EXPECT_THROW(do_again(identity, 0, rounds_of_train + 1), std::runtime_error);  // the split train is written
  EXPECT_THROW(do_again(other, 0, 1), std::runtime_error);
  EXPECT_THROW(do_again(identity, 0, 1), std::runtime_error);
  EXPECT_TRUE(unfinished_in(place).size() == 1 && unfinished_in(place)[0].filename().string().starts_with("validation."))
      << "other settings that did not come to an end leave the split train as it is";
  const fs::path in_the_way = temporary_name(place / "parts" / "train.safetensors");
  fs::create_directories(in_the_way);
  EXPECT_THROW(do_again(other, 0, rounds_of_train + 1), std::runtime_error);  // replaces it, and cannot say so
  fs::remove(in_the_way);
  do_again(identity, 0, 0);
  EXPECT_EQ(done, rounds) << "the file may be that of other settings";
  context_.set_progress({});
  fs::remove_all(place);
  fs::rename(kept, place);
}

TEST_P(Tasks, GapsStopInTheMiddleAndKeepWhatTheyHave) {
  const plan::TaskId expert = context_.expert_task(0, 0);
  const plan::TaskId gaps = plan::TaskId::gaps(expert.category, expert.points, 1);
  const fs::path of_round = context_.directory().task(plan::TaskId::expert(expert.category, expert.points, 1)),
                 place = context_.directory().task(gaps);
  fs::create_directories(of_round.parent_path());
  fs::copy(context_.directory().task(expert), of_round, fs::copy_options::recursive);
  TaskIdentity identity;
  identity.settings = {{"task", gaps.text()}};
  std::size_t done = 0, stop_at = 0;
  train::TaskProgress progress;
  progress.doing = [&](const std::string&) {
    if (++done == stop_at) request_stop(SIGTERM);
  };
  context_.set_progress(progress);
  const auto do_again = [&](std::size_t stop) {
    done = 0;
    stop_at = stop;
    run_gaps(context_, gaps, identity, *comm::single());
  };
  do_again(0);
  const std::size_t rounds = done;
  ASSERT_GT(rounds, 5U);
  const std::string whole = read_file(gaps_file(place));
  fs::remove_all(place);
  for (int stops = 0; stops < 2; ++stops) {
    const std::string said = test::message_of<Stopped>([&] { do_again(2); });
    EXPECT_NE(said.find(gaps.text() + ": interrupted after"), std::string::npos) << said;
    EXPECT_EQ(said.find("only the first"), std::string::npos) << said;
    request_stop(0);
  }
  do_again(0);
  EXPECT_EQ(done, rounds - 4) << "each interrupted start did two rounds, which are not done again";
  EXPECT_EQ(read_file(gaps_file(place)), whole);
  EXPECT_FALSE(fs::exists(place / "parts"));
  fs::remove_all(place);
  EXPECT_THROW(do_again(2), Stopped);
  request_stop(0);
  identity.settings["phase1_share"] = 0.25;
  do_again(0);
  EXPECT_EQ(done, rounds) << "other settings take nothing over";
  context_.set_progress({});
  fs::remove_all(place);
  fs::remove_all(of_round);
}

TEST_P(Tasks, AddsUpTheCountsInTheReport) {
  const json numbers = read_json(context_.directory().task("report") / "report.json");
  const std::string text = read_file(context_.directory().task("report") / "report.md");
  const auto cells = [&](const std::string& first) {  // cells of the row of the first table that begins with `first`
    std::istringstream lines(text);
    std::vector<std::string> found;
    for (std::string line; found.empty() && std::getline(lines, line);) {
      if (!line.starts_with("| " + first)) continue;
      std::istringstream row(line);
      for (std::string cell; std::getline(row, cell, '|');) {
        while (cell.ends_with(" ")) cell.pop_back();
        while (cell.starts_with(" ")) cell.erase(0, 1);
        found.push_back(cell);
      }
    }
    return found;
  };
  const std::map<std::string, std::string> titles = {{"single", "single model"},
                                                     {"category", "one per category"},
                                                     {"base", "base alone"},
                                                     {"oracle_route", "true category"},
                                                     {"mean", "mean of experts"},
                                                     {"stack", "stack"},
                                                     {"gate", "gate"},
                                                     {"mlp", "MLP"},
                                                     {"paper_mlp", "the paper's MLP"},
                                                     {"wco", "WCO"},
                                                     {"uwo", "UWO"},
                                                     {"dmoerm", "DMoERM"}};
  const auto header = cells("category");
  std::map<std::string, double> all_right;
  double all_pairs = 0;
  const auto expect_share = [&](const std::string& row, const std::string& model, double share) {
    const json& said = numbers.at("accuracy").at(row).at(model);
    EXPECT_NEAR(said.at("value").get<double>(), share, 1e-12) << row << " " << model;
    EXPECT_LE(said.at("low").get<double>(), share);
    EXPECT_GE(said.at("high").get<double>(), share);
    const auto column = std::ranges::find(header, titles.at(model)) - header.begin();
    ASSERT_LT(column, std::ssize(header)) << model;
    EXPECT_TRUE(cells(row).at(static_cast<std::size_t>(column)).starts_with(fmt::format("{:.3f} [", share)))
        << row << " " << model;
  };
  for (std::int32_t i = 0; i < 2; ++i) {
    const std::string name = context_.category(i).name;
    const json found = results(name);
    double pairs = 0;
    for (const json& n : found.at("pairs")) pairs += n.get<double>();
    all_pairs += pairs;
    for (const auto& [model, title] : titles) {
      double count = 0;
      for (const json& n : found.at("right").at(model)) count += n.get<double>();
      all_right[model] += count;
      expect_share(name, model, count / pairs);
    }
    for (const std::string& point : context_.category(i).points) {
      double point_right = 0, point_pairs = 0;
      for (const json& n : found.at("points").at(point).at("right")) point_right += n.get<double>();
      for (const json& n : found.at("points").at(point).at("pairs")) point_pairs += n.get<double>();
      EXPECT_NEAR(numbers.at("points").at(name).at(point).at("value").get<double>(), point_right / point_pairs, 1e-12);
    }
  }
  for (const auto& [model, title] : titles) expect_share("all", model, all_right[model] / all_pairs);
  for (const char* rival : {"single", "category", "mean"}) {
    EXPECT_NEAR(numbers.at("difference").at(std::string("dmoerm-") + rival).at("value").get<double>(),
                (all_right["dmoerm"] - all_right[rival]) / all_pairs, 1e-12);
  }
}

INSTANTIATE_TEST_SUITE_P(Of, Tasks, testing::Values("lora", "full"), [](const auto& of) { return std::string(of.param); });

}  // namespace
}  // namespace dmoerm::run
