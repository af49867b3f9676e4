#include "config/run_config.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/rng.h"
#include "config/fields.h"
#include "config/identity.h"
#include "config/reader.h"
#include "config/renamed_keys.h"
#include "config/writer.h"

namespace dmoerm::config {
namespace {

const std::string kSmallest =
    "backbone: {dir: model}\n"
    "data:\n"
    "  inputs:\n"
    "    - path: a.jsonl\n"
    "categories:\n"
    "  - {name: chat, points: [tone, logic]}\n";

RunConfig parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return parse_run_config(text, "c.yaml", "/base", overrides);
}

/// The message of the ConfigError that reading `text` ends in; "" if it is accepted.
std::string problems_with_codes(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    parse(text, overrides);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "";
}

/// The same without the code that each line ends with.
std::string problems(const std::string& text, const std::vector<std::string>& overrides = {}) {
  static const std::regex kCode(R"( \[[a-z0-9-]+\](?=\n|$))");
  return std::regex_replace(problems_with_codes(text, overrides), kCode, "");
}

TEST(RunConfig, GivesEveryProblemItsCode) {
  EXPECT_EQ(problems_with_codes("backbone: {dir: model}\nbse: 1\ncategories: [{name: a, points: [b, b]}]\ndata: {inputs: [{path: "
                                "x, form: auto, format: auto}]}\n",
                                {"base.lr=fast"}),
            "c.yaml:2:1: bse: unknown key, did you mean base? [unknown-key]\n"
            "c.yaml:3:36: categories.0.points.1: \"b\" is also the value of categories.0.points.0: names must differ "
            "[name-used-twice]\n"
            "c.yaml:4:27: data.inputs.0.form is now called data.inputs.0.format, which is given too: remove form [renamed-key]\n"
            "--set base.lr=fast: base.lr: expected a number, found \"fast\" [invalid-value]");
}

TEST(RunConfig, ReadsVariablesInsideMapsOfOneLine) {
  ::setenv("DMOERM_TEST_PLACE", "/models", 1);
  const RunConfig c = parse(
      "backbone: {dir: ${DMOERM_TEST_PLACE}, chat_template: plain} # ${\ndata: {inputs: [{path: ${DMOERM_NONE:-a}.jsonl}]}\n"
      "name: \"x\"\ncategories: [{name: chat, points: [tone]}]\n");
  EXPECT_EQ(c.backbone.dir, "/models");
  EXPECT_EQ(c.data.inputs.at(0).path, "/base/a.jsonl");
  EXPECT_EQ(problems(kSmallest + "base: {lr: ${DMOERM_TEST_PLACE}, x: 1}\n").find("c.yaml:7:12: base.lr"), 0U);
}

TEST(RunConfig, ReadsTheSmallestFileWithDefaults) {
  const RunConfig c = parse(kSmallest);
  EXPECT_EQ(c.backbone.dir, "/base/model");
  ASSERT_EQ(c.data.inputs.size(), 1U);
  EXPECT_EQ(c.data.inputs[0].path, "/base/a.jsonl");
  ASSERT_EQ(c.categories.size(), 1U);
  EXPECT_EQ(c.categories[0].points, (std::vector<std::string>{"tone", "logic"}));
  EXPECT_EQ(c.runs_dir, "runs");
  EXPECT_EQ(c.base.lr, 1e-5);
  EXPECT_EQ(c.experts.train.lr, 1e-4);
  EXPECT_EQ(c.base.tuning, Tuning::full);
  EXPECT_EQ(c.experts.train.tuning, Tuning::lora);
}

TEST(RunConfig, ReadsEveryTypeOfValue) {
  const RunConfig c = parse(
      kSmallest +
      "seed: 18446744073709551615\nbaselines: false\nbase:\n  lr: 2.5e-4\n  steps_max: 12\n  schedule: linear\nname: 007\n");
  EXPECT_EQ(c.seed, 18446744073709551615ULL);
  EXPECT_FALSE(c.baselines);
  EXPECT_EQ(c.base.lr, 2.5e-4);
  EXPECT_EQ(c.base.steps_max, 12);
  EXPECT_EQ(c.base.schedule, Schedule::linear);
  EXPECT_EQ(c.name, "007");  // a text is not a number: nothing is dropped
}

TEST(RunConfig, NamesUnknownKeysWithPlaceAndNearestRightKey) {
  EXPECT_EQ(problems(kSmallest + "base:\n  lora_rnak: 4\n"), "c.yaml:8:3: base.lora_rnak: unknown key, did you mean lora_rank?");
  EXPECT_EQ(problems(kSmallest + "train: {lr: 1}\n"), "c.yaml:7:1: train: unknown key, did you mean experts.train?");
  EXPECT_EQ(problems(kSmallest + "lora_alpha: 1\n"),
            "c.yaml:7:1: lora_alpha: unknown key, did you mean base.lora_alpha or experts.train.lora_alpha?");
  EXPECT_EQ(problems(kSmallest + "compute: {zebra: 1}\n"),
            "c.yaml:7:11: compute.zebra: unknown key; known here: device, dtype, threads, trunk_cache_mb, micro_batch_tokens, "
            "peak_tflops");
}

TEST(RunConfig, SuggestsKeysOfTheSectionBeforeThoseOfOthers) {
  const std::string judge = "labels: {judges: [{model: m, endpoints: [{url: http://h}]}]}\n";
  EXPECT_EQ(problems(kSmallest + judge, {"labels.judges.0.timeout_s=5"}),
            "--set labels.judges.0.timeout_s=5: labels.judges.0.timeout_s: unknown key, did you mean "
            "labels.judges.endpoints.connect_timeout_s or labels.judges.endpoints.request_timeout_s?");
  EXPECT_EQ(problems(kSmallest + judge, {"labels.judges.0.endpoints.0.timeout_s=5"}),
            "--set labels.judges.0.endpoints.0.timeout_s=5: labels.judges.0.endpoints.0.timeout_s: unknown key, did you mean "
            "connect_timeout_s or request_timeout_s?");
  EXPECT_EQ(problems(kSmallest + "experts: {lora_rank: 4}\n"),
            "c.yaml:7:11: experts.lora_rank: unknown key, did you mean experts.train.lora_rank?");
  EXPECT_EQ(problems(kSmallest + "experts: {learning_rate: 1}\n"),
            "c.yaml:7:11: experts.learning_rate: unknown key, did you mean experts.train.lr?");
  EXPECT_EQ(problems(kSmallest + "slurm: {timeout_s: 1}\n"),
            "c.yaml:7:9: slurm.timeout_s: unknown key, did you mean cluster.timeout_s?")
      << "no key of the section has these words";
}

TEST(RunConfig, ReportsAllProblemsAtOnceInOrderOfPosition) {
  const std::string text =
      "bse: 1\n"
      "backbone:\n"
      "  chat_template: llama4\n"
      "data:\n"
      "  inputs: []\n"
      "  test_share: 0.6\n"
      "  validation_share: 0.4\n"
      "categories:\n"
      "  - name: a/b\n"
      "    points: []\n"
      "base:\n"
      "  lr: 1e-5x\n"
      "  lr: 2\n"
      "experts: {per_task: 0}\n";
  EXPECT_EQ(
      problems(text, {"router.pooling=men"}),
      "c.yaml:1:1: bse: unknown key, did you mean base?\n"
      "c.yaml:3:3: backbone.dir: is missing. Hugging Face directory of the pretrained backbone, with config.json, safetensors "
      "files "
      "and tokenizer.json.\n"
      "c.yaml:3:18: backbone.chat_template: \"llama4\" is not one of chatml, llama3, mistral, plain, dmoerm, FILE.json; did you "
      "mean "
      "llama3?\n"
      "c.yaml:5:11: data.inputs: must have at least one element\n"
      "c.yaml:6:15: data.test_share: validation_share + test_share = 0.4 + 0.6 leaves no train split: their sum must be below 1\n"
      "c.yaml:9:11: categories.0.name: \"a/b\" becomes a directory's name: use at most 100 of A-Z a-z 0-9 _ . - and start "
      "with a letter, digit "
      "or _, e.g. a_b; the rows of the data must spell it so, too: jq -c '(.category | select(. == \"a/b\")) = \"NEW_NAME\"' "
      "FILE\n"
      "c.yaml:10:13: categories.0.points: must have at least one element\n"
      "c.yaml:12:7: base.lr: expected a number, found \"1e-5x\"\n"
      "c.yaml:13:3: base.lr: given twice, first at c.yaml:12:3\n"
      "c.yaml:14:21: experts.per_task: 0 is out of range: expected 1 or more\n"
      "--set router.pooling=men: router.pooling: \"men\" is not one of mean, last; did you mean mean?");
}

TEST(RunConfig, RefusesCategoriesThatReportsCouldNotTellFromTheirOwnRows) {
  const auto said = [](const std::string& categories) {
    std::string text = kSmallest;
    text.replace(text.find("categories:"), std::string::npos, "categories:\n" + categories);
    return problems(text);
  };
  const std::string chat = "  - {name: chat, points: [a]}\n";
  EXPECT_NE(said(chat + "  - {name: all, points: [a]}\n").find("\"all\" is what reports call all categories together"),
            std::string::npos);
  EXPECT_NE(said("  - {name: single, points: [a]}\n").find("\"single\" is what reports call the model of prompts"),
            std::string::npos);
  EXPECT_EQ(said("  - {name: all, points: [a]}\n"), "") << "the only category is all of them";
  EXPECT_NE(said("  - {name: chat, points: ['Q&A', 礼貌]}\n").find("e.g. Q_A; the rows of the data must spell it so, too"),
            std::string::npos);
}

TEST(RunConfig, ShowsTheFirstHundredProblemsOfAWildFile) {
  std::string text = kSmallest;
  for (int i = 0; i < 50000; ++i) text += "wrong" + std::to_string(i) + ": 1\n";
  const std::string found = problems(text);
  EXPECT_EQ(std::count(found.begin(), found.end(), '\n'), 100);
  EXPECT_TRUE(found.ends_with("... and 49900 more problems"));
}

/// The YAML block of a page after some words.
std::string yaml_after(const std::string& page, const std::string& words) {
  const std::string fence = "```yaml\n";
  const std::size_t begin = page.find(fence, page.find(words)) + fence.size();
  return page.substr(begin, page.find("```", begin) - begin);
}

TEST(RunConfig, ReadsTheExamplesOfTheLabellingPage) {
  std::ifstream file(DMOERM_SOURCE "/docs/labelling.md");
  const std::string page((std::istreambuf_iterator<char>(file)), {});
  const std::string smallest = yaml_after(page, "The smallest configuration that labels:");
  const RunConfig config = parse_run_config(smallest, "c.yaml", "/nowhere", {});
  EXPECT_EQ(config.backbone.dir, "/nowhere/model");  // need not exist
  EXPECT_EQ(config.labels.judges.at(0).endpoints.at(0).url, "http://127.0.0.1:8000/v1");
  std::string upper = smallest;
  upper.replace(upper.find("http:"), 4, "HTTP");
  EXPECT_EQ(parse_run_config(upper, "c.yaml", "/nowhere", {}).labels.judges.at(0).endpoints.at(0).url,
            "HTTP://127.0.0.1:8000/v1");
  const std::string without_labels = smallest.substr(0, smallest.find("labels:\n"));
  const RunConfig limited =
      parse_run_config(without_labels + yaml_after(page, "Several judges, with limits:"), "c.yaml", "/", {});
  EXPECT_EQ(limited.labels.judges.size(), 2U);
  EXPECT_EQ(limited.labels.budget.cost_max, 200);
}

/// One value of the table: what is written, and a part of the answer.
struct BadValue {
  std::string line;
  std::string message;
};

class BadValues : public testing::TestWithParam<BadValue> {};

TEST_P(BadValues, AreRefusedWithAdvice) {
  const std::string found = problems(kSmallest + GetParam().line + "\n");
  EXPECT_NE(found.find(GetParam().message), std::string::npos) << "found: " << found;
  EXPECT_EQ(found.find('\n'), std::string::npos) << "one problem, several complaints: " << found;
}

INSTANTIATE_TEST_SUITE_P(
    RunConfig, BadValues,
    testing::Values(
        BadValue{"labels: {judges: [{model: m}]}", "labels.judges.0.endpoints: is missing"},
        BadValue{"labels: {judges: [{model: m, endpoints: [{url: http://h, key_env: A, key_file: b}]}]}",
                 "key_env is set too: keep one of them"},
        BadValue{"labels: {judges: [{model: m, endpoints: [{url: http://h}]}], budget: {cost_max: 5}}",
                 "labels.budget.cost_max: judges without a price: m. Set price_prompt"},
        BadValue{"labels: {judges: [{model: m, endpoints: [{url: http://h}]}, {model: n, endpoints: [{url: http://h}], "
                 "price_prompt: 1}, "
                 "{model: o, endpoints: [{url: http://h}]}], budget: {cost_max: 5}}",
                 "judges without a price: m, o. Set price_prompt"},
        BadValue{"labels: {judges: [{model: m, endpoints: [{url: http://h}, {url: http://i}], api: batch}]}",
                 ":59: labels.judges.0.endpoints.1: a batch is sent to one server"},
        BadValue{"labels: {judges: [{model: m, endpoints: [{url: h:8000/v1}]}]}",
                 "labels.judges.0.endpoints.0.url: \"h:8000/v1\" must start with http:// or https://"},
        BadValue{"labels: {judges: [{model: m, endpoints: [{url: http://h}], top_p: 0}]}",
                 "labels.judges.0.top_p: 0 is out of range"},
        BadValue{"labels: {judges: [{model: m, endpoints: [{url: http://h}], top_p: 1.1}]}",
                 "labels.judges.0.top_p: 1.1 is out of range"},
        BadValue{"labels: {judges: [{model: m, endpoints: [{url: http://h}], seed: -2}]}",
                 "labels.judges.0.seed: -2 is out of range"},
        BadValue{"labels: {judges: [{model: m, endpoints: [{url: http://h}], seed: 0.5}]}", "labels.judges.0.seed"},
        BadValue{"labels: {judges: [{model: m, endpoints: [{url: http://h}]}], samples: 3}",
                 "would give the same answer in each of labels.samples = 3 questions"},
        BadValue{"labels: {judges: [{model: m, endpoints: [{url: http://h}], extra: \"[1]\"}]}", "expected a JSON object"},
        BadValue{"name: labels\nlabels: {judges: [{model: m, endpoints: [{url: http://h}]}]}", "give the run another name"},
        BadValue{"labels: {pairs: {choose: uncertain}}", "set the directory of a finished model here, or labels.rounds to 2"},
        BadValue{"labels: {rounds: 2}", "labels.pairs.choose is all, which knows its pairs before: set it to uncertain"},
        BadValue{"labels: {rounds: 0}", "labels.rounds"}, BadValue{"labels: {splits: [trian]}", "did you mean train?"},
        BadValue{"base: {lr: fast}", "base.lr: expected a number, found \"fast\""},
        BadValue{"base: {lr: \"1e-5\"}", "remove the quotes"}, BadValue{"base: {lr: [1]}", "expected a number, found a list"},
        BadValue{"base: {lr: }", "expected a number, found no value"},
        BadValue{"base: {lr: 0}", "base.lr: 0 is out of range: expected more than 0"},
        BadValue{"base: {lr: .nan}", ".nan is not finite"}, BadValue{"base: {lr: nan}", "nan is not finite"},
        BadValue{"base: {lr: -.inf}", "-.inf is not finite"}, BadValue{"base: {lr: inf}", "inf is not finite"},
        BadValue{"base: {lr: 1e999}", "too large"}, BadValue{"base: {lr: \"${LR}\"}", "use --set"},
        BadValue{"base:\n  lr: ${LR}", "use --set"},
        BadValue{"base: {steps_max: 010}", "\"010\" starts with 0, which YAML may read as octal: write 10"},
        BadValue{"base: {steps_max: -00}", "write -0"}, BadValue{"base: {lr: 01.5}", "write 1.5"},
        BadValue{"base: {lr: 00.5}", "write 0.5"}, BadValue{"base: {steps_max: 1e3}", "write 1000"},
        BadValue{"base: {steps_max: 1.5}", "expected a whole number, found \"1.5\""},
        BadValue{"base: {steps_max: 0x10}", "write 16"}, BadValue{"base: {steps_max: 0o17}", "write 15"},
        BadValue{"base: {steps_max: 1_000}", "expected a whole number, found \"1_000\": write 1000"},
        BadValue{"base: {steps_max: \"1,000\"}", "found the text \"1,000\": write 1000, without quotes"},
        BadValue{"base: {steps_max: 10k}", "write 10000"}, BadValue{"base: {steps_max: +5}", "write 5"},
        BadValue{"base: {steps_max: 100.0}", "write 100"}, BadValue{"base: {lr: +1e-5}", "write 1e-05"},
        BadValue{"base: {lr: \"0,5\"}", "write 0.5, without quotes"}, BadValue{"phase1_share: 50%", "write 0.5"},
        BadValue{"base: {lr: \"fast\"}", "expected a number, found the text \"fast\""},
        BadValue{"baselines: \"true\"", "remove the quotes"}, BadValue{"baselines: True", "found \"True\": write true"},
        BadValue{"baselines: Off", "write false"}, BadValue{"base: {schedule: LINEAR}", "did you mean linear?"},
        BadValue{"compute: {device: gpu}", "did you mean cuda?"}, BadValue{"compute: {device: cuda:0}", "did you mean cuda?"},
        BadValue{"compute: {dtype: bf16}", "did you mean bfloat16?"},
        BadValue{"labels:\n  judges:\n    model: m", "found keys with values: write \"- \" before the first of them"},
        BadValue{"base: {learning_rate: 1}", "base.learning_rate: unknown key, did you mean lr?"},
        BadValue{"output_dir: x", "did you mean runs_dir?"}, BadValue{"model_name_or_path: x", "did you mean backbone.dir?"},
        BadValue{"labels:\n  splits: |\n    train\n    test", "found several lines of text: write \"- \" before each"},
        BadValue{"base: {LR: 1}", "base.LR: unknown key, did you mean lr?"},
        BadValue{"lora_rank: 4", "lora_rank: unknown key, did you mean base.lora_rank or experts.train.lora_rank?"},
        BadValue{"trains: all", "trains: unknown key, did you mean base.tuning or experts.train.tuning?"},
        BadValue{"backbone_dir: m", "did you mean backbone.dir?"},
        BadValue{"seed = 5", "seed = 5: unknown key (a colon is missing)"},
        BadValue{"base:\n  lr:1e-5", "found \"lr:1e-5\" (a blank is missing behind the colon)"},
        BadValue{"base:\n  lr 1e-5", "(a colon is missing)"},
        BadValue{"runs_dir: $HOME/runs", "runs_dir: $HOME is not replaced: write ${HOME}"},
        BadValue{"runs_dir: ~/runs", "runs_dir: ~ is not expanded; write ${HOME}"},
        BadValue{"labels: {store: 'C:\\labels'}", "\"C:\\labels\" is a path of Windows"},
        BadValue{"labels: {splits: train}", "found \"train\": write [train]"},
        BadValue{"base: {steps_max: 99999999999999999999}", "does not fit"},
        BadValue{"base: {steps_max: -1}", "base.steps_max: -1 is out of range: expected 0 or more"},
        BadValue{"seed: -1", "expected a whole number >= 0"}, BadValue{"baselines: yes", "expected true or false, found \"yes\""},
        BadValue{"base: {lora_dropout: 1}", "1 is out of range: expected at least 0 and less than 1"},
        BadValue{"phase1_share: 1", "phase1_share: 1 is out of range: expected more than 0 and less than 1"},
        BadValue{"base: 3", "base: expected keys with values"}, BadValue{"base: [1]", "found a list"},
        BadValue{"name: ..", "becomes a directory's name"},
        BadValue{"name: Grüße & Fragen/2", "start with a letter, digit or _, e.g. Gruesse_Fragen_2"},
        BadValue{"name: 角色扮演", "start with a letter, digit or _"}, BadValue{"name: ''", "name: must not be empty"},
        BadValue{"name:", "name: has no value"}, BadValue{"runs_dir: ''", "runs_dir: must not be empty"},
        BadValue{"runs_dir: \"a\\nb\"", "line end or control character"}, BadValue{"base: {tuning: Lora}", "did you mean lora?"},
        BadValue{"base: {schedule: cosine, epochs_max: 0}",
                 "base.schedule: cosine falls to zero at the last step, which is unknown"},
        BadValue{"base: {steps_max: 5, warmup_steps: 5}", "base.warmup_steps: 5 steps of warm-up leave nothing of steps_max = 5"},
        BadValue{"experts: {train: {tuning: full}}", "share one frozen base: set it to lora"},
        BadValue{
            "method: paper\nbase: {labels: all}",
            "base.labels: all is not what method: paper does, whose phase 1 has overall preferences alone (overall): remove"},
        BadValue{
            "method: paper\nbase: {start: all_categories}",
            "base.start: all_categories is not what method: paper does, whose phase 1 has the pretrained weights to start from"},
        BadValue{"base: {labels: points}", "base.labels: \"points\" is not one of"},
        BadValue{"experts: {train: {labels: all}}", "experts.train.labels: unknown key"},
        BadValue{"folds: 1", "folds: 1 fold leaves no prompts to train on: set it to 2 to 10, or to 0"},
        BadValue{"folds: 11", "folds: 11 is out of range"},
        BadValue{"base: {tuning: lora, shard: true}", "only full tuning can be sharded"},
        BadValue{"seed: 1\nseed: 1", "seed: given twice, first at c.yaml:7:1"},
        BadValue{"runs_dir: ${DMOERM_TEST_UNSET}", "environment variable DMOERM_TEST_UNSET is not set"},
        BadValue{"runs_dir: ${1x}", "does not name an environment variable"}, BadValue{"runs_dir: a${b", "no closing brace"}));

TEST(RunConfig, RefusesRepeatedAndReservedNames) {
  const std::string text =
      "backbone: {dir: m}\ndata: {inputs: [{path: a, category: chta}]}\n"
      "categories:\n  - {name: chat, points: [tone, tone]}\n  - {name: chat, points: [overall]}\n  - {points: [x]}\n";
  EXPECT_EQ(
      problems(text),
      "c.yaml:2:37: data.inputs.0.category: \"chta\" is not one of `categories`; did you mean chat?\n"
      "c.yaml:4:33: categories.0.points.1: \"tone\" is also the value of categories.0.points.0: names must differ\n"
      "c.yaml:5:12: categories.1.name: \"chat\" is also the value of categories.0.name: names must differ\n"
      "c.yaml:5:27: categories.1.points.0: \"overall\" is the name of the overall preference: choose another name for the point\n"
      "c.yaml:6:5: categories.2.name: is missing. Name of the task category, as the data spells it.");
}

TEST(RunConfig, AWeightAboveOneIsANumberOfCopies) {
  EXPECT_EQ(problems(kSmallest, {"data.inputs.0.weight=1.5"}),
            "--set data.inputs.0.weight=1.5: data.inputs.0.weight: 1.5 must be a whole number: above 1 it is how often an epoch "
            "visits each group");
  EXPECT_EQ(problems(kSmallest, {"data.inputs.0.weight=3"}), "");
  EXPECT_EQ(problems(kSmallest, {"data.inputs.0.weight=0.3"}), "");
}

TEST(RunConfig, RefusesFilesThatAreNotConfigurationsWithOneMessage) {
  EXPECT_NE(problems("").find("c.yaml:1:1: the file is empty"), std::string::npos);
  EXPECT_NE(problems("# only a comment\n").find("is empty"), std::string::npos);
  EXPECT_NE(problems("- a\n- b\n").find("expected keys with values (key: value), found a list"), std::string::npos);
  EXPECT_NE(problems("hello").find("found \"hello\""), std::string::npos);
  EXPECT_EQ(problems("base:\n\tlr: 1\n"), "c.yaml:2:1: this line is indented with a tab: YAML allows spaces only");
  EXPECT_EQ(problems("name: \xff\n"), "c.yaml:1:7: byte 0xff is not UTF-8: save the file as UTF-8");
  EXPECT_EQ(problems("name: a\x01\n"), "c.yaml:1:8: control character 0x01: remove it");
  EXPECT_NE(problems("name: !!str a\n").find("tags are not supported"), std::string::npos);
  EXPECT_NE(problems(kSmallest + "---\nname: b\n").find("a second document starts here"), std::string::npos);
  EXPECT_NE(problems("? [a, b]\n: 1\n").find("not a plain word"), std::string::npos);
  EXPECT_NE(problems("a: [1, 2\n").find("a [ is not closed by ]"), std::string::npos);
  EXPECT_EQ(problems("a: {b: 1\n"), "c.yaml:2:1: not valid YAML: a { is not closed by }");
  EXPECT_EQ(problems("a:\n  b: 1\n c: 2\n"),
            "c.yaml:3:2: not valid YAML: this line does not fit the lines above it: check its "
            "indentation, quotes and brackets");
  EXPECT_NE(problems("a: b: c\n").find("c.yaml:1:5: not valid YAML: a colon that cannot stand here"), std::string::npos);
  EXPECT_NE(problems("a: \"C:\\Users\"\n").find("a backslash in double quotes begins an escape"), std::string::npos);
  EXPECT_EQ(problems("a: @b\n"), "c.yaml:1:4: not valid YAML: a value cannot begin with @: put it in quotes");
  EXPECT_NE(problems("a: *b\n").find("the file has none of this name"), std::string::npos);
  EXPECT_NE(problems("seed\uff1a 1\nbase: {lr: 1}\n").find("(it holds a full-width :, U+FF1A: write :)"), std::string::npos);
  EXPECT_EQ(problems("a: 1\n<<<<<<< HEAD\nb: 1\n"), "c.yaml:2:1: a merge conflict of git, which nobody has resolved");
  EXPECT_NE(problems("version https://git-lfs.github.com/spec/v1\n").find("a Git LFS pointer"), std::string::npos);
  EXPECT_NE(problems("<!DOCTYPE html>\n").find("found a web page"), std::string::npos);
  EXPECT_NE(problems(std::string(20, '\0')).find("found zero bytes"), std::string::npos);
  EXPECT_NE(problems("\xff\xfe" + std::string("a\0:\0", 4)).find("found UTF-16 text"), std::string::npos);
  EXPECT_NE(problems(std::string(2 << 20, '#')).find("too large"), std::string::npos);
  EXPECT_NE(problems(std::string(100000, '[')).find("c.yaml:1:"), std::string::npos);
}

TEST(RunConfig, ReadsAnchorsAndMergeKeys) {
  const RunConfig c = parse(
      "backbone: {dir: model}\ndata: {inputs: [{path: a.jsonl}]}\n"
      "categories:\n  - {name: chat, points: &p [tone, logic]}\n  - {name: text, points: *p}\n"
      "base: &b {lr: 3e-5, lora_rank: 4, steps_max: 9}\n"
      "experts:\n  train:\n    lora_rank: 2\n    <<: [{steps_max: 5}, *b]\n    tuning: lora\n");
  EXPECT_EQ(c.categories.at(1).points, (std::vector<std::string>{"tone", "logic"}));
  EXPECT_EQ(c.base.lr, 3e-5);
  EXPECT_EQ(c.experts.train.lr, 3e-5);
  EXPECT_EQ(c.experts.train.lora_rank, 2) << "the map's own value counts, wherever the merge key stands";
  EXPECT_EQ(c.experts.train.steps_max, 5) << "the first of several maps counts";
  EXPECT_EQ(problems(kSmallest + "base: {<<: 3}\n"),
            "c.yaml:7:12: the merge key << takes a map, such as *name of a map with the anchor &name");
  EXPECT_NE(problems("a: *x\n").find("c.yaml:1:"), std::string::npos);
  EXPECT_NE(problems("a: &x [*x]\n").find("c.yaml:1:8: this alias stands inside the value that it names"), std::string::npos);
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    bomb += fmt::format("a{0}: &a{0} [*a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}]\n", i, i - 1);
  }
  EXPECT_NE(problems(bomb).find("the aliases stand for more than 16 MiB"), std::string::npos);
  std::string long_text = "a: &a " + std::string(100000, 'x') + "\nb: [";
  for (int i = 0; i < 10000; ++i) long_text += "*a, ";
  EXPECT_NE(problems(long_text + "]\n").find("the aliases stand for more than 16 MiB"), std::string::npos);
}

