#include "run/check_labels.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "config/nearest.h"
#include "train/training_set.h"

namespace dmoerm::run {
namespace {

using nlohmann::json;
constexpr std::size_t kNamesShown = 20;

class LabelCheck {
 public:
  LabelCheck(const config::RunConfig& config, const data::TokenStore& store) : config_(config), store_(store) {}

  void check(const config::CategoryConfig& category) {
    const auto found = std::ranges::find(store_.categories(), category.name);
    category_ = &category;
    folds_.clear();
    index_ = static_cast<std::int32_t>(found - store_.categories().begin());
    if (found == store_.categories().end() || train::groups_of(store_, index_, train::Subset::train, config_).empty()) {
      problem("", "no groups in the train split; remove it from `categories` or add data");
      return;
    }
    check_overall();
    if (!config_.labels.judges.empty()) return;  // the points' labels come from the judges
    for (const std::string& point : category.points) {
      if (category.imported(point).empty()) check_point(point);
    }
  }

  [[nodiscard]] const std::string& problems() const { return problems_; }

  void warn_of_few_validation_prompts(const config::CategoryConfig& category) {
    const auto found = std::ranges::find(store_.categories(), category.name);
    index_ = static_cast<std::int32_t>(found - store_.categories().begin());
    std::vector<std::string> labels = {std::string(preference::kOverall)};
    for (const std::string& point : category.points) {
      if (config_.labels.judges.empty() && category.imported(point).empty()) labels.push_back(point);
    }
    std::vector<std::string> few;
    for (const std::string& label : labels) {
      const auto groups = train::labelled_groups(store_, index_, train::Subset::validation, label, config_);
      const std::vector<std::int64_t> prompts = train::prompt_numbers(store_, groups);
      const std::set<std::int64_t> distinct(prompts.begin(), prompts.end());
      if (std::ssize(distinct) < kFewPrompts) few.push_back(fmt::format("{} {}", label, distinct.size()));
    }
    if (few.empty()) return;
    spdlog::warn(
        "[run] category={}: the validation split decides when training stops and which weights it keeps, but few of its prompts "
        "have ordered pairs ({}): raise data.validation_share or add rows of this split, until there are {} prompts or more",
        category.name, fmt::join(few, ", "), kFewPrompts);
  }

 private:
  void check_overall() {
    if (pairs_anywhere(preference::kOverall) == 0) {
      problem(preference::kOverall,
              "no ordered pairs: the overall preferences are absent or all of one kind. " + what_counts(preference::kOverall));
      return;
    }
    if (config_.folds > 0) {
      need_prompts_for_folds();
    } else {
      need(preference::kOverall, train::Subset::phase1, 1, "the groups of phase 1: raise phase1_share or add data");
      need(preference::kOverall, train::Subset::phase3, 1, "the groups of phase 3: lower phase1_share or add data");
    }
    need(preference::kOverall, train::Subset::validation, 1, kValidation);
    need(preference::kOverall, train::Subset::test, 1,
         "the test split, which the report is about: raise data.test_share or add data");
  }

  void check_point(const std::string& point) {
    if (store_.label_index(index_, point) < 0) {
      problem(point, "no labels; " + names_instead(point));
    } else if (pairs_anywhere(point) == 0) {
      problem(point, "all labels are of one kind: no two responses to a prompt differ. " + what_counts(point));
    } else {
      need(point, train::Subset::phase1, config_.experts.labels_min,
           config_.folds > 0 ? "the train split (experts.labels_min)"
                             : fmt::format("the groups of phase 1 and 2 (phase1_share {} of the train split; experts.labels_min)",
                                           config_.phase1_share));
      need_outside_of_folds(point);
      need(point, train::Subset::validation, 1, kValidation);
    }
  }

  /// Each fold has a conversation with an overall preference, so that the aggregator learns from each fold's experts.
  void need_prompts_for_folds() {
    std::set<std::uint64_t> conversations;
    for (const train::LabelledGroup& g :
         train::labelled_groups(store_, index_, train::Subset::train, preference::kOverall, config_))
      conversations.insert(store_.group(g.group).session_key);
    if (std::ssize(conversations) >= config_.folds) return;
    problem(
        preference::kOverall,
        fmt::format("{} prompts with ordered pairs in the train split, at least {} needed, one for each of the folds (turns of "
                    "one conversation count once): lower folds (0 turns them off) or add data",
                    conversations.size(), config_.folds));
  }

