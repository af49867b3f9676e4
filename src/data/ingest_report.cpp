#include "data/ingest_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/counted.h"
#include "data/ingest_request.h"
#include "preference/group.h"

namespace dmoerm::data {

using nlohmann::json;

namespace {

/// Rows that name no category, where several files or categories make it matter.
std::string rows_without_category(const IngestReport& report) {
  const std::string files = files_without_category(report.inputs);
  const bool left_out = !report.counts.contains(kNoCategory);
  if (files.empty() || (report.inputs.size() == 1 && report.counts.size() == 1 && !left_out)) return "";
  std::int64_t groups = 0;
  for (const IngestReport::Input& input : report.inputs) groups += input.without_category;
  return fmt::format(
      "{} of rows that name no category ({}) {}: set data.inputs[].category in the configuration for all rows of a file, or "
      "write "
      "\"category\" into the rows\n",
      counted(groups, "group"), files,
      left_out ? fmt::format("{} left out", groups == 1 ? "is" : "are")
               : fmt::format("{} the category {}", groups == 1 ? "has" : "have", kNoCategory));
}

}  // namespace

std::string files_without_category(const std::vector<IngestReport::Input>& inputs) {
  std::string files;
  for (const IngestReport::Input& input : inputs) {
    if (input.without_category > 0)
      files += fmt::format("{}{} {}", files.empty() ? "" : ", ", input.path, input.without_category);
  }
  return files;
}

std::string to_text(const IngestReport& report) {
  std::string text;
  for (const IngestReport::Input& input : report.inputs) {
    text += fmt::format("{}: format {}, {} taken\n", input.path, input.format, counted(input.groups, "group"));
  }
  text += fmt::format("{:<28} {:<24} {:>10} {:>10} {:>12}\n", "category", "split", "groups", "responses", "tokens");
  for (const auto& [category, splits] : report.counts) {
    for (const auto& [split, c] : splits) {
      text += fmt::format("{:<28} {:<24} {:>10} {:>10} {:>12}\n", category, split, c.groups, c.responses, c.tokens);
    }
  }
  text += fmt::format("{:<28} {:<24} {:>10} {:>10} {:>12}\n", "ordered pairs of", "label", "train", "validation", "test");
  for (const auto& [category, labels] : report.pairs) {
    for (const auto& [label, n] : labels)
      text += fmt::format("{:<28} {:<24} {:>10} {:>10} {:>12}\n", category, label, n[0], n[1], n[2]);
  }
  for (const auto& [stream, outcomes] : report.verdicts) {
    text += fmt::format("verdicts {:<44}", stream);
    for (const auto& [outcome, n] : outcomes) text += fmt::format(" {} {}", outcome, n);
    text += "\n";
  }
  for (const auto& [category, kinds] : report.cut) {
    for (const auto& [kind, n] : kinds) text += fmt::format("{}: {} {} cut to fit data.max_length\n", category, n, kind);
  }
  text += rows_without_category(report);
  for (const auto& [what, n] : report.noted) text += fmt::format("noted {:>8}: {}\n", n, what);
  for (const auto& [reason, n] : report.dropped) text += fmt::format("dropped {:>6}: {}\n", n, reason);
  if (report.dropped.empty()) return text + "dropped      0";
  return text + fmt::format("the dropped rows, with file and line: {}", report.dropped_file.string());
}

json to_json(const IngestReport& report) {
  json inputs = json::array(), counts = json::object(), pairs = json::object();
  for (const IngestReport::Input& i : report.inputs)
    inputs.push_back({{"path", i.path}, {"form", i.format}, {"groups", i.groups}, {"labels", i.labels}});
  for (const auto& [category, splits] : report.counts) {
    for (const auto& [split, c] : splits) {
      counts[category][split] = {{"groups", c.groups}, {"responses", c.responses}, {"tokens", c.tokens}};
    }
  }
  for (const auto& [category, labels] : report.pairs) {
    for (const auto& [label, n] : labels) pairs[category][label] = {{"train", n[0]}, {"validation", n[1]}, {"test", n[2]}};
  }
  return {{"inputs", inputs},
          {"counts", counts},
          {"pairs", pairs},
          {"cut", report.cut},
          {"dropped", report.dropped},
          {"noted", report.noted},
          {"verdicts", report.verdicts},
          {"digest", report.digest}};
}

}  // namespace dmoerm::data