TEST(RunConfig, NamesCharactersThatOnlyLookLikeYaml) {
  EXPECT_NE(problems(kSmallest + "base:\n\u00a0\u00a0lr: 1e-5\n").find("(it holds a no-break space, U+00A0: write a blank)"),
            std::string::npos);
  EXPECT_NE(problems(kSmallest + "base:\n  lr:\u00a01e-5\n").find("(it holds a no-break space"), std::string::npos);
  EXPECT_NE(problems(kSmallest + "base:\n  lr\uff1a1e-5\n").find("(it holds a full-width :, U+FF1A: write :)"),
            std::string::npos);
  EXPECT_NE(problems(kSmallest, {"base.lr=1e\u22125"}).find("(it holds a minus sign of mathematics, U+2212: write -)"),
            std::string::npos);
  EXPECT_NE(problems(kSmallest, {"base.schedule=\u201clinear\u201d"}).find("a typographic quote, U+201C"), std::string::npos);
}

TEST(RunConfig, RefusesMissingFilesAndDirectories) {
  EXPECT_THROW(
      {
        try {
          read_run_config("/nowhere/c.yaml", {});
        } catch (const ConfigError& e) {
          EXPECT_STREQ(e.what(), "/nowhere/c.yaml: this configuration file does not exist");
          throw;
        }
      },
      ConfigError);
  EXPECT_THROW(read_run_config("/", {}), ConfigError);
}

