// dmoerm score: scores responses with a bundle.
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/counted.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json_problem.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/text.h"
#include "base/text_table.h"
#include "base/workers.h"
#include "cli/verbs.h"
#include "moe/load_bundle.h"
#include "nn/device.h"
#include "preference/file_layout.h"
#include "preference/formats.h"
#include "preference/line_reader.h"
#include "preference/question.h"
#include "preference/row_checks.h"
#include "preference/row_error.h"
#include "run/slurm_script.h"
#include "watch/terminal.h"

namespace dmoerm::cli {
namespace {

using nlohmann::json;

struct Options {
  std::string bundle, input = "-", output = "-", category, prompt, device = "cpu", weights = "float32";
  std::vector<std::string> responses;
  int threads = 0;
  std::int64_t bad_lines_max = 0;
  bool normalise = false, compare_float32 = false;
};

/// The bundle that scores, and the same with float32 weights if its scores are compared with those.
struct Scorer {
  moe::Bundle bundle;
  std::optional<moe::Bundle> float32;
  moe::ScoreDrift drift;
};

double normalised(const moe::Bundle& bundle, const std::string& category, double reward) {
  const moe::ScoreStats& stats = bundle.model.stats(category);
  return (reward - stats.mean) / std::max(stats.std, 1e-6);
}

/// What each expert, the base, and a second category add to a raw score: {"points": {point: part, ...}, "base": part, "second":
/// part}.
json parts_of(const moe::Category& category, const moe::Score& score) {
  json parts;
  for (std::size_t p = 0; p < category.points.size(); ++p) parts["points"][category.points[p]] = score.contributions[p];
  if (score.contributions.size() > category.points.size()) parts["base"] = score.contributions.back();
  if (score.second) parts["second"] = *score.second;
  return parts;
}

std::vector<double> scores_of(const moe::Bundle& bundle, const moe::GroupScore& scored, bool normalise) {
  std::vector<double> scores;
  for (const moe::Score& s : scored.responses)
    scores.push_back(normalise ? normalised(bundle, scored.category, s.reward) : s.reward);
  return scores;
}

json route_of(const std::vector<std::string>& categories, const moe::GroupScore& scored) {
  const auto name = [&](std::int32_t category) { return categories[static_cast<std::size_t>(category)]; };
  const moe::Route& route = scored.route;
  json found = {{"category", name(route.likeliest)},
                {"confidence", route.confidence},
                {"distance", route.distance},
                {"fallback", scored.category.empty()}};
  if (route.second >= 0) found["second"] = {{"category", name(route.second)}, {"share", route.second_share}};
  return found;
}

json answer(Scorer& scorer, const preference::Question& question, const Options& options) {
  const moe::Bundle& bundle = scorer.bundle;
  const moe::GroupScore scored = moe::score_texts(bundle, question.prompt, question.responses, options.category);
  const std::vector<double> scores = scores_of(bundle, scored, options.normalise);
  json points = json::array(), cut = json::array(), base = json::array(), contributions = json::array();
  for (const moe::Score& s : scored.responses) {
    points.push_back(s.points);
    if (s.base) base.push_back(*s.base);
    if (!s.contributions.empty()) contributions.push_back(parts_of(bundle.model.category(scored.category), s));
    cut.push_back(s.cut_tokens);
  }
  json line = {{"scores", scores},
               {"points", points},
               {"cut_tokens", cut},
               {"scored_by", scored.category.empty() ? "single" : scored.category},
               {"route", route_of(bundle.model.router.categories(), scored)}};
  if (!base.empty()) line["base"] = base;
  if (!contributions.empty()) line["contributions"] = contributions;
  if (!question.id.is_null()) line["id"] = question.id;
  if (bundle.int8_drift) line["weights"] = options.weights;
  if (scorer.float32) {
    const moe::GroupScore other = moe::score_texts(*scorer.float32, question.prompt, question.responses, options.category);
    const std::vector<double> float32 = scores_of(*scorer.float32, other, options.normalise);
    scorer.drift.add(float32, scores, options.normalise ? 1 : bundle.model.stats(other.category).std);
    scorer.drift.add_route(scored.category == other.category);
    line["scores_float32"] = float32;
  }
  return line;
}

/// The beginning of a text, on one line, for a cell of a table.
std::string one_line(const std::string& text) {
  constexpr std::size_t kMost = 60;
  std::string line = text.substr(0, kMost);
  while (line.size() < text.size() && (static_cast<unsigned char>(text[line.size()]) & 0xC0U) == 0x80U) line.pop_back();
  for (char& c : line) c = c == '\n' || c == '\r' || c == '\t' ? ' ' : c == '|' ? '/' : c;
  return line;
}

std::string table_of(const json& line, const std::vector<std::string>& responses) {
  std::vector<std::vector<std::string>> rows = {{"score"}};
  for (const auto& [point, value] : line["points"][0].items()) rows[0].push_back(point);
  rows[0].emplace_back("response");
  for (std::size_t i = 0; i < responses.size(); ++i) {
    std::vector<std::string> row = {fmt::format("{:.4f}", line["scores"][i].get<double>())};
    for (const auto& [point, value] : line["points"][i].items()) row.push_back(fmt::format("{:+.2f}", value.get<double>()));
    row.push_back(one_line(responses[i]));
    rows.push_back(row);
  }
  const json& route = line["route"];
  const double distance = route["distance"];
  const std::string why =
      distance > 1 ? fmt::format(", as the prompt is far from those of every category (distance {:.2f})", distance) : "";
  return fmt::format("route: {} (confidence {:.3f}), scored by: {}{}{}\n{}", route["category"].get<std::string>(),
                     route["confidence"].get<double>(), line["scored_by"].get<std::string>(),
                     route["fallback"].get<bool>() ? why : "", line.contains("weights") ? ", with int8 weights" : "",
                     markdown_table(rows));
}

constexpr double kSpokenS = 5;             // work that took longer says at its end what it did
constexpr std::int64_t kWarningsMax = 10;  // bad lines that are told; the output has an error for each

/// Lines of a file that are not blank; 0 if it can be read only once, or not to its end. Reading them takes little beside
/// scoring.
std::int64_t lines_of(const std::string& file) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(file, failed)) return 0;
  try {
    preference::LineReader reader(file);
    std::int64_t lines = 0;
    for (std::string line; reader.next(line);) lines += is_blank(line) ? 0 : 1;
    return lines;
  } catch (const Error&) {  // scoring comes to the damage too, after the lines before it
    return 0;
  }
}

