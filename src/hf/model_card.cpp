#include "hf/model_card.h"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/text_table.h"
#include "nn/value_head.h"

namespace dmoerm::hf {
namespace {

/// The card's lines for a hub, between dashes.
std::string metadata(const char* library, const CardFacts& facts) {
  std::string yaml = "---\n";
  if (!facts.license.empty()) yaml += fmt::format("license: {}\n", nlohmann::json(facts.license).dump());
  if (!facts.base_model.empty()) yaml += fmt::format("base_model: {}\n", nlohmann::json(facts.base_model).dump());
  return yaml +
         fmt::format("library_name: {}\npipeline_tag: text-classification\ntags:\n- reward-model\n- dmoerm\n---\n\n", library);
}

std::string number(double value) { return fmt::format("{:.9g}", value); }

std::string what_of(const Part& part) {
  if (part.category == nullptr) return "the single model for all categories";
  return part.name == part.category->name ? "overall model of the category" : "expert of a capability point";
}

std::string table_of(const std::vector<Part>& parts, const std::vector<std::string>& places) {
  std::vector<std::vector<std::string>> rows = {{"model", "folder", "what it is", "mean", "deviation"}};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const bool standard = parts[i].category != nullptr;
    rows.push_back({parts[i].name, "`" + places[i] + "`", what_of(parts[i]), standard ? number(parts[i].mean) : "-",
                    standard ? number(parts[i].std) : "-"});
  }
  return markdown_table(rows);
}

/// How the experts' rewards make the reward of the whole, where that is a weighted sum.
std::string sums_of(const moe::Bundle& bundle, const std::vector<Part>& parts) {
  std::string text;
  for (const moe::Category& c : bundle.model.categories) {
    if (std::ranges::find(parts, &c, &Part::category) == parts.end()) continue;
    const std::string& kind = c.aggregator.kind();
    if (kind != "mean" && kind != "stack") continue;
    std::string terms;
    for (std::int64_t k = 0; k < c.aggregator.weight_K.numel(); ++k) {
      const bool point = k < static_cast<std::int64_t>(c.points.size());
      const auto weight = c.aggregator.weight_K[k].item<double>();
      const char* sign = weight < 0 ? (terms.empty() ? "-" : " - ") : (terms.empty() ? "" : " + ");
      terms +=
          fmt::format("{}{} z({})", sign, number(std::abs(weight)), point ? c.points[static_cast<std::size_t>(k)] : "overall");
    }
    text += fmt::format("- {}: {}\n", c.name, terms);
  }
  return text;
}

std::string peft_code(const moe::Bundle& bundle, const Part& part, const std::string& place) {
  const bool adapted = part.model.adapter() != nullptr;
  const bool shared = &part.model.backbone() == bundle.model.backbone.get();
  const std::string base = !adapted ? place : shared ? "base" : "base/" + part.category->name;
  return fmt::format(
      "model = AutoModelForSequenceClassification.from_pretrained(f\"{{folder}}/{}\")\n{}tokenizer = "
      "AutoTokenizer.from_pretrained(f\"{{folder}}/{}\")\n",
      base, adapted ? fmt::format("model = PeftModel.from_pretrained(model, f\"{{folder}}/{}\")\n", place) : "", base);
}

std::string code_of(const moe::Bundle& bundle, Layout layout, const Part& part, const std::string& place) {
  const bool peft = layout == Layout::peft;
  const std::string load =
      peft ? peft_code(bundle, part, place)
           : fmt::format(
                 "folder = \"{}\"\nmodel = AutoModelForSequenceClassification.from_pretrained(folder)\ntokenizer = "
                 "AutoTokenizer.from_pretrained(folder)\n",
                 place);
  return fmt::format(
      "```python\n{}import torch\nfrom transformers import AutoModelForSequenceClassification, AutoTokenizer\n\n"
      "{}{}model.eval()\n"
      "conversation = [{{\"role\": \"user\", \"content\": \"Where is my order?\"}},\n"
      "                {{\"role\": \"assistant\", \"content\": \"On its way.\"}}]\n"
      "text = tokenizer.apply_chat_template(conversation, tokenize=False)\n"
      "inputs = tokenizer([text], add_special_tokens=False, padding=True, return_tensors=\"pt\")\n"
      "with torch.no_grad():\n    reward = model(**inputs).logits[:, 0]\n```\n",
      peft && part.model.adapter() != nullptr ? "from peft import PeftModel\n" : "",
      peft ? "folder = \".\"  # of this card\n" : "", load);
}

std::string vllm_code(const std::string& place) {
  return fmt::format(
      "```sh\nvllm serve {} --runner pooling --convert classify --dtype float32\n```\n\n"
      "`POST /classify` with messages or rendered texts then answers the raw reward in `data[].probs`: `problem_type: "
      "regression` "
      "in config.json keeps vLLM from squashing it. Keep `--dtype float32`, because vLLM would otherwise turn the weights into "
      "half precision and change the rewards.\n",
      place == "." ? "DIR" : "DIR/" + place);
}

constexpr const char* kAutoClasses =
    "PEFT and `transformers` look for an adapter's base, which adapter_config.json names by its folder here, from the working "
    "directory and not from the adapter. `AutoPeftModelForSequenceClassification` and `pipeline` therefore find it only in a "
    "process "
    "that runs in {}; elsewhere load the base and the adapter as {}, or export with `--format merged`. `pipeline` also "
    "needs `function_to_apply=\"none\"` and `add_special_tokens=False` to give the reward.\n";

}  // namespace