TEST(RunConfig, TakesRelativePathsFromTheFilesDirectory) {
  const std::filesystem::path directory = std::filesystem::path(testing::TempDir()) / "dmoerm_config_test";
  std::filesystem::create_directories(directory);
  std::ofstream(directory / "c.yaml") << "backbone: {dir: ../model}\ndata: {inputs: [{path: /abs/a.jsonl}, {path: b.jsonl}]}\n"
                                         "categories: [{name: a, points: [p]}]\nruns_dir: elsewhere\n";
  const RunConfig c = read_run_config((directory / "c.yaml").string(), {});
  EXPECT_EQ(c.backbone.dir, (directory.parent_path() / "model").lexically_normal().string());
  EXPECT_EQ(c.data.inputs[0].path, "/abs/a.jsonl");
  EXPECT_EQ(c.data.inputs[1].path, (directory / "b.jsonl").lexically_normal().string());
  EXPECT_EQ(c.runs_dir, "elsewhere");
  std::filesystem::remove_all(directory);
}

TEST(RunConfig, TakesAChatTemplateByNameOrAsAFile) {
  const auto read = [](const std::string& value) {
    return parse_run_config(kSmallest, "c.yaml", "/configs", {"backbone.chat_template=" + value}).backbone.chat_template;
  };
  EXPECT_EQ(read("chatml"), "chatml");
  EXPECT_EQ(read("own.chat.json"), "/configs/own.chat.json");
  EXPECT_EQ(read("../models/own"), "/models/own");
  EXPECT_EQ(read("/abs/own.json"), "/abs/own.json");
  EXPECT_EQ(problems(kSmallest, {"backbone.chat_template=~/own.json"}),
            "--set backbone.chat_template=~/own.json: backbone.chat_template: ~ is not expanded; write ${HOME}");
  EXPECT_NE(reference().find("chatml, llama3, mistral, plain, dmoerm, FILE.json"), std::string::npos);
}

