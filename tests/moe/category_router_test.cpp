#include "moe/category_router.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "moe/adam_fit.h"
#include "nn/safetensors.h"

namespace dmoerm::moe {
namespace {

/// Points around one centre per category; a share of the labels is wrong.
std::pair<at::Tensor, std::vector<std::int32_t>> prompts(std::int64_t n, std::uint64_t seed, double wrong) {
  at::manual_seed(seed);
  std::vector<std::int32_t> labels;
  at::Tensor x = at::randn({n, 10}) * 0.7;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto label = static_cast<std::int32_t>(i % 3);
    x[i][label] += 4.0;
    labels.push_back(at::rand({1}).item<double>() < wrong ? (label + 1) % 3 : label);
  }
  return {x, labels};
}

CategoryRouter fit_router(double wrong, double confidence_min, double keep_share = 0.95) {
  const auto [train, train_labels] = prompts(600, 1, wrong);
  const auto [validation, validation_labels] = prompts(600, 2, wrong);
  config::RouterConfig config;
  config.confidence_min = confidence_min;
  config.keep_share = keep_share;
  return CategoryRouter::fit({"a", "b", "c"}, {train, train_labels, {}}, {validation, validation_labels, {}}, config);
}

TEST(CategoryRouter, SeparatesSeparableCategories) {
  const CategoryRouter router = fit_router(0.0, 0.5, 1);
  const auto [x, labels] = prompts(300, 3, 0.0);
  int right = 0;
  for (std::size_t i = 0; i < labels.size(); ++i)
    right += router.route(x[static_cast<std::int64_t>(i)]).category == labels[i] ? 1 : 0;
  EXPECT_GT(right, 297);
}

TEST(CategoryRouter, HasTheConfidenceOfItsAccuracy) {
  const CategoryRouter router = fit_router(0.3, 0.0);  // no router can be right in more than 70 % of the cases
  const auto [x, labels] = prompts(900, 4, 0.3);
  double confidence = 0, right = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const Route route = router.route(x[static_cast<std::int64_t>(i)]);
    confidence += route.confidence;
    right += route.likeliest == labels[i] ? 1 : 0;
    double sum = 0;
    for (const double p : route.probabilities) sum += p;
    ASSERT_NEAR(sum, 1.0, 1e-9);
  }
  EXPECT_NEAR(confidence / 900, right / 900, 0.05);  // a second softmax would pull it towards 1/3
  EXPECT_NEAR(router.temperature(), 1.0, 0.25) << "a softmax over these logits is already calibrated";
}

TEST(CategoryRouter, KeepsTheBestWeightsNotTheLast) {
  const auto [x, labels] = prompts(300, 5, 0.0);
  std::vector<std::int32_t> wrong = labels;
  for (std::int32_t& label : wrong) label = (label + 1) % 3;  // learning from these makes it worse on the validation rows
  config::RouterConfig config;
  const CategoryRouter router = CategoryRouter::fit({"a", "b", "c"}, {x, wrong, {}}, {x, labels, {}}, config);
  for (const double p : router.route(x[0]).probabilities)
    EXPECT_NEAR(p, 1.0 / 3, 1e-6) << "the best weights are those of the start";
  const CategoryRouter trusting = CategoryRouter::fit({"a", "b", "c"}, {x, wrong, {}}, {x, wrong, {}}, config);
  EXPECT_GT(trusting.route(x[0]).confidence, 0.9) << "the same steps change it a lot";
}

TEST(CategoryRouter, FallsBackBelowItsThresholdAlsoAfterSaveAndLoad) {
  const CategoryRouter router = fit_router(0.0, 0.9);
  at::Tensor between = at::zeros({10});
  between[0] = 4.0;
  between[1] = 4.0;
  EXPECT_EQ(router.route(between).category, -1);
  const std::filesystem::path dir = std::filesystem::temp_directory_path() / ("dmoerm_router_" + std::to_string(::getpid()));
  router.save(dir);
  const CategoryRouter loaded = CategoryRouter::load(dir);
  EXPECT_EQ(loaded.route(between).probabilities, router.route(between).probabilities);
  EXPECT_EQ(loaded.categories(), router.categories());
  std::filesystem::remove_all(dir);
}

TEST(CategoryRouter, IsNeverSureOfEverything) {
  const CategoryRouter router = fit_router(0.0, 0.5);  // 600 validation prompts without an error show an error of about 1 in 600
  const auto [x, labels] = prompts(300, 3, 0.0);
  double confidence = 0;
  for (std::int64_t i = 0; i < 300; ++i) confidence += router.route(x[i]).confidence / 300;
  EXPECT_GT(confidence, 0.98);
  EXPECT_LT(confidence, 0.9995);
}

