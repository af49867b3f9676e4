#include "data/derived_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/counted.h"
#include "base/error.h"
#include "config/values.h"
#include "data/ingest_inputs.h"
#include "preference/formats_of_groups.h"

namespace dmoerm::data {
namespace {

constexpr const char* kHead =
    "# Written by `dmoerm inspect data` from the files below; yours to edit. A gap is the smallest one between two scores of a\n"
    "# prompt that is at least half their standard deviation within prompts, test prompts left out.\n";
constexpr const char* kBackbone =
    "backbone:\n"
    "  dir: ${DMOERM_MODELS}/smollm2-135m-instruct  # which launch/setup.sh --with smollm2 fetches; or another model\n"
    "  chat_template: chatml\n";
constexpr const char* kCompute = "compute:\n  device: cpu\n  threads: 1\n  micro_batch_tokens: 2048\n";
constexpr const char* kTraining =
    "base:\n"
    "  tuning: lora\n"
    "  lr: 1.0e-3  # for a model of 22 to 135 million parameters; docs/tutorial.md says more\n"
    "experts:\n"
    "  train:\n"
    "    lr: 1.0e-3\n";

/// That a label has too few prompts, or "".
std::string too_few(const LabelSummary& label, std::int64_t labelled_min) {
  if (label.learnable >= labelled_min) return "";
  return fmt::format("{} outside the test split with an ordered pair, {} are needed (--labelled-min)",
                     counted(label.learnable, "prompt"), labelled_min);
}

/// Why a point is not in the configuration, or "".
std::string why_left_out(const std::string& point, const LabelSummary& label, std::int64_t labelled_min) {
  const std::string wrong = unusable_point(point);
  return wrong.empty() ? too_few(label, labelled_min) : wrong;
}

/// What the configuration says of one category.
struct DerivedCategory {
  config::CategoryConfig config;
  std::vector<std::string> comments;
};

DerivedCategory derive(const std::string& name, const CategorySummary& category, const DerivedConfigSettings& settings) {
  DerivedCategory derived{{.name = name, .points = {}, .score_gap_min = {}}, {}};
  for (const std::string& point : point_names(category)) {
    const std::string why = why_left_out(point, category.labels.at(point), settings.labelled_min);
    if (why.empty())
      derived.config.points.push_back(point);
    else
      derived.comments.push_back(fmt::format("left out: {}: {}", nlohmann::json(point).dump(), why));
  }
  std::vector<std::string> labels = derived.config.points;
  labels.emplace_back(preference::kOverall);
  const auto first = category.labels.find(std::string(preference::kFirstRater));
  const bool rated = first != category.labels.end() && first->second.learnable >= settings.labelled_min;
  if (rated && settings.evidence && !derived.config.points.empty()) {
    derived.config.points.emplace_back(preference::kFirstRater);
    labels.emplace_back(preference::kFirstRater);
    derived.comments.push_back(fmt::format("{}: the overall label of one rater, no capability point", preference::kFirstRater));
  } else if (rated && !settings.evidence) {
    derived.comments.push_back(
        fmt::format("{}, the overall label of one rater, is no capability point: --evidence names it", preference::kFirstRater));
  }
  for (const std::string& label : labels) {
    const double gap = category.labels.at(label).score_gap_min;
    if (gap > 0) derived.config.score_gap_min.by_label[label] = gap;
  }
  return derived;
}

std::string category_text(const DerivedCategory& derived) {
  const config::CategoryConfig& category = derived.config;
  std::string text =
      fmt::format("  - name: {}\n    points: [{}]\n", config::write_value(category.name), fmt::join(category.points, ", "));
  if (!category.score_gap_min.by_label.empty())
    text += fmt::format("    score_gap_min: {}\n", config::write_value(category.score_gap_min));
  if (category.name == kNoCategory) text += "    # the rows that name no category\n";
  for (const std::string& comment : derived.comments) text += fmt::format("    # {}\n", comment);
  return text;
}

std::string data_text(const DataSummary& summary, const DerivedConfigSettings& settings) {
  std::string text = "data:\n  inputs:\n";
  for (const IngestReport::Input& input : summary.inputs)
    text +=
        fmt::format("    - path: {}\n", config::write_value(std::filesystem::absolute(input.path).lexically_normal().string()));
  if (settings.bad_lines_max > 0) text += fmt::format("  bad_lines_max: {}\n", settings.bad_lines_max);
  if (settings.evidence) text += "  max_length: 512\n  min_prompt_tokens: 64\n";
  return text;
}

}  // namespace

std::string derived_config(const DataSummary& summary, const DerivedConfigSettings& settings) {
  std::string categories, comments;
  bool without_category_left_out = false;
  std::int64_t named = 0, untestable = 0;
  for (const auto& [name, category] : summary.categories) {
    const DerivedCategory derived = derive(name, category, settings);
    std::string wrong = unusable_category(name, summary.categories.size());
    if (wrong.empty() && !derived.config.points.empty() && settings.evidence) {
      wrong = too_few(category.labels.at(std::string(preference::kOverall)), settings.labelled_min);
      if (!wrong.empty()) wrong = "overall, on which all models are tested: " + wrong, ++untestable;
    }
    if (wrong.empty() && !derived.config.points.empty()) {
      categories += category_text(derived);
      ++named;
      continue;
    }
    without_category_left_out = without_category_left_out || name == kNoCategory;
    comments += fmt::format("# left out: the category {}: {}\n", nlohmann::json(name).dump(),
                            wrong.empty() ? "no point has enough labels" : wrong);
    for (const std::string& comment : derived.comments) comments += fmt::format("#   {}\n", comment);
  }
  if (named == 0 && untestable > 0)
    throw DataError("no-overall-labels",
                    fmt::format("--out: the overall labels of no category order a pair in {} outside the test split, so there is "
                                "nothing to test models on. They stand in \"overall\" of a response, or are stated pairs; "
                                "--labelled-min asks for fewer prompts\n{}",
                                counted(settings.labelled_min, "prompt"), comments));
  if (named == 0)
    throw DataError("no-point-with-labels",
                    fmt::format("--out: no category has a capability point with an ordered pair in {} outside the test split, so "
                                "there is nothing to configure. Scores of points stand in \"scores\" of a response; a judge can "
                                "give labels too (docs/labelling.md); --labelled-min asks for fewer prompts\n{}",
                                counted(settings.labelled_min, "prompt"), comments));
  if (without_category_left_out && named == 1)
    comments += "# With a single category here, rows that name no category count as one of it.\n";
  return fmt::format("{}name: {}\nseed: {}\n{}{}{}categories:\n{}{}{}", kHead, settings.evidence ? "evidence" : "own-data",
                     settings.seed, kBackbone, settings.evidence ? kCompute : "", data_text(summary, settings), categories,
                     comments, settings.evidence ? "" : kTraining);
}

}  // namespace dmoerm::data
