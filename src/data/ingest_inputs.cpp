#include "data/ingest_inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>
#include <variant>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "data/row_batches.h"
#include "preference/session_key.h"

namespace dmoerm::data {
namespace {

TextKey key_of(const std::string& text) {
  const Digest digest = sha256(text);
  TextKey key;
  std::memcpy(&key.high, digest.data(), 8);
  std::memcpy(&key.low, digest.data() + 8, 8);
  return key;
}

constexpr std::size_t kNamesMax = 200;  // per category: names that are not points, such as one per rater, could be endless

/// Add the points for which a group has labels.
void collect_points(const preference::Group& group, std::set<std::string>& points) {
  const auto add = [&](const std::string& label) {
    if (label != preference::kOverall && points.size() < kNamesMax) points.insert(label);
  };
  for (const preference::Response& r : group.responses) {
    for (const auto& [point, score] : r.scores) add(point);
  }
  for (const preference::StatedPair& p : group.pairs) add(p.label);
  for (const preference::RecordedVerdict& v : group.verdicts) add(v.point);
}

/// Drop the labels of points that the configuration does not name.
void keep_points(preference::Group& group, const std::vector<std::string>& points) {
  const auto other = [&](const std::string& label) {
    return label != preference::kOverall && std::ranges::find(points, label) == points.end();
  };
  for (preference::Response& r : group.responses) std::erase_if(r.scores, [&](const auto& score) { return other(score.first); });
  std::erase_if(group.pairs, [&](const preference::StatedPair& p) { return other(p.label); });
  std::erase_if(group.verdicts, [&](const preference::RecordedVerdict& v) { return other(v.point); });
}

TextKey content_key(const preference::Group& group, const std::string& prompt) {
  std::vector<std::string_view> texts;
  std::set<std::string> labels;
  for (const preference::Response& r : group.responses) {
    texts.emplace_back(r.text);
    for (const auto& [point, score] : r.scores) labels.insert(point);
  }
  for (const preference::StatedPair& p : group.pairs) labels.insert(p.label);
  for (const preference::RecordedVerdict& v : group.verdicts) labels.insert(v.point);
  std::ranges::sort(texts);
  std::string content = group.category + "\x1d" + prompt;
  for (const std::string_view text : texts) (content += '\x1d') += text;
  for (const std::string& label : labels) content += "\x1c" + label;
  return key_of(content);
}

/// A key of everything that the labels say about the responses. It does not depend on the order of the responses.
TextKey statement_key(const preference::Group& group, const TextKey& content) {
  std::vector<std::string> said;
  const auto text = [&](int response) -> const std::string& { return group.responses[static_cast<std::size_t>(response)].text; };
  for (const preference::Response& r : group.responses) {
    said.push_back(fmt::format("{}\x1d{}", r.text, r.overall));
    for (const auto& [point, score] : r.scores) said.push_back(fmt::format("{}\x1d{}\x1d{}", r.text, point, score));
  }
  for (const preference::StatedPair& p : group.pairs)
    said.push_back(fmt::format("{}\x1d{}\x1d{}\x1d{}", text(p.winner), text(p.loser), p.label, p.margin));
  for (const preference::RecordedVerdict& v : group.verdicts) {
    const bool turned = text(v.b) < text(v.a);
    said.push_back(fmt::format("{}\x1d{}\x1d{}\x1d{}\x1d{}", text(turned ? v.b : v.a), text(turned ? v.a : v.b), v.point,
                               to_string(turned ? v.second_order : v.first_order),
                               to_string(turned ? v.first_order : v.second_order)));
  }
  std::ranges::sort(said);
  std::string all = fmt::format("{:x}{:x}", content.high, content.low);
  for (const std::string& what : said) (all += '\x1c') += what;
  return key_of(said.empty() ? all + '\x1c' : all);
}

void apply(const config::InputConfig& input, const std::vector<config::CategoryConfig>& categories, InputGroup& item,
           std::map<std::string, std::set<std::string>>& labels) {
  preference::Group& group = item.group;
  if (!input.category.empty()) group.category = input.category;
  item.without_category = group.category.empty() && categories.size() != 1;
  if (group.category.empty()) group.category = item.without_category ? kNoCategory : categories.front().name;
  for (const preference::Split split : {preference::Split::train, preference::Split::validation, preference::Split::test}) {
    if (config::word(input.split) == to_string(split)) group.split = split;
  }
  collect_points(group, labels[group.category]);
  const auto known = std::ranges::find(categories, group.category, &config::CategoryConfig::name);
  item.configured = categories.empty() || known != categories.end();
  if (known != categories.end()) keep_points(group, known->points);
  item.weight = input.weight;
}

void make_keys(InputGroup& item) {
  const preference::Group& group = item.group;
  const std::string prompt = preference::prompt_text(group.prompt);
  item.prompt = key_of(prompt);
  const std::string session = preference::session_text(group.prompt);
  item.session = session == prompt ? item.prompt : key_of(session);
  item.content = content_key(group, prompt);
  item.statement = statement_key(group, item.content);
}

/// File and line identify a row, so two readings of one file would share their verdicts.
void refuse_file_given_twice(const std::vector<config::InputConfig>& inputs) {
  std::map<std::string, std::size_t> seen;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    std::error_code error;
    const std::filesystem::path same = std::filesystem::weakly_canonical(inputs[i].path, error);
    const auto [first, is_new] = seen.emplace(error ? inputs[i].path : same.string(), i);
    if (is_new) continue;
    throw ConfigError(
        "input-given-twice",
        fmt::format("data.inputs.{}.path: {} is the file of data.inputs.{} too ({}): name it once; for more visits set "
                    "its weight, for two categories write \"category\" into its rows",
                    i, inputs[i].path, first->second, inputs[first->second].path));
  }
}

using InputRow = std::variant<InputGroup, preference::Dropped>;

void make_keys_of(InputRow& row) {
  if (auto* item = std::get_if<InputGroup>(&row)) make_keys(*item);
}

}  // namespace