/// Shares of 900 prompts of the categories and of 300 of none that a router sends to a category.
std::pair<double, double> shares_kept(const CategoryRouter& router) {
  const auto [x, labels] = prompts(900, 6, 0.0);
  double inside = 0, outside = 0;
  for (std::int64_t i = 0; i < 900; ++i) inside += router.route(x[i]).category >= 0 ? 1 : 0;
  for (std::int64_t i = 0; i < 300; ++i) {
    at::Tensor other_D = x[i].clone();
    other_D[i % 3] += 2.0;  // it is surer than ever of its category,
    other_D[5] += 4.0;      // and far from every prompt that it has seen
    outside += router.route(other_D).category >= 0 ? 1 : 0;
  }
  return {inside / 900, outside / 300};
}

TEST(CategoryRouter, SendsPromptsOfNoCategoryToTheFallbackAndKeepsItsOwn) {
  const auto [inside, outside] = shares_kept(fit_router(0.0, 0.5));
  EXPECT_NEAR(inside, 0.95, 0.02);
  EXPECT_LT(outside, 0.05);
  EXPECT_NEAR(shares_kept(fit_router(0.0, 0.5, 0.8)).first, 0.8, 0.04);
  const auto [all_inside, all_outside] = shares_kept(fit_router(0.0, 0.5, 1));
  EXPECT_GT(all_inside, 0.99);
  EXPECT_GT(all_outside, 0.99) << "nothing but the distance tells them apart";
}

TEST(CategoryRouter, KeepsItsDistancesInAFile) {
  const CategoryRouter router = fit_router(0.0, 0.5);
  const std::filesystem::path dir = std::filesystem::temp_directory_path() / ("dmoerm_distance_" + std::to_string(::getpid()));
  router.save(dir);
  const CategoryRouter loaded = CategoryRouter::load(dir);
  std::filesystem::remove_all(dir);
  const auto [x, labels] = prompts(10, 7, 0.0);
  for (std::int64_t i = 0; i < 10; ++i) {
    EXPECT_GT(router.route(x[i]).distance, 0);
    EXPECT_EQ(loaded.route(x[i]).distance, router.route(x[i]).distance);
  }
}

config::RouterConfig of_clusters(std::int64_t clusters) {
  config::RouterConfig config;
  config.kind = config::RouterKind::clusters;
  config.clusters = clusters;
  config.keep_share = 0.95;
  return config;
}

TEST(CategoryRouter, FindsClustersWithoutLabelsAndSendsEachToTheCategoryOfMostOfItsPrompts) {
  const auto [train, true_labels] = prompts(600, 1, 0.0);
  std::vector<std::int32_t> labels = true_labels;
  for (std::size_t i = 0; i < labels.size(); i += 4) labels[i] = (labels[i] + 1) % 3;  // a quarter is wrong
  const auto [validation, validation_labels] = prompts(300, 2, 0.0);
  const CategoryRouter router =
      CategoryRouter::fit({"a", "b", "c"}, {train, labels, {}}, {validation, validation_labels, {}}, of_clusters(6), {}, 17);
  const auto [x, wanted] = prompts(300, 3, 0.0);
  int right = 0, inside = 0;
  double confidence = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const Route route = router.route(x[static_cast<std::int64_t>(i)]);
    right += route.likeliest == wanted[i] ? 1 : 0;
    inside += route.distance <= 1 ? 1 : 0;
    confidence += route.confidence / 300;
  }
  EXPECT_GT(right, 295);
  EXPECT_NEAR(confidence, 0.75, 0.05) << "the share of a cluster's prompts that are of its category";
  EXPECT_GT(inside, 260);
  at::Tensor far = x[0].clone();
  far[7] += 9;
  EXPECT_EQ(router.route(far).category, -1) << "it is far from every cluster";
  const std::filesystem::path dir = std::filesystem::temp_directory_path() / ("dmoerm_clusters_" + std::to_string(::getpid()));
  router.save(dir);
  const CategoryRouter loaded = CategoryRouter::load(dir);
  std::filesystem::remove_all(dir);
  for (std::int64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(loaded.route(x[i]).probabilities, router.route(x[i]).probabilities);
    EXPECT_EQ(loaded.route(x[i]).distance, router.route(x[i]).distance);
  }
}

TEST(CategoryRouter, IsNotSureOfAClusterOfOnePrompt) {
  const at::Tensor x = at::eye(10);
  const CategoryRouter router =
      CategoryRouter::fit({"a", "b"}, {x, {0, 1, 0, 1, 0, 1, 0, 1, 0, 1}, {}}, {}, of_clusters(10), {}, 1);
  EXPECT_DOUBLE_EQ(router.route(x[1]).probabilities[1], 0.75) << "one prompt, and one more that is of both alike";
}