TEST(RunConfig, AppliesOverridesAnywhere) {
  const RunConfig c = parse(kSmallest, {"base.lr=3e-4", "data.inputs.0.path=/x=y", "data.inputs.1.path=b",
                                        "categories.0.points=[a, b, c]", "name=z", "name=w", "data.inputs.0.category="});
  EXPECT_EQ(c.base.lr, 3e-4);
  EXPECT_EQ(c.data.inputs.at(0).path, "/x=y");
  EXPECT_EQ(c.data.inputs.at(1).path, "/base/b");
  EXPECT_EQ(c.categories[0].points.size(), 3U);
  EXPECT_EQ(c.name, "w");
  EXPECT_EQ(parse("backbone: {dir: m}\n", {"data.inputs.0.path=a", "categories=[{name: c, points: [p]}]"}).categories[0].name,
            "c");
}

TEST(RunConfig, ChecksOverridesLikeTheFile) {
  EXPECT_EQ(problems(kSmallest, {"base.lora_rnak=4"}),
            "--set base.lora_rnak=4: base.lora_rnak: unknown key, did you mean lora_rank?");
  EXPECT_EQ(problems(kSmallest, {"base.lr=1e-5x"}), "--set base.lr=1e-5x: base.lr: expected a number, found \"1e-5x\"");
  EXPECT_NE(problems(kSmallest, {"data.inputs.7.path=x"}).find("has 1 elements; name one by its number, 0 to 1"),
            std::string::npos);
  EXPECT_NE(problems(kSmallest, {"data.inputs.first.path=x"}).find("name one by its number"), std::string::npos);
  EXPECT_NE(problems(kSmallest, {"backbone.dir.x=1"}).find("cannot be set inside the single value \"model\""), std::string::npos);
  EXPECT_NE(problems(kSmallest, {"base.lr"}).find("must be written key=value"), std::string::npos);
  EXPECT_NE(problems(kSmallest, {"name=[a"}).find("--set name=[a: not valid YAML"), std::string::npos);
}

