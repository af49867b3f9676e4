#include "plan/gantt.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/counted.h"
#include "base/text.h"
#include "base/xml_text.h"
#include "plan/task_id.h"

namespace dmoerm::plan {
namespace {

constexpr double kWidth = 1200, kLeft = 84, kRight = 16, kTop = 46;
// Eight hues that stay apart for colour-blind eyes, and a grey for tasks of no category.
constexpr const char* kHues[] = {"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800", "#7a5195"};
constexpr const char* kGrey = "#8c8c8c";

std::string category_of(const std::string& task) {
  const auto id = TaskId::parse(task);
  return id ? id->category : "";
}

/// Text in a bar: an expert's points, or the kind of task, and its fold.
std::string short_name(const std::string& task) {
  const auto id = TaskId::parse(task);
  if (!id) return kind_text(task);
  const std::string name =
      id->kind == TaskKind::expert_set ? fmt::format("{}", fmt::join(id->points, "+")) : std::string(kind_text(id->kind));
  return id->fold > 0 ? fmt::format("{} fold {}", name, id->fold) : name;
}

double shade_of(TaskKind kind) {
  switch (kind) {
    case TaskKind::base:
    case TaskKind::base_of_all:
    case TaskKind::single:
      return 1.0;
    case TaskKind::category_baseline:
    case TaskKind::pooled_baseline:
      return 0.85;
    case TaskKind::expert_set:
      return 0.72;
    default:
      return 0.45;
  }
}

/// A round distance of ticks: at most twelve of them.
double tick_seconds(double makespan) {
  for (const double step :
       {1., 2., 5., 10., 20., 30., 60., 120., 300., 600., 900., 1800., 3600., 7200., 10800., 21600., 43200., 86400.}) {
    if (makespan / step <= 12) return step;
  }
  return 86400 * std::ceil(makespan / 86400 / 12);
}

std::string tick_label(double seconds, double step) {
  if (step < 60) return fmt::format("{:.0f} s", seconds);
  if (step < 3600)
    return fmt::format("{}:{:02}", static_cast<int>(seconds / 3600), static_cast<int>(std::fmod(seconds, 3600) / 60 + 0.5));
  if (step < 86400) return fmt::format("{:.0f} h", seconds / 3600);
  return fmt::format("{:.0f} d", seconds / 86400);
}

}  // namespace

std::string gantt_svg(const TaskGraph& graph, const Simulation& simulation, const Cluster& cluster, const std::string& title) {
  const auto ranks = static_cast<double>(cluster.size());
  const double row = std::clamp(640 / ranks, 1.25, 26.0), bottom = kTop + row * ranks;
  const double scale = (kWidth - kLeft - kRight) / std::max(1e-9, simulation.makespan);
  std::vector<std::string> categories;
  for (const Task& task : graph.tasks()) {
    const std::string category = category_of(task.id);
    if (!category.empty() && std::ranges::find(categories, category) == categories.end()) categories.push_back(category);
  }
  const auto hue = [&](const std::string& category) {
    const auto at = std::ranges::find(categories, category) - categories.begin();
    return category.empty() ? kGrey : kHues[static_cast<std::size_t>(at) % std::size(kHues)];
  };
  const double legend = bottom + 46;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
      "font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\">\n<rect class=\"paper\" width=\"100%\" height=\"100%\" "
      "fill=\"white\"/>\n"
      "<text x=\"{2}\" y=\"24\" font-size=\"16\" font-weight=\"bold\">{3}</text>\n",
      kWidth, legend + 48, kLeft, xml_escaped(title));
  svg += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{:.2f}\" height=\"{:.2f}\" class=\"field\" fill=\"#f3f3f3\"/>\n", kLeft,
                     kTop, simulation.makespan * scale, row * ranks);
  const double step = tick_seconds(simulation.makespan);
  for (double t = 0; t <= simulation.makespan * (1 + 1e-9); t += step) {
    const double x = kLeft + t * scale;
    svg += fmt::format("<line x1=\"{0:.2f}\" x2=\"{0:.2f}\" y1=\"{1}\" y2=\"{2:.2f}\" class=\"grid\" stroke=\"#c8c8c8\"/>\n", x,
                       kTop, bottom + 5);
    svg += fmt::format("<text x=\"{:.2f}\" y=\"{:.2f}\" text-anchor=\"middle\">{}</text>\n", x, bottom + 19, tick_label(t, step));
  }
  const bool by_rank = row >= 11;  // else one label a node
  for (std::size_t r = 0; r < cluster.size(); ++r) {
    const bool first = r == 0 || cluster[r].node != cluster[r - 1].node;
    const double y = kTop + static_cast<double>(r) * row;
    if (first && r > 0)
      svg += fmt::format("<line x1=\"{}\" x2=\"{}\" y1=\"{:.2f}\" y2=\"{:.2f}\" class=\"grid\" stroke=\"#c8c8c8\"/>\n", kLeft - 6,
                         kWidth - kRight, y, y);
    const auto on_node = static_cast<double>(std::ranges::count(cluster, cluster[r].node, &Device::node));
    const double every = std::ceil(12 / (row * on_node));  // nodes to a label
    if (by_rank) {
      svg += fmt::format("<text x=\"{}\" y=\"{:.2f}\" text-anchor=\"end\">rank {}</text>\n", kLeft - 8, y + row / 2 + 4, r);
    } else if (first && std::fmod(cluster[r].node, every) == 0) {
      svg += fmt::format("<text x=\"{}\" y=\"{:.2f}\" text-anchor=\"end\">node {}</text>\n", kLeft - 8, y + 11, cluster[r].node);
    }
  }
  for (const TaskInterval& interval : simulation.intervals) {
    const std::string& id = graph.tasks()[interval.task].id;
    const double x = kLeft + interval.start * scale, width = (interval.end - interval.start) * scale;
    for (std::size_t i = 0; i < interval.ranks.size();) {  // a bar for each run of neighbouring ranks
      std::size_t last = i;
      while (last + 1 < interval.ranks.size() && interval.ranks[last + 1] == interval.ranks[last] + 1) ++last;
      const double y = kTop + interval.ranks[i] * row, height = static_cast<double>(last - i + 1) * row;
      svg += fmt::format(
          "<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" fill=\"{}\" fill-opacity=\"{}\" stroke=\"{}\" "
          "stroke-width=\"{}\"><title>{}, {}, {} to {}{}</title></rect>\n",
          x, y, std::max(0.3, width), height, hue(category_of(id)), shade_of(TaskId::parse(id).value_or(TaskId::report()).kind),
          interval.outcome == Outcome::lost ? "#c00000" : "white", row < 4 ? 0.3 : 0.8, xml_escaped(id),
          counted(std::ssize(interval.ranks), "rank"), duration_text(interval.start), duration_text(interval.end),
          interval.outcome == Outcome::paused ? ", then another group"
          : interval.outcome == Outcome::lost ? ", cut off by a failure"
                                              : "");
      const std::string name = short_name(id);
      const double size = std::min(12.0, height - 2);
      const auto fits = static_cast<std::size_t>(std::max(0.0, (width - 6) / (0.58 * size)));
      if (size >= 8 && fits >= 3) {
        const std::string shown = name.size() <= fits ? name : name.substr(0, fits - 1) + "…";
        svg += fmt::format("<text x=\"{:.2f}\" y=\"{:.2f}\" font-size=\"{:.1f}\" pointer-events=\"none\">{}</text>\n", x + 3,
                           y + height / 2 + size * 0.36, size, xml_escaped(shown));
      }
      i = last + 1;
    }
  }
  for (const double t : simulation.failures) {
    const double x = kLeft + t * scale;
    svg +=
        fmt::format("<line x1=\"{0:.2f}\" x2=\"{0:.2f}\" y1=\"{1}\" y2=\"{2:.2f}\" stroke=\"#c00000\" stroke-width=\"1.5\"/>\n",
                    x, kTop - 6, bottom);
  }
  double x = kLeft, y = legend;
  const auto entry = [&](const std::string& name, const std::string& fill, double opacity) {
    const double width = 30 + 7.0 * static_cast<double>(name.size());
    if (x + width > kWidth - kRight) x = kLeft, y += 18;
    svg += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"12\" height=\"12\" fill=\"{}\" fill-opacity=\"{}\"/>", x, y - 10,
                       fill, opacity);
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", x + 17, y, xml_escaped(name));
    x += width;
  };
  for (const std::string& category : categories) entry(category, hue(category), 0.85);
  entry("no category", kGrey, 0.85);
  x = kLeft, y += 20;
  for (const TaskKind kind : {TaskKind::base, TaskKind::category_baseline, TaskKind::expert_set, TaskKind::features}) {
    const bool others = kind == TaskKind::features;
    entry(others ? "features, aggregator, eval" : std::string(kind_text(kind)), "#404040", shade_of(kind));
  }
  if (!simulation.failures.empty()) entry("a node fails", "#c00000", 1);
  return svg + "</svg>\n";
}

}  // namespace dmoerm::plan
