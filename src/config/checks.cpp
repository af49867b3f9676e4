#include "config/checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "config/nearest.h"

namespace dmoerm::config {
namespace {

class Checker {
 public:
  Checker(const std::map<std::string, Position>& where, Problems& problems) : where_(where), problems_(problems) {}

  /// Report at the value of `key`, or at the nearest section around it that was written.
  void fail(const std::string& key, ErrorCode code, const std::string& message) {
    for (std::string near = key;; near.resize(near.rfind('.'))) {
      const auto found = where_.find(near);
      const bool outermost = near.find('.') == std::string::npos;
      if (found == where_.end() && !outermost) continue;
      problems_.add(found == where_.end() ? Position{} : found->second, code, key + ": " + message);
      return;
    }
  }

  void no_repetition(std::map<std::string, std::string>& first, const std::string& key, const std::string& name) {
    if (name.empty()) return;  // reported already
    const auto [earlier, is_new] = first.emplace(name, key);
    if (!is_new)
      fail(key, "name-used-twice", fmt::format("\"{}\" is also the value of {}: names must differ", name, earlier->second));
  }

  /// Reports have a row "all" below those of the categories, and "single" is the model of prompts of no category.
  void reserved(const std::string& key, const std::string& category, std::size_t categories) {
    if (category == "single" || (category == "all" && categories > 1))
      fail(key, "reserved-category-name",
           fmt::format("\"{}\" is what reports call {}: choose another name for the category", category,
                       category == "all" ? "all categories together" : "the model of prompts that belong to no category"));
  }

  /// Experts that are trained together share a folder, which has the names of all of them.
  void folder_names(const std::string& key, const std::vector<std::string>& points, std::size_t per_task) {
    constexpr std::size_t kNameMax = 255;
    for (std::size_t first = 0; first < points.size(); first += per_task) {
      std::size_t length = 0;
      for (std::size_t p = first; p < std::min(first + per_task, points.size()); ++p)
        length += points[p].size() + (p > first ? 1 : 0);
      if (length > kNameMax)
        fail(key, "folder-name-too-long",
             fmt::format(
                 "experts.per_task = {} puts {} points into one folder, whose name would have {} characters; the file system "
                 "allows {}: shorten the points' names or lower experts.per_task",
                 per_task, std::min(per_task, points.size() - first), length, kNameMax));
    }
  }

  /// A gap by label names labels that are used.
  void score_gap(const std::string& key, const CategoryConfig& category) {
    std::vector<std::string> known = category.points;
    known.insert(known.begin(), "overall");
    for (const auto& [label, gap] : category.score_gap_min.by_label) {
      if (std::ranges::find(known, label) != known.end()) continue;
      const auto near = nearest(label, known);
      fail(fmt::format("{}.score_gap_min.{}", key, label), "unknown-label",
           fmt::format("\"{}\" is not a label of the category {}, which has {}{}", label, category.name, fmt::join(known, ", "),
                       near && !near->empty() ? fmt::format("; did you mean {}?", *near) : ""));
    }
  }

  /// Imported experts are of points that the category has, one of each, and their base is the pretrained backbone.
  void imported_experts(const std::string& category_key, const CategoryConfig& category, const RunConfig& config) {
    std::map<std::string, std::string> points;
    for (std::size_t i = 0; i < category.imported_experts.size(); ++i) {
      const ImportedExpertConfig& expert = category.imported_experts[i];
      const std::string key = fmt::format("{}.imported_experts.{}", category_key, i);
      no_repetition(points, key + ".point", expert.point);
      if (!expert.point.empty() && std::ranges::find(category.points, expert.point) == category.points.end()) {
        const auto near = nearest(expert.point, category.points);
        fail(key + ".point", "unknown-point",
             fmt::format("\"{}\" is not a point of the category {}, which has {}{}", expert.point, category.name,
                         fmt::join(category.points, ", "),
                         near && !near->empty() ? fmt::format("; did you mean {}?", *near) : ""));
      }
      if (config.base.tuning == Tuning::full) {
        fail(key + ".dir", "imported-expert-needs-lora-base",
             "an adapter fits the weights that it was trained on, the pretrained ones, but base.tuning is full, which trains "
             "other weights for the category: set base.tuning to lora");
      }
      if (config.head.reads == Pooling::mean) {
        fail(key + ".dir", "imported-expert-reads-last",
             "head.reads is mean, but the head of a sequence classifier was trained on the state of the last token: set "
             "head.reads to last");
      }
    }
  }

