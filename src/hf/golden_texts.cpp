#include "hf/golden_texts.h"

#include <nlohmann/json.hpp>

namespace dmoerm::hf {

using nlohmann::json;

std::vector<moe::GoldenText> golden_texts(const json& manifest) {
  std::vector<moe::GoldenText> texts;
  for (const json& item : manifest.at("golden")) {
    if (item.at("category") != "") continue;
    auto& [prompt, responses] = texts.emplace_back();
    for (const json& m : item.at("prompt")) prompt.push_back({m.at("role"), m.at("content")});
    responses = item.at("responses").get<std::vector<std::string>>();
  }
  return texts;
}

}  // namespace dmoerm::hf
