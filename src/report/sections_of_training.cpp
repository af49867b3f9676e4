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
struct Measure {
  const char* key;
  const char* title;
};
constexpr Measure kMeasures[] = {{"validation_accuracy", "validation accuracy"},
                                 {"validation_loss", "validation loss"},
                                 {"train_loss", "training loss"},
                                 {"gradient_norm", "gradient norm"},
                                 {"lr", "learning rate"}};

constexpr const char* kNoCategory = "all categories";  // what models of no category are shown under

/// What a curve is called beside the others of its category.
std::string curve_name(const Training& t) {
  if (!t.point.empty()) return t.point;
  const auto id = plan::TaskId::parse(t.task);
  if (id && id->kind == plan::TaskKind::category_baseline) return "one per category";
  if (id && id->kind == plan::TaskKind::pooled_baseline) return "one per category, all labels";
  if (id && id->kind == plan::TaskKind::single) return "single model";
  if (id && id->kind == plan::TaskKind::base_of_all) return "base of all categories";
  return t.kind;
}

/// Whether it is a model of the product or a baseline, and not one of a fold or an earlier round.
bool is_final(const Training& t) {
  auto id = plan::TaskId::parse(t.task);
  if (!id) id = plan::TaskId::parse(std::filesystem::path(t.task).parent_path().string());
  return id && id->fold == 0 && id->round == 0;
}

std::string group_name(const Training& t) { return t.category.empty() ? kNoCategory : t.category; }

std::vector<std::pair<std::string, std::vector<const Training*>>> by_category(const Run& run) {
  std::vector<std::pair<std::string, std::vector<const Training*>>> groups;
  for (const std::string& c : run.categories) groups.emplace_back(c, std::vector<const Training*>());
  groups.emplace_back(kNoCategory, std::vector<const Training*>());
  for (const Training& t : run.trainings) {
    if (t.lines.empty() || !is_final(t)) continue;
    for (auto& [name, own] : groups) {
      if (name == group_name(t)) own.push_back(&t);
    }
  }
  std::erase_if(groups, [](const auto& group) { return group.second.empty(); });
  return groups;
}

std::string static_curves(const std::string& category, const std::vector<const Training*>& trainings) {
  double last = 1, low = 0.5, high = 0.6;
  std::vector<std::vector<Chart::Point>> lines;
  std::vector<std::string> names;
  for (const Training* t : trainings) {
    std::vector<Chart::Point> line;
    for (const json& at : t->lines) {
      if (!at.contains("validation_accuracy") || !at["validation_accuracy"].is_number()) continue;
      const double step = at["step"], accuracy = at["validation_accuracy"];
      line.push_back({step, accuracy});
      last = std::max(last, step), low = std::min(low, accuracy), high = std::max(high, accuracy);
    }
    names.push_back(curve_name(*t));
    lines.push_back(std::move(line));
  }
  Chart chart(category, "Share of validation pairs in the right order, at each evaluation.", {"step", 0, last},
              {"accuracy", std::max(0.0, low - 0.02), std::min(1.0, high + 0.02)}, 760, 340);
  for (std::size_t i = 0; i < lines.size(); ++i) chart.line(lines[i], i, Chart::Style::plain);
  chart.legend(names);
  return figure(chart.svg(), "Learning curves of " + category);
}

/// Text that may stand in a script element: no sequence in it ends the element.
std::string script_safe(std::string text) {
  for (std::size_t at = 0; (at = text.find('<', at)) != std::string::npos; at += 6) text.replace(at, 1, "\\u003c");
  return text;
}

json points_of(const Training& t) {
  json points = json::array();
  for (const json& at : t.lines) {
    json point = {at["step"]};
    for (const Measure& measure : kMeasures) {
      const bool there = at.contains(measure.key) && at[measure.key].is_number();
      // Six digits are more than a screen shows, and keep the page small.
      point.push_back(there ? json::parse(fmt::format("{:.6g}", at[measure.key].get<double>()), nullptr, false) : json());
    }
    points.push_back(std::move(point));
  }
  return points;
}

std::string panel_html(const std::vector<std::pair<std::string, std::vector<const Training*>>>& groups) {
  json data = {{"groups", json::array()}, {"measures", json::array()}, {"first", 1}};
  for (const Measure& measure : kMeasures) data["measures"].push_back(measure.title);
  for (const auto& [name, trainings] : groups) {
    json runs = json::array();
    for (const Training* t : trainings) runs.push_back({{"name", curve_name(*t)}, {"points", points_of(*t)}});
    data["groups"].push_back({{"name", name}, {"runs", runs}});
  }
  return "<div id=\"curve-panel\" hidden>\n<div class=\"controls\"><label>Category <select id=\"curve-group\"></select></label>\n"
         "<label>Measure <select id=\"curve-measure\"></select></label></div>\n<div id=\"curve-box\" role=\"img\" "
         "aria-label=\"Learning curves; the charts below show the same\"></div>\n<div id=\"curve-legend\"></div>\n"
         "<p class=\"note\">Drag to zoom, double-click to see all again.</p></div>\n<script type=\"application/json\" "
         "id=\"curve-data\">" +
         script_safe(data.dump(-1, ' ', false, json::error_handler_t::replace)) + "</script>\n";
}

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

Section curves_section(const Run& run, bool interactive) {
  Section section{"curves", "Learning curves", ""};
  const auto groups = by_category(run);
  if (groups.empty()) {
    section.body = note("No training has been evaluated yet.");
    return section;
  }
  std::string charts;
  for (const auto& [name, trainings] : groups) charts += static_curves(name, trainings);
  section.body = interactive ? panel_html(groups) + folded("All charts, to print", charts) : charts;
  const auto others = std::ranges::count_if(run.trainings, [](const Training& t) { return !t.lines.empty() && !is_final(t); });
  if (others > 0)
    section.body += note(fmt::format("{} of folds or earlier rounds are not shown.", counted(others, "training", "trainings")));
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
