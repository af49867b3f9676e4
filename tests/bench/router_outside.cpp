// Fits category routers and sends prompts through them. Input: JSON lines {"text", "part": "train" | "validation" | "test",
// "category": name, or "" for a prompt of no category, "tag"}. Output: one JSON line with a list "curve": for each share kept the
// share of test prompts that go to a category, by tag, and how many of those of a category go to their own. "choice" is the same
// without the test prompts: each category in turn plays the prompts of no category, and the validation prompts of the others
// those of a category.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/stack.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "moe/category_router.h"
#include "moe/token_texts.h"
#include "nn/safetensors.h"
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

/// The pooled states of all rows: what the file holds, or what `compute` gives, which the file then holds. @param path  may be ""
template <class Compute>
at::Tensor states_of(const std::filesystem::path& path, const std::vector<Row>& rows, const Compute& compute) {
  if (!path.empty() && std::filesystem::exists(path)) {
    const at::Tensor kept_ND = nn::SafetensorsReader::open(path).load("states");
    if (kept_ND.size(0) == static_cast<std::int64_t>(rows.size())) return kept_ND;
  }
  const at::Tensor states_ND = compute();
  if (!path.empty()) nn::save_safetensors(path, {{"states", states_ND}});
  return states_ND;
}

/// Some of the rows with their states.
struct Part {
  std::vector<const Row*> rows;
  std::vector<at::Tensor> states_D;

  Part() = default;
  Part(const at::Tensor& states_ND, const std::vector<Row>& all, std::string_view part) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].part == part) rows.push_back(&all[i]), states_D.push_back(states_ND[static_cast<std::int64_t>(i)]);
    }
  }
  [[nodiscard]] Part only(const std::vector<std::string>& categories) const {
    Part kept;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (std::ranges::find(categories, rows[i]->category) == categories.end()) continue;
      kept.rows.push_back(rows[i]), kept.states_D.push_back(states_D[i]);
    }
    return kept;
  }
  [[nodiscard]] moe::RoutedPrompts routed(const std::vector<std::string>& categories) const {
    moe::RoutedPrompts prompts{states_D.empty() ? at::Tensor() : at::stack(states_D), {}, {}};
    for (const Row* row : rows)
      prompts.labels.push_back(static_cast<std::int32_t>(std::ranges::find(categories, row->category) - categories.begin()));
    return prompts;
  }
};

nlohmann::json figures(const moe::CategoryRouter& router, const Part& part, double keep_share) {
  std::map<std::string, std::vector<double>> kept;  // by tag
  double right = 0, inside = 0, confidence = 0, kept_all = 0;
  for (std::size_t i = 0; i < part.rows.size(); ++i) {
    const moe::Route route = router.route(part.states_D[i]);
    const double stays = route.category >= 0 ? 1 : 0;
    kept[part.rows[i]->tag].push_back(stays);
    kept_all += stays / static_cast<double>(part.rows.size());
    if (part.rows[i]->category.empty()) continue;
    ++inside;
    confidence += route.confidence;
    right += router.categories()[static_cast<std::size_t>(route.likeliest)] == part.rows[i]->category ? 1 : 0;
  }
  nlohmann::json result = {{"keep_share", keep_share},
                           {"kept_all", kept_all},
                           {"right", right / inside},
                           {"confidence", confidence / inside},
                           {"temperature", router.temperature()}};
  for (const auto& [tag, all] : kept) {
    double sum = 0;
    for (const double k : all) sum += k;
    result["kept"][tag] = {{"share", sum / static_cast<double>(all.size())}, {"prompts", all.size()}};
  }
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Fits a category router and sends prompts through it.");
  std::string model, data, states;
  std::vector<double> keep_shares = {0.95};
  bool choose = false;
  int threads = 2;
  std::string kind = "trained";
  config::RouterConfig config;
  std::int64_t tokens_max = 512;
  app.add_option("--model", model, "directory of the backbone")->required();
  app.add_option("--data", data, "JSON lines")->required();
  app.add_option("--threads", threads, "threads");
  app.add_option("--states", states, "file of the states: read if it has as many rows, else written");
  app.add_option("--keep-shares", keep_shares, "values of router.keep_share")->delimiter(',');
  app.add_flag("--choose", choose, "leave one category out in turn");
  app.add_option("--depth", config.depth, "router.depth");
  app.add_option("--kind", kind, "router.kind")->check(CLI::IsMember({"trained", "clusters"}));
  app.add_option("--clusters", config.clusters, "router.clusters");
  app.add_option("--tokens-max", tokens_max, "longest prompt; longer ones are cut at their start");
  CLI11_PARSE(app, argc, argv);
  at::set_num_threads(threads);
  config.kind = *config::from_word<config::RouterKind>(kind);

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
  const at::Tensor states_ND = states_of(states, rows, [&] {
    std::vector<std::vector<std::int32_t>> prompts;
    for (const Row& row : rows) {
      const std::vector<preference::Message> prompt = {{"user", row.text}};
      prompts.push_back(moe::routed_prompt(chat_template.render_prompt(prompt), limits));
    }
    return moe::pool_prompts(*backbone, prompts, reading, limits.batch_tokens);
  });
  nlohmann::json result = {{"curve", nlohmann::json::array()}, {"choice", nlohmann::json::array()}};
  for (const double share : keep_shares) {
    config.keep_share = share;
    const auto fit = [&](const Part& train, const Part& validation, const std::vector<std::string>& known) {
      return moe::CategoryRouter::fit(known, train.routed(known), validation.routed(known), config, reading);
    };
    const Part train(states_ND, rows, "train"), validation(states_ND, rows, "validation"), test(states_ND, rows, "test");
    result["curve"].push_back(figures(fit(train, validation, categories), test, share));
    if (!choose) continue;
    for (const std::string& outside : categories) {
      std::vector<std::string> others = categories;
      std::erase(others, outside);
      const auto router = fit(train.only(others), {}, others);
      Part shown = validation.only(others), away = train.only({outside});
      const double kept = figures(router, shown, share)["kept_all"],
                   sent = 1 - figures(router, away, share)["kept_all"].get<double>();
      result["choice"].push_back({{"keep_share", share}, {"outside", outside}, {"kept", kept}, {"sent_away", sent}});
    }
  }
  fmt::print("{}\n", result.dump());
}
