#include "data/data_summary.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/counted.h"
#include "base/text_table.h"
#include "config/rule.h"
#include "config/values.h"
#include "data/group_selection.h"
#include "data/score_gap_rule.h"
#include "data/text_notes.h"
#include "preference/formats_of_groups.h"
#include "preference/group_reader.h"
#include "preference/ordered_pairs.h"

namespace dmoerm::data {
namespace {

using preference::Split;

constexpr double kAnyGap = 0, kNoGap = std::numeric_limits<double>::infinity();
constexpr double kGapRounding = 1e-9;          // as preference::ordered_pairs() allows
constexpr std::size_t kLabelsMax = 200;        // of a category: names such as one per rater could be endless
constexpr std::int64_t kPromptsAdvised = 300;  // of a category, as README.md says

/// Gathers what groups say under one label.
class LabelCount {
 public:
  void add(const preference::Group& group, const std::string& label) {
    const std::vector<double> scores = preference::scores_of(group, label);
    for (const double score : scores) count_score(score);
    for (const preference::Response& response : group.responses) count_raters(response, label);
    const auto pairs = preference::ordered_pairs(group, label, kAnyGap);
    if (!pairs.empty()) ++summary_.prompts;
    if (group.split == Split::test) return;
    rule_.add(scores);
    if (pairs.empty()) return;
    const bool stated = !preference::ordered_pairs(group, label, kNoGap).empty();
    double widest = stated ? kNoGap : 0;
    for (const preference::Preference& pair : stated ? std::vector<preference::Preference>{} : pairs)
      widest = std::max(widest, scores[static_cast<std::size_t>(pair.winner)] - scores[static_cast<std::size_t>(pair.loser)]);
    widest_.push_back(widest);
  }

  [[nodiscard]] double gap() const { return rule_.gap(); }
  /// @param gap  from which scores count as ordered
  [[nodiscard]] LabelSummary summary(double gap) const {
    LabelSummary summary = summary_;
    summary.score_gap_min = gap;
    summary.learnable = std::ranges::count_if(widest_, [&](double widest) { return widest >= gap - kGapRounding; });
    return summary;
  }

 private:
  void count_score(double score) {
    if (std::isnan(score)) return;
    ++summary_.scores;
    summary_.least = std::min(summary_.least, score);
    summary_.most = std::max(summary_.most, score);
  }
  void count_raters(const preference::Response& response, const std::string& label) {
    const auto found = response.raters.find(label);
    if (found == response.raters.end()) return;
    summary_.raters_least = summary_.raters_most == 0 ? found->second : std::min(summary_.raters_least, found->second);
    summary_.raters_most = std::max(summary_.raters_most, found->second);
  }

  LabelSummary summary_;
  ScoreGapRule rule_;
  std::vector<double> widest_;  ///< gap of each prompt outside the test split that has an ordered pair; infinite for a stated one
};

/// The labels that a group says something about.
std::set<std::string> labels_of(const preference::Group& group) {
  std::set<std::string> labels{std::string(preference::kOverall)};
  for (const preference::Response& r : group.responses) {
    for (const auto& [point, score] : r.scores) labels.insert(point);
  }
  for (const preference::StatedPair& pair : group.pairs) labels.insert(pair.label);
  for (const preference::RecordedVerdict& verdict : group.verdicts) labels.insert(verdict.point);
  return labels;
}

/// Gathers what groups say under all labels of a category.
class CategoryCount {
 public:
  void add(const preference::Group& group, Split stated) {
    ++summary_.prompts;
    ++summary_.responses[std::ssize(group.responses)];
    ++summary_.splits[stated];
    for (const std::string& label : labels_of(group)) {
      const bool usual = label == preference::kOverall || label == preference::kFirstRater;
      if (!usual && !labels_.contains(label) && labels_.size() >= kLabelsMax)
        summary_.labels_left_out = true;
      else
        labels_[label].add(group, label);
    }
  }
  /// One rater's label counts with the gap of the mean of all, which it stands in for.
  [[nodiscard]] CategorySummary summary() const {
    CategorySummary summary = summary_;
    const double overall = labels_.at(std::string(preference::kOverall)).gap();
    for (const auto& [label, count] : labels_)
      summary.labels[label] = count.summary(label == preference::kFirstRater && overall > 0 ? overall : count.gap());
    return summary;
  }