/// Refuses a prompt or response of the command line in which there is nothing to read.
void check_words(const Options& options) {
  preference::Group group;
  group.prompt = {{"user", options.prompt}};
  for (const std::string& text : options.responses) group.responses.push_back({text, preference::kMissing, {}});
  try {
    preference::check_texts(group);
  } catch (const preference::RowError& e) {
    throw ConfigError(e.code(), fmt::format("--prompt, --response: {}", e.what()));
  }
}

/// Refuses an output that would overwrite the input or lie in the bundle, before the model is loaded.
void check_output(const Options& options) {
  namespace fs = std::filesystem;
  if (options.output == "-") return;
  std::error_code ignored;
  if (fs::equivalent(options.input, options.output, ignored))
    throw ConfigError("output-is-an-input", fmt::format("--output {}: this is the input: name another output", options.output));
  const std::string inside =
      fs::weakly_canonical(options.output, ignored).lexically_relative(fs::weakly_canonical(options.bundle, ignored));
  if (!inside.empty() && !inside.starts_with(".."))
    throw ConfigError("output-lies-in-bundle",
                      fmt::format("--output {}: this lies in the bundle: name another output", options.output));
}

/// Writes the answers to standard output line by line, or to a file that appears when it is complete.
class Answers {
 public:
  explicit Answers(const std::string& output) {
    if (output != "-") file_.emplace(output);
  }
  void write(const std::string& line) {
    if (file_) return file_->write(line);
    if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size() || std::fflush(stdout) != 0)
      throw IoError("standard-output-failed", fmt::format("standard output: cannot write: {}", std::strerror(errno)));
  }
  void finish() {
    if (file_) file_->publish();
  }

 private:
  std::optional<PendingFile> file_;
};

/// Refuses an input whose first line shows that it is of another type than JSON lines.
void check_layout(const std::string& line, const preference::LinePlace& place) {
  if (const std::string other = foreign_type(line); !other.empty())
    throw DataError("not-json-lines", fmt::format("{}: expected JSON lines in UTF-8, found {}", place.path, other));
  preference::refuse_other_layout(line, place);
}

Scorer load(const Options& options) {
  const at::Device device = nn::pick_device(options.device, "--device");
  Scorer scorer{moe::load_bundle(options.bundle, device, nn::pick_weights(options.weights)), {}, {}};
  if (options.compare_float32) scorer.float32 = moe::load_bundle(options.bundle, device);
  return scorer;
}

/// What int8 weights did to the scores, where that was asked.
void tell_drift(const Scorer& scorer) {
  if (scorer.float32) fmt::print(stderr, "int8 weights: {}\n", scorer.drift.text());
}

