// Fits a category router and sends prompts through it. Input: JSON lines {"text", "part": "train" | "validation" | "test",
// "category": name, or "" for a prompt of no category, "tag"}. Output: one JSON line with the share of test prompts that go to a
// category, by tag, and how many of those of a category go to their own.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "moe/category_router.h"
#include "moe/token_texts.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace {

using namespace dmoerm;

struct Row {
  std::string text, part, category, tag;
};

std::vector<Row> read_rows(const std::string& path) {
  std::ifstream file(path);
  std::vector<Row> rows;
  for (std::string line; std::getline(file, line);) {
    const auto row = nlohmann::json::parse(line);
    rows.push_back({row.at("text"), row.at("part"), row.at("category"), row.at("tag")});
  }
  return rows;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Fits a category router and sends prompts through it.");
  std::string model, data;
  int threads = 2;
  config::RouterConfig config;
  std::int64_t tokens_max = 512;
  app.add_option("--model", model, "directory of the backbone")->required();
  app.add_option("--data", data, "JSON lines")->required();
  app.add_option("--threads", threads, "threads");
  app.add_option("--keep-share", config.keep_share, "router.keep_share");
  app.add_option("--depth", config.depth, "router.depth");
  app.add_option("--tokens-max", tokens_max, "longest prompt; longer ones are cut at their start");
  CLI11_PARSE(app, argc, argv);
  at::set_num_threads(threads);

  const auto backbone = nn::Backbone::load(model, at::kCPU);
  const auto tokenizer = tokenizer::Tokenizer::load(std::filesystem::path(model) / "tokenizer.json");
  const tokenizer::ChatTemplate chat_template("dmoerm", tokenizer, false);
  const moe::ScoringLimits limits{{tokens_max, 8, chat_template.head_tokens()}, 2048};
  const moe::PromptReading reading = moe::reading_of(config, backbone->spec());
  const std::vector<Row> rows = read_rows(data);
  std::vector<std::string> categories;
  for (const Row& row : rows) {
    if (!row.category.empty() && std::ranges::find(categories, row.category) == categories.end())
      categories.push_back(row.category);
  }
  const auto rows_of = [&](std::string_view part) {
    std::vector<const Row*> own;
    std::ranges::for_each(rows, [&](const Row& row) {
      if (row.part == part) own.push_back(&row);
    });
    return own;
  };
  const auto states_of = [&](const std::vector<const Row*>& own) {
    std::vector<std::vector<std::int32_t>> prompts;
    for (const Row* row : own) {
      const std::vector<preference::Message> prompt = {{"user", row->text}};
      prompts.push_back(moe::routed_prompt(chat_template.render_prompt(prompt), limits));
    }
    return moe::pool_prompts(*backbone, prompts, reading, limits.batch_tokens);
  };
  const auto prompts_of = [&](const std::vector<const Row*>& own) {
    moe::RoutedPrompts prompts{states_of(own), {}, {}};
    for (const Row* row : own)
      prompts.labels.push_back(static_cast<std::int32_t>(std::ranges::find(categories, row->category) - categories.begin()));
    return prompts;
  };
  const auto train = prompts_of(rows_of("train")), validation = prompts_of(rows_of("validation"));
  const auto router = moe::CategoryRouter::fit(categories, train, validation, config, reading);

  const std::vector<const Row*> test = rows_of("test");
  const at::Tensor states_ND = states_of(test);
  std::map<std::string, std::vector<double>> kept;  // by tag
  double right = 0, inside = 0, confidence = 0;
  for (std::size_t i = 0; i < test.size(); ++i) {
    const moe::Route route = router.route(states_ND[static_cast<std::int64_t>(i)]);
    kept[test[i]->tag].push_back(route.category >= 0 ? 1 : 0);
    if (test[i]->category.empty()) continue;
    ++inside;
    confidence += route.confidence;
    right += categories[static_cast<std::size_t>(route.likeliest)] == test[i]->category ? 1 : 0;
  }
  nlohmann::json result = {{"right", right / inside}, {"confidence", confidence / inside}, {"temperature", router.temperature()}};
  for (const auto& [tag, all] : kept) {
    double sum = 0;
    for (const double k : all) sum += k;
    result["kept"][tag] = {{"share", sum / static_cast<double>(all.size())}, {"prompts", all.size()}};
  }
  fmt::print("{}\n", result.dump());
}