TEST(CategoryRouter, LearnsProbabilitiesInPlaceOfCategories) {
  const auto [train, labels] = prompts(600, 1, 0.0);
  const auto [validation, validation_labels] = prompts(600, 2, 0.0);
  const at::Tensor rows_CC =
      at::tensor({0.6, 0.3, 0.1, 0.1, 0.8, 0.1, 0.2, 0.7, 0.1}, at::kDouble).view({3, 3});  // no prompt for c
  const auto with_targets = [&](const at::Tensor& x, const std::vector<std::int32_t>& own) {
    const at::Tensor which = at::tensor(at::ArrayRef<std::int32_t>(own), at::kInt).to(at::kLong);
    return RoutedPrompts{x, own, {}, rows_CC.index_select(0, which)};
  };
  const CategoryRouter router = CategoryRouter::fit({"a", "b", "c"}, with_targets(train, labels),
                                                    with_targets(validation, validation_labels), config::RouterConfig{});
  const auto [x, wanted] = prompts(300, 3, 0.0);
  at::Tensor mean_CC = at::zeros({3, 3}, at::kDouble);
  for (std::int64_t i = 0; i < 300; ++i) {
    const std::vector<double> found = router.route(x[i]).probabilities;
    mean_CC[wanted[static_cast<std::size_t>(i)]] += at::tensor(at::ArrayRef<double>(found), at::kDouble) / 100;
  }
  EXPECT_TRUE(at::allclose(mean_CC, rows_CC, 0, 0.05)) << mean_CC;
}

TEST(CategoryRouter, NamesASecondCategoryOnlyWhereItIsNearlyAsLikely) {
  const auto [train, labels] = prompts(600, 1, 0.0);
  config::RouterConfig config;
  config.keep_share = 1, config.mix_top = 2, config.mix_gap = 0.6, config.confidence_min = 0.2;
  const CategoryRouter router = CategoryRouter::fit({"a", "b", "c"}, {train, labels, {}}, {train, labels, {}}, config);
  int mixed = 0;
  for (double toward = 0; toward <= 1.0001; toward += 0.02) {
    at::Tensor between = at::zeros({10});
    between[0] = 4.0 * (1 - toward), between[1] = 4.0 * toward;
    const Route route = router.route(between);
    std::vector<double> sorted = route.probabilities;
    std::ranges::sort(sorted, std::greater());
    EXPECT_EQ(route.second >= 0, sorted[0] - sorted[1] <= 0.6) << toward;
    if (route.second < 0) continue;
    ++mixed;
    EXPECT_NE(route.second, route.category);
    EXPECT_EQ(route.probabilities[static_cast<std::size_t>(route.second)], sorted[1]);
    EXPECT_DOUBLE_EQ(route.second_share, sorted[1] / (sorted[0] + sorted[1]));
  }
  EXPECT_GT(mixed, 0);
  const std::filesystem::path dir = std::filesystem::temp_directory_path() / ("dmoerm_mixes_" + std::to_string(::getpid()));
  router.save(dir);
  EXPECT_TRUE(CategoryRouter::load(dir).mixes());
  std::filesystem::remove_all(dir);
  config.confidence_min = 1;
  const CategoryRouter unsure = CategoryRouter::fit({"a", "b", "c"}, {train, labels, {}}, {train, labels, {}}, config);
  EXPECT_EQ(unsure.route(at::zeros({10})).second, -1) << "the fallback scores alone";
}

/// The tensors that a router is saved as, by name.
std::map<std::string, at::Tensor> saved(const CategoryRouter& router) {
  const std::filesystem::path dir = std::filesystem::temp_directory_path() / ("dmoerm_router_" + std::to_string(::getpid()));
  router.save(dir);
  std::map<std::string, at::Tensor> tensors;
  {
    const auto reader = nn::SafetensorsReader::open(dir / "router.safetensors");
    for (const std::string& name : reader.names()) tensors[name] = reader.load(name);
  }
  std::filesystem::remove_all(dir);
  return tensors;
}

/// Rows that are counted as they are read. @param most  gets the largest number that was read at once
LazyRows counted(const at::Tensor& states_ND, std::int64_t& reads, std::int64_t& most) {
  return {states_ND.sizes().vec(), [=, &reads, &most](const at::Tensor& rows) {
            ++reads, most = std::max(most, rows.numel());
            return states_ND.index_select(0, rows);
          }};
}

