// dmoerm inspect tokens: prints the ids of each line of standard input, to compare them with other tokenizers and templates.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/json_problem.h"
#include "cli/verbs.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace dmoerm::cli {
namespace {

using nlohmann::json;

struct Options {
  std::string model, chat_template;
  bool special = false, add_special = false, text = false;
};

void print(const std::vector<std::int32_t>& ids) { fmt::print("[{}]\n", fmt::join(ids, ",")); }

void inspect_text(const Options& options, const tokenizer::Tokenizer& tokenizer, std::string line) {
  if (line.starts_with('"')) {
    const auto text = json::parse(line, nullptr, false);
    if (text.is_string()) line = text.get<std::string>();
  }
  print(options.add_special ? tokenizer.encode_with_post_processor(line, options.special)
                            : tokenizer.encode(line, options.special));
}

void inspect_conversation(const Options& options, const tokenizer::ChatTemplate& chat, const std::string& line,
                          std::int64_t number) {
  std::vector<preference::Message> prompt;
  std::optional<std::string> response;
  try {
    const json conversation = json::parse(line);
    for (const json& message : conversation.at("prompt")) prompt.push_back({message.at("role"), message.at("content")});
    if (conversation.contains("response")) response = conversation.at("response").get<std::string>();
  } catch (const json::exception& e) {
    throw DataError(
        "not-a-conversation",
        fmt::format("standard input:{}: expected {{\"prompt\": [{{\"role\", \"content\"}}], \"response\"}} in one line: {}",
                    number, json_complaint(line, e)));
  }
  if (options.text)
    fmt::print("{}\n", json(chat.render_text(prompt, response)).dump());
  else
    print(response ? chat.render(prompt, *response) : chat.render_prompt(prompt));
}

void run(const Options& options) {
  std::filesystem::path path = options.model;
  if (std::filesystem::is_directory(path)) path /= "tokenizer.json";
  const auto tokenizer = tokenizer::Tokenizer::load(path);
  std::optional<tokenizer::ChatTemplate> chat;
  if (!options.chat_template.empty()) chat.emplace(options.chat_template, tokenizer, options.special);
  std::ios::sync_with_stdio(false);
  std::string line;
  for (std::int64_t number = 1; std::getline(std::cin, line); ++number) {
    if (chat)
      inspect_conversation(options, *chat, line, number);
    else
      inspect_text(options, tokenizer, line);
  }
}

}  // namespace

void add_inspect_tokens(CLI::App& inspect) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = inspect.add_subcommand(
      "tokens", "Print the token ids of each line of standard input (plain text, or a JSON string in quotes) as JSON lists");
  verb->add_option("--model", options->model, "Directory with tokenizer.json, or the file itself")->type_name(kFile)->required();
  verb->add_flag("--special", options->special,
                 "Read special tokens that are spelled out in the text as tokens; without it they are plain text");
  CLI::Option* add_special = verb->add_flag("--add-special", options->add_special,
                                            "Put the tokenizer's own special tokens around each text, such as [CLS] and [SEP]");
  CLI::Option* chat =
      verb->add_option("--template", options->chat_template,
                       "Read one conversation per line, {\"prompt\": [{\"role\": ..., \"content\": ...}], \"response\": ...}, "
                       "and lay it out with this template (a name or a *.json file)");
  chat->excludes(add_special);
  verb->add_flag("--text", options->text, "Print the text that the template makes, as JSON, instead of its ids")->needs(chat);
  verb->footer("Example: echo 'How are you?' | launch/dmoerm inspect tokens --model smollm2-135m");
  verb->callback([options] { run(*options); });
}

}  // namespace dmoerm::cli