  void labels(const LabelsConfig& c, const std::string& run) {
    if (!c.judges.empty() && c.store.empty() && run == "labels")
      fail("name", "run-named-labels", "runs_dir/labels is the label store: give the run another name, or set labels.store");
    std::map<std::string, std::string> models;
    std::string unpriced;
    for (std::size_t i = 0; i < c.judges.size(); ++i) {
      const JudgeConfig& judge = c.judges[i];
      const std::string key = fmt::format("labels.judges.{}", i);
      no_repetition(models, key + ".model", judge.model);
      if (judge.max_tokens >= judge.context_tokens) {
        fail(key + ".max_tokens", "max-tokens-fill-context",
             fmt::format("{} leaves no room for a question in context_tokens = {}: lower it or raise context_tokens",
                         judge.max_tokens, judge.context_tokens));
      }
      if (c.samples > 1 && judge.temperature == 0) {
        fail(key + ".temperature", "samples-need-temperature",
             fmt::format("0 would give the same answer in each of labels.samples = {} questions: set it above 0", c.samples));
      }
      if (!judge.extra.empty() && !nlohmann::json::parse(judge.extra, nullptr, false).is_object()) {
        fail(key + ".extra", "not-a-json-object",
             fmt::format("expected a JSON object such as {{\"min_p\": 0.1}}, found {}", judge.extra));
      }
      if (c.budget.cost_max > 0 && judge.price_prompt == 0 && judge.price_completion == 0)
        unpriced += (unpriced.empty() ? "" : ", ") + (judge.model.empty() ? key : judge.model);
      if (judge.api == JudgeApi::batch && judge.endpoints.size() > 1) {
        fail(key + ".endpoints.1", "batch-has-one-endpoint",
             "a batch is sent to one server: keep one endpoint, or set api: online");
      }
      for (std::size_t e = 0; e < judge.endpoints.size(); ++e) {
        const EndpointConfig& endpoint = judge.endpoints[e];
        const std::string url = lower(endpoint.url);
        if (!url.empty() && !url.starts_with("http://") && !url.starts_with("https://")) {
          fail(fmt::format("{}.endpoints.{}.url", key, e), "endpoint-is-not-http",
               fmt::format("\"{}\" must start with http:// or https://", endpoint.url));
        }
        if (!endpoint.key_env.empty() && !endpoint.key_file.empty())
          fail(fmt::format("{}.endpoints.{}.key_file", key, e), "two-api-keys", "key_env is set too: keep one of them");
      }
    }
    if (!unpriced.empty()) {
      fail("labels.budget.cost_max", "judge-without-price",
           fmt::format("judges without a price: {}. Set price_prompt and price_completion (per million tokens) of "
                       "each, or use requests_max or tokens_max instead",
                       unpriced));
    }
    if (c.pairs.choose == PairChoice::uncertain && c.pairs.bundle.empty() && c.rounds == 1) {
      fail("labels.pairs.bundle", "uncertain-pairs-need-bundle",
           "labels.pairs.choose = uncertain needs experts that are uncertain: set the directory of a finished model here, or "
           "labels.rounds to 2 or more, so that the run's own experts choose");
    }
    if (c.pairs.choose != PairChoice::uncertain && c.rounds > 1) {
      fail("labels.rounds", "rounds-need-uncertain-pairs",
           fmt::format(
               "{} rounds choose by what experts are uncertain about, and labels.pairs.choose is {}, which knows its pairs "
               "before: set it to uncertain, or labels.rounds to 1",
               c.rounds, word(c.pairs.choose)));
    }
  }

  void router(const RouterConfig& c, std::size_t categories) {
    if (c.kind == RouterKind::clusters && c.clusters < static_cast<std::int64_t>(categories)) {
      fail("router.clusters", "too-few-clusters",
           fmt::format("{} clusters cannot lead to {} categories: set it to {} or more, better to several for each category",
                       c.clusters, categories, categories));
    }
  }

  void base_of_paper(const BaseConfig& c) {
    const auto differs = [&](const char* key, const std::string& value, const char* papers) {
      fail(key, "not-the-papers-base",
           fmt::format("{} is not what method: paper does, whose phase 1 has {}: remove this key, or set method to dmoerm", value,
                       papers));
    };
    if (c.labels != BaseLabels::overall) differs("base.labels", word(c.labels), "overall preferences alone (overall)");
    if (c.start != BaseStart::backbone) differs("base.start", word(c.start), "the pretrained weights to start from (backbone)");
  }