TEST(RunConfig, ReplacesVariablesOfTheEnvironmentInTexts) {
  ::setenv("DMOERM_TEST_DIR", "/models", 1);
  ::setenv("DMOERM_TEST_EMPTY", "", 1);
  ::unsetenv("DMOERM_TEST_UNSET");
  const RunConfig c = parse(
      kSmallest, {"backbone.dir=${DMOERM_TEST_DIR}/a", "name=${DMOERM_TEST_UNSET:-x}${DMOERM_TEST_EMPTY:-y}", "runs_dir=$${A}$"});
  EXPECT_EQ(c.backbone.dir, "/models/a");
  EXPECT_EQ(c.name, "xy");
  EXPECT_EQ(c.runs_dir, "${A}$");
  EXPECT_EQ(difference(c, parse(to_yaml(c))), "");
}

/// Fills every key with random valid values.
struct Randomizer {
  Rng rng;

  template <class T>
  void operator()(std::string_view, T& value, const Rule& rule, Affects, std::string_view) {
    if constexpr (is_section<T>) {
      describe(*this, value);
    } else if constexpr (WordSetting<T>) {
      value = *from_word<T>(rule.words[rng.below(rule.words.size())]);
    } else if constexpr (std::same_as<T, std::vector<std::string>>) {
      value = {"p" + std::to_string(rng.below(1000000)), "q", "true"};
    } else if constexpr (std::same_as<T, std::vector<Split>>) {
      value = {static_cast<Split>(rng.below(3))};
    } else if constexpr (is_list<T>) {
      value.resize(1 + rng.below(3));
      for (auto& element : value) describe(*this, element);
    } else if constexpr (std::same_as<T, std::string>) {
      static const std::vector<std::string> kTexts = {"a b",  "\"quoted\"", "back\\slash", "x: y",     "# no",  "${A}",  "$${A}",
                                                      "null", "007",        "-",           "é ü 日本", "'",     "{",     "[a]",
                                                      "&x",   "*x",         "%",           "@",        " lead", "trail "};
      value = rule.or_file   ? rule.words[rng.below(rule.words.size())]
              : rule.is_name ? "n" + std::to_string(rng.next())
              : rule.is_path ? "/" + kTexts[rng.below(kTexts.size())]
                             : kTexts[rng.below(kTexts.size())];
    } else if constexpr (std::same_as<T, ScoreGap>) {
      value = rng.uniform();
      if (rng.below(2) == 0) value.by_label = {{"overall", rng.uniform()}, {"true", 0.0}};  // "true" is a point
    } else if constexpr (std::same_as<T, bool>) {
      value = rng.below(2) == 0;
    } else if constexpr (std::same_as<T, double>) {
      value = rule.max <= 2 ? rng.uniform() * 0.5 + 1e-9 : std::exp(rng.normal() * 20);
    } else if constexpr (std::same_as<T, std::uint64_t>) {
      value = rng.next();
    } else {
      value = static_cast<T>(rule.max < 1e6 ? 1 + rng.below(static_cast<std::uint64_t>(rule.max)) : 2 + (rng.next() >> 2));
    }
  }
};

TEST(RunConfig, SurvivesWritingAndReadingBitForBit) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    RunConfig c;
    Randomizer randomizer{Rng(seed)};
    describe(randomizer, c);
    c.data.min_prompt_tokens = c.data.max_length - 1;  // what must hold between keys
    for (TrainConfig* train : {static_cast<TrainConfig*>(&c.base), &c.experts.train}) {
      train->warmup_steps = 0;
      train->shard = false;
    }
    if (c.method == Method::paper) c.base.labels = BaseLabels::overall, c.base.start = BaseStart::backbone;
    c.experts.train.tuning = Tuning::lora;
    for (CategoryConfig& category : c.categories) {  // one expert of a point, over a base that is not trained whole
      const bool possible = c.base.tuning == Tuning::lora && c.head.reads == Pooling::last;
      category.imported_experts.resize(possible ? 1 : 0);
      if (possible) category.imported_experts[0].point = category.points[0];
    }
    c.watch.address = "127.0.0.1";
    for (InputConfig& input : c.data.inputs) {
      input.category = c.categories[0].name;
      if (input.weight > 1) input.weight = std::floor(input.weight);
    }
    for (std::size_t i = 0; i < c.labels.judges.size(); ++i) {
      JudgeConfig& judge = c.labels.judges[i];
      judge.model = "judge" + std::to_string(i);
      judge.max_tokens = 2, judge.extra = "{}";
      judge.api = JudgeApi::online, judge.price_prompt = 1;
      for (EndpointConfig& endpoint : judge.endpoints) {
        endpoint.url = "http://" + endpoint.url;
        endpoint.key_file.clear();
      }
    }
    c.labels.pairs.choose = PairChoice::uncertain;  // rounds need it
    c.labels.pairs.bundle = "/b";
    if (c.folds == 1) c.folds = 2;
    const std::string text = to_yaml(c);
    const RunConfig again = parse_run_config(text, "c.yaml", "/other", {});
    EXPECT_EQ(difference(c, again), "") << text;
    EXPECT_EQ(to_yaml(again), text);
    EXPECT_EQ(again.base.lr, c.base.lr);
    EXPECT_EQ(again.backbone.dir, c.backbone.dir);
    EXPECT_EQ(again.runs_dir, c.runs_dir);
  }
}

TEST(RunConfig, ReadsAScoreGapForEachLabel) {
  const CategoryConfig one = parse(kSmallest, {"categories.0.score_gap_min=0.5"}).categories[0];
  EXPECT_EQ(one.score_gap_min.of("overall"), 0.5);
  EXPECT_EQ(one.score_gap_min.of("tone"), 0.5);
  const RunConfig c = parse(kSmallest, {"categories.0.score_gap_min={overall: 1, tone: 0.25}"});
  const ScoreGap gap = c.categories[0].score_gap_min;
  EXPECT_EQ(gap.of("overall"), 1);
  EXPECT_EQ(gap.of("tone"), 0.25);
  EXPECT_EQ(gap.of("logic"), 0) << "every gap of a label that is left out counts";
  EXPECT_NE(to_yaml(c).find("score_gap_min: {overall: 1, tone: 0.25}\n"), std::string::npos) << to_yaml(c);
}

TEST(RunConfig, AScoreGapOfAllLabelsIsIdentifiedAsBefore) {
  const auto identity = [](const std::vector<std::string>& overrides) {
    return settings_that_affect(parse(kSmallest, overrides).categories[0], Affects::result).dump();
  };
  EXPECT_EQ(identity({}), R"({"name":"chat","points":["tone","logic"],"score_gap_min":0.0})");
  EXPECT_EQ(identity({"categories.0.score_gap_min=0.5"}), R"({"name":"chat","points":["tone","logic"],"score_gap_min":0.5})");
  EXPECT_EQ(identity({"categories.0.score_gap_min={tone: 2}"}),
            R"({"name":"chat","points":["tone","logic"],"score_gap_min":{"tone":2.0}})");
}

TEST(RunConfig, RefusesFewerClustersThanCategories) {
  const std::string two = kSmallest + "  - {name: code, points: [style]}\nrouter: {kind: clusters, clusters: 1}\n";
  const std::string problems = problems_with_codes(two);
  EXPECT_NE(problems.find("too-few-clusters"), std::string::npos) << problems;
  EXPECT_NE(problems.find("1 clusters cannot lead to 2 categories"), std::string::npos) << problems;
  EXPECT_EQ(problems_with_codes(two, {"router.clusters=2"}), "");
  EXPECT_EQ(problems_with_codes(two, {"router.kind=trained"}), "");
}

TEST(RunConfig, RefusesAScoreGapOfAnUnknownLabel) {
  const auto found = [](const std::string& gap) {
    return problems(
        "backbone: {dir: m}\ndata: {inputs: [{path: a}]}\ncategories:\n  - name: chat\n    points: [tone, logic]\n    "
        "score_gap_min: " +
        gap + "\n");
  };
  EXPECT_EQ(
      found("{overall: 1, tine: 2}"),
      "c.yaml:6:39: categories.0.score_gap_min.tine: \"tine\" is not a label of the category chat, which has overall, tone, "
      "logic; did you mean tone?");
  EXPECT_EQ(found("{tone: -1}"), "c.yaml:6:27: categories.0.score_gap_min.tone: -1 is out of range: expected 0 or more");
  EXPECT_EQ(found("{tone: wide}"), "c.yaml:6:27: categories.0.score_gap_min.tone: expected a number, found \"wide\"");
  EXPECT_EQ(found("{tone: 1, tone: 2}"), "c.yaml:6:30: categories.0.score_gap_min.tone: given twice");
  EXPECT_EQ(found("[1, 2]"), "c.yaml:6:20: categories.0.score_gap_min: expected a number, found a list");
}

