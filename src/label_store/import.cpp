#include "label_store/import.h"

#include <fmt/format.h>

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "label_store/text_export.h"
#include "preference/formats_of_pairs.h"
#include "preference/line_reader.h"
#include "preference/pair_digest.h"
#include "preference/row_error.h"
#include "preference/row_fields.h"

namespace dmoerm::label_store {
namespace {

using nlohmann::json;
using preference::RowError;
constexpr std::size_t kBatch = 1000;
constexpr const char* kPointsTemplate = "points-file";

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// The labels of both orders of a row of a points file.
std::vector<Label> labels_of_points(const json& row, const std::string& category) {
  const preference::Group group = preference::parse_authors_points(row);
  Label l;
  l.category = group.category.empty() ? category : group.category;
  if (l.category.empty())
    throw RowError("import-category-missing", "expected a \"category\", found none; set one for the whole file with --category");
  l.point = preference::text_of(preference::need(row, "point"), "point");
  l.judge = kImportedJudge;
  l.template_name = kPointsTemplate;
  l.pair = preference::pair_digest(group.prompt, group.responses[0].text, group.responses[1].text);
  l.time_ms = now_ms();
  std::vector<Label> labels;
  for (const bool swapped : {false, true}) {
    l.swapped = swapped;
    l.verdict = Verdict::tie;
    if (!group.pairs.empty()) l.verdict = (group.pairs[0].winner == 0) != swapped ? Verdict::first : Verdict::second;
    l.reply = "rank " + row.at("rank").dump();
    l.key = sha256("imported\n" + json{l.category, l.point, to_hex(l.pair), swapped}.dump());
    labels.push_back(l);
  }
  return labels;
}

std::vector<Label> labels_of(const json& row, const std::string& category) {
  if (!row.is_object())
    throw RowError("row-is-not-an-object", fmt::format("expected a JSON object, found {}", preference::shown(row)));
  if (preference::has(row, {"key", "verdict"})) return {label_from_json(row)};
  if (preference::has(row, {"query", "responses", "rank", "point"})) return labels_of_points(row, category);
  throw RowError(
      "unknown-import-row",
      fmt::format("expected a label as exported (key, verdict, ...) or a row of a points file (query, responses, rank, "
                  "point), found the keys {}",
                  preference::keys_of(row)));
}

/// Call `take` with the labels of each line. @throws DataError with file:line
void each_row(const std::filesystem::path& file, const std::string& category,
              const std::function<void(std::vector<Label>)>& take) {
  preference::LineReader lines(file);
  for (std::string line; lines.next(line);) {
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    std::vector<Label> labels;
    try {
      const json row = json::parse(line, nullptr, false);
      if (row.is_discarded()) throw RowError("row-is-not-an-object", "expected one JSON object, found something else");
      labels = labels_of(row, category);
    } catch (const RowError& e) {
      throw DataError(e.code(), fmt::format("{}:{}: {}; nothing was imported", file.string(), lines.number(), e.what()));
    }
    take(std::move(labels));
  }
}

}  // namespace

Import import_labels(LabelStore& store, const std::filesystem::path& file, const std::string& category) {
  each_row(file, category, [](const std::vector<Label>&) {});
  Import result;
  std::vector<Label> batch;
  const auto flush = [&] {
    store.append(batch);
    result.added += static_cast<std::int64_t>(batch.size());
    batch.clear();
  };
  each_row(file, category, [&](const std::vector<Label>& labels) {
    ++result.rows;
    for (const Label& l : labels) {
      const CachedVerdict* known = store.find(l.key);
      if (known != nullptr && known->verdict == l.verdict) {
        ++result.already_there;
      } else {
        batch.push_back(l);
      }
    }
    if (batch.size() >= kBatch) flush();
  });
  flush();
  store.seal();
  return result;
}

}  // namespace dmoerm::label_store
