#include "run/stage_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/files.h"
#include "base/log.h"
#include "eval/paired_difference.h"
#include "eval/statistics.h"
#include "plan/graph_builder.h"
#include "plan/task_id.h"
#include "run/task_settings.h"

namespace dmoerm::run {
namespace {

using eval::GroupResult;
using eval::Interval;
using nlohmann::json;
using plan::TaskId;

struct Column {
  const char* key;
  const char* title;
};
constexpr Column kAllColumns[] = {{"single", "single model"},
                                  {"category", "one per category"},
                                  {"pooled", "one per category, all labels"},
                                  {"base", "base alone"},
                                  {"mean", "mean of experts"},
                                  {"stack", "stack"},
                                  {"gate", "gate"},
                                  {"mlp", "MLP"},
                                  {"paper_mlp", "the paper's MLP"},
                                  {"wco", "WCO"},
                                  {"uwo", "UWO"},
                                  {"oracle_route", "true category"},
                                  {"dmoerm", "DMoERM"}};

/// The columns of a run. That of a baseline which is off by default is there only if it was trained.
std::vector<Column> columns_of(const config::RunConfig& config) {
  std::vector<Column> columns(std::begin(kAllColumns), std::end(kAllColumns));
  if (!config.pooled_baseline) std::erase_if(columns, [](const Column& c) { return std::string_view(c.key) == "pooled"; });
  return columns;
}

std::vector<std::string> heads(const std::vector<Column>& columns) {
  std::vector<std::string> heads = {"category", "prompts / groups / pairs"};
  for (const Column& column : columns) heads.emplace_back(column.title);
  return heads;
}

std::vector<GroupResult> results_of(const json& right, const json& pairs, const json& prompts) {
  std::vector<GroupResult> results;
  for (std::size_t i = 0; i < pairs.size(); ++i) results.push_back({right.at(i), pairs.at(i), prompts.at(i)});
  return results;
}

double pairs_of(const std::vector<GroupResult>& results) {
  double pairs = 0;
  for (const GroupResult& r : results) pairs += r.pairs;
  return pairs;
}

json to_json(const Interval& interval) { return {{"value", interval.value}, {"low", interval.low}, {"high", interval.high}}; }

class Report {
 public:
  explicit Report(RunContext& context)
      : context_(context), seed_(context.config().seed), columns_(columns_of(context.config())) {}

  void add_category(const std::string& name) {
    const json results = read_json(context_.directory().task(TaskId::eval(name)) / "results.json");
    std::vector<std::string> row = {name, ""};
    std::int64_t prompts_before = prompts_, prompts_after = prompts_;  // a prompt of two categories counts in each
    for (const Column& column : columns_) {
      if (!results["right"].contains(column.key)) {
        row.emplace_back("-");
        continue;
      }
      const auto own = results_of(results["right"][column.key], results["pairs"], results["prompts"]);
      row.push_back(put(name, column.key, own));
      row[1] = sizes_text(name, own);
      for (GroupResult r : own) {
        r.prompt += prompts_before;
        prompts_after = std::max(prompts_after, r.prompt + 1);
        all_[column.key].push_back(r);
      }
    }
    prompts_ = prompts_after;
    accuracy_.push_back(row);
    add_points(name, results["points"]);
    add_routes(name, results["routes"]);
  }