TEST(CategoryRouter, ReadsSomeStatesAtATimeAndHasTheBitsOfStatesInMemory) {
  const std::int64_t many = 2 * kRowsTogether + 700;
  const auto [train, labels] = prompts(many, 1, 0.1);
  const auto [validation, validation_labels] = prompts(kRowsTogether + 10, 2, 0.1);
  const at::Tensor likely_NC = at::one_hot(at::tensor(at::ArrayRef<std::int32_t>(labels), at::kInt).to(at::kLong), 3) * 0.7 + 0.1;
  for (const char* kind : {"trained", "clusters", "targets"}) {
    config::RouterConfig config = std::string(kind) == "clusters" ? of_clusters(4) : config::RouterConfig{};
    config.keep_share = 0.95, config.steps_max = 40;
    RoutedPrompts held{train, labels, {}}, held_validation{validation, validation_labels, {}};
    if (std::string(kind) == "targets") held.targets_NC = likely_NC;
    RoutedPrompts streamed = held, streamed_validation = held_validation;
    std::int64_t reads = 0, most = 0;
    streamed.states_ND = counted(train, reads, most);
    streamed_validation.states_ND = counted(validation, reads, most);
    if (std::string(kind) == "targets") held_validation = {}, streamed_validation = {};
    const std::vector<std::string> names = {"a", "b", "c"};
    const CategoryRouter expected = CategoryRouter::fit(names, held, held_validation, config, {}, 17),
                         found = CategoryRouter::fit(names, streamed, streamed_validation, config, {}, 17);
    const auto tensors = saved(found), in_memory = saved(expected);
    EXPECT_EQ(tensors.size(), in_memory.size());
    for (const auto& [name, tensor] : tensors) EXPECT_TRUE(tensor.equal(in_memory.at(name))) << kind << " " << name;
    EXPECT_EQ(found.temperature(), expected.temperature()) << kind;
    EXPECT_EQ(most, kRowsTogether) << kind;
    EXPECT_GT(reads, 3) << kind;
    EXPECT_TRUE(at::allclose(tensors.at("mean"), train.mean(0), 1e-5, 1e-6)) << kind << ": the parts make up the whole";
    EXPECT_TRUE(at::allclose(tensors.at("std"), train.std(0), 1e-5)) << kind;
  }
}

TEST(CategoryRouter, SumsFewPromptsAtOnce) {
  const auto [x, labels] = prompts(600, 1, 0.2);
  const auto [validation, validation_labels] = prompts(500, 2, 0.2);
  config::RouterConfig config;
  config.keep_share = 1;
  const CategoryRouter router =
      CategoryRouter::fit({"a", "b", "c"}, {x, labels, {}}, {validation, validation_labels, {}}, config);
  const at::Tensor mean_D = x.mean(0), std_D = x.std(0), z = (x - mean_D) / std_D, vz = (validation - mean_D) / std_D;
  const auto numbers = [](const std::vector<std::int32_t>& own) {
    return at::tensor(at::ArrayRef<std::int32_t>(own), at::kInt).to(at::kLong);
  };
  const at::Tensor y = numbers(labels), vy = numbers(validation_labels);
  std::vector<at::Tensor> parameters = {at::zeros({3, 10}), at::zeros({3})};
  const auto loss = [&](const at::Tensor& states, const at::Tensor& wanted) {
    return at::cross_entropy_loss(at::addmm(parameters[1], states, parameters[0].t()), wanted);
  };
  fit_adamw(
      parameters, {config.lr, config.weight_decay, 0.0, config.steps_max, 10, 20}, [&](std::int64_t) { return loss(z, y); },
      [&] { return std::pair(-loss(vz, vy).item<double>(), 0.0); });
  const auto tensors = saved(router);
  EXPECT_TRUE(tensors.at("mean").equal(mean_D));
  EXPECT_TRUE(tensors.at("std").equal(std_D));
  EXPECT_TRUE(tensors.at("weight").equal(parameters[0]));
  EXPECT_TRUE(tensors.at("bias").equal(parameters[1]));
}

TEST(OodDetector, CountsAPromptOnceHoweverManyRowsHaveIt) {
  const auto [once_ND, once] = prompts(60, 8, 0.0);
  RoutedPrompts repeated{once_ND.repeat_interleave(5, 0), {}, {}};
  for (std::int64_t i = 0; i < 300; ++i) {
    repeated.labels.push_back(once[static_cast<std::size_t>(i / 5)]);
    repeated.numbers.push_back(i / 5);
  }
  const at::Tensor known = OodDetector::fit(repeated, {}, 3, 0.95).thresholds_C;
  repeated.numbers.clear();  // each prompt is now in the fit that it is measured by
  EXPECT_TRUE((OodDetector::fit(repeated, {}, 3, 0.95).thresholds_C < known * 0.9).all().item<bool>());
}