void run(const Options& options) {
  init_log(0, 1, "warn");
  if (options.compare_float32 && options.weights == "float32")
    throw ConfigError("nothing-to-compare", "--compare-float32: these are the scores of float32: give --weights int8 too");
  check_output(options);
  if (options.output != "-") remove_stale_temporaries_of(options.output);
  Answers answers(options.output);
  at::set_num_threads(options.threads > 0 ? options.threads : processors());
  Scorer scorer = load(options);
  if (!options.category.empty()) (void)scorer.bundle.model.category(options.category);  // refuse an unknown one before reading
  if (!options.responses.empty()) {
    check_words(options);
    const preference::Question question{{}, {{"user", options.prompt}}, options.responses};
    answers.write(table_of(answer(scorer, question, options), options.responses));
    return tell_drift(scorer);
  }
  std::optional<preference::LineReader> file;
  if (options.input != "-") file.emplace(options.input);
  const auto next = [&](std::string& line) { return file ? file->next(line) : static_cast<bool>(std::getline(std::cin, line)); };
  std::string line;
  std::int64_t bad_lines = 0, scored = 0;
  const std::int64_t all = options.input == "-" ? 0 : lines_of(options.input);
  // Answers on the terminal show by themselves how far it is.
  const bool quiet = options.output == "-" && ::isatty(STDOUT_FILENO) == 1;
  Progress progress("lines", watch::stderr_is_terminal());
  const std::string source = file ? options.input : "stdin";
  bool is_first = true, said_category = !options.category.empty();
  for (std::int64_t number = 1; next(line); ++number) {
    if (number == 1 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
    if (is_blank(line)) continue;
    if (std::exchange(is_first, false)) check_layout(line, {source, number});
    json result, id;
    const auto tolerate = [&](const auto& e) {
      const std::string message = fmt::format("{}:{}: {}", source, number, e.what());
      if (++bad_lines > options.bad_lines_max)
        throw DataError(e.code(), fmt::format("{} (more than --bad-lines {})", message, options.bad_lines_max));
      if (bad_lines <= kWarningsMax) spdlog::warn("[score] {}", with_code(message, e.code()));
      if (bad_lines == kWarningsMax) spdlog::warn("[score] further bad lines stand in the output only");
      result = {{"error", e.what()}, {"code", e.code().text()}};
      if (!id.is_null()) result["id"] = id;
    };
    try {
      const json row = preference::parse_row(line);
      if (row.is_object()) id = row.value("id", json());
      if (!said_category && row.is_object() && row.contains("category")) {
        said_category = true;
        spdlog::warn(
            "[score] {}:{}: \"category\" of a row is not read: the router picks the category; --category names one for all rows",
            source, number);
      }
      result = answer(scorer, preference::question_of(row), options);
    } catch (const preference::RowError& e) {
      tolerate(e);
    } catch (const DataError& e) {
      tolerate(e);
    }
    answers.write(json_line(result) + "\n");
    if (++scored; !quiet) progress.show("", scored, all);
  }
  if (is_first) spdlog::warn("[score] {}: no rows", source);
  answers.finish();
  progress.clear();
  if (!quiet && progress.seconds() > kSpokenS) {
    fmt::print(stderr, "{} scored in {}{}{}\n", counted(scored, "line"), duration_text(progress.seconds()),
               bad_lines > 0 ? fmt::format(", {} of them answered by an error", bad_lines) : "",
               options.output == "-" ? "" : ": " + options.output);
    fmt::print(stderr,
               "next: where the rows have labels, launch/dmoerm eval --model A=scores:{} --data ROWS --out DIR tests them\n",
               options.output == "-" ? "FILE" : run::shell_quoted(options.output));
  }
  tell_drift(scorer);
}

}  // namespace

void add_score(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand(
      "score", "Score responses with a bundle: JSON lines in, JSON lines out, or one prompt on the command line");
  verb->footer(
      example("score --bundle runs/quickstart/bundle --prompt \"Where is my order?\" --response \"On its way.\" --response \"No "
              "idea.\""));
  verb->add_option("--bundle", options->bundle, "Directory of the bundle")->type_name(kFolder)->required();
  CLI::Option* input =
      verb->add_option("--input", options->input,
                       "File of JSON lines {\"prompt\", \"responses\"}, plain, .gz or .zst; - = standard input, plain")
          ->type_name(kFile);
  CLI::Option* output =
      verb->add_option("--output", options->output, "File for the scores as JSON lines; - = standard output")->type_name(kFile);
  verb->add_option("--category", options->category, "Score with this category's model instead of routing");
  CLI::Option* prompt = verb->add_option(
      "--prompt", options->prompt, "Prompt to score, instead of a file; the scores of each --response are printed as a table");
  CLI::Option* response = verb->add_option("--response", options->responses, "Response to --prompt; the option may be repeated");
  response->needs(prompt);
  prompt->needs(response)->excludes(input)->excludes(output);
  verb->add_option("--bad-lines", options->bad_lines_max,
                   "Number of lines that may fail to be scored; the answer to each is a line {\"id\", \"error\"}")
      ->check(kNonNegative);
  verb->add_option("--threads", options->threads, "Number of threads; 0 = one per core")->check(kNonNegative);
  verb->add_option("--device", options->device, "Device to compute on: cpu, cuda, or auto (cuda if there is one)")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}));
  verb->add_flag("--normalise", options->normalise,
                 "Subtract the mean of the category's training scores and divide by their standard deviation within a prompt");
  verb->add_option(
          "--weights", options->weights,
          "Number type in which the backbone's matrices are multiplied: float32, or int8, which is faster and less exact")
      ->check(CLI::IsMember({"float32", "int8"}));
  verb->add_flag("--compare-float32", options->compare_float32,
                 "Score with float32 weights too, besides --weights int8, and say at the end how far the scores are apart");
  verb->callback([options] { run(*options); });
}

}  // namespace dmoerm::cli