  void finish() {
    std::vector<std::string> row = {"all", sizes_text("all", all_["dmoerm"])};
    for (const Column& column : columns_)
      row.push_back(all_.contains(column.key) ? put("all", column.key, all_[column.key]) : "-");
    accuracy_.push_back(row);
    std::string text = fmt::format(
        "# {}: accuracy on the test split\n\nShare of pairs that a model orders correctly, with 95 % bootstrap intervals "
        "over prompts: all groups of a prompt are drawn together.\n\n{}\nBase alone is the model of phase 1, which the experts "
        "adapt; true category is DMoERM without errors of the router.\n",
        context_.config().name, markdown_table(accuracy_));
    if (context_.config().pooled_baseline)
      text +=
          "One per category, all labels, learns from overall preferences and from the pairs of all capability points together.\n";
    bool bounds = false;
    for (const char* rival : {"single", "category", "pooled", "mean"}) {
      if (!all_.contains(rival)) continue;
      const Interval gap = bootstrap_difference(all_["dmoerm"], all_[rival], seed_);
      numbers_["difference"][std::string("dmoerm-") + rival] = to_json(gap);
      text += fmt::format("\nDMoERM minus {}: {:+.3f} [{:+.3f}, {:+.3f}]{}, paired over all prompts.\n", rival, gap.value,
                          gap.low, gap.high, eval::bounds_mark(gap));
      bounds = bounds || gap.bounded;
    }
    if (bounds) text += eval::kBoundsNote;
    text += "\n## Experts on their own point's labels\n\n" + markdown_table(points_) + imported_text() +
            "\n## Routing and aggregators\n\n" + markdown_table(routes_);
    text += router_text();
    text +=
        "\n## What it cost\n\nThe baselines may take as many tokens as base and experts together; whichever stops early takes "
        "fewer. Seconds of a rank from the first to the last step of training, without routing, features and evaluation.\n\n";
    if (context_.config().folds > 0)
      text +=
          "The models of folds, which rate the prompts that they were not trained on for the aggregator, are the method's own "
          "price: their tokens are not in the 100 %, and the baselines do not get as many.\n\n";
    text += cost_table();
    const auto judged = context_.directory().root() / "label" / "report.md";
    if (!context_.config().labels.judges.empty() && std::filesystem::exists(judged)) text += "\n" + read_file(judged);
    const auto directory = context_.directory().task(TaskId::report());
    std::filesystem::create_directories(directory);
    write_file_atomically(directory / "report.md", text);
    write_json_atomically(directory / "report.json", numbers_);
    write_json_atomically(directory / "cost.json", cost_);  // a file of its own: seconds and memory differ from run to run
  }

 private:
  struct Cost {
    double steps = 0, steps_max = 0, tokens = 0, seconds = 0, peak_mib = 0;
    void add(const json& metrics) {
      steps += metrics.at("steps").get<double>();
      steps_max += metrics.value("steps_max", metrics.at("steps").get<double>());  // runs of 0.1.0 do not tell
      tokens += metrics.at("tokens").get<double>();
      seconds += metrics.at("seconds").get<double>();
      peak_mib = std::max(peak_mib, metrics.at("peak_mib").get<double>());
    }
    /// @param metrics  by point; experts that trained together share tokens and seconds
    void add_set(json metrics) {
      bool first = true;
      for (auto& [point, of_point] : metrics.items()) {
        const bool trained = !of_point.contains("imported_from");
        if (trained && !first) of_point["tokens"] = of_point["seconds"] = 0;
        if (trained) first = false;
        add(of_point);
      }
    }
  };

  /// Which experts the run did not train; "" if it trained all.
  std::string imported_text() const {
    std::string text;
    for (const config::CategoryConfig& c : context_.config().categories) {
      for (const config::ImportedExpertConfig& expert : c.imported_experts)
        text += fmt::format("{}{}/{} ({})", text.empty() ? "" : ", ", c.name, expert.point, expert.dir);
    }
    return text.empty() ? "" : fmt::format("\nTaken over from elsewhere, not trained by this run: {}.\n", text);
  }

