// dmoerm label-store: shows, checks, repairs, compacts, exports, imports and compares label stores.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/counted.h"
#include "base/error.h"
#include "base/files.h"
#include "cli/verbs.h"
#include "label_store/compact.h"
#include "label_store/diff.h"
#include "label_store/import.h"
#include "label_store/repair.h"
#include "label_store/stats.h"
#include "label_store/text_export.h"
#include "label_store/verify.h"

namespace dmoerm::cli {
namespace {

using nlohmann::json;

struct Options {
  std::string directory, other, file, format = "jsonl", category, point;
  std::int64_t rows = 1'000'000;
  bool as_json = false, all = false;
};

json to_json(const judge::Usage& s) {
  return {{"requests", s.requests},
          {"prompt_tokens", s.prompt_tokens},
          {"completion_tokens", s.completion_tokens},
          {"cost_micros", s.cost_micros}};
}

std::string cost(std::int64_t micros) { return fmt::format("{:.4f}", static_cast<double>(micros) / 1e6); }

json to_json(const label_store::StoreStats& stats) {
  json points = json::array();
  for (const label_store::PointStats& p : stats.points) {
    json verdicts;
    for (std::size_t v = 0; v < p.verdicts.size(); ++v) {
      verdicts[std::string(to_string(static_cast<preference::Verdict>(v)))] = p.verdicts[v];
    }
    points.push_back({{"category", p.category},
                      {"point", p.point},
                      {"judge", p.judge},
                      {"template", p.template_name},
                      {"labels", p.labels},
                      {"verdicts", verdicts},
                      {"spent", to_json(p.spent)}});
  }
  return {{"labels", stats.labels},
          {"spent", to_json(stats.spent)},
          {"segments", stats.segments},
          {"bytes", stats.bytes},
          {"journal_rows", stats.lock ? json(stats.lock->journal_rows) : json()},
          {"uncertain", stats.lock ? to_json(stats.lock->uncertain) : json()},
          {"writer", stats.lock && stats.lock->held ? json(stats.lock->holder) : json()},
          {"points", points}};
}

void stats(const Options& options) {
  const label_store::StoreStats stats = label_store::store_stats(options.directory);
  if (options.as_json) {
    fmt::print("{}\n", to_json(stats).dump(2));
    return;
  }
  fmt::print("{:<20} {:<20} {:<20} {:<26} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>12} {:>12} {:>12}\n", "category", "point",
             "judge", "template", "labels", "first", "second", "tie", "unparsed", "refused", "error", "tokens_in", "tokens_out",
             "cost");
  for (const label_store::PointStats& p : stats.points) {
    fmt::print("{:<20} {:<20} {:<20} {:<26} {:>8} {:>8} {:>12} {:>12} {:>12}\n", p.category, p.point, p.judge, p.template_name,
               p.labels, fmt::format("{:>8}", fmt::join(p.verdicts, " ")), p.spent.prompt_tokens, p.spent.completion_tokens,
               cost(p.spent.cost_micros));
  }
  fmt::print("{} in {} of {:.1f} MiB; {}, {} + {} tokens, cost {}\n", counted(stats.labels, "label"),
             counted(stats.segments, "segment"), static_cast<double>(stats.bytes) / (1 << 20),
             counted(stats.spent.requests, "request"), stats.spent.prompt_tokens, stats.spent.completion_tokens,
             cost(stats.spent.cost_micros));
  if (!stats.lock) {
    fmt::print("The number of labels in the journal is unknown: the store has no readable LOCK file.\n");
  } else if (stats.lock->journal_rows > 0) {
    fmt::print("{} more labels are in the journal and not counted above.\n", stats.lock->journal_rows);
  }
  if (stats.lock && stats.lock->uncertain.requests > 0)
    fmt::print(
        "{} no answer that is stored (a labeller was killed or stopped, or a judge failed); the budget counts them at the "
        "most that they can cost: {}.\n",
        counted(stats.lock->uncertain.requests, "request has", "requests have"), cost(stats.lock->uncertain.cost_micros));
  if (stats.lock && stats.lock->held) fmt::print("In use by {}.\n", stats.lock->holder);
}

void verify(const Options& options) {
  const label_store::Verification result = label_store::verify_store(options.directory);
  if (options.as_json) {
    json damaged = json::array();
    for (const label_store::DamagedFile& file : result.damaged)
      damaged.push_back({{"path", file.path.string()}, {"damage", file.what}});
    const json report{{"whole", result.whole()}, {"segments", result.segments},
                      {"rows", result.rows},     {"journal_rows", result.journal_rows},
                      {"damaged", damaged},      {"remarks", result.remarks}};
    fmt::print("{}\n", report.dump(2, ' ', false, json::error_handler_t::replace));
  } else {
    for (const label_store::DamagedFile& file : result.damaged) fmt::print("damaged: {}\n", file.what);
    for (const std::string& remark : result.remarks) fmt::print("remark: {}\n", remark);
    fmt::print("{}: {} with {} and {} in the journal are undamaged, {} damaged\n", options.directory,
               counted(result.segments, "segment"), counted(result.rows, "label"), counted(result.journal_rows, "label"),
               counted(std::ssize(result.damaged), "file is", "files are"));
  }
  if (!result.whole()) throw CLI::RuntimeError(1);
}

void repair(const Options& options) {
  const auto repaired = label_store::repair_store(options.directory);
  for (const label_store::RepairedFile& file : repaired) {
    fmt::print("{}\n  {} labels saved in {}, {} lost{}\n", file.damage, file.saved,
               file.segment.empty() ? "no segment" : file.segment.string(),
               file.lost < 0 ? "an unknown number" : std::to_string(file.lost),
               file.moved_to.empty() ? "" : fmt::format("; the damaged file is now {}", file.moved_to.string()));
  }
  fmt::print("{}: {} damaged or missing files\n", options.directory, repaired.size());
}

void compact(const Options& options) {
  const label_store::Compaction done = label_store::compact_store(options.directory, options.rows);
  fmt::print("{}: {} segments of {} bytes are now {} segments of {} bytes; {} superseded labels dropped\n", options.directory,
             done.segments_before, done.bytes_before, done.segments_after, done.bytes_after, done.rows_dropped);
}

void export_labels(const Options& options) {
  const label_store::TextFormat format = options.format == "csv" ? label_store::TextFormat::csv : label_store::TextFormat::jsonl;
  const label_store::LabelFilter filter{options.category, options.point, true};
  const auto lock = label_store::StoreLock::read(options.directory);
  const label_store::LabelReader reader(options.directory);
  std::int64_t count = 0;
  if (options.file.empty()) {
    std::ios::sync_with_stdio(false);
    count = label_store::export_labels(reader, filter, format, std::cout);
  } else {
    const std::filesystem::path temporary = temporary_name(options.file);
    try {
      std::ofstream out(temporary, std::ios::binary);
      if (!out) throw IoError("cannot-create-file", fmt::format("{}: cannot create this file", temporary.string()));
      count = label_store::export_labels(reader, filter, format, out);
      out.close();
      publish_file(temporary, options.file);
    } catch (...) {
      std::error_code ignored;
      std::filesystem::remove(temporary, ignored);
      throw;
    }
  }
  fmt::print(stderr, "{} exported", counted(count, "label"));
  if (lock && lock->journal_rows > 0)
    fmt::print(stderr, "; {} more are in the journal and were not exported", lock->journal_rows);
  fmt::print(stderr, "\n");
}

void import_labels(const Options& options) {
  auto store = label_store::LabelStore::open(options.directory);
  const label_store::Import done = label_store::import_labels(store, options.file, options.category);
  fmt::print("{}: {} read, {} added, {} already stored\n", options.file, counted(done.rows, "row"), counted(done.added, "label"),
             done.already_there);
}

void diff(const Options& options) {
  const label_store::StoreDiff result =
      label_store::diff_stores(label_store::LabelReader(options.directory), label_store::LabelReader(options.other));
  if (options.as_json) {
    const auto word = [](const std::optional<preference::Verdict>& v) { return v ? json(to_string(*v)) : json(); };
    json rows = json::array();
    for (const label_store::DiffRow& r : result.rows) {
      rows.push_back({{"key", to_hex(r.key)},
                      {"category", r.category},
                      {"point", r.point},
                      {"judge", r.judge},
                      {"a", word(r.a)},
                      {"b", word(r.b)}});
    }
    const json report{{"same", result.same},
                      {"only_a", result.only_a},
                      {"only_b", result.only_b},
                      {"differing", result.differing},
                      {"rows", rows}};
    fmt::print("{}\n", report.dump(2));
    return;
  }
  fmt::print("{}", label_store::diff_text(result, options.directory, options.other, options.all));
}

}  // namespace

void add_label_store(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("label-store", "Show, check, repair, convert and compare label stores");
  verb->require_subcommand(1);
  verb->footer(example("label-store stats runs/labels"));
  const auto add = [&](const char* name, const char* what, void (*work)(const Options&)) {
    CLI::App* action = verb->add_subcommand(name, what);
    action->footer(example(fmt::format("label-store {} runs/labels", name)));
    action->add_option("DIR", options->directory, "Directory of the label store")->required();
    action->callback([options, work] { work(*options); });
    return action;
  };
  const auto json_flag = [&](CLI::App* action) {
    action->add_flag("--json", options->as_json, "Print one JSON object instead of text");
  };
  json_flag(add("stats", "Print labels, verdicts, tokens and cost by category, point, judge and template", stats));
  json_flag(add("verify", "Check every checksum and list the damaged files; the exit code is 1 if there are any", verify));
  add("repair", "Move damaged files to damaged/ and save their readable labels", repair);
  add("compact", "Merge small segments into large ones and drop superseded labels", compact)
      ->add_option("--rows", options->rows, "Largest number of labels in one segment")
      ->capture_default_str();
  CLI::App* out = add("export", "Write the latest label of every key as text", export_labels);
  out->footer(example("label-store export runs/labels --out labels.jsonl"));
  out->add_option("--format", options->format, "Format: jsonl, or csv for spreadsheets (which cannot be imported)")
      ->check(CLI::IsMember({"jsonl", "csv"}))
      ->capture_default_str();
  out->add_option("--out", options->file, "File to write; without it, standard output")->type_name(kFile);
  out->add_option("--category", options->category, "Export only labels of this category");
  out->add_option("--point", options->point, "Export only labels of this capability point");
  CLI::App* in =
      add("import", "Add labels from exported JSONL, or from a points file with query, responses, rank, point", import_labels);
  in->footer(example("label-store import runs/labels labels.jsonl"));
  in->add_option("FILE", options->file, "JSONL file to read, plain, .gz or .zst; CSV is not read")->required();
  in->add_option("--category", options->category, "Category for rows of a points file that name none");
  CLI::App* compare = add("diff", "Count the keys that only one of two stores has, and those with different verdicts", diff);
  compare->footer(example("label-store diff runs/labels other/labels"));
  compare->add_option("OTHER", options->other, "Directory of the other store")->type_name(kFolder)->required();
  compare->add_flag("--all", options->all, "List these keys after the counts");
  json_flag(compare);
  // The verb's name before it was renamed; hidden from the help.
  app.add_subcommand("labels", "")->group("")->prefix_command()->callback([] {
    throw ConfigError(
        "renamed-verb",
        "the verb labels is now called label-store: launch/dmoerm label-store stats|verify|repair|compact|export|import|diff");
  });
}

}  // namespace dmoerm::cli
