#include "report/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/chart.h"
#include "base/error.h"
#include "base/text.h"
#include "base/text_table.h"
#include "report/html.h"
#include "report/learning_curves.h"
#include "report/run_settings.h"

namespace dmoerm::report {
namespace {

constexpr const char* kAlike = "The settings are the same, and so is the content of the files and folders that they name.";
constexpr const char* kAlikeByName =
    "The settings are the same. Not all runs say what the files and folders that they name held, so that these may differ.";

using eval::GroupResult;
using eval::Interval;
using nlohmann::json;

/// Values by key in each run, "" where a run has none.
using ByKey = std::map<std::string, std::vector<std::string>>;

ByKey by_key(const std::vector<ComparedRun>& runs, std::map<std::string, std::string> (*values_of)(const Run&)) {
  ByKey values;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    for (const auto& [key, value] : values_of(runs[i].run)) {
      values[key].resize(runs.size());
      values[key][i] = value;
    }
  }
  return values;
}

/// Sets the settings and contents that differ. That a run says nothing of a content is no difference: its setting says whether it
/// has one.
void find_differing(Comparison& comparison) {
  ByKey settings = by_key(comparison.runs, settings_of);
  std::erase_if(settings, [](const auto& row) { return std::set(row.second.begin(), row.second.end()).size() == 1; });
  const ByKey contents = by_key(comparison.runs, contents_of);
  comparison.contents_known = contents.contains(kBackboneContent) && contents.contains(content_of_input(0));
  for (const auto& [key, values] : contents) {
    std::set<std::string> known(values.begin(), values.end());
    if (known.erase("") > 0) comparison.contents_known = false;
    if (known.size() > 1) settings.emplace(key, values);
  }
  comparison.settings = {settings.begin(), settings.end()};
}

constexpr const char* kMatchedById =
    " Their data files differ, and groups are matched by id. Rows without an id have their file name and line as one, so the "
    "prompts may be different ones.";

/// Whether the data of the first run and of another one are known to differ.
bool data_differ(const std::vector<std::pair<std::string, std::vector<std::string>>>& settings, std::size_t other) {
  return std::ranges::any_of(settings, [other](const auto& row) {
    const auto& [key, values] = row;
    const std::string &ours = values.front(), &theirs = values.at(other);  // "" = not known
    return key.starts_with("data.inputs.") && key.ends_with("(content)") && !ours.empty() && !theirs.empty() && ours != theirs;
  });
}

const char* alike(const Comparison& comparison) { return comparison.contents_known ? kAlike : kAlikeByName; }

double sum_of(const Part& cost, const char* key) {
  double sum = 0;
  if (!cost.there() || !cost.value.is_object()) return 0;
  for (const auto& [what, own] : cost.value.items()) {
    if (own.is_object() && own.contains(key) && own[key].is_number()) sum += own[key].get<double>();
  }
  return sum;
}

void add_label_costs(ComparedRun& run) {
  try {
    const json& spent = run.run.labels.value.at("spent");
    run.label_requests = spent.at("requests");
    run.label_cost = spent.at("cost");
    run.currency = spent.at("currency");
  } catch (const json::exception&) {  // no judge was asked, or the file is damaged: nothing is known
  }
}

/// The mixture's result on each test group by category and id. Ids that a category has twice are left out: they name no group.
std::map<std::pair<std::string, std::string>, GroupResult> by_id(const Run& run) {
  std::map<std::pair<std::string, std::string>, GroupResult> found;
  std::set<std::pair<std::string, std::string>> twice;
  std::int64_t first = 0;
  for (const std::string& category : run.categories) {
    const Part& part = run.results.at(category);
    if (!part.there()) continue;
    try {
      const json &results = part.value, &right = results.at("right").at(kMixture);
      std::int64_t last = first;
      for (std::size_t i = 0; i < right.size(); ++i) {
        const std::int64_t prompt = first + prompt_of(results, i);
        const std::pair key(category, results.at("ids").at(i).get<std::string>());
        if (!found.emplace(key, GroupResult{right.at(i), results.at("pairs").at(i), prompt}).second) twice.insert(key);
        last = std::max(last, prompt + 1);
      }
      first = last;
    } catch (const json::exception&) {  // Accuracies names the category
    }
  }
  for (const auto& key : twice) found.erase(key);
  return found;
}

SharedGroups shared_groups(const Run& first, const Run& other) {
  const auto a = by_id(first), b = by_id(other);
  std::vector<GroupResult> of_first, of_other;
  for (const auto& [key, result] : a) {
    const auto same = b.find(key);
    if (same == b.end() || same->second.pairs != result.pairs) continue;
    of_first.push_back(result);
    of_other.push_back({same->second.right, result.pairs, result.prompt});  // drawn by the prompts of the first run
  }
  SharedGroups shared{of_first.size(), a.size(), b.size(), {}};
  if (!of_first.empty()) shared.difference = eval::bootstrap_difference(of_other, of_first, kSeed);
  return shared;
}

std::vector<std::vector<std::string>> accuracy_rows(const Comparison& comparison) {
  std::vector<std::vector<std::string>> rows = {{"category"}};
  for (const ComparedRun& r : comparison.runs) rows[0].push_back(r.title);
  for (const std::string& row : comparison.rows) {
    rows.push_back({row});
    for (const ComparedRun& r : comparison.runs) rows.back().push_back(interval_text(r.accuracies.accuracy(row, kMixture)));
  }
  const std::string last = comparison.rows.empty() ? kAllRow : comparison.rows.back();
  const auto add_rival = [&](const char* model, const char* title) {
    rows.push_back({fmt::format("{}, {}", title, last)});
    for (const ComparedRun& r : comparison.runs) rows.back().push_back(interval_text(r.accuracies.accuracy(last, model)));
  };
  add_rival("single", "single model");
  const auto has_pooled = [&](const ComparedRun& r) { return r.accuracies.has(last, "pooled"); };
  if (std::ranges::any_of(comparison.runs, has_pooled)) add_rival("pooled", "one per category on all labels");
  return rows;
}

std::vector<std::vector<std::string>> cost_rows(const Comparison& comparison) {
  std::vector<std::vector<std::string>> rows = {{"cost"}};
  std::vector<std::string> tokens = {"tokens trained on"}, time = {"training time, all tasks together"},
                           asked = {"requests to judges"}, paid = {"paid to judges"}, experts = {"experts"}, state = {"state"};
  for (const ComparedRun& r : comparison.runs) {
    rows[0].push_back(r.title);
    tokens.push_back(r.tokens > 0 ? whole_number(r.tokens) : "-");
    time.push_back(r.seconds > 0 ? duration_text(r.seconds) : "-");
    asked.push_back(r.label_requests > 0 ? whole_number(r.label_requests) : "-");
    paid.push_back(r.label_cost > 0 ? fmt::format("{:.2f} {}", r.label_cost, r.currency) : "-");
    std::size_t points = 0;
    for (const auto& [category, own] : r.run.points) points += own.size();
    experts.push_back(fmt::format("{} in {}", points, r.run.categories.size()));
    const std::string unfinished = r.run.unfinished();
    state.push_back(unfinished.empty() ? "complete" : unfinished);
  }
  for (auto& row : {experts, tokens, time, asked, paid, state}) rows.push_back(row);
  return rows;
}

std::vector<std::vector<std::string>> setting_rows(const Comparison& comparison) {
  std::vector<std::vector<std::string>> rows = {{"setting"}};
  for (const ComparedRun& r : comparison.runs) rows[0].push_back(r.title);
  for (const auto& [key, values] : comparison.settings) {
    rows.push_back({key});
    for (const std::string& value : values) rows.back().push_back(value.empty() ? "-" : value);
  }
  return rows;
}

std::string table_of(std::vector<std::vector<std::string>> rows, std::size_t words = 1) {
  Table made{rows.front(), {rows.begin() + 1, rows.end()}, words};
  return table(made);
}

}  // namespace