  std::string cost_table() {
    std::vector<std::vector<std::string>> rows = {
        {"trained", "steps", "of at most", "tokens", "base + experts = 100 %", "seconds", "tokens/s", "peak MiB of a rank"}};
    const auto row = [&](const std::string& title, const Cost& cost, double rivals_tokens = 0) {
      rows.push_back({title, fmt::format("{}", cost.steps), fmt::format("{}", cost.steps_max), fmt::format("{}", cost.tokens),
                      rivals_tokens > 0 ? fmt::format("{:.0f} %", 100 * cost.tokens / rivals_tokens) : "",
                      fmt::format("{:.0f}", cost.seconds), fmt::format("{:.0f}", cost.tokens / std::max(1e-9, cost.seconds)),
                      fmt::format("{:.0f}", cost.peak_mib)});
      cost_[title] = {{"steps", cost.steps},
                      {"steps_max", cost.steps_max},
                      {"tokens", cost.tokens},
                      {"seconds", cost.seconds},
                      {"peak_mib", cost.peak_mib}};
    };
    double all_tokens = 0;
    const auto model = [&](const TaskId& task) {
      Cost cost;
      cost.add(context_.directory().metrics(task));
      return cost;
    };
    double before = 0;  // tokens of what the bases of all categories start from
    const auto categories = static_cast<double>(context_.config().categories.size());
    if (context_.config().base.start == config::BaseStart::all_categories) {
      const Cost base_of_all = model(TaskId::base_of_all());
      before = base_of_all.tokens;
      row("base of all categories", base_of_all);
      Cost folds;
      for (std::int32_t fold = 1; fold <= context_.config().folds; ++fold)
        folds.add(context_.directory().metrics(TaskId::base_of_all(fold)));
      if (folds.steps > 0) row(fmt::format("base of all categories, {} folds", context_.config().folds), folds);
    }
    for (const config::CategoryConfig& c : context_.config().categories) {
      const Cost base = model(TaskId::base(c.name));
      row("base " + c.name, base);
      Cost experts;
      for (const TaskId& set : plan::expert_sets(context_.config(), c)) experts.add_set(context_.directory().metrics(set));
      row(fmt::format("{} experts {}", c.points.size(), c.name), experts);
      Cost choosing;  // experts of earlier rounds, which chose the pairs that these were trained on
      for (int round = 1; round < plan::label_rounds(context_.config()); ++round) {
        for (const TaskId& set : plan::expert_sets(context_.config(), c))
          choosing.add_set(context_.directory().metrics(TaskId::expert(c.name, set.points, round)));
      }
      if (choosing.steps > 0) row("experts of earlier rounds " + c.name, choosing);
      Cost folds;
      for (std::int32_t fold = 1; fold <= context_.config().folds; ++fold) {
        folds.add(context_.directory().metrics(TaskId::base(c.name, fold)));
        for (const TaskId& set : plan::expert_sets(context_.config(), c))
          folds.add_set(context_.directory().metrics(TaskId::expert(c.name, set.points, 0, fold)));
      }
      if (folds.steps > 0) row(fmt::format("base and experts of {} folds {}", context_.config().folds, c.name), folds);
      const double tokens = before / categories + base.tokens + experts.tokens + choosing.tokens;
      all_tokens += tokens;
      if (context_.config().baselines) row("one per category " + c.name, model(TaskId::category_baseline(c.name)), tokens);
      if (context_.config().pooled_baseline)
        row("one per category, all labels " + c.name, model(TaskId::pooled_baseline(c.name)), tokens);
    }
    row("single model", model(TaskId::single()), all_tokens);
    return markdown_table(rows);
  }

  /// "12 / 15 / 57": prompts, groups and pairs.
  std::string sizes_text(const std::string& row, const std::vector<GroupResult>& results) {
    const std::size_t prompts = by_prompt(results).size();
    numbers_["sizes"][row] = {{"prompts", prompts}, {"groups", results.size()}, {"pairs", pairs_of(results)}};
    return fmt::format("{} / {} / {}", prompts, results.size(), pairs_of(results));
  }

  std::string put(const std::string& row, const std::string& column, const std::vector<GroupResult>& results) {
    if (std::ranges::none_of(results, [](const GroupResult& r) { return r.pairs > 0; })) return "-";
    const Interval interval = bootstrap_accuracy(results, seed_);
    numbers_["accuracy"][row][column] = to_json(interval);
    return to_string(interval);
  }

  void add_points(const std::string& name, const json& points) {
    for (const auto& [point, figures] : points.items()) {
      const auto results = results_of(figures["right"], figures["pairs"], figures["prompts"]);
      const double pairs = pairs_of(results);
      const Interval interval = bootstrap_accuracy(results, seed_);
      numbers_["points"][name][point] = to_json(interval);
      points_.push_back({name, point, fmt::format("{}", pairs), pairs > 0 ? to_string(interval) : "-"});
    }
  }

