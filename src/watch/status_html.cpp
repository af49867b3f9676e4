#include "watch/status_html.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "base/xml_text.h"
#include "watch/text_cells.h"

namespace dmoerm::watch {
namespace {

constexpr const char* kStyle = R"(
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --run: #1b7fc4; --good: #2a8a3c; --bad: #c0342b; --wait: #b07a12; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5rem auto; padding: 0 1rem; max-width: 75rem; }
h1 { font-size: 1.35rem; margin: 0 0 .3rem; } h2 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p { margin: .2rem 0; }
.bar { background: var(--soft); border-radius: 4px; height: .7rem; overflow: hidden; margin: .6rem 0; }
.bar div { background: var(--run); height: 100%; }
td .bar { height: .4rem; margin: .15rem 0 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 600; border-bottom: 2px solid var(--line); padding: .25rem .5rem; white-space: nowrap; }
td { text-align: right; border-bottom: 1px solid var(--line); padding: .25rem .5rem; white-space: nowrap; vertical-align: top; }
th:first-child, td:first-child, th.l, td.l { text-align: left; } td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }
.running, .labelling { color: var(--run); font-weight: 600; } .done { color: var(--good); } .failed, .silent { color: var(--bad); font-weight: 600; }
.retry, .paused, .stopped { color: var(--wait); font-weight: 600; } .waiting, .skipped, .ready { opacity: .6; }
.message { color: var(--bad); font-size: .85rem; white-space: pre-wrap; }
)";

std::string escaped(std::string_view text) { return xml_escaped(printable(text)); }

std::string cell(const std::string& text, const char* kind = "") {
  return fmt::format("<td{}>{}</td>", *kind != '\0' ? fmt::format(" class=\"{}\"", kind) : "", text == "-" ? "" : text);
}

std::string task_row(const RunState& state, const TaskState& t, double now) {
  const bool active = t.status == TaskStatus::running || t.status == TaskStatus::labelling;
  std::string name = escaped(t.id);
  if (!t.message.empty() && t.status != TaskStatus::done) name += "<div class=\"message\">" + escaped(t.message) + "</div>";
  if (active) name += fmt::format("<div class=\"bar\"><div style=\"width:{:.1f}%\"></div></div>", 100 * t.fraction);
  std::string step;
  if (t.status == TaskStatus::labelling && t.label_total > 0)
    step = fmt::format("{} / {}", t.labelled, t.label_total);
  else if (t.step >= 0)
    step = t.steps_max > 0 ? fmt::format("{} / {}", t.step, t.steps_max) : fmt::format("{}", t.step);
  return "<tr>" + cell(name) + cell(to_text(t.status), fmt::format("l {}", to_text(t.status)).c_str()) + cell(step) +
         cell(loss_text(t.train_loss)) + cell(loss_text(t.validation_loss)) + cell(percent_text(t.validation_accuracy)) +
         cell(t.status == TaskStatus::running ? short_number(t.tokens_per_s) : "") + cell(percent_text(state.mfu(t))) +
         cell(clock_text(state.task_eta(t, now))) + cell(ranges_text(t.ranks)) + "</tr>\n";
}

std::string rank_row(const RunState& state, const RankState& rank, double now) {
  const double silence = RunState::silence(rank, now);
  const bool silent = !state.finished() && silence > 10;
  return "<tr>" + cell(fmt::format("{}", rank.rank)) + cell(escaped(rank.host), "l") + cell(escaped(rank.doing), "l") +
         cell(std::isnan(silence) ? "" : fmt::format("{:.0f} s ago", silence), silent ? "silent" : "") + "</tr>\n";
}

}  // namespace

std::string status_html(const RunState& state, double now, double every_s) {
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
      "<meta http-equiv=\"refresh\" content=\"{:.0f}\"><title>{:.0f} % {}</title><style>{}</style></head><body>\n",
      std::clamp(every_s, 2.0, 3600.0), 100 * state.done_share(), escaped(state.name()), kStyle);
  html += fmt::format("<h1>{}</h1>\n", state.name().empty() ? "The run has not begun" : escaped(state.name()));
  const auto counts = state.counts();
  std::string summary;
  for (const TaskStatus status : kStatuses) {
    if (const auto n = counts[static_cast<std::size_t>(status)]; n > 0)
      summary +=
          fmt::format("{}<span class=\"{}\">{} {}</span>", summary.empty() ? "" : ", ", to_text(status), n, to_text(status));
  }
  html += "<p>" + summary + "</p>\n";
  html += fmt::format("<div class=\"bar\"><div style=\"width:{:.1f}%\"></div></div>\n", 100 * state.done_share());
  html += fmt::format("<p>{:.1f} % of the work is done, {} since the start, {}</p>\n", 100 * state.done_share(),
                      clock_text(state.elapsed(now)),
                      state.finished() ? fmt::format("<b>ended with code {}</b>", state.exit_code())
                                       : "about " + clock_text(state.run_eta(now)) + " left");
  html +=
      "<h2>Tasks</h2>\n<div class=\"wide\"><table><tr><th>task</th><th "
      "class=\"l\">state</th><th>step</th><th>loss</th><th>validation "
      "loss</th><th>accuracy</th>"
      "<th>tokens/s</th><th>MFU</th><th>ETA</th><th>ranks</th></tr>\n";
  for (const TaskState& task : state.tasks()) html += task_row(state, task, now);
  html +=
      "</table></div>\n<h2>Ranks</h2>\n<div class=\"wide\"><table><tr><th>rank</th><th class=\"l\">host</th><th "
      "class=\"l\">does</th><th>heard</th></tr>\n";
  for (const RankState& rank : state.ranks()) html += rank_row(state, rank, now);
  return html + "</table></div>\n<p><a href=\"status.json\">status.json</a> <a href=\"metrics\">metrics</a></p></body></html>\n";
}

}  // namespace dmoerm::watch