TEST(RunConfig, TakesImportedExpertsByPoint) {
  const auto file = [](const std::string& experts, const std::string& more = "base: {tuning: lora}\n") {
    return "backbone: {dir: m}\ndata: {inputs: [{path: a}]}\ncategories:\n  - name: chat\n    points: [tone, logic]\n    "
           "imported_experts: " +
           experts + "\n" + more;
  };
  const RunConfig c = parse(file("[{point: logic, dir: adapters/logic}]"));
  EXPECT_EQ(c.categories[0].imported("logic"), "/base/adapters/logic");
  EXPECT_EQ(c.categories[0].imported("tone"), "");
  EXPECT_FALSE(settings_that_affect(c.categories[0], Affects::result).contains("imported_experts"))
      << "what is imported is part of the expert's identity, by its checksum, and not of its category's";
  EXPECT_EQ(problems(file("[{point: logik, dir: a}]")),
            "c.yaml:6:32: categories.0.imported_experts.0.point: \"logik\" is not a point of the category chat, which has tone, "
            "logic; did you mean logic?");
  EXPECT_NE(problems(file("[{point: logic, dir: a}, {point: logic, dir: b}]"))
                .find("categories.0.imported_experts.1.point: \"logic\" is also the value of"),
            std::string::npos);
  EXPECT_NE(problems(file("[{point: logic}]")).find("categories.0.imported_experts.0.dir: is missing"), std::string::npos);
  const std::string full = problems_with_codes(file("[{point: logic, dir: a}]", ""));
  EXPECT_NE(full.find("base.tuning is full, which trains other weights for the category: set base.tuning to lora"),
            std::string::npos)
      << full;
  EXPECT_NE(full.find("[imported-expert-needs-lora-base]"), std::string::npos) << full;
  const std::string mean = problems_with_codes(file("[{point: logic, dir: a}]", "base: {tuning: lora}\nhead: {reads: mean}\n"));
  EXPECT_NE(mean.find("[imported-expert-reads-last]"), std::string::npos) << mean;
}

TEST(RunConfig, SaysWhichValuesDiffer) {
  const RunConfig a = parse(kSmallest);
  EXPECT_EQ(difference(a, a), "");
  const RunConfig b = parse(kSmallest, {"base.lr=2e-5", "categories.0.points=[tone]", "data.inputs.1={path: b}"});
  EXPECT_EQ(difference(a, b),
            "categories.0.points: [tone, logic] before, [tone] now\n"
            "base.lr: 1e-05 before, 2e-05 now\n"
            "data.inputs.1.path: absent before, /base/b now\n"
            "data.inputs.1.format: absent before, auto now\n"
            "data.inputs.1.category: absent before, \"\" now\n"
            "data.inputs.1.split: absent before, \"\" now\n"
            "data.inputs.1.weight: absent before, 1 now");
}

TEST(RunConfig, HasAReferenceThatNamesEveryKey) {
  const std::string text = reference();
  const RunConfig c = parse(kSmallest);
  for (const auto& [key, value] : flatten(c)) {
    std::string name = key;
    if (const std::size_t zero = name.find(".0."); zero != std::string::npos) name.replace(zero, 3, "[].");
    EXPECT_NE(text.find("| `" + name + "` |"), std::string::npos) << name;
  }
  EXPECT_NE(text.find("| `base.lr` | number | `1e-05`; `0.0001` with base.tuning: lora | > 0 | result | Learning rate of AdamW "
                      "after the warm-up."),
            std::string::npos);
  EXPECT_NE(text.find("| `folds` | whole number | `0`; `3` with base.tuning: lora |"), std::string::npos);
  EXPECT_NE(text.find("| `aggregator.kind` | word | `best`; `paper_mlp` with method: paper |"), std::string::npos);
  EXPECT_NE(text.find("| `experts.train.lr` | number | `0.0001` | > 0 |"), std::string::npos);
  EXPECT_NE(text.find("| `method` | word | `dmoerm` |"), std::string::npos);
  EXPECT_NE(text.find("| `base.tuning` | word | `full` | full, lora | result |"), std::string::npos);
  EXPECT_NE(text.find("| `labels.splits` | list of words | `[train, validation]` | train, validation, test | labels |"),
            std::string::npos);
}

TEST(RunConfig, TheCommittedReferenceIsTheOneOfThisProgram) {
  std::ifstream file(DMOERM_SOURCE "/docs/configuration.md");
  const std::string committed((std::istreambuf_iterator<char>(file)), {});
  EXPECT_TRUE(committed == reference()) << "run: launch/dmoerm inspect config --reference > docs/configuration.md";
}

/// Collects every key's meaning and what it affects.
struct TableReader {
  struct Row {
    std::string key, meaning;
    Affects affects = Affects::nothing;
    bool section = false;
  };
  std::vector<Row> rows;
  std::string prefix = "";

  template <class T>
  void operator()(std::string_view name, T& value, const Rule&, Affects affects, std::string_view meaning) {
    const std::string key = prefix + std::string(name);
    rows.push_back({key, std::string(meaning), affects, is_section<T> || (is_list<T> && !is_value_list<T>)});
    const std::string outer = std::exchange(prefix, key + ".");
    if constexpr (is_section<T>) {
      describe(*this, value);
    } else if constexpr (is_list<T> && !is_value_list<T>) {
      typename T::value_type element{};
      describe(*this, element);
    }
    prefix = outer;
  }
};

std::vector<TableReader::Row> table() {
  TableReader reader;
  RunConfig config;
  describe(reader, config);
  return reader.rows;
}

TEST(RunConfig, TheMeaningOfAKeyIsAPlainSentence) {
  for (const auto& [key, meaning, affects, section] : table()) {
    EXPECT_TRUE(meaning.front() >= 'A' && meaning.front() <= 'Z') << key << ": " << meaning;
    EXPECT_EQ(meaning.back(), '.') << key << ": " << meaning;
    const std::string first = meaning.substr(0, meaning.find(' '));
    for (const char* preposition : {"Of", "That", "In", "For", "To", "From", "On", "Where", "With", "By", "At"})
      EXPECT_NE(first, preposition) << key << ": " << meaning;
    for (const char* wrong : {" is no ", " are no ", "  ", "; 0 = ", " anew", "so often"})
      EXPECT_EQ(meaning.find(wrong), std::string::npos) << key << ": " << meaning;
  }
}

/// The warnings that reading `text` gives.
std::vector<std::string> warnings_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  std::vector<std::string> warnings;
  parse_run_config(text, "c.yaml", "/base", overrides, &warnings);
  return warnings;
}

TEST(RunConfig, AnOldKeyIsReadByItsNewName) {
  const std::vector<std::string> keys = all_keys();
  for (const RenamedKey& renamed : kRenamedKeys) {
    const std::string old_key(renamed.old_key), new_key(renamed.new_key);
    EXPECT_NE(std::find(keys.begin(), keys.end(), new_key), keys.end()) << new_key;
    EXPECT_EQ(std::find(keys.begin(), keys.end(), old_key), keys.end()) << old_key;
    EXPECT_EQ(old_key.substr(0, old_key.rfind('.') + 1), new_key.substr(0, new_key.rfind('.') + 1)) << "another section";
    const auto written = [](std::string key) {
      for (const std::string list : {"categories.", "labels.judges.", "data.inputs."}) {
        if (key.starts_with(list)) key.insert(list.size(), "0.");
      }
      return key;
    };
    const std::map<std::string, std::string> values = {{"base.trains", "lora"},           {"experts.train.trains", "lora"},
                                                       {"base.recompute", "true"},        {"experts.train.recompute", "true"},
                                                       {"labels.batch_discount", "0.25"}, {"base_share", "0.25"},
                                                       {"labels.judges.via", "batch"},    {"cluster.wire", "bfloat16"},
                                                       {"data.inputs.form", "native"}};
    const std::string value = values.contains(old_key) ? values.at(old_key) : "3";
    const std::string api = new_key == "labels.batch_price_share" ? "api: batch, " : "";  // else the key has no effect
    const std::string judge = "labels.judges=[{model: m, " + api + "endpoints: [{url: http://h}]}]";
    const std::string override = written(old_key) + "=" + value;
    EXPECT_EQ(to_yaml(parse(kSmallest, {judge, override})), to_yaml(parse(kSmallest, {judge, written(new_key) + "=" + value})));
    EXPECT_EQ(
        warnings_of(kSmallest, {judge, override}),
        std::vector<std::string>{fmt::format("--set {}: {} is now called {}", override, written(old_key), written(new_key))});
  }
}