  void train(const std::string& path, const TrainConfig& c) {
    if (c.schedule != Schedule::constant && c.epochs_max == 0 && c.steps_max == 0) {
      fail(path + ".schedule", "schedule-needs-an-end",
           fmt::format("{} falls to zero at the last step, which is unknown: set epochs_max or steps_max above 0",
                       word(c.schedule)));
    }
    if (c.steps_max > 0 && c.warmup_steps >= c.steps_max) {
      fail(path + ".warmup_steps", "warmup-takes-all-steps",
           fmt::format("{} steps of warm-up leave nothing of steps_max = {}", c.warmup_steps, c.steps_max));
    }
    if (c.shard && c.tuning != Tuning::full)
      fail(path + ".shard", "only-full-tuning-shards",
           "only full tuning can be sharded, and tuning is lora: set shard to false (an adapter's optimizer state is small)");
  }

 private:
  const std::map<std::string, Position>& where_;
  Problems& problems_;
};

}  // namespace

void check_together(const RunConfig& config, const std::map<std::string, Position>& where, Problems& problems) {
  Checker check(where, problems);
  const DataConfig& data = config.data;
  if (data.validation_share + data.test_share >= 1) {
    check.fail("data.test_share", "shares-leave-no-training",
               fmt::format("validation_share + test_share = {} + {} leaves no train split: their sum must be below 1",
                           data.validation_share, data.test_share));
  }
  if (data.min_prompt_tokens >= data.max_length) {
    check.fail("data.min_prompt_tokens", "prompt-fills-max-length",
               fmt::format("{} leaves no room for a response in max_length = {}: lower it or raise max_length",
                           data.min_prompt_tokens, data.max_length));
  }

  std::map<std::string, std::string> categories;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < config.categories.size(); ++i) {
    const CategoryConfig& category = config.categories[i];
    const std::string key = fmt::format("categories.{}", i);
    check.no_repetition(categories, key + ".name", category.name);
    check.reserved(key + ".name", category.name, config.categories.size());
    names.push_back(category.name);
    std::map<std::string, std::string> points;
    for (std::size_t k = 0; k < category.points.size(); ++k) {
      const std::string point_key = fmt::format("{}.points.{}", key, k);
      check.no_repetition(points, point_key, category.points[k]);
      if (category.points[k] == "overall")
        check.fail(point_key, "point-named-overall",
                   "\"overall\" is the name of the overall preference: choose another name for the point");
    }
    check.score_gap(key, category);
    check.imported_experts(key, category, config);
    check.folder_names(key + ".points", category.points, static_cast<std::size_t>(config.experts.per_task));
  }
  for (std::size_t i = 0; i < data.inputs.size(); ++i) {
    const double weight = data.inputs[i].weight;
    if (weight > 1 && weight != std::floor(weight)) {
      check.fail(fmt::format("data.inputs.{}.weight", i), "weight-is-not-whole",
                 fmt::format("{} must be a whole number: above 1 it is how often an epoch visits each group", weight));
    }
    const std::string& category = data.inputs[i].category;
    if (category.empty() || names.empty() || categories.contains(category)) continue;
    const auto near = nearest(category, names);
    check.fail(fmt::format("data.inputs.{}.category", i), "unknown-category",
               fmt::format("\"{}\" is not one of `categories`{}", category,
                           near && !near->empty() ? fmt::format("; did you mean {}?", *near) : ""));
  }

  if (config.folds == 1)
    check.fail("folds", "one-fold",
               "1 fold leaves no prompts to train on: set it to 2 to 10, or to 0 for the split by phase1_share");
  check.labels(config.labels, config.name);
  const WatchConfig& watch = config.watch;
  if (watch.port >= 0 && watch.token_env.empty() && watch.address != "127.0.0.1" && watch.address != "localhost" &&
      watch.address != "::1") {
    check.fail("watch.address", "status-page-without-token",
               fmt::format("{} can be reached from other machines: set watch.token_env, or use 127.0.0.1", watch.address));
  }
  check.router(config.router, config.categories.size());
  if (config.method == Method::paper) check.base_of_paper(config.base);
  check.train("base", config.base);
  check.train("experts.train", config.experts.train);
  if (config.experts.train.tuning == Tuning::full) {
    check.fail("experts.train.tuning", "experts-are-lora",
               "full is not possible, as the experts of a category share one frozen base: set it to lora");
  }
}

}  // namespace dmoerm::config