  /// The experts of each fold have pairs to train on.
  void need_outside_of_folds(const std::string& point) {
    if (config_.folds == 0) return;
    if (folds_.empty()) folds_ = train::fold_numbers(store_, index_, config_);
    std::vector<std::int64_t> outside(static_cast<std::size_t>(config_.folds) + 1, 0);
    for (const train::LabelledGroup& g : train::labelled_groups(store_, index_, train::Subset::train, point, config_)) {
      for (std::size_t fold = 1; fold < outside.size(); ++fold) {
        if (folds_[static_cast<std::size_t>(g.group)] != static_cast<std::int32_t>(fold)) outside[fold] += std::ssize(g.pairs);
      }
    }
    const auto fewest = std::min_element(outside.begin() + 1, outside.end());
    if (*fewest >= labels_min_of_fold(config_.experts.labels_min)) return;
    problem(point,
            fmt::format("{} ordered pairs, at least {} needed (half of experts.labels_min), in the train groups outside of "
                        "fold {} of {}: lower folds (0 turns them off) or add data",
                        *fewest, labels_min_of_fold(config_.experts.labels_min), fewest - outside.begin(), config_.folds));
  }

  [[nodiscard]] std::int64_t pairs(std::string_view label, train::Subset subset) const {
    return train::count_pairs(train::labelled_groups(store_, index_, subset, label, config_));
  }
  [[nodiscard]] std::int64_t pairs_anywhere(std::string_view label) const {
    return pairs(label, train::Subset::train) + pairs(label, train::Subset::validation) + pairs(label, train::Subset::test);
  }
  [[nodiscard]] std::string what_counts(std::string_view label) const {
    return fmt::format(
        "A pair counts whose scores differ (by score_gap_min, {}, or more) or whose verdict is the same in both orders",
        category_->score_gap_min.of(label));
  }

  void need(std::string_view label, train::Subset subset, std::int64_t least, const std::string& where) {
    const std::int64_t found = pairs(label, subset);
    if (found < least) problem(label, fmt::format("{} ordered pairs, at least {} needed, in {}", found, least, where));
  }

  /// The name that the user may have meant, or the points that the inputs label.
  [[nodiscard]] std::string names_instead(const std::string& point) const {
    std::set<std::string> names;
    const json provenance = json::parse(store_.provenance());
    for (const json& input : provenance.value("inputs", json::array())) {
      for (const json& name : input.value("labels", json::object()).value(category_->name, json::array())) names.insert(name);
    }
    if (const auto near = config::nearest(point, {names.begin(), names.end()})) return fmt::format("did you mean {}?", *near);
    if (names.empty()) return "the inputs label no point of this category";
    std::string list;
    std::size_t shown = 0;
    for (const std::string& name : names) {
      if (shown++ == kNamesShown) return "the inputs label " + list + ", ...";
      list += (list.empty() ? "" : ", ") + name;
    }
    return "the inputs label " + list;
  }

  void problem(std::string_view label, const std::string& text) {
    problems_ += fmt::format("\n  category {}{}{}: {}", category_->name, label.empty() ? "" : ", ", label, text);
  }

  static constexpr std::int64_t kFewPrompts = 10;  ///< Of fewer a single prompt moves the accuracy by more than a tenth
  static constexpr const char* kValidation =
      "the validation split, which decides when to stop: raise data.validation_share or add data";
  const config::RunConfig& config_;
  const data::TokenStore& store_;
  const config::CategoryConfig* category_ = nullptr;
  std::int32_t index_ = -1;
  std::vector<std::int32_t> folds_;  ///< See train::fold_numbers(); empty until it is needed
  std::string problems_;
};

}  // namespace

std::int64_t labels_min_of_fold(std::int64_t labels_min) { return std::max<std::int64_t>(1, labels_min / 2); }

void check_labels(const config::RunConfig& config, const data::TokenStore& store) {
  LabelCheck check(config, store);
  for (const config::CategoryConfig& category : config.categories) check.check(category);
  if (check.problems().empty()) return;
  const bool dropped = !json::parse(store.provenance()).value("dropped", json::object()).empty();
  throw ConfigError("data-cannot-train",
                    "the data cannot train this configuration:" + check.problems() +
                        (dropped ? "\nrows were dropped: `dmoerm ingest --config FILE --out store.h5` lists them in "
                                   "store.h5.dropped.jsonl (a refused run keeps nothing)"
                                 : ""));
}

void warn_of_few_validation_prompts(const config::RunConfig& config, const data::TokenStore& store) {
  LabelCheck check(config, store);
  for (const config::CategoryConfig& category : config.categories) check.warn_of_few_validation_prompts(category);
}

}  // namespace dmoerm::run