std::string model_card(const moe::Bundle& bundle, Layout layout, const std::vector<Part>& parts,
                       const std::vector<std::string>& places, const CardFacts& facts) {
  const moe::ScoringLimits& limits = bundle.model.limits;
  const bool encoder = parts.front().model.backbone().spec().encoder();
  std::string card = metadata(layout == Layout::peft ? "peft" : "transformers", facts);
  card += fmt::format(
      "# Reward models out of a dmoerm bundle\n\n"
      "Each of these models gives one number to a conversation: larger is better, and only differences within a prompt mean "
      "something. They are the single models inside a double-layer mixture of experts. The mixture itself (router, experts, "
      "aggregator) is not a classifier: `dmoerm score`, `dmoerm serve` and the Python package `dmoerm_hf` run it.\n\n{}\n",
      table_of(parts, places));
  card += "## Load\n\n" + code_of(bundle, layout, parts.front(), places.front()) + "\n";
  if (layout == Layout::peft && std::ranges::any_of(parts, [](const Part& p) { return p.model.adapter() != nullptr; }))
    card += fmt::format(kAutoClasses, "the folder of this card", "above") + "\n";
  if (layout == Layout::vllm) card += vllm_code(places.front()) + "\n";
  card += fmt::format(
      "## What it read in training\n\n"
      "- The chat template `{}`, which the tokenizer has as its own; it writes all special tokens, so add none. "
      "Special tokens that a user writes become tokens in `transformers`, {}.\n"
      "- At most {} tokens. A longer text lost the start of its prompt, down to {} tokens, and then the end of its response, but "
      "neither its first {} nor its last.\n"
      "- {}\n",
      bundle.chat_template->name(), bundle.chat_template->special_in_text() ? "as in dmoerm" : "while dmoerm reads their letters",
      limits.layout.max_length, limits.layout.min_prompt_tokens, limits.layout.head_tokens,
      encoder
          ? "The head reads the first token. The pooler divides the state by 4096, where its tanh changes nothing that float32 "
            "keeps, and the head has the factor: compute in float32."
          : "The head reads the last token that is not padding. The padding token ends no text.");
  const std::string sums = sums_of(bundle, parts);
  card +=
      "\n## From a model's reward to the mixture's\n\nThe mixture reads z = (reward - mean) / deviation, with the figures above.";
  card += sums.empty() ? " It combines them in a way that is not a sum.\n"
                       : " In these categories the score is a weighted sum:\n\n" + sums;
  if (bundle.model.router.mixes())
    card +=
        "\nWhere two categories are nearly as likely, the mixture's score is a mean of both their scores, in proportion to their "
        "probabilities and at the mean and deviation of the likelier one's.\n";
  return card;
}

std::string adapter_card(const Part& part, const std::string& base, const CardFacts& facts) {
  const std::string standard =
      part.category == nullptr ? "" : fmt::format(" The mixture reads (reward - {}) / {}.", number(part.mean), number(part.std));
  return metadata("peft", facts) +
         fmt::format(
             "# {}\n\nA LoRA adapter with its value head: {}. Its base is `{}` in the folder of this "
             "export, whose README.md says "
             "how both are loaded.{}\n\n",
             part.name, what_of(part), base, standard) +
         fmt::format(kAutoClasses, "the folder of this export", "that README.md says");
}

}  // namespace dmoerm::hf