  void add_routes(const std::string& name, const json& routes) {
    double right = 0, fallback = 0, far = 0;
    for (const json& route : routes) {
      right += route["category"] == name;
      fallback += route["category"] == "";
      far += route["distance"] > 1;
      ++confusion_[name][route["likeliest"].get<std::string>()];
      confidence_.push_back(route["confidence"]);
      likeliest_right_.push_back(route["likeliest"] == name);
    }
    far_ += far, fallback_ += fallback;
    const double n = std::max<double>(1, static_cast<double>(routes.size()));
    const json aggregator = context_.directory().metrics(TaskId::aggregator(name));
    numbers_["routes"][name] = {
        {"right", right / n}, {"fallback", fallback / n}, {"of_no_category", far / n}, {"aggregator", aggregator["chosen"]}};
    const auto accuracy = [&](const char* kind) {
      return fmt::format("{:.3f}", aggregator[kind]["held_out_accuracy"].get<double>());
    };
    routes_.push_back({name, fmt::format("{:.3f}", right / n), fmt::format("{:.3f}", fallback / n),
                       aggregator["chosen"].get<std::string>(), accuracy("mean"), accuracy("stack"), accuracy("gate"),
                       accuracy("mlp")});
  }

  /// Text about the router: the categories that it found likeliest, and how well its confidence is calibrated.
  std::string router_text() {
    std::vector<std::vector<std::string>> rows = {{"true category \\ likeliest"}};
    const auto& categories = context_.config().categories;
    for (const config::CategoryConfig& c : categories) rows[0].push_back(c.name);
    for (const config::CategoryConfig& c : categories) {
      rows.push_back({c.name});
      for (const config::CategoryConfig& likeliest : categories) {
        const std::int64_t n = confusion_[c.name][likeliest.name];
        rows.back().push_back(fmt::format("{}", n));
        numbers_["router"]["confusion"][c.name][likeliest.name] = n;
      }
    }
    const double error = eval::calibration_error(confidence_, likeliest_right_);
    const double temperature = context_.directory().metrics(TaskId::router()).at("temperature");
    numbers_["router"]["calibration_error"] = error;
    numbers_["router"]["temperature"] = temperature;
    std::string warning;
    if (const auto prompts = static_cast<double>(confidence_.size()); 2 * fallback_ > prompts) {
      warning = fmt::format(
          "{} of {} test prompts go to the single model, so DMoERM is mostly that model here: the router's confidence is below "
          "router.confidence_min, or the prompts are far from its categories (router.keep_share)",
          fallback_, prompts);
      spdlog::warn("[report] {}", warning);
      warning = "\n**" + warning + ".**\n";
    }
    return warning +
           fmt::format(
               "\n## The router\n\nTest prompts by category and likeliest category, whatever the threshold.\n\n{}\nCalibrated by "
               "temperature {:.3f}; expected calibration error {:.3f} over {} prompts, ten bins. {} of them are so far from "
               "every "
               "category's training prompts that the single model scores them (router.keep_share).\n",
               markdown_table(rows), temperature, error, confidence_.size(), far_);
  }

  RunContext& context_;
  std::uint64_t seed_;
  std::vector<Column> columns_;
  json numbers_, cost_;
  std::map<std::string, std::map<std::string, std::int64_t>> confusion_;  ///< Prompts by true and likeliest category
  std::vector<double> confidence_;                                        ///< Confidence of each route
  double far_ = 0;                                                        ///< Prompts that count as ones of no category
  double fallback_ = 0;                                                   ///< Prompts that the single model scores
  std::vector<bool> likeliest_right_;
  std::map<std::string, std::vector<GroupResult>> all_;
  std::int64_t prompts_ = 0;  ///< Numbers of prompts in all_ so far
  std::vector<std::vector<std::string>> accuracy_ = {heads(columns_)};
  std::vector<std::vector<std::string>> points_ = {{"category", "point", "pairs", "accuracy"}};
  std::vector<std::vector<std::string>> routes_ = {
      {"category", "routed correctly", "to the single model", "aggregator chosen", "mean (held out)", "stack", "gate", "MLP"}};
};

}  // namespace

json report_settings(const config::RunConfig& config) { return {{"categories", all_categories(config)}}; }

void run_report(RunContext& context, const plan::TaskId& task, const TaskIdentity& identity, comm::Communicator& ranks) {
  if (ranks.rank() != 0) return;
  Report report(context);
  for (const config::CategoryConfig& c : context.config().categories) report.add_category(c.name);
  report.finish();
  context.directory().complete(task, identity, {"report.md", "report.json", "cost.json"}, json::object());
}

}  // namespace dmoerm::run
