#include "report/learning_curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/chart.h"
#include "base/counted.h"
#include "plan/task_id.h"

namespace dmoerm::report {
namespace {

using nlohmann::json;

struct Measure {
  const char* key;
  const char* title;
};
constexpr Measure kMeasures[] = {{"validation_accuracy", "validation accuracy"},
                                 {"validation_loss", "validation loss"},
                                 {"train_loss", "training loss"},
                                 {"gradient_norm", "gradient norm"},
                                 {"lr", "learning rate"}};

/// A measure in charts without zoom.
struct Drawn {
  const char* key;
  const char* axis;
  const char* subtitle;
  double low, high;  ///< Values that the axis always has: a model that knows nothing has 0.5, or a loss of 0.69
  double most;       ///< Where the axis ends at the latest
};
constexpr Drawn kAccuracy = {
    "validation_accuracy", "accuracy", "Share of validation pairs in the right order, at each evaluation.", 0.5, 0.6, 1};
constexpr Drawn kLoss = {"validation_loss",
                         "loss",
                         "Loss on the validation pairs, at each evaluation.",
                         0.6,
                         0.7,
                         std::numeric_limits<double>::infinity()};
constexpr double kHalfWidth = 440;  // two charts in a row of the page

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

/// A training and what its line is called; without a training there is no line, and the others keep their colours.
struct Curve {
  std::string name;
  const Training* training;
};

Chart chart_of(const std::string& title, const Drawn& measure, const std::vector<Curve>& curves, double width, double height) {
  double last = 1, low = measure.low, high = measure.high;
  std::vector<std::vector<Chart::Point>> lines;
  std::vector<std::string> names;
  for (const Curve& curve : curves) {
    std::vector<Chart::Point>& line = lines.emplace_back();
    names.push_back(curve.name);
    if (curve.training == nullptr) continue;
    for (const json& at : curve.training->lines) {
      if (!at.contains(measure.key) || !at[measure.key].is_number()) continue;
      const double step = at["step"], value = at[measure.key];
      line.push_back({step, value});
      last = std::max(last, step), low = std::min(low, value), high = std::max(high, value);
    }
  }
  constexpr double kEdge = 0.02;
  Chart chart(title, measure.subtitle, {"step", 0, last},
              {measure.axis, std::max(0.0, low - kEdge), std::min(measure.most, high + kEdge)}, width, height);
  for (std::size_t i = 0; i < lines.size(); ++i) chart.line(lines[i], i, Chart::Style::plain);
  chart.legend(names);
  return chart;
}

std::string static_curves(const std::string& category, const std::vector<const Training*>& trainings) {
  std::vector<Curve> curves;
  for (const Training* t : trainings) curves.push_back({curve_name(*t), t});
  return figure(chart_of(category, kAccuracy, curves, 760, 340).svg(), "Learning curves of " + category);
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

/// What a model of overall labels is called where it stands alone; "" for other models.
std::string overall_title(const Training& t) {
  const auto id = plan::TaskId::parse(t.task);
  if (!id || !is_final(t)) return "";
  if (id->kind == plan::TaskKind::base) return "base of " + t.category;
  return id->kind == plan::TaskKind::single || id->kind == plan::TaskKind::base_of_all ? curve_name(t) : "";
}

const Training* training_of(const Run& run, const std::string& title) {
  const auto found =
      std::ranges::find_if(run.trainings, [&](const Training& t) { return !t.lines.empty() && overall_title(t) == title; });
  return found == run.trainings.end() ? nullptr : &*found;
}

/// The models of overall labels that any of the runs has trained, in the order in which they are first met.
std::vector<std::string> overall_titles(const std::vector<TitledRun>& runs) {
  std::vector<std::string> titles;
  for (const TitledRun& r : runs) {
    for (const Training& t : r.run->trainings) {
      const std::string title = t.lines.empty() ? "" : overall_title(t);
      if (!title.empty() && std::ranges::find(titles, title) == titles.end()) titles.push_back(title);
    }
  }
  return titles;
}

}  // namespace

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

Section compared_curves_section(const std::vector<TitledRun>& runs) {
  Section section{"curves", "Learning curves", ""};
  const std::vector<std::string> titles = overall_titles(runs);
  if (titles.empty()) section.body = note("No model of overall labels has been evaluated while it was trained.");
  for (const std::string& title : titles) {
    std::vector<Curve> curves;
    for (const TitledRun& r : runs) curves.push_back({r.title, training_of(*r.run, title)});
    section.body += heading(title) + "<div class=\"row\">\n";
    for (const Drawn& measure : {kAccuracy, kLoss}) {
      section.body += figure(chart_of(fmt::format("{}: {}", title, measure.axis), measure, curves, kHalfWidth, 300).svg(),
                             fmt::format("Learning curves of the {}: {}", title, measure.axis));
    }
    section.body += "</div>\n";
  }
  return section;
}

}  // namespace dmoerm::report