 private:
  CategorySummary summary_;
  std::map<std::string, LabelCount> labels_;
};

std::int64_t median_of(const std::map<std::int64_t, std::int64_t>& counts, std::int64_t all) {
  std::int64_t before = 0;
  for (const auto& [number, prompts] : counts) {
    before += prompts;
    if (2 * before >= all) return number;
  }
  return 0;
}

/// A name as a line of text can hold it.
std::string shown_name(const std::string& name) { return unusable_point(name).empty() ? name : nlohmann::json(name).dump(); }

std::string splits_text(const std::map<Split, std::int64_t>& splits) {
  std::string text;
  for (const auto& [split, prompts] : splits)
    text +=
        fmt::format("{}{} {}", text.empty() ? "" : ", ", split == Split::unset ? "none" : preference::to_string(split), prompts);
  return text;
}

std::string range_text(double least, double most) {
  if (least > most) return "-";
  return least == most ? fmt::format("{}", least) : fmt::format("{} to {}", least, most);
}

std::vector<std::string> label_row(const std::string& category, const std::string& name, const LabelSummary& label) {
  const auto& [least, most] = std::pair(label.raters_least, label.raters_most);
  const std::string raters = most == 0 ? "-" : least == most ? std::to_string(most) : fmt::format("{} to {}", least, most);
  return {category,
          shown_name(name),
          std::to_string(label.prompts),
          std::to_string(label.scores),
          range_text(label.least, label.most),
          raters,
          label.scores == 0 ? "-" : fmt::format("{}", label.score_gap_min),
          std::to_string(label.learnable)};
}

/// What is odd about one label, or "".
std::string odd_label(const std::string& name, const LabelSummary& label, std::int64_t labelled_min) {
  if (label.prompts == 0 && label.scores > 1 && label.least == label.most)
    return fmt::format("all {} scores are {}, so they order nothing", label.scores, label.least);
  if (label.prompts == 0 && label.scores > 0) return "scores differ between prompts, but not between responses of one prompt";
  if (name == preference::kOverall && label.prompts == 0)
    return "no prompt has an overall label (\"overall\", a stated pair): a run learns its base and the report from them";
  if (label.learnable >= labelled_min) return "";
  return fmt::format("{} outside the test split {} an ordered pair{}; fewer than {} teach little",
                     counted(label.learnable, "prompt"), label.learnable == 1 ? "has" : "have",
                     label.score_gap_min > 0 ? fmt::format(" (gap of {} or more)", label.score_gap_min) : "", labelled_min);
}

std::vector<std::string> odd_category(const DataSummary& all, const std::string& name, std::int64_t labelled_min) {
  const CategorySummary& category = all.categories.at(name);
  std::vector<std::string> odd;
  const std::string files = files_without_category(all.inputs);
  if (name == kNoCategory && !files.empty())
    odd.push_back(
        fmt::format("{} of rows that name no category{}; set data.inputs[].category, or write \"category\" into the rows",
                    counted(category.prompts, "prompt"), all.inputs.size() > 1 ? fmt::format(" ({})", files) : ""));
  if (const std::string wrong = unusable_category(name, all.categories.size()); !wrong.empty()) odd.push_back(wrong);
  if (category.prompts < kPromptsAdvised)
    odd.push_back(fmt::format("{}: with fewer than about {} the intervals are wider than most differences",
                              counted(category.prompts, "prompt"), kPromptsAdvised));
  if (category.splits.size() > 1 && category.splits.contains(Split::unset))
    odd.push_back(fmt::format("{} in rows that name no split, beside others that do: theirs is drawn",
                              counted(category.splits.at(Split::unset), "prompt")));
  const std::vector<std::string> points = point_names(category);
  if (points.empty())
    odd.emplace_back("no capability point: the labels must come from a judge (docs/labelling.md)");
  else if (points.size() == 1)
    odd.push_back(
        fmt::format("one capability point alone, {}: there is nothing for experts to divide", shown_name(points.front())));
  for (const std::string& point : points) {
    if (const std::string wrong = unusable_point(point); !wrong.empty())
      odd.push_back(fmt::format("{}: {}", shown_name(point), wrong));
  }
  for (const auto& [label, summary] : category.labels) {
    const std::string why = odd_label(label, summary, labelled_min);
    if (!why.empty()) odd.push_back(fmt::format("{}: {}", shown_name(label), why));
  }
  if (category.labels_left_out)
    odd.push_back(fmt::format("more than {} labels: the others are not listed; are their names those of raters?", kLabelsMax));
  return odd;
}

void note(DataSummary& summary, const preference::Group& group, const char* what, std::int64_t times) {
  if (times == 0) return;
  Noted& noted = summary.noted[what];
  if (noted.times == 0) noted.first = fmt::format("{}:{}", group.file, group.line);
  noted.times += times;
}

}  // namespace

DataSummary summarise(const IngestRequest& request) {
  GroupSelection selection(request);
  std::map<std::string, CategoryCount> counts;
  std::vector<std::int64_t> without_category(request.data.inputs.size());
  DataSummary summary;
  std::int64_t groups = 0;
  const auto add = [&](InputGroup&& item) {
    if (request.progress) request.progress("counting", ++groups, selection.groups());
    const Split stated = item.group.split;
    if (const std::string why = selection.select(item); !why.empty()) {
      ++summary.dropped[why];
      return false;
    }
    counts[item.group.category].add(item.group, stated);
    note(summary, item.group, preference::kMergedNote, item.group.merged);
    note(summary, item.group, kRatersAloneNote, item.group.raters_alone ? 1 : 0);
    if (item.without_category) ++without_category[item.input];
    return true;
  };
  summary.inputs =
      read_inputs(request, add, [&](const preference::Dropped& d) { ++summary.dropped[d.bad ? "bad line" : d.reason]; });
  for (std::size_t i = 0; i < summary.inputs.size(); ++i) summary.inputs[i].without_category = without_category[i];
  for (const auto& [category, count] : counts) summary.categories[category] = count.summary();
  return summary;
}

std::vector<std::string> point_names(const CategorySummary& category) {
  std::vector<std::string> names;
  for (const auto& [label, summary] : category.labels) {
    if (label != preference::kOverall && label != preference::kFirstRater) names.push_back(label);
  }
  return names;
}

std::string unusable_category(const std::string& name, std::size_t categories) {
  if (name == "single" || (name == "all" && categories > 1))
    return "reports use this name for something else: spell the category otherwise in the rows";
  return unusable_point(name);
}

std::string unusable_point(const std::string& name) {
  if (config::check_text(name, config::required_name()).empty()) return "";
  return "the name cannot be that of a folder: spell it in the rows with at most 100 of A-Z a-z 0-9 _ . -";
}

std::string to_text(const DataSummary& summary, std::int64_t labelled_min) {
  std::string text;
  for (const IngestReport::Input& input : summary.inputs)
    text += fmt::format("{}: format {}, {}\n", input.path, input.format, counted(input.groups, "prompt"));
  std::vector<std::vector<std::string>> categories = {
      {"category", "prompts", "responses per prompt: min / median / max", "splits that rows name"}};
  std::vector<std::vector<std::string>> labels = {{"category", "label", "prompts with an ordered pair", "scored responses",
                                                   "scores", "raters", "score_gap_min", "prompts to learn from"}};
  std::string odd;
  for (const auto& [name, category] : summary.categories) {
    const std::string shown = shown_name(name);
    categories.push_back({shown, std::to_string(category.prompts),
                          fmt::format("{} / {} / {}", category.responses.begin()->first,
                                      median_of(category.responses, category.prompts), category.responses.rbegin()->first),
                          splits_text(category.splits)});
    for (const auto& [label, about] : category.labels) labels.push_back(label_row(shown, label, about));
    for (const std::string& what : odd_category(summary, name, labelled_min)) odd += fmt::format("odd: {}: {}\n", shown, what);
  }
  text += fmt::format("\n{}\n{}\n", markdown_table(categories), markdown_table(labels));
  for (const auto& [what, noted] : summary.noted)
    text += fmt::format("noted {:>8}: {}, the first at {}\n", noted.times, what, noted.first);
  for (const auto& [reason, rows] : summary.dropped) text += fmt::format("dropped {:>6}: {}\n", rows, reason);
  return text + odd;
}

}  // namespace dmoerm::data
