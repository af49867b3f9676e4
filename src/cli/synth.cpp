// dmoerm synth: makes preference data with planted preferences.
#include "synth/synth.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/counted.h"
#include "base/files.h"
#include "base/text.h"
#include "cli/verbs.h"

namespace dmoerm::cli {
namespace {

void print_summary(const synth::SynthData& data) {
  fmt::print("{:<18} {:>6} {:>10} {:>5} {:>12} {:>8} {:>13}\n", "category", "train", "validation", "test", "human labels",
             "flipped", "against gold");
  for (const synth::SynthSummary& c : data.categories) {
    fmt::print("{:<18} {:>6} {:>10} {:>5} {:>12} {:>8} {:>13}\n", c.category, c.groups[0], c.groups[1], c.groups[2],
               c.human_labels, percent_text(c.flipped, c.human_labels), percent_text(c.against_gold, c.human_labels));
  }
  fmt::print("\n{:<34} {:>12} {:>11} {:>22}\n", "judge: category / point", "both orders", "consistent", "right if not equal");
  for (const synth::SynthSummary& c : data.categories) {
    for (const synth::SynthSummary::Point& p : c.points) {
      fmt::print("{:<34} {:>12} {:>11} {:>22}\n", c.category + " / " + p.name, p.asked, percent_text(p.consistent, p.asked),
                 percent_text(p.right, p.right + p.wrong));
    }
  }
}

}  // namespace

void add_synth(CLI::App& app) {
  struct Arguments {
    std::string out;
    synth::SynthOptions options;
  };
  auto arguments = std::make_shared<Arguments>();
  synth::SynthOptions& o = arguments->options;
  CLI::App* verb =
      app.add_subcommand("synth", "Generate preference data in plain English with planted, partly opposite preferences");
  verb->option_defaults()->always_capture_default();
  verb->add_option("--out", arguments->out, "File to write (.jsonl)")->type_name(kFile)->required();
  verb->add_option("--groups", o.groups, "Number of prompts per category, all splits together");
  verb->add_option("--responses", o.responses, "Number of responses per prompt, 2 to 64; with --lists up to 1,024");
  verb->add_option("--categories", o.categories, "Number of categories, 2 to 6");
  verb->add_option("--noise", o.noise, "Share of human labels that are flipped");
  verb->add_option("--length-bias", o.length_bias, "What ten more words add to the overall score of human labels");
  verb->add_option("--judge-bias", o.judge_bias,
                   "Probability that the judge picks the response shown first when the gap is small");
  verb->add_option("--judge-noise", o.judge_noise, "Share of the judge's verdicts that are wrong where the gap is large");
  verb->add_option("--seed", o.seed, "Seed; the same seed gives the same bytes");
  verb->add_option("--test-share", o.test_share, "Share of the prompts in the test split");
  verb->add_option("--validation-share", o.validation_share, "Share of the prompts in the validation split");
  verb->add_flag("--lists", o.lists, "Write test rows alone: lists of scored responses for `dmoerm bon`, up to 1,024 each");
  verb->add_flag("--noisy-test", o.noisy_test, "Flip human labels of the test split too, instead of writing gold scores");
  verb->footer(example("synth --out synth.jsonl --groups 300 --noise 0.3"));
  verb->callback([arguments] {
    const synth::SynthData data = synth::synthesize(arguments->options);
    const std::filesystem::path folder = std::filesystem::path(arguments->out).parent_path();
    if (!folder.empty()) std::filesystem::create_directories(folder);
    write_file_atomically(arguments->out, data.jsonl);
    print_summary(data);
    fmt::print("\n{} in {}\n", counted(std::count(data.jsonl.begin(), data.jsonl.end(), '\n'), "row"), arguments->out);
  });
}

}  // namespace dmoerm::cli