std::size_t text_bytes(const preference::Group& group) {
  std::size_t bytes = 0;
  for (const preference::Message& m : group.prompt) bytes += m.content.size();
  for (const preference::Response& r : group.responses) bytes += r.text.size();
  return bytes;
}

double place_of(std::uint64_t key, std::uint64_t seed) { return static_cast<double>(mix64(key ^ mix64(seed)) >> 11) * 0x1.0p-53; }

std::vector<IngestReport::Input> read_inputs(const IngestRequest& request, const std::function<bool(InputGroup&&)>& on_group,
                                             const std::function<void(const preference::Dropped&)>& on_dropped) {
  refuse_file_given_twice(request.data.inputs);
  Workers workers(request.threads, kReadsData, 0);
  std::vector<IngestReport::Input> inputs;
  for (const config::InputConfig& input : request.data.inputs) {
    IngestReport::Input about{input.path, "(no rows)", 0, {}};
    RowBatches<InputRow> rows(workers, make_keys_of, [&](InputRow&& row) {
      if (const auto* dropped = std::get_if<preference::Dropped>(&row)) return on_dropped(*dropped);
      if (on_group(std::move(std::get<InputGroup>(row)))) ++about.groups;
    });
    preference::GroupReader reader(
        input.path, input.format, [&](const preference::Dropped& d) { rows.add(InputRow(d), d.reason.size()); },
        request.data.bad_lines_max);
    reader.read_on(workers);
    try {
      while (auto group = reader.next()) {
        InputGroup item;
        item.group = std::move(*group);
        item.input = inputs.size();
        apply(input, request.categories, item, about.labels);
        const std::size_t bytes = text_bytes(item.group);
        rows.add(InputRow(std::move(item)), bytes);
      }
    } catch (...) {  // after what was read before the failure
      rows.flush();
      throw;
    }
    rows.flush();
    if (reader.format() != nullptr) about.format = reader.format()->name;
    inputs.push_back(std::move(about));
  }
  return inputs;
}

}  // namespace dmoerm::data