std::vector<std::string> Comparison::sentences() const {
  std::vector<std::string> said;
  for (std::size_t i = 0; i < against_first.size(); ++i) {
    const SharedGroups& shared = against_first[i];
    const std::string &first = runs.front().title, &other = runs[i + 1].title;
    if (shared.of_first == 0 || shared.of_other == 0) {
      const ComparedRun& without = shared.of_first == 0 ? runs.front() : runs[i + 1];
      said.push_back(without.accuracies.damaged.empty()
                         ? fmt::format("{} has not been evaluated, so it is compared with nothing.", without.title)
                         : fmt::format("The results of {} cannot be read, so it is compared with nothing.", without.title));
      continue;
    }
    if (!shared.difference) {
      said.push_back(
          fmt::format("{} and {} have no test group in common, so their accuracies are of different prompts.", other, first));
      continue;
    }
    const Interval& gap = *shared.difference;
    const char* verdict = gap.low > 0 ? "is better than" : gap.high < 0 ? "is worse than" : "is not shown to differ from";
    std::string which =
        shared.groups == shared.of_first && shared.groups == shared.of_other
            ? "the same test groups"
            : fmt::format("the {} test groups that both have (of {} and {})", shared.groups, shared.of_other, shared.of_first);
    said.push_back(fmt::format("{} {} {} on {}: {} (95 % interval {}).{}", other, verdict, first, which, points_text(gap.value),
                               points_range(gap), data_differ(settings, i + 1) ? kMatchedById : ""));
  }
  return said;
}