TEST(RunConfig, HasFoldsWhereTheyPayUnlessTheFileSaysOtherwise) {
  const auto folds = [](const std::vector<std::string>& overrides) { return parse(kSmallest, overrides).folds; };
  EXPECT_EQ(folds({}), 0);  // base.tuning is full
  EXPECT_EQ(folds({"base.tuning=lora"}), 3);
  EXPECT_EQ(folds({"base={tuning: lora, lr: 0.001}"}), 3);
  EXPECT_EQ(folds({"base.tuning=lora", "folds=0"}), 0);
  EXPECT_EQ(folds({"base.tuning=lora", "folds=5"}), 5);
  EXPECT_EQ(folds({"base.tuning=lora", "phase1_share=0.8"}), 0);
  EXPECT_EQ(folds({"base.tuning=lora", "method=paper"}), 0);
  EXPECT_EQ(folds({"base.tuning=lora", "method=dmoerm"}), 3);
}

TEST(RunConfig, HasALearningRateThatFitsTheTuning) {
  EXPECT_EQ(parse(kSmallest, {"base.tuning=full"}).base.lr, 1e-5);
  EXPECT_EQ(parse(kSmallest, {"base.tuning=lora"}).base.lr, 1e-4);
  EXPECT_EQ(parse(kSmallest, {"base.tuning=lora", "method=paper"}).base.lr, 1e-4);
  EXPECT_EQ(parse(kSmallest, {"base.tuning=lora", "base.lr=2e-5"}).base.lr, 2e-5);
}

TEST(RunConfig, WarnsOfASettingWithoutEffect) {
  const std::string because =
      "phase1_share has no effect, because folds is 3: all train groups serve phases 1, 2 and 3; remove "
      "one of them";
  EXPECT_EQ(warnings_of(std::string(kSmallest) + "\nfolds: 3\n"), std::vector<std::string>{});
  EXPECT_EQ(warnings_of(std::string(kSmallest) + "\nphase1_share: 0.5\n"), std::vector<std::string>{});
  EXPECT_EQ(warnings_of(kSmallest, {"folds=3", "phase1_share=0.5"}),
            std::vector<std::string>{"--set phase1_share=0.5: " + because});
}

TEST(RunConfig, WarnsOfEachSettingThatOthersMakeIdle) {
  const std::string judge = "labels.judges=[{model: m, endpoints: [{url: http://h}]}]";
  const std::string judges =
      "labels.judges=[{model: m, endpoints: [{url: http://h}]}, {model: n, weight: 2, endpoints: [{url: http://h}]}]";
  struct Case {
    std::vector<std::string> others;  ///< overrides that make the key idle
    std::string key, value, because;
  };
  const std::vector<Case> cases = {
      {{"base.steps_max=5"}, "base.epochs_max", "3", "base.steps_max is 5"},
      {{"experts.train.steps_max=5"}, "experts.train.epochs_max", "3", "experts.train.steps_max is 5"},
      {{"base.tuning=full"}, "base.lora_rank", "4", "base.tuning is full"},
      {{"base.tuning=full"}, "base.lora_layers", "4", "base.tuning is full"},
      {{"base.tuning=full"}, "base.lora_alpha", "4", "base.tuning is full"},
      {{"base.tuning=full"}, "base.lora_dropout", "0.5", "base.tuning is full"},
      {{}, "compute.trunk_cache_mb", "10", "every layer is trained or adapted"},
      {{}, "labels.samples", "3", "labels.judges is empty"},
      {{}, "labels.budget.cost_max", "3", "labels.judges is empty"},
      {{}, "labels.pairs.per_group", "3", "labels.judges is empty"},
      {{}, "labels.soft", "true", "labels.judges is empty"},
      {{judge, "labels.prompt_file=mine.yaml"}, "labels.prompt", "pairwise-zh", "labels.prompt_file is used"},
      {{judge}, "labels.pairs.per_group", "3", "labels.pairs.choose is all"},
      {{judge, "labels.pairs.choose=per_group"}, "labels.pairs.bundle", "old", "labels.pairs.choose is per_group"},
      {{judge}, "labels.batch_price_share", "0.25", "no judge has api: batch"},
      {{judge}, "labels.vote", "weights", "there is one judge"},
      {{judge}, "labels.judges.0.weight", "2", "there is one judge"},
      {{judge}, "labels.judges.0.top_p", "0.5", "temperature is 0"},
      {{judge, "labels.judges.0.api=batch"}, "labels.judges.0.tries_max", "2", "api is batch"},
      {{judge}, "experts.train.soft_gaps", "0.5", "judges label the capability points"},
      {{"aggregator.kind=stack"}, "aggregator.lr", "0.5", "aggregator.kind is stack"},
      {{}, "aggregator.weight_decay", "0.5", "aggregator.kind is best"},
      {{"aggregator.kind=mlp"}, "aggregator.gate_lr", "0.5", "aggregator.kind is mlp"},
      {{"aggregator.kind=gate"}, "aggregator.mlp_weight_decay", "0.5", "aggregator.kind is gate"},
      {{"aggregator.kind=mean"}, "aggregator.patience", "3", "aggregator.kind is mean"},
      {{}, "router.clusters", "20", "router.kind is trained"},
      {{"router.kind=clusters"}, "router.lr", "0.5", "router.kind is clusters, which is not fitted in steps"},
      {{"router.kind=clusters"}, "router.own_share", "0.5", "router.kind is clusters"},
      {{}, "router.reward_temperature", "0.5", "router.kind is trained"},
      {{}, "router.mix_gap", "0.25", "router.mix_top is 1"},
      {{}, "router.mix_top", "2", "there is one category"},
      {{"data.inputs.0.split=test"}, "data.inputs.0.weight", "0.5", "split is test"},
      {{"data.inputs.0.split=train"}, "data.test_share", "0.5", "each of data.inputs has a split"},
      {{"categories.0.groups_max=5"}, "data.groups_per_category_max", "7", "each category has a groups_max"},
      {{"categories.0.responses_per_group_max=5"}, "data.responses_per_group_max", "7", "each category has a responses"},
      {{"compute.device=cpu"}, "cluster.share_gpu", "true", "compute.device is cpu"},
      {{}, "cluster.currency", "EUR", "cluster.cost_per_device_hour is 0"},
      {{}, "watch.token_env", "TOKEN", "watch.port is -1"},
  };
  for (const Case& c : cases) {
    std::vector<std::string> overrides = c.others;
    EXPECT_EQ(warnings_of(kSmallest, overrides), std::vector<std::string>{}) << c.key;
    overrides.push_back(c.key + "=" + c.value);
    const std::vector<std::string> warnings = warnings_of(kSmallest, overrides);
    ASSERT_EQ(warnings.size(), 1U) << c.key;
    EXPECT_TRUE(warnings[0].starts_with(fmt::format("--set {0}={1}: {0} has no effect", c.key, c.value))) << warnings[0];
    EXPECT_NE(warnings[0].find("because " + c.because), std::string::npos) << warnings[0];
  }
  EXPECT_EQ(warnings_of(kSmallest, {judges}).size(), 1U) << "a weight, and votes are counted by heads";
  EXPECT_TRUE(warnings_of(kSmallest, {judges, "labels.vote=weights"}).empty());
}

TEST(RunConfig, BlanksAroundTheEqualsSignOfAnOverrideDoNotCount) {
  EXPECT_EQ(parse(kSmallest, {"base.lr = 0.5"}).base.lr, 0.5);
  EXPECT_EQ(parse(kSmallest, {" name = mine "}).name, "mine");
  EXPECT_NE(problems_with_codes(kSmallest, {" = 1"}).find("not-key-equals-value"), std::string::npos);
}

TEST(RunConfig, NothingIsSaidOfWhatCountsOrHasItsDefault) {
  EXPECT_TRUE(warnings_of(kSmallest, {"aggregator.kind=paper_mlp", "aggregator.lr=0.5", "aggregator.patience=3"}).empty());
  EXPECT_TRUE(warnings_of(kSmallest, {"aggregator.mlp_lr=0.5", "aggregator.gate_lr=0.5", "aggregator.steps_max=3"}).empty());
  EXPECT_TRUE(warnings_of(kSmallest, {"base.tuning=lora", "base.lora_rank=4", "experts.train.lora_rank=4"}).empty());
  EXPECT_TRUE(warnings_of(kSmallest, {"experts.train.lora_layers=2", "compute.trunk_cache_mb=10"}).empty());
  EXPECT_TRUE(warnings_of(kSmallest, {"experts.train.soft_gaps=0.5", "base.soft_gaps=0.5"}).empty());
  EXPECT_TRUE(warnings_of(kSmallest, {"watch.port=0", "watch.token_env=TOKEN"}).empty());
  EXPECT_TRUE(warnings_of(to_yaml(parse(kSmallest, {"aggregator.kind=stack"}))).empty()) << "written, with the default value";
}

