#include "eval/benchmarks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json_problem.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/text.h"
#include "eval/left_out.h"
#include "eval/read_data.h"
#include "preference/formats.h"
#include "preference/line_reader.h"
#include "preference/row_checks.h"
#include "preference/row_error.h"
#include "preference/row_fields.h"

namespace dmoerm::eval {
namespace {

using nlohmann::json;
using preference::has;
using preference::need;
using preference::need_list;
using preference::RowError;
using preference::text_of;

constexpr const char* kTies = "Ties";

bool is_list(const json& row, const char* key) { return row.contains(key) && row[key].is_array(); }
bool is_text(const json& row, const char* key) { return row.contains(key) && row[key].is_string(); }

/// An item with the prompt of a row's key and some responses.
Item item_with(const json& row, const char* prompt_key, const std::vector<std::string>& responses) {
  preference::Group group;
  preference::expect_text_only(row);
  preference::read_common(row, group);
  group.prompt = preference::prompt_of(row, prompt_key);
  for (const std::string& text : responses) group.responses.push_back({text, preference::kMissing, {}});
  preference::check_texts(group);
  return item_of(std::move(group), 0);
}

void prefer(Item& item, int winner, int loser) { item.pairs[std::string(preference::kOverall)].push_back({winner, loser, 0.0F}); }

/// The responses of a row's "chosen" and, after them, "rejected"; every chosen one is better than every rejected one.
Item item_of_lists(const json& row) {
  std::vector<std::string> responses;
  std::array<std::size_t, 2> counts{};
  for (const std::size_t side : {0U, 1U}) {
    const char* key = side == 0 ? "chosen" : "rejected";
    for (const json& text : need_list(row, key)) responses.push_back(text_of(text, key));
    counts[side] = need_list(row, key).size();
    if (counts[side] == 0)
      throw RowError("no-responses", fmt::format("\"{}\": expected at least one text, found an empty list", key));
  }
  Item item = item_with(row, "prompt", responses);
  item.correct = static_cast<int>(counts[0]);
  for (int winner = 0; winner < item.correct; ++winner) {
    for (std::size_t loser = counts[0]; loser < responses.size(); ++loser) prefer(item, winner, static_cast<int>(loser));
  }
  return item;
}

std::vector<Item> rewardbench(const json& row, const std::string&) {
  preference::Group group = preference::parse_group(preference::format_by_name("rewardbench"), row);
  group.category = text_of(row["subset"], "subset");
  Item item = item_of(std::move(group), 0);
  item.correct = 1;
  return {item};
}

std::vector<Item> rewardbench_2(const json& row, const std::string&) {
  Item item = item_of_lists(row);
  item.category = text_of(need(row, "subset"), "subset");
  if (has(row, {"num_correct"}) && row["num_correct"] != item.correct)
    throw RowError("counts-disagree",
                   fmt::format("\"num_correct\" is {}, \"chosen\" has {} texts", row["num_correct"].dump(), item.correct));
  if (item.category != kTies) return {item};
  const std::size_t colon = item.id.find(':');
  item.part = item.id.substr(0, colon);
  if (colon == std::string::npos || (item.part != "ref" && item.part != "tied"))
    throw RowError("id-names-no-part",
                   fmt::format("\"id\": expected ref:NUMBER or tied:NUMBER in the subset {}, found \"{}\"", kTies, item.id));
  item.twin = item.cluster = item.id.substr(colon + 1);
  return {item};
}

std::vector<Item> rm_bench(const json& row, const std::string&) {
  Item item = item_of_lists(row);
  item.category = text_of(need(row, "domain"), "domain");
  if (item.correct != 3 || item.responses.size() != 6)
    throw RowError(
        "styles-are-not-three",
        fmt::format("expected three texts in \"chosen\" and in \"rejected\" (concise, detailed, with Markdown), found {} and {}",
                    item.correct, item.responses.size() - static_cast<std::size_t>(item.correct)));
  return {item};
}

/// The subset that a file's place tells: Natural/dataset.json, or natural.json.
std::string subset_of(const std::string& file) {
  const std::filesystem::path path(file);
  std::string stem = path.filename().string();
  stem.resize(std::min(stem.find('.'), stem.size()));
  return stem == "dataset" && path.has_parent_path() ? path.parent_path().filename().string() : stem;
}

std::vector<Item> llmbar(const json& row, const std::string& file) {
  Item item = item_with(row, "input", {text_of(need(row, "output_1"), "output_1"), text_of(need(row, "output_2"), "output_2")});
  const json& label = need(row, "label");
  if (label != 1 && label != 2)
    throw RowError("label-out-of-range", fmt::format("\"label\": expected 1 or 2, found {}", label.dump()));
  prefer(item, label == 1 ? 0 : 1, label == 1 ? 1 : 0);
  item.category = is_text(row, "subset") ? row["subset"].get<std::string>() : subset_of(file);
  return {item};
}

std::vector<Item> judgebench(const json& row, const std::string&) {
  Item item = item_with(row, "question",
                        {text_of(need(row, "response_A"), "response_A"), text_of(need(row, "response_B"), "response_B")});
  const std::string label = text_of(need(row, "label"), "label");
  if (label != "A>B" && label != "B>A")
    throw RowError("label-out-of-range", fmt::format("\"label\": expected \"A>B\" or \"B>A\", found \"{}\"", label));
  prefer(item, label == "A>B" ? 0 : 1, label == "A>B" ? 1 : 0);
  if (is_text(row, "pair_id")) item.id = row["pair_id"].get<std::string>();
  item.category = text_of(need(row, "source"), "source");
  for (const auto& [prefix, name] : {std::pair{"mmlu-pro", "knowledge"},
                                     {"livebench-reasoning", "reasoning"},
                                     {"livebench-math", "math"},
                                     {"livecodebench", "coding"}}) {
    if (item.category.starts_with(prefix)) item.category = name;
  }
  return {item};
}

/// What more than half of the annotators say: 0 = tie, 1 or 2 = that response is better; -1 = nothing.
int majority(const json& row) {
  std::array<int, 3> votes{};
  int voters = 0;
  for (int i = 1; row.contains(fmt::format("annotator{}", i)); ++i) {
    const json& vote = row[fmt::format("annotator{}", i)];
    if (vote != 0 && vote != 1 && vote != 2)
      throw RowError("label-out-of-range", fmt::format("\"annotator{}\": expected 0, 1 or 2, found {}", i, vote.dump()));
    ++votes.at(vote.get<std::size_t>());
    ++voters;
  }
  for (int label = 0; label < 3; ++label) {
    if (2 * votes.at(static_cast<std::size_t>(label)) > voters) return label;
  }
  return -1;
}

std::vector<Item> pandalm(const json& row, const std::string&) {
  json asked = row;
  std::string prompt = text_of(need(row, "instruction"), "instruction");
  if (has(row, {"input"}) && row["input"] != "") prompt += "\n" + text_of(row["input"], "input");
  asked["instruction"] = prompt;
  Item item = item_with(asked, "instruction",
                        {text_of(need(row, "response1"), "response1"), text_of(need(row, "response2"), "response2")});
  const int label = majority(row);
  if (label < 0)
    throw RowError::unusable("no-majority", "no answer is that of more than half of the annotators: nothing to agree with");
  if (label == 0) item.ties.emplace_back(0, 1);
  if (label > 0) prefer(item, label - 1, 2 - label);
  if (has(row, {"idx"})) item.id = row["idx"].dump();
  item.category.clear();
  return {item};
}

std::vector<Item> contrast(const json& row, const std::string&) {
  const std::string first = text_of(need(row, "query_response_k"), "query_response_k"),
                    second = text_of(need(row, "retrieval_response_k"), "retrieval_response_k");
  std::vector<Item> items = {item_with(row, "query", {first, second}), item_with(row, "retrieval", {second, first})};
  if (first == second || row["query"] == row["retrieval"])
    throw RowError::unusable("texts-are-equal", "the two instructions or the two responses are equal: nothing to tell apart");
  for (Item& item : items) {
    prefer(item, 0, 1);
    item.part = &item == items.data() ? "query" : "retrieval";
    item.cluster = items[0].prompt_key + items[1].prompt_key;
  }
  return items;
}

/// Say where a better and a worse response are the same text: no model can order them.
void warn_of_equal_texts(const Data& data) {
  std::int64_t pairs = 0;
  std::string first;
  for (const Item& item : data.items) {
    for (const preference::Preference& pair : overall_pairs(item)) {
      if (item.responses[static_cast<std::size_t>(pair.winner)] != item.responses[static_cast<std::size_t>(pair.loser)]) continue;
      if (pairs++ == 0) first = fmt::format("{}:{}", item.file, item.line);
    }
  }
  if (pairs > 0)
    spdlog::warn(
        "[eval] pairs whose better and worse response are the same text, which count half for every model that scores texts: {}, "
        "the first at {}",
        pairs, first);
}

/// Refuse a second row of a part of one of RewardBench 2's ties, whose figures compare one row of each.
void expect_one_row_of_each_tie(const Data& data) {
  std::map<std::string_view, const Item*> first;
  for (const Item& item : data.items) {
    if (data.benchmark != "rewardbench-2" || item.category != kTies) continue;
    const Item* known = first.try_emplace(item.id, &item).first->second;
    if (known != &item)
      throw DataError("ties-row-twice",
                      fmt::format("{}:{} and {}:{} both have the id \"{}\", and a prompt of the subset {} has one row of each "
                                  "part: leave one of them out, or give the second prompt another number",
                                  known->file, known->line, item.file, item.line, item.id, kTies));
  }
}

/// The rows of a file with their numbers: JSON lines, or the elements of one list.
std::vector<std::pair<std::int64_t, json>> rows_of(const std::string& file) {
  std::vector<std::pair<std::int64_t, json>> rows;
  preference::LineReader lines(file);
  std::string line;
  while (lines.next(line)) {
    if (is_blank(line)) continue;
    if (rows.empty() && trim(line).starts_with('[')) {
      std::string all = line;
      while (lines.next(line)) all += "\n" + line;
      const json list = parse_json(all, file);
      for (const json& row : list) rows.emplace_back(std::ssize(rows) + 1, row);
      return rows;
    }
    try {
      rows.emplace_back(lines.number(), preference::parse_row(line));
    } catch (const RowError& e) {
      throw DataError(e.code(), fmt::format("{}:{}: {}", file, lines.number(), e.what()));
    }
  }
  return rows;
}

[[noreturn]] void refuse(const Benchmark& benchmark, const json& row, const std::string& place) {
  std::string hint;
  for (const Benchmark& other : benchmarks()) {
    if (row.is_object() && other.name != benchmark.name && other.fits(row))
      hint = fmt::format("; the row fits --benchmark {}", other.name);
  }
  const preference::Format* format = preference::detect_format(row);
  if (hint.empty() && format != nullptr)
    hint = fmt::format("; the row fits the data format {}: give the file with --data", format->name);
  throw DataError("benchmark-of-another-version",
                  fmt::format("{}: expected a row of {}: {}; found {}{}", place, benchmark.name, benchmark.schema,
                              row.is_object() ? "the keys " + preference::keys_of(row) : preference::shown(row), hint));
}

}  // namespace

const std::vector<Benchmark>& benchmarks() {
  static const std::vector<Benchmark> kBenchmarks = {
      {"rewardbench", R"({"prompt","chosen":text,"rejected":text,"subset"})",
       [](const json& r) { return has(r, {"prompt"}) && is_text(r, "chosen") && is_text(r, "rejected") && is_text(r, "subset"); },
       rewardbench},
      {"rewardbench-2", R"({"id","prompt","chosen":[texts],"rejected":[texts],"subset","num_correct"})",
       [](const json& r) { return has(r, {"prompt"}) && is_list(r, "chosen") && is_list(r, "rejected") && is_text(r, "subset"); },
       rewardbench_2},
      {"rm-bench", R"({"id","prompt","chosen":[3 texts],"rejected":[3 texts],"domain"})",
       [](const json& r) { return has(r, {"prompt"}) && is_list(r, "chosen") && is_list(r, "rejected") && is_text(r, "domain"); },
       rm_bench},
      {"llmbar", R"({"input","output_1","output_2","label":1|2})",
       [](const json& r) {
         return is_text(r, "input") && is_text(r, "output_1") && is_text(r, "output_2") && r.contains("label");
       },
       llmbar},
      {"judgebench", R"({"pair_id","source","question","response_A","response_B","label":"A>B"|"B>A"})",
       [](const json& r) {
         return is_text(r, "question") && is_text(r, "response_A") && is_text(r, "response_B") && r.contains("label");
       },
       judgebench},
      {"pandalm",
       R"({"idx","instruction","input","response1","response2","annotator1",...}, 0 = tie, 1 or 2 = the better response)",
       [](const json& r) {
         return is_text(r, "instruction") && is_text(r, "response1") && is_text(r, "response2") && r.contains("annotator1");
       },
       pandalm},
      {"contrast",
       R"({"query","retrieval","query_response_k","retrieval_response_k"}, two instructions, each with its own response)",
       [](const json& r) {
         return is_text(r, "query") && is_text(r, "retrieval") && r.contains("query_response_k") &&
                r.contains("retrieval_response_k");
       },
       contrast},
  };
  return kBenchmarks;
}

const Benchmark& benchmark_named(const std::string& name) {
  std::vector<std::string> names;
  for (const Benchmark& benchmark : benchmarks()) {
    if (benchmark.name == name) return benchmark;
    names.push_back(benchmark.name);
  }
  throw ConfigError("unknown-benchmark", fmt::format("--benchmark {}: expected one of {}", name, fmt::join(names, ", ")));
}

Data read_benchmark(const Benchmark& benchmark, const std::vector<std::string>& files) {
  Data data;
  data.benchmark = benchmark.name;
  data.split = "all";
  LeftOutWarnings warnings;
  for (const std::string& file : files) {
    Data::File& about = data.files.emplace_back(file, sha256_file(file), benchmark.name);
    for (const auto& [line, row] : rows_of(file)) {
      if (stop_requested())
        throw Stopped("stopped-while-reading", fmt::format("reading {} was stopped by {}", file, stop_signal()));
      const std::string place = fmt::format("{}:{}", file, line);
      if (!row.is_object() || !benchmark.fits(row)) refuse(benchmark, row, place);
      std::vector<Item> items;
      try {
        items = benchmark.items(row, file);
      } catch (const RowError& e) {
        if (e.bad()) throw DataError(e.code(), fmt::format("{}: {}", place, e.what()));
        warnings.add(fmt::format("{}: {}", place, e.what()), e.code());
      }
      about.left_out += items.empty() ? 1 : 0;
      for (Item& item : items) {
        item.file = file;
        item.line = line;
        item.number = std::ssize(data.items);
        if (item.id.empty()) item.id = fmt::format("{}:{}", std::filesystem::path(file).filename().string(), line);
        if (items.size() > 1) item.twin = place, item.id += ":" + item.part;
        data.items.push_back(std::move(item));
        ++about.items;
      }
    }
  }
  if (data.items.empty()) throw DataError("nothing-to-evaluate", fmt::format("{}: no row to evaluate", files.front()));
  warn_of_equal_texts(data);
  expect_one_row_of_each_tie(data);
  expect_no_category_called_all(data);
  warn_of_repeated(data, "[eval] rows with the prompt, responses and order", order_of);
  return data;
}

}  // namespace dmoerm::eval