Comparison compare_runs(const std::vector<std::string>& folders,
                        const std::function<void(std::int64_t done, std::int64_t all)>& on_run) {
  Comparison comparison;
  std::map<std::string, int> names;
  std::map<std::filesystem::path, std::string> given;
  for (const std::string& folder : folders) {
    if (on_run) on_run(std::ssize(comparison.runs), std::ssize(folders));
    const auto [before, first] = given.emplace(std::filesystem::weakly_canonical(folder), folder);
    if (!first)
      throw ConfigError("run-given-twice", fmt::format("{} and {} are the same run: name each run once", before->second, folder));
    ComparedRun run{"", read_run(folder), {}, 0, 0, 0, 0, ""};
    run.title = run.run.name;
    ++names[run.title];
    run.accuracies = accuracies_of(run.run);
    run.tokens = sum_of(run.run.cost, "tokens");
    run.seconds = sum_of(run.run.cost, "seconds");
    add_label_costs(run);
    for (const std::string& row : run.accuracies.rows) {
      if (row != kAllRow && std::ranges::find(comparison.rows, row) == comparison.rows.end()) comparison.rows.push_back(row);
    }
    comparison.runs.push_back(std::move(run));
  }
  for (std::size_t i = 0; i < folders.size(); ++i) {
    if (names[comparison.runs[i].title] > 1)
      comparison.runs[i].title = fmt::format("{} ({})", comparison.runs[i].title, folders[i]);
  }
  const bool summed = std::ranges::any_of(
      comparison.runs, [](const ComparedRun& r) { return r.accuracies.of.contains(kAllRow) && r.accuracies.rows.size() > 1; });
  if (summed) comparison.rows.emplace_back(kAllRow);
  for (std::size_t i = 1; i < comparison.runs.size(); ++i)
    comparison.against_first.push_back(shared_groups(comparison.runs.front().run, comparison.runs[i].run));
  find_differing(comparison);
  return comparison;
}

std::string comparison_text(const Comparison& comparison) {
  std::string text = "Pairs of the test prompts that the mixture has in the right order, in per cent with 95 % intervals:\n\n";
  text += markdown_table(accuracy_rows(comparison)) + "\n";
  for (const std::string& sentence : comparison.sentences()) text += sentence + "\n";
  text += "\n" + markdown_table(cost_rows(comparison)) + "\n";
  if (comparison.runs.size() == 1) return text;
  if (comparison.settings.empty()) return text + alike(comparison) + "\n";
  return text + markdown_table(setting_rows(comparison));
}

std::string comparison_page(const Comparison& comparison) {
  Page page;
  page.title = "Runs side by side";
  page.lead = "<div class=\"lead\">\n";
  for (const std::string& sentence : comparison.sentences()) page.lead += paragraph(sentence);
  if (comparison.runs.size() == 1) page.lead += paragraph("One run alone; `dmoerm report` shows more of it.");
  page.lead += "</div>\n";
  IntervalChart chart{.title = "Pairs in the right order",
                      .subtitle = "Dots: share of each run's test pairs. Lines: 95 % intervals over prompts. Dashed: chance.",
                      .axis = "share of pairs in the right order",
                      .series = {},
                      .rows = {}};
  for (const ComparedRun& r : comparison.runs) chart.series.push_back(r.title);
  for (const std::string& row : comparison.rows) {
    IntervalRow& drawn = chart.rows.emplace_back(IntervalRow{row, {}});
    for (const ComparedRun& r : comparison.runs) {
      const auto own = r.accuracies.accuracy(row, kMixture);
      drawn.series.push_back(own ? std::optional(Chart::Point{own->value, 0, own->low, own->high}) : std::nullopt);
    }
  }
  page.sections.push_back({"accuracy", "Accuracy",
                           (chart.rows.empty() ? note("No run has been evaluated yet.") : figure(svg_of(chart), chart.title)) +
                               table_of(accuracy_rows(comparison))});
  std::vector<TitledRun> titled;
  for (const ComparedRun& r : comparison.runs) titled.push_back({r.title, &r.run});
  page.sections.push_back(compared_curves_section(titled));
  page.sections.push_back({"cost", "Cost", table_of(cost_rows(comparison))});
  page.sections.push_back({"settings", "Settings that differ",
                           comparison.settings.empty() ? paragraph(alike(comparison))
                                                       : table_of(setting_rows(comparison), comparison.runs.size() + 1)});
  return html_of(page);
}

}  // namespace dmoerm::report