TEST(RunConfig, OldKeysOfAFileAreWarnedOfWithTheirLines) {
  const std::string old =
      "backbone: {dir: model}\n"
      "data:\n"
      "  inputs:\n"
      "    - {path: a.jsonl, form: native}\n"
      "categories:\n"
      "  - name: chat\n"
      "    points: [tone, logic]\n"
      "    clear_margin: 0.5\n"
      "base:\n"
      "  trains: \"all\"\n";
  EXPECT_EQ(warnings_of(old),
            (std::vector<std::string>{
                "c.yaml:4:23: data.inputs.0.form is now called data.inputs.0.format",
                "c.yaml:8:5: categories.0.clear_margin is now called categories.0.score_gap_min",
                "c.yaml:10:3: base.trains is now called base.tuning, and its value \"all\" is now called \"full\"",
            }));
  const RunConfig c = parse(old);
  EXPECT_EQ(c.data.inputs.at(0).format, "native");
  EXPECT_EQ(c.categories.at(0).score_gap_min.of("overall"), 0.5);
  EXPECT_EQ(c.base.tuning, Tuning::full);
  EXPECT_TRUE(warnings_of(kSmallest).empty());
}

TEST(RunConfig, ARetiredKindOfAggregatorGetsItsSuccessorWithAWarning) {
  const std::string old = kSmallest + "aggregator: {kind: linear}\n";
  EXPECT_EQ(parse(old).aggregator.kind, AggregatorKind::stack);
  EXPECT_EQ(warnings_of(old),
            std::vector<std::string>{"c.yaml:7:14: aggregator.kind: linear is retired, stack is taken in its place"});
  EXPECT_EQ(parse(kSmallest, {"aggregator.kind=linear"}).aggregator.kind, AggregatorKind::stack);
  EXPECT_EQ(warnings_of(kSmallest, {"aggregator.kind=linear"}).size(), 1U);
  EXPECT_TRUE(warnings_of(kSmallest, {"aggregator.kind=stack"}).empty());
}

TEST(RunConfig, TiesAreWordsThatWereTrueOrFalse) {
  const RunConfig plain = parse(kSmallest);
  EXPECT_EQ(plain.base.ties, Ties::none);
  EXPECT_EQ(plain.experts.train.ties, Ties::judged);
  for (const char* word : {"none", "judged", "all"}) {
    const std::vector<std::string> overrides = {fmt::format("base.ties={}", word), fmt::format("experts.train.ties={}", word)};
    const RunConfig c = parse(kSmallest, overrides);
    EXPECT_EQ(c.base.ties, from_word<Ties>(word));
    EXPECT_EQ(c.experts.train.ties, from_word<Ties>(word));
    EXPECT_TRUE(warnings_of(kSmallest, overrides).empty());
  }
  const std::string old = kSmallest + "base: {ties: true}\nexperts: {train: {ties: false}}\n";
  EXPECT_EQ(parse(old).base.ties, Ties::all);
  EXPECT_EQ(parse(old).experts.train.ties, Ties::none);
  EXPECT_EQ(warnings_of(old), (std::vector<std::string>{
                                  "c.yaml:7:8: base.ties: true is retired, all is taken in its place",
                                  "c.yaml:8:19: experts.train.ties: false is retired, none is taken in its place",
                              }));
  EXPECT_EQ(parse(kSmallest, {"base.ties=false"}).base.ties, Ties::none);
  EXPECT_EQ(parse(kSmallest, {"experts.train={ties: true}"}).experts.train.ties, Ties::all);
  EXPECT_EQ(problems(kSmallest + "base: {ties: judge}\nexperts: {train: {ties: yes}}\n"),
            "c.yaml:7:14: base.ties: \"judge\" is not one of none, judged, all; did you mean judged?\n"
            "c.yaml:8:25: experts.train.ties: \"yes\" is not one of none, judged, all");
}

TEST(RunConfig, TheMethodOfThePaperGivesOtherDefaults) {
  const RunConfig paper = parse(kSmallest, {"method=paper"});
  EXPECT_EQ(paper.aggregator.kind, AggregatorKind::paper_mlp);
  EXPECT_FALSE(paper.aggregator.base_reward);
  EXPECT_EQ(paper.experts.train.ties, Ties::none);
  EXPECT_EQ(parse(kSmallest, {"method=paper", "experts.train.ties=all"}).experts.train.ties, Ties::all);
  EXPECT_EQ(parse(kSmallest, {"method=paper", "aggregator.kind=best"}).aggregator.kind, AggregatorKind::best)
      << "a given key holds";
  EXPECT_EQ(parse(to_yaml(paper)).aggregator.kind, AggregatorKind::paper_mlp);
  EXPECT_EQ(parse(kSmallest).aggregator.kind, AggregatorKind::best);
}

TEST(RunConfig, OverridesOfEitherNameReplaceAnOldKey) {
  const std::string old = kSmallest + "base: {trains: lora}\n";
  EXPECT_EQ(parse(old, {"base.tuning=full"}).base.tuning, Tuning::full);
  EXPECT_EQ(parse(old, {"base.trains=all"}).base.tuning, Tuning::full);
  EXPECT_EQ(parse(kSmallest + "base: {tuning: lora}\n", {"base.trains=all"}).base.tuning, Tuning::full);
  EXPECT_EQ(parse(kSmallest, {"base={trains: lora, lora_rank: 2}"}).base.tuning, Tuning::lora);
}

TEST(RunConfig, AnOldKeyBesideItsNewOneIsRefused) {
  EXPECT_EQ(problems_with_codes(kSmallest + "base: {trains: all, tuning: lora, recompute: 7}\n"),
            "c.yaml:7:8: base.trains is now called base.tuning, which is given too: remove trains [renamed-key]\n"
            "c.yaml:7:46: base.gradient_checkpointing: expected true or false, found \"7\" [invalid-value]");
}

TEST(RunConfig, SettingsThatAffectAStageAreThoseOfTheTable) {
  RunConfig c = parse(kSmallest);
  c.labels.judges.resize(1);
  c.labels.judges[0].endpoints.resize(1);
  for (const Affects stage : {Affects::groups, Affects::tokens, Affects::labels, Affects::result}) {
    const nlohmann::json settings = settings_that_affect(c, stage);
    for (const auto& [key, meaning, affects, section] : table()) {
      if (section) continue;
      std::string pointer = "/" + key;
      std::replace(pointer.begin(), pointer.end(), '.', '/');
      for (const std::string list : {"/inputs/", "/categories/", "/judges/", "/endpoints/"}) {
        if (const std::size_t at = pointer.find(list); at != std::string::npos) pointer.insert(at + list.size(), "0/");
      }
      EXPECT_EQ(settings.contains(nlohmann::json::json_pointer(pointer)), share_a_stage(affects, stage) && !by_content(affects))
          << key << " and " << describe_affects(stage);
    }
  }
  EXPECT_EQ(settings_that_affect(c.cluster, Affects::result).dump(), R"({"gradient_dtype":"float32"})");
  EXPECT_EQ(settings_that_affect(c, Affects::labels).at("labels").at("splits").dump(), R"(["train","validation"])");
  EXPECT_TRUE(settings_that_affect(c.cluster, Affects::labels).empty());
}

/// Every value of a type of words has one word, and no two have the same.
template <class E>
void expect_one_word_each() {
  std::set<std::string> all;
  for (const auto& [value, text] : word_table(E{})) {
    EXPECT_EQ(word(value), text);
    EXPECT_TRUE(from_word<E>(text) == value) << text;
    EXPECT_TRUE(all.insert(std::string(text)).second) << text;
  }
  EXPECT_FALSE(from_word<E>("something else"));
}

TEST(RunConfig, AWordStandsForOneValue) {
  expect_one_word_each<LogLevel>();
  expect_one_word_each<Device>();
  expect_one_word_each<Dtype>();
  expect_one_word_each<InputSplit>();
  expect_one_word_each<Split>();
  expect_one_word_each<Tuning>();
  expect_one_word_each<Schedule>();
  expect_one_word_each<JudgeApi>();
  expect_one_word_each<AnswerMode>();
  expect_one_word_each<PairChoice>();
  expect_one_word_each<TooLong>();
  expect_one_word_each<Vote>();
  expect_one_word_each<Pooling>();
  expect_one_word_each<AggregatorKind>();
  expect_one_word_each<Starter>();
  expect_one_word_each<ScreenMode>();
}

}  // namespace
}  // namespace dmoerm::config