/// Prompts of three categories around centres of their own. @param many  of each category @param spread  of each category
RoutedPrompts around_centres(const std::vector<std::int64_t>& many, const std::vector<double>& spread, std::uint64_t seed) {
  at::manual_seed(seed);
  std::vector<at::Tensor> states;
  RoutedPrompts prompts;
  for (std::size_t c = 0; c < many.size(); ++c) {
    at::Tensor own_ND = at::randn({many[c], 10}) * spread[c];
    own_ND.select(1, static_cast<std::int64_t>(c)) += 40.0;
    states.push_back(own_ND);
    prompts.labels.insert(prompts.labels.end(), static_cast<std::size_t>(many[c]), static_cast<std::int32_t>(c));
  }
  prompts.states_ND = at::cat(states);
  return prompts;
}

at::Tensor all_states(const RoutedPrompts& prompts) {
  return prompts.states_ND.read(at::arange(prompts.states_ND.size(0), at::kLong));
}

/// Share of the prompts of one category that lie within a threshold.
double kept_of(const OodDetector& detector, const RoutedPrompts& prompts, std::int32_t category) {
  double kept = 0, all = 0;
  for (std::size_t i = 0; i < prompts.labels.size(); ++i) {
    if (prompts.labels[i] != category) continue;
    kept += detector.distance(prompts.states_ND.row(static_cast<std::int64_t>(i))) <= 1 ? 1 : 0, ++all;
  }
  return kept / all;
}

TEST(OodDetector, AStrayPromptOfASmallCategoryDoesNotOpenItToEverything) {
  RoutedPrompts train = around_centres({40, 300, 300}, {1, 1, 1}, 9);
  at::Tensor strayed_ND = all_states(train);
  strayed_ND[7] += 8.0;  // the farthest of forty is what a quantile of this category alone would be
  train.states_ND = strayed_ND;
  const OodDetector detector = OodDetector::fit(train, {}, 3, 0.98);
  const RoutedPrompts fresh = around_centres({200, 200, 200}, {1, 1, 1}, 10);
  RoutedPrompts strange = fresh;
  strange.states_ND = all_states(fresh) + 4.0;
  for (std::int32_t c = 0; c < 3; ++c) {
    EXPECT_GT(kept_of(detector, fresh, c), 0.93) << c;
    EXPECT_LT(kept_of(detector, strange, c), 0.05) << c;
  }
}

TEST(OodDetector, ACategoryThatLiesWideKeepsMostOfItsPrompts) {
  const OodDetector detector = OodDetector::fit(around_centres({300, 300, 60}, {1, 1, 2.5}, 11), {}, 3, 0.95);
  const RoutedPrompts fresh = around_centres({300, 300, 300}, {1, 1, 2.5}, 12);
  EXPECT_GT(kept_of(detector, fresh, 0), 0.95);
  EXPECT_GT(kept_of(detector, fresh, 2), 0.65) << "it may lose five times the share of all";
}

TEST(OodDetector, NeedsNoSpreadAndNoSecondPrompt) {
  const at::Tensor same_ND = at::ones({12, 4});
  std::vector<std::int32_t> labels(12, 0);
  labels.back() = 2;  // category 1 has no prompt, category 2 a single one
  const OodDetector fitted = OodDetector::fit({same_ND, labels, {}}, {}, 3, 0.95);
  EXPECT_LE(fitted.distance(same_ND[0]), 1);
  EXPECT_GT(fitted.distance(same_ND[0] + 1), 1);
  EXPECT_FALSE(OodDetector::fit({same_ND.narrow(0, 0, 1), {0}, {}}, {}, 3, 0.95).fitted()) << "a single prompt shows no distance";
}

TEST(PromptReading, CountsLayersByTheirShare) {
  config::RouterConfig config;
  const auto layers = [&](double depth, std::int64_t all) {
    config.depth = depth;
    nn::BackboneSpec spec;
    spec.layers = all;
    return reading_of(config, spec).layers;
  };
  EXPECT_EQ(layers(2.0 / 3, 30), 20);
  EXPECT_EQ(layers(0.5, 5), 3);
  EXPECT_EQ(layers(0, 6), 1);
  EXPECT_EQ(layers(1, 6), 0) << "all layers and the last norm";
  EXPECT_EQ(layers(0.9, 2), 0);
}

}  // namespace
}  // namespace dmoerm::moe
