#include "report/sections_of_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>

#include "base/chart.h"
#include "base/counted.h"
#include "base/text.h"
#include "plan/gantt.h"
#include "plan/task_id.h"
#include "report/accuracies.h"

namespace dmoerm::report {
namespace {

using nlohmann::json;

constexpr std::size_t kStartsMax = 6;  // timelines that are drawn

struct Routes {
  std::map<std::string, double> likeliest;
  double count = 0, right = 0, fallback = 0;
};

Routes routes_of(const json& results, const std::string& category) {
  Routes routes;
  for (const json& route : results.at("routes")) {
    routes.count += 1;
    routes.likeliest[route.at("likeliest")] += 1;
    routes.right += route.at("category") == category ? 1 : 0;
    routes.fallback += route.at("category") == "" ? 1 : 0;
  }
  return routes;
}

std::string clock_of(double at) {
  const auto seconds = static_cast<std::time_t>(at);
  std::tm utc{};
  char text[32] = "";
  if (gmtime_r(&seconds, &utc) != nullptr) (void)std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &utc);
  return text;
}

std::string timeline_figure(const Start& start, const std::vector<std::string>& categories) {
  plan::TaskGraph graph;
  plan::Simulation drawn;
  plan::Cluster cluster;
  std::size_t ranks = start.nodes.size();
  for (const Period& p : start.periods)
    for (const int rank : p.ranks) ranks = std::max(ranks, static_cast<std::size_t>(std::max(0, rank)) + 1);
  for (std::size_t r = 0; r < ranks; ++r) cluster.push_back({r < start.nodes.size() ? start.nodes[r] : 0, 0});
  for (const std::string& category : categories) {  // every start gives the categories the same colours
    const std::string task = plan::TaskId::eval(category).text();
    if (!graph.has(task)) graph.add({.id = task, .inputs = {}});
  }
  for (const Period& p : start.periods) {
    if (!graph.has(p.task)) graph.add({.id = p.task, .inputs = {}});
    plan::TaskInterval interval{graph.index(p.task), p.ranks, p.start - start.began, p.end - start.began, plan::Outcome::done};
    std::erase_if(interval.ranks, [](int rank) { return rank < 0; });
    std::ranges::sort(interval.ranks);
    if (p.outcome == "failed" || p.outcome == "retry" || p.outcome.empty()) interval.outcome = plan::Outcome::lost;
    if (p.outcome == "paused" || p.outcome == "stopped") interval.outcome = plan::Outcome::paused;
    drawn.makespan = std::max(drawn.makespan, interval.end);
    drawn.intervals.push_back(std::move(interval));
  }
  const std::string title = fmt::format("{}, {}, {}", clock_of(start.began), counted(static_cast<std::int64_t>(ranks), "rank"),
                                        duration_text(start.ended - start.began));
  return figure(plan::gantt_svg(graph, drawn, cluster, title), "Which rank worked on which task: " + title);
}

}  // namespace

Section router_section(const Run& run) {
  Section section{"router", "Router", ""};
  HeatMap map{
      "Where test prompts go", "Row: the true category. Column: the category that the router finds likeliest.", {}, {}, {}, {}};
  Table shares{{"category", "prompts", "to its own experts", "to the single model"}, {}};
  for (const std::string& c : run.categories) {
    if (run.results.at(c).there()) map.columns.push_back(c);
  }
  for (const std::string& c : map.columns) {
    const Routes routes = routes_of(run.results.at(c).value, c);
    map.rows.push_back(c);
    map.values.emplace_back(), map.words.emplace_back();
    for (const std::string& likeliest : map.columns) {
      const auto found = routes.likeliest.find(likeliest);
      const double n = found == routes.likeliest.end() ? 0 : found->second;
      map.values.back().push_back(routes.count > 0 ? n / routes.count : 0);
      map.words.back().push_back(n > 0 ? fmt::format("{}", n) : "");
    }
    if (routes.count > 0)
      shares.rows.push_back(
          {c, whole_number(routes.count), share_text(routes.right / routes.count), share_text(routes.fallback / routes.count)});
  }
  if (map.rows.empty()) {
    section.body = note("No category has been evaluated yet.");
    return section;
  }
  section.body = figure(svg_of(map), map.title) + table(shares);
  if (run.report.there() && run.report.value.contains("router"))
    section.body += note(fmt::format("Expected calibration error of its confidence: {:.3f}, at temperature {:.2f}.",
                                     run.report.value["router"].at("calibration_error").get<double>(),
                                     run.report.value["router"].at("temperature").get<double>()));
  return section;
}

Section timeline_section(const Run& run) {
  Section section{"timeline", "Timeline of the ranks", ""};
  std::vector<const Start*> starts;
  for (const Start& start : run.starts) {
    if (!start.periods.empty()) starts.push_back(&start);
  }
  if (starts.empty()) {
    section.body = note("timeline.jsonl has no task that a rank worked on.");
    return section;
  }
  const std::size_t first = starts.size() > kStartsMax ? starts.size() - kStartsMax : 0;
  if (first > 0)
    section.body += note(fmt::format("The run was started {} times; the last {} starts are shown.", starts.size(), kStartsMax));
  for (std::size_t i = first; i < starts.size(); ++i) section.body += timeline_figure(*starts[i], run.categories);
  section.body +=
      note("Bars have the colours of their categories. A bar with a red edge was cut off: it failed or its rank was lost.");
  return section;
}

}  // namespace dmoerm::report
