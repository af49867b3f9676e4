// dmoerm inspect tokens: the ids of each line of standard input, for comparison with other tokenizers.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/verbs.h"
#include "tokenizer/tokenizer.h"

namespace dmoerm::cli {
namespace {

struct Options {
  std::string model;
  bool special = false, add_special = false;
};

void run(const Options& options) {
  std::filesystem::path path = options.model;
  if (std::filesystem::is_directory(path)) path /= "tokenizer.json";
  const auto tokenizer = tokenizer::Tokenizer::load(path);
  std::ios::sync_with_stdio(false);
  std::string line;
  while (std::getline(std::cin, line)) {
    if (line.starts_with('"')) {
      const auto text = nlohmann::json::parse(line, nullptr, false);
      if (text.is_string()) line = text.get<std::string>();
    }
    const auto ids = options.add_special ? tokenizer.encode_with_post_processor(line, options.special)
                                         : tokenizer.encode(line, options.special);
    fmt::print("[{}]\n", fmt::join(ids, ","));
  }
}

}  // namespace

void add_inspect_tokens(CLI::App& inspect) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = inspect.add_subcommand(
      "tokens", "Token ids of each line of standard input (plain text, or a JSON string in quotes), as JSON lists");
  verb->add_option("--model", options->model, "directory with tokenizer.json, or the file itself")->required();
  verb->add_flag("--special", options->special,
                 "special tokens written in the text become tokens; without, they are text like any other");
  verb->add_flag("--add-special", options->add_special,
                 "put the tokenizer's own special tokens around each text, such as [CLS] and [SEP]");
  verb->footer("Example: echo 'How are you?' | dmoerm inspect tokens --model smollm2-135m");
  verb->callback([options] { run(*options); });
}

}  // namespace dmoerm::cli
