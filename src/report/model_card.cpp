#include "report/model_card.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/counted.h"
#include "base/hub_name.h"
#include "base/text_table.h"
#include "report/accuracies.h"

namespace dmoerm::report {
namespace {

using nlohmann::json;

constexpr const char* kWhatItIs = R"(
## What it is

A double-layer mixture-of-experts reward model (DMoERM, [arXiv 2403.01197](https://arxiv.org/abs/2403.01197)). A router sends the
prompt to the model of its category; there one expert for each capability point judges the response, and an aggregator makes one
reward of what they say. A prompt of no category is scored by a single model. Larger is better; rewards can be compared within a
prompt, and only roughly between prompts.

)";

constexpr const char* kUse = R"(
## How to use it

```sh
launch/dmoerm score --bundle bundle --prompt "Where is my order?" --response "On its way." --response "No idea."
```

In Python, with the package `dmoerm_hf` (`pip install ./launch/python` in the repository of dmoerm):

```python
from dmoerm_hf import DmoermRewardModel

model = DmoermRewardModel.from_pretrained("bundle")
for result in model.score("Where is my order?", ["On its way.", "No idea."]):
    print(result.reward, result.scored_by, result.points)
```
)";

constexpr const char* kLimits = R"(
## Limits

The model learnt what its labels prefer, with their faults: see the sections on length and calibration of the run's report before the
scores drive training of another model.
)";

constexpr const char* kLimitsOfFigures = "The figures hold for prompts like those of the test split.\n";

/// A text as YAML reads it, whatever it holds.
std::string quoted(const std::string& text) { return json(text).dump(-1, ' ', false, json::error_handler_t::replace); }

/// Text that Markdown and HTML show as it is.
std::string plain(std::string text) {
  for (const char* mark : {"\\", "|", "<", "*", "_", "`", "[", "#"}) {
    for (std::size_t at = 0; (at = text.find(mark, at)) != std::string::npos; at += 2) text.insert(at, "\\");
  }
  std::ranges::replace(text, '\n', ' ');
  return text;
}

/// "owner/name" of the backbone by the bundle's own config.json; "" if it names a path or nothing.
std::string base_model_of(const Run& run) {
  for (const std::string& folder : {std::string("base"), run.categories.empty() ? "base" : "base/" + run.categories.front()}) {
    const Part config = read_part(run.folder / "bundle" / folder / "config.json", "");
    if (!config.there() || !config.value.is_object()) continue;
    const json name = config.value.value("_name_or_path", json());
    if (!name.is_string()) continue;
    if (is_hub_name(name.get<std::string>())) return name;
  }
  return "";
}

/// What the row of all categories is of.
const char* all_title(const Accuracies& accuracies) {
  return accuracies.problems.empty() ? "all categories" : "all categories with results";
}

std::string metadata(const Run& run, const Accuracies& accuracies, const CardOptions& options) {
  std::string yaml = fmt::format("---\nlicense: {}\n", quoted(options.license));
  const std::string base = options.base_model.empty() ? base_model_of(run) : options.base_model;
  if (!base.empty()) yaml += fmt::format("base_model: {}\n", quoted(base));
  yaml +=
      "pipeline_tag: text-classification\n"
      "tags:\n- reward-model\n- preference\n- mixture-of-experts\n- dmoerm\n"
      "metrics:\n- accuracy\n";
  std::string metrics;
  for (const std::string& row : accuracies.rows) {
    const auto accuracy = accuracies.accuracy(row, kMixture);
    if (!accuracy) continue;
    metrics += fmt::format(
        "  - task:\n      type: text-classification\n      name: Reward modelling\n"
        "    dataset:\n      type: {0}\n      name: {1}\n      split: test\n"
        "    metrics:\n    - type: accuracy\n      name: Pairs in the right order\n      value: {2:.4f}\n",
        quoted("preference-pairs/" + row), quoted(run.name + ": " + (row == kAllRow ? all_title(accuracies) : row.c_str())),
        accuracy->value);
  }
  if (!metrics.empty()) yaml += fmt::format("model-index:\n- name: {}\n  results:\n{}", quoted(run.name), metrics);
  return yaml + "---\n";
}

std::string accuracy_text(const Accuracies& accuracies) {
  if (accuracies.empty())
    return accuracies.damaged.empty() ? "The model has not been evaluated.\n" : "The results cannot be read.\n";
  std::vector<std::vector<std::string>> rows = {{"category", "test prompts", "pairs"}};
  std::vector<ModelName> models;
  for (const ModelName& model : kModels) {
    if (accuracies.has(accuracies.rows.back(), model.key)) models.push_back(model), rows[0].emplace_back(model.title);
  }
  for (const std::string& row : accuracies.rows) {
    rows.push_back({plain(row), fmt::format("{}", accuracies.prompts(row)), fmt::format("{}", accuracies.pairs(row))});
    for (const ModelName& model : models) {
      const auto accuracy = accuracies.accuracy(row, model.key);
      rows.back().push_back(accuracy ? eval::to_string(*accuracy) : "-");
    }
  }
  return "Share of the pairs of held-out prompts in the right order, with 95 % bootstrap intervals over prompts.\n\n" +
         markdown_table(rows);
}

std::string structure_text(const Run& run) {
  std::string text;
  for (const std::string& category : run.categories) {
    const auto points = run.points.find(category);
    std::string names;
    if (points != run.points.end()) {
      for (const std::string& point : points->second) names += (names.empty() ? "" : ", ") + plain(point);
    }
    text += fmt::format("- **{}**: {}\n", plain(category), names.empty() ? "no capability points" : names);
  }
  if (const std::string imported = imported_experts_text(run); !imported.empty()) text += "\n" + plain(imported) + "\n";
  return text;
}

std::string data_text(const Run& run) {
  if (!run.ingest.there()) return "The data are not known.\n";
  double groups = 0, responses = 0, dropped = 0;
  const json counts_of = run.ingest.value.value("counts", json::object()),
             rows = run.ingest.value.value("dropped", json::object());
  for (const auto& [category, splits] : counts_of.items()) {
    for (const auto& [split, counts] : splits.items())
      groups += counts.at("groups").get<double>(), responses += counts.at("responses").get<double>();
  }
  for (const auto& [reason, n] : rows.items()) dropped += n.get<double>();
  std::string text =
      fmt::format("{} groups (a prompt and its responses) with {} responses; {} rows were dropped.", groups, responses, dropped);
  if (run.labels.there()) {
    const json spent = run.labels.value.value("spent", json::object());
    text += fmt::format(" LLM judges were asked {} times about single capability points, in both orders of each pair.",
                        spent.value("requests", 0));
  }
  return text + fmt::format(" Digest of the token store: `{}`.\n", run.ingest.value.value("digest", "unknown"));
}

}  // namespace

std::string model_card(const Run& run, const CardOptions& options) {
  const Accuracies accuracies = accuracies_of(run);
  const Headline headline = headline_of(run, accuracies);
  std::string text = metadata(run, accuracies, options);
  text += fmt::format("\n# {}\n\n{}\n", plain(run.name), plain(headline.sentence));
  for (const std::string& sentence : headline.further) text += "\n" + plain(sentence) + "\n";
  text += kWhatItIs + structure_text(run);
  text += "\n## How good it is\n\n" + accuracy_text(accuracies);
  std::string data = "The data are not known: the report of their ingest is damaged.\n";
  try {
    data = data_text(run);
  } catch (const json::exception&) {  // the sentence above says so
  }
  text += "\n## Data\n\n" + data;
  if (run.bundle.there()) text += kUse;
  text += kLimits;
  if (!accuracies.empty()) text += kLimitsOfFigures;
  return text;
}

}  // namespace dmoerm::report
