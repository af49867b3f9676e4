// dmoerm score: rewards of one's own responses from a bundle.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "cli/verbs.h"
#include "eval/statistics.h"
#include "pair/forms.h"
#include "pair/line_reader.h"
#include "serve/bundle.h"
#include "tensor/device.h"

namespace dmoerm::cli {
namespace {

using nlohmann::json;

struct Options {
  std::string bundle, input = "-", output = "-", category, prompt, device = "cpu";
  std::vector<std::string> responses;
  int threads = 0;
  bool normalise = false;
};

struct Question {
  json id;
  std::vector<pair::Message> prompt;
  std::vector<std::string> responses;
};

/// A line of input: one response, several, a pair, or any form that `ingest` reads.
Question parse_line(const std::string& line, const std::string& where) {
  const json row = json::parse(line, nullptr, false);
  if (!row.is_object())
    throw DataError(fmt::format("{}: expected a JSON object with \"prompt\" and \"responses\" (or \"response\"), found {}", where,
                                line.substr(0, 60)));
  Question question;
  question.id = row.value("id", json());
  try {
    const bool strings =
        row.contains("responses") && row["responses"].is_array() && !row["responses"].empty() && row["responses"][0].is_string();
    if (row.contains("prompt") && (strings || row.contains("response"))) {
      if (row["prompt"].is_string()) {
        question.prompt = {{"user", row["prompt"].get<std::string>()}};
      } else {
        for (const json& m : row["prompt"])
          question.prompt.push_back({m.at("role").get<std::string>(), m.at("content").get<std::string>()});
      }
      if (strings) {
        question.responses = row["responses"].get<std::vector<std::string>>();
      } else {
        question.responses = {row["response"].get<std::string>()};
      }
      return question;
    }
    const pair::Form* form = pair::detect_form(row);
    if (form == nullptr)
      throw DataError(fmt::format(
          "{}: expected \"prompt\" and \"responses\", \"prompt\" and \"response\", or a form of `dmoerm ingest --forms`", where));
    const pair::Group group = form->parse(row);
    question.prompt = group.prompt;
    for (const pair::Response& r : group.responses) question.responses.push_back(r.text);
    return question;
  } catch (const pair::RowError& e) {
    throw DataError(fmt::format("{}: {}", where, e.what()));
  } catch (const json::exception& e) {
    throw DataError(fmt::format("{}: {}", where, e.what()));
  }
}

double normalised(const serve::Bundle& bundle, const std::string& category, double reward) {
  const auto stats = bundle.score_stats.find(category);
  return stats == bundle.score_stats.end() ? reward : (reward - stats->second.mean) / std::max(stats->second.std, 1e-6);
}

json answer(const serve::Bundle& bundle, const Question& question, const Options& options) {
  const serve::GroupScore scored = serve::score_group(bundle, question.prompt, question.responses, options.category);
  json scores = json::array(), points = json::array();
  for (const serve::Score& s : scored.responses) {
    scores.push_back(options.normalise ? normalised(bundle, scored.category, s.reward) : s.reward);
    points.push_back(s.points);
  }
  json line = {{"scores", scores},
               {"points", points},
               {"scored_by", scored.category.empty() ? "single" : scored.category},
               {"route",
                {{"category", bundle.router.categories()[static_cast<std::size_t>(scored.route.likeliest)]},
                 {"confidence", scored.route.confidence},
                 {"fallback", scored.category.empty()}}}};
  if (!question.id.is_null()) line["id"] = question.id;
  return line;
}

void print_table(const json& line, const std::vector<std::string>& responses) {
  std::vector<std::vector<std::string>> rows = {{"score"}};
  for (const auto& [point, value] : line["points"][0].items()) rows[0].push_back(point);
  rows[0].emplace_back("response");
  for (std::size_t i = 0; i < responses.size(); ++i) {
    std::vector<std::string> row = {fmt::format("{:.4f}", line["scores"][i].get<double>())};
    for (const auto& [point, value] : line["points"][i].items()) row.push_back(fmt::format("{:+.2f}", value.get<double>()));
    row.push_back(responses[i].substr(0, 60));
    rows.push_back(row);
  }
  fmt::print("route: {} (confidence {:.3f}), scored by: {}\n{}", line["route"]["category"].get<std::string>(),
             line["route"]["confidence"].get<double>(), line["scored_by"].get<std::string>(), eval::markdown_table(rows));
}

void run(const Options& options) {
  init_log(0, 1, "warn");
  if (options.threads > 0) at::set_num_threads(options.threads);
  const serve::Bundle bundle = serve::load_bundle(options.bundle, tensor::pick_device(options.device, "--device"));
  if (!options.responses.empty()) {
    const Question question{{}, {{"user", options.prompt}}, options.responses};
    print_table(answer(bundle, question, options), options.responses);
    return;
  }
  std::optional<pair::LineReader> file;
  if (options.input != "-") file.emplace(options.input);
  const auto next = [&](std::string& line) { return file ? file->next(line) : static_cast<bool>(std::getline(std::cin, line)); };
  std::string text, line;
  for (std::int64_t number = 1; next(line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = fmt::format("{}:{}", options.input == "-" ? "stdin" : options.input, number);
    std::string result;
    try {
      result = answer(bundle, parse_line(line, where), options).dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    } catch (const DataError& e) {
      const std::string message = e.what();
      throw DataError(message.starts_with(where) ? message : where + ": " + message);
    }
    if (options.output == "-") {
      fmt::print("{}", result);
      std::fflush(stdout);
    } else {
      text += result;
    }
  }
  if (options.output != "-") write_file_atomically(options.output, text);
}

}  // namespace

void add_score(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand(
      "score", "Score responses with a bundle: JSON lines in, JSON lines out, or one prompt on the command line");
  verb->footer(
      "Example: dmoerm score --bundle runs/quickstart/bundle --prompt \"Where is my order?\" --response \"On its way.\" "
      "--response \"No idea.\"");
  verb->add_option("--bundle", options->bundle, "bundle directory")->required();
  verb->add_option("--input", options->input, "JSON lines {\"prompt\", \"responses\"}, plain, .gz or .zst; - = standard input");
  verb->add_option("--output", options->output, "JSON lines; - = standard output");
  verb->add_option("--category", options->category, "score with this category's model instead of routing");
  CLI::Option* prompt = verb->add_option("--prompt", options->prompt, "a prompt; with --response, prints a table");
  verb->add_option("--response", options->responses, "a response to --prompt; may be repeated")->needs(prompt);
  verb->add_option("--threads", options->threads, "threads; 0 = as many as cores");
  verb->add_option("--device", options->device, "cpu, cuda, or auto: cuda where it is there")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}));
  verb->add_flag("--normalise", options->normalise,
                 "subtract the mean and divide by the deviation of the category's training scores");
  verb->callback([options] { run(*options); });
}

}  // namespace dmoerm::cli
