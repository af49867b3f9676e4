#include "plan/cost_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "plan/calibration.h"
#include "plan/cpu_rate.h"
#include "plan/graph_builder.h"
#include "plan/simulator.h"
#include "plan/task_load.h"
#include "support/scratch.h"

namespace dmoerm::plan {
namespace {

std::vector<TaskNode> stated_nodes(const config::RunConfig& config) {
  const StatedNumbers numbers;
  return GraphBuilder(config, StatedSizes(config, numbers)).build();
}

Load adapter_training() {
  Load load;
  load.steps = 100, load.groups_per_step = 8, load.group_tokens = 1000, load.adapter_rank = 32;
  return load;
}

Task priced(const Load& load, const char* device = "h100", std::int64_t micro_batch_tokens = 2000) {
  Task task{"expert/c/p", {}, 1, 64};
  price(task, load, *find_shape("qwen2.5-1.5b"), *find_device(device, true), micro_batch_tokens);
  return task;
}

TEST(Shapes, HaveTheParametersOfThePublishedModels) {
  EXPECT_NEAR(find_shape("qwen2.5-1.5b")->parameters, 1.54e9, 0.01e9);
  EXPECT_NEAR(find_shape("llama3-8b")->parameters, 8.03e9 - 128256.0 * 4096, 0.01e9) << "without the output embedding";
  EXPECT_NEAR(find_shape("smollm2-135m")->parameters, 134.5e6, 0.5e6);
  EXPECT_EQ(find_shape("llama3-8b")->adapter_per_rank * 32, 13631488) << "peft's count for q and v at rank 32";
  for (const std::string& name : shape_names()) EXPECT_TRUE(find_shape(name).has_value());
  EXPECT_FALSE(find_shape("nothing").has_value());
}

TEST(Price, CostsWhatTheArithmeticTakes) {
  const ModelShape shape = *find_shape("qwen2.5-1.5b");
  DeviceModel device = *find_device("h100", true);
  device.half_tokens = 0;
  Task task{"t", {}, 1, 1};
  price(task, adapter_training(), shape, device, 2000);
  const double attention = shape.layers * shape.q_width * 1000, adapter = 32 * shape.adapter_per_rank;
  const double expected = 100 * 8 * 1000 * 2 * (2 * (shape.linear_macs + attention) + 3 * adapter) / (989e12 * 0.4);
  EXPECT_NEAR(task.cost, expected, 0.01 * expected);
  Load all = adapter_training();
  all.all_weights = true;
  EXPECT_GT(priced(all).cost, 1.4 * priced(adapter_training()).cost);
}

/// The first number behind `row` on the page docs/results/speed.md; 0 if no row begins so.
double number_on_speed_page(const std::string& row) {
  const std::string page = read_file(DMOERM_SOURCE "/docs/results/speed.md");
  const std::size_t at = page.find(row);
  return at == std::string::npos ? 0 : std::stod(page.substr(at + row.size()));
}

TEST(Price, IsWithinAQuarterOfTheSpeedPage) {
  // Two threads; a row of the page, tokens of a group and groups of a step that it measured, in groups or tokens a second.
  struct Measured {
    CpuKind kind;
    const char* row;
    double group_tokens, groups, of_a_group;
  };
  for (const Measured& m : {Measured{CpuKind::avx512, "| `train-hh`: HH pairs, batches of 8 | ", 209, 8, 1},
                            {CpuKind::avx512, "| `train-tokens`: nothing to share, 16 pairs | ", 465, 8, 465},
                            {CpuKind::avx2_in_halves, "| `train-hh` | ", 209, 8, 1},
                            {CpuKind::avx2_in_halves, "| `train-tokens` | ", 465, 8, 465}}) {
    Load load;
    load.steps = 1, load.groups_per_step = m.groups, load.group_tokens = m.group_tokens, load.adapter_rank = 32;
    DeviceModel device = *find_device("cpu");
    const CpuSpeed speed = cpu_speed(m.kind);
    device.peak_tflops = 2 * speed.peak_tflops, device.reached = speed.reached, device.attention_cost = speed.attention_cost;
    Task task{"expert/c/p", {}, 1, 1};
    price(task, load, *find_shape("smollm2-135m"), device, 2048);
    const double measured = number_on_speed_page(m.row);
    EXPECT_NEAR(m.groups * m.of_a_group / task.cost, measured, 0.25 * measured) << m.row;
  }
}

TEST(MultiplyAdds, AreMeasuredWithinReasonWhereTheKindIsKnown) {
  const auto measured = multiply_adds_here();
  ASSERT_EQ(measured.has_value(), cpu_kind_here() != CpuKind::other);
  if (!measured) return;
  EXPECT_GT(*measured, 0);
  EXPECT_LT(*measured, 1) << "a core of today does some tenths of this";
}

TEST(MultiplyAdds, DoNotChangeWhatARunPrices) {
  const CpuSpeed speed = cpu_speed(cpu_kind_here());
  const config::ComputeConfig two{.device = config::Device::cpu, .threads = 2};
  EXPECT_DOUBLE_EQ(device_of(two).peak_tflops, 2 * speed.peak_tflops) << "the same on every rank, and when it goes on";
}

TEST(Price, IsWithinATenthOfMemoryMeasuredOnACpu) {
  // Of cost-growth: groups of so many tokens a step in one pass, experts in it, MiB of the process.
  struct Measured {
    double group_tokens, groups, experts, mib;
  };
  for (const Measured& m : {Measured{512, 4, 1, 2263}, {1280, 1, 1, 1651}, {128, 1, 1, 944}, {128, 1, 8, 1723}}) {
    Load load;
    load.steps = 1, load.groups_per_step = m.groups, load.group_tokens = m.group_tokens, load.adapter_rank = 32;
    load.models = static_cast<int>(m.experts);
    Task task{"expert/c/p", {}, 1, 1};
    price(task, load, *find_shape("smollm2-135m"), *find_device("cpu"),
          static_cast<std::int64_t>(m.group_tokens * m.groups * m.experts));
    EXPECT_NEAR(task.memory_mib, m.mib, 0.1 * m.mib) << m.group_tokens << " " << m.experts;
  }
}

TEST(Price, CountsWhatTheBackwardPassOfFlashAttentionTakes) {
  // Two groups of four responses in a pass of 2000 tokens: ten sequences of 12 heads, so two copies for 132 multiprocessors, of
  // rows with 12 heads of 128 float32 numbers and one more; and keys and values in bfloat16 for twelve heads, as there are two.
  Load load = adapter_training();
  load.responses = 4;
  DeviceModel device = *find_device("h100", true), without = device;
  without.multiprocessors = 0;
  const auto mib = [&](const DeviceModel& on) {
    Task task{"expert/c/p", {}, 1, 1};
    price(task, load, *find_shape("qwen2.5-1.5b"), on, 2000);
    return task.memory_mib;
  };
  const double sums = (2000 + 10 * 128) * 12.0 * (2 * 128 + 1) * 4, keys_and_values = 2 * 2000 * 12.0 * 128 * 2;
  EXPECT_NEAR(mib(device) - mib(without), (sums + keys_and_values) / (1 << 20), 1e-6);
  load.steps = 0, load.read_groups = 100;
  EXPECT_DOUBLE_EQ(mib(device), mib(without)) << "it goes forward only";
}

TEST(FlashBackward, RoundsHeadsAndTakesMoreCopiesOfFewerSequences) {
  ModelShape shape = decoder_shape("own", 1000, 1280, 3456, 2, 16, 16, 80, true);
  const DeviceModel device = *find_device("h200", true);
  const auto bytes = [&](const Pass& pass) { return flash_backward_bytes(shape, device, pass); };
  EXPECT_EQ(bytes({1000, 1, 1}), 4.0 * 16 * (1000 + 2 * 128) * (5 * 96 + 1)) << "132 in 32: five times, 80 columns as 96";
  EXPECT_EQ(bytes({9000, 1, 8}), 4.0 * 16 * (9000 + 3 * 128) * (3 * 96 + 1)) << "the call for prompts takes more";
  shape.shares_prefix = false;
  EXPECT_EQ(bytes({1000, 1, 1}), 4.0 * 16 * (1000 + 128) * (9 * 96 + 1)) << "an encoder's response has its own prompt";
  EXPECT_EQ(flash_backward_bytes(shape, *find_device("h200", false), {1000, 1, 1}), 0) << "float32 has another attention";
  EXPECT_EQ(flash_backward_bytes(shape, *find_device("cpu", true), {1000, 1, 1}), 0);
  shape.head_dim = 160;
  EXPECT_EQ(bytes({1000, 1, 1}), 4.0 * 16 * (1000 + 128) * (9 * 192 + 1));
  for (const double head_dim : {100, 264}) {
    shape.head_dim = head_dim;
    EXPECT_EQ(bytes({1000, 1, 1}), 0) << head_dim;
  }
}

TEST(Price, RanksBeyondTheMicroBatchesOfAStepGiveNothing) {
  const Task task = priced(adapter_training());
  EXPECT_EQ(micro_batches(adapter_training(), 2000), 4);
  EXPECT_NEAR(speedup(task, 2), 2, 0.1);
  EXPECT_NEAR(speedup(task, 4), 4, 0.3);
  EXPECT_LT(speedup(task, 8), 1.02 * speedup(task, 4));
  Load ten = adapter_training();
  ten.groups_per_step = 10;
  EXPECT_EQ(micro_batches(ten, 2000), 8) << "five would do, but leave four to one of two ranks";
  EXPECT_NEAR(speedup(priced(ten), 2), 2, 0.1);
  EXPECT_NEAR(speedup(priced(ten), 8), 8, 0.6);
  Load five = adapter_training();
  five.groups_per_step = 5;
  EXPECT_EQ(micro_batches(five, 1000), 5) << "there are no more groups";
  EXPECT_NEAR(speedup(priced(five, "h100", 1000), 2), 5.0 / 4, 0.05) << "five micro batches: four and one";
}

TEST(Price, GroupsLargerThanAPassTakeItsMemoryAndOneMorePass) {
  Load large = adapter_training();
  large.group_tokens = 8000;
  EXPECT_EQ(micro_batches(large, 2000), 32) << "portions are micro batches";
  EXPECT_LT(priced(large).memory_mib, 1.02 * priced(adapter_training()).memory_mib) << "but for three more levels of sums";
  EXPECT_NEAR(priced(large, "h100", 2000).cost, 1.5 * priced(large, "h100", 8000).cost, 0.1 * priced(large).cost)
      << "forward, forward and backward";
  EXPECT_NEAR(speedup(priced(large), 32), 32, 2);
}

TEST(Price, AnAverageOfTheWeightsTakesMemoryAndRoomInCheckpoints) {
  Load with = adapter_training();
  with.averages = true;
  const Task task = priced(with), without = priced(adapter_training());
  EXPECT_DOUBLE_EQ(task.checkpoint_mib, 20.0 / 16 * without.checkpoint_mib);
  EXPECT_GT(task.memory_mib, without.memory_mib);
  EXPECT_GT(task.cost, without.cost);
}

TEST(Price, SumsOverTheLinksSlowAGroupOfSeveralNodes) {
  Load load = adapter_training();
  load.all_weights = true;
  const Task task = priced(load);
  EXPECT_LT(speedup(task, 4, true), 0.8 * speedup(task, 4, false));
  load.shard = true;
  EXPECT_LT(priced(load).memory_mib + priced(load).sharded_mib / 4, task.memory_mib);
  EXPECT_NEAR(priced(load).sharded_mib, 20 * find_shape("qwen2.5-1.5b")->parameters / (1 << 20), 1)
      << "in float32: master weights, gradient, two moments, the best so far";
}

TEST(Price, FusedExpertsShareTheBaseAndFillThePass) {
  Load load = adapter_training();
  load.groups_per_step = 2, load.group_tokens = 100;
  const Task one = priced(load);
  load.models = 4;
  const Task four = priced(load);
  EXPECT_LT(four.cost, 2.5 * one.cost) << "short passes leave the device half idle";
  EXPECT_LT(four.memory_mib, 1.2 * one.memory_mib) << "one base";
}

TEST(Price, ATreeOfSumsKeepsOneForEachLevel) {
  Load load = adapter_training();
  load.all_weights = true;
  const double four = priced(load).memory_mib, parameters = find_shape("qwen2.5-1.5b")->parameters;
  load.groups_per_step = 32;
  EXPECT_NEAR(priced(load).memory_mib - four, 2 * 4 * parameters / (1 << 20), 1) << "16 micro batches have four levels";
  load.groups_per_step = 2;
  EXPECT_NEAR(four - priced(load).memory_mib, 4 * parameters / (1 << 20), 1) << "one micro batch";
}

TEST(Price, LongPromptsAndWideAdaptersTakeTheirTime) {
  // Of cost-growth on an AMD EPYC of the first generation: tokens of a prompt, responses of 64 tokens, rank, tokens a second.
  struct Measured {
    double prompt, responses, rank, per_second;
  };
  const CpuSpeed speed = cpu_speed(CpuKind::avx2_in_halves);
  DeviceModel device = *find_device("cpu");
  device.peak_tflops = 2 * speed.peak_tflops, device.reached = speed.reached, device.attention_cost = speed.attention_cost;
  for (const Measured& m : {Measured{32, 4, 32, 138.8},
                            {512, 4, 32, 124.6},
                            {1536, 4, 32, 89.2},
                            {256, 16, 32, 132.8},
                            {256, 4, 4, 124.6},
                            {256, 4, 256, 109.5}}) {
    Load load;
    load.steps = 1, load.adapter_rank = m.rank, load.responses = m.responses;
    load.group_tokens = m.prompt + 64 * m.responses, load.plain_group_tokens = m.responses * (m.prompt + 64);
    load.groups_per_step = std::max(1.0, std::floor(2048 / load.group_tokens));
    Task task{"expert/c/p", {}, 1, 1};
    price(task, load, *find_shape("smollm2-135m"), device, 2048);
    EXPECT_NEAR(load.groups_per_step * load.group_tokens / task.cost, m.per_second, 0.1 * m.per_second)
        << m.prompt << " " << m.rank;
  }
}

TEST(Price, TasksWithoutTokensCostWhatTheyState) { EXPECT_DOUBLE_EQ(priced(fixed_load(3)).cost, 3); }

TEST(Price, FittingAnAggregatorCostsItsStepsNotItsGroups) {
  config::AggregatorConfig aggregator;
  const GroupSizes few{2000, 0, 0, 2000, 4}, many{20000, 0, 0, 20000, 4}, none{};
  const double one = priced(fitting_load(aggregator, few, none, 1)).cost;
  EXPECT_GT(one, 1e-3) << "more than the least cost of any task";
  aggregator.steps_max *= 10;
  EXPECT_NEAR(priced(fitting_load(aggregator, few, none, 1)).cost, 10 * one, 0.01 * one);
  aggregator.steps_max /= 10;
  EXPECT_NEAR(priced(fitting_load(aggregator, many, none, 1)).cost, one, 0.05 * one) << "a step computes its own groups";
  // By hand, on a device that reaches 1 TFLOP/s: 2000 steps of 16 groups of 4 responses under two experts, for the paper's MLP
  // once and for two networks with 64 hidden units six times each.
  ModelShape shape = *find_shape("smollm2-135m");
  DeviceModel device = *find_device("cpu");
  device.float32_tflops = 1, device.reached = 1, device.half_tokens = 0, device.memory_gb_s = 100;
  Task task{"aggregator/c", {}, 1, 1};
  price(task, fitting_load(aggregator, few, {50, 0, 0, 50, 2}, 2), shape, device, 2000);
  const auto steps = [](double weights) { return 2000 * (64 * 4 * weights / 1e12 + 40 * weights / 100e9 + 1e-3); };
  const double large = 2.0 * 576 * 576, small = 2.0 * 576 * 64;
  const double paper = steps(large) + (401 * 50 * 2 + 2000 * 4) * 2 * large / 1e12;
  const double networks = 12 * steps(small) + (12 * 401 * 400 * 4 + 4 * 2000 * 4) * 2 * small / 1e12;
  EXPECT_NEAR(task.cost, paper + networks, 1e-6 * task.cost);
}

TEST(Price, AModelThatReadsAloneGoesThroughAllLayers) {
  config::TrainConfig train;
  train.tuning = config::Tuning::lora, train.lora_layers = 4;
  const GroupSizes groups{1000, 500, 0, 1000, 2};
  Load alone = reading_load({}, groups, 1), besides = reading_load(train, {0, 500, 0, 0, 2}, 1);
  besides.whole_read_groups = 1000;
  EXPECT_DOUBLE_EQ(priced(besides).cost, priced(alone).cost);
  EXPECT_LT(priced(reading_load(train, groups, 2)).cost, 1.5 * priced(alone).cost) << "two experts over one trunk";
}

TEST(EstimatedJob, FitsTheDeviceOnlyInShards) {
  config::RunConfig config;
  config.categories = {{"chat", {"a", "b", "c"}, {}}, {"code", {"d", "e"}, {}}};
  config.base.tuning = config::Tuning::full, config.base.shard = true, config.base.gradient_checkpointing = true;
  const TaskGraph graph = priced_graph(stated_nodes(config), *find_shape("llama3-8b"), *find_device("h100", true), 2048);
  EXPECT_EQ(graph.tasks().size(), 1U + 1 + 2 + 5 + 2 + 2 + 2 + 1 + 2 + 1 + 1);
  EXPECT_EQ(graph.at("eval/chat").inputs.size(), 12U);
  EXPECT_TRUE(group_sizes(graph.at("base/chat"), even_cluster(1, 1, 79872)).empty());
  EXPECT_EQ(group_sizes(graph.at("base/chat"), even_cluster(1, 8, 79872)).front(), 4);
  EXPECT_EQ(group_sizes(graph.at("expert/chat/a"), even_cluster(1, 8, 79872)).front(), 1);
  config.experts.per_task = 2;
  EXPECT_TRUE(
      priced_graph(stated_nodes(config), *find_shape("llama3-8b"), *find_device("h100", true), 2048).has("expert/chat/a+b"));
}

class Calibrating : public test::Scratch {
 protected:
  Calibrating() {
    graph_.add({"base/c", {}, 10, 4});
    graph_.add({"expert/c/p", {"base/c"}, 20, 4});
    graph_.add({"expert/c/q", {"base/c"}, 40, 4});
  }
  TaskGraph graph_;
};

TEST_F(Calibrating, TakesCostsSharesAndSpeedupsFromATimeline) {
  const auto file = write("timeline.jsonl",
                          R"({"event":"run","at":100,"ranks":[{"rank":0,"host":"a"},{"rank":1,"host":"a"}],"tasks":[]}
{"event":"start","at":100,"task":"base/c","ranks":[0]}
{"event":"progress","at":105,"task":"base/c","step":5,"steps_max":10,"fraction":0.5}
{"event":"progress","at":110,"task":"base/c","step":10,"steps_max":10,"fraction":1}
{"event":"end","at":110,"task":"base/c","outcome":"done","message":""}
{"event":"start","at":110,"task":"expert/c/p","ranks":[0]}
{"event":"progress","at":118,"task":"expert/c/p","step":40,"steps_max":100,"fraction":0.4}
{"event":"progress","at":120,"task":"expert/c/p","step":50,"steps_max":50,"fraction":1}
{"event":"end","at":120,"task":"expert/c/p","outcome":"done","message":""}
{"event":"start","at":120,"task":"expert/c/q","ranks":[0,1]}
{"event":"progress","at":140,"task":"expert/c/q","step":80,"steps_max":100,"fraction":0.8}
{"event":"progress","at":145,"task":"expert/c/q","step":100,"steps_max":100,"fraction":1}
{"event":"end","at":145,"task":"expert/c/q","outcome":"done","message":""}
{"event":"finish","at":146,"code":0}
{"event":"start","at":1)");
  const Calibration c = calibrate(file, graph_, 0);
  EXPECT_EQ(c.ranks, 2);
  EXPECT_DOUBLE_EQ(c.seconds, 46);
  EXPECT_DOUBLE_EQ(c.of_task.at("base/c"), 1);
  EXPECT_DOUBLE_EQ(c.share.at("expert/c/p"), 0.5) << "50 of 100 steps: it stopped early";
  EXPECT_DOUBLE_EQ(c.of_task.at("expert/c/p"), 1) << "10 s for half of 20";
  EXPECT_DOUBLE_EQ(c.speedup.at("expert").at(2), 1.6) << "40 in 25 s";
  const TaskGraph graph = calibrated(graph_, c);
  EXPECT_DOUBLE_EQ(graph.at("expert/c/q").cost, 40);
  SimulationOptions options;
  options.cluster = even_cluster(1, 1, 0), options.share = c.share;
  EXPECT_DOUBLE_EQ(simulate(graph, options).makespan, 10 + 10 + 40);
}

TEST_F(Calibrating, RefusesATimelineOfAnotherRunAndOneThatIsNone) {
  const auto other = write("other.jsonl", R"({"event":"start","at":1,"task":"x","ranks":[0]})"
                                          "\n");
  EXPECT_NE(test::message_of<DataError>([&] { calibrate(other, graph_, 0); }).find("another run"), std::string::npos);
  const auto none = write("none.jsonl", "{\"at\":1}\n{}\n");
  EXPECT_NE(test::message_of<DataError>([&] { calibrate(none, graph_, 0); }).find("none.jsonl:1"), std::string::npos);
}

}  // namespace
}  // namespace dmoerm::plan
