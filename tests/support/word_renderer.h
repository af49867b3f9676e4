// A substitute for tokenizer and template, for tests of later steps: every word is one token, numbered by its hash.
#pragma once
#include <sstream>
#include <string>

#include "base/hash.h"
#include "data/ingest.h"

namespace dmoerm::test {

inline std::vector<std::int32_t> word_ids(const std::string& text, std::int64_t vocab) {
  std::vector<std::int32_t> ids;
  std::istringstream words(text);
  for (std::string word; words >> word;)
    ids.push_back(static_cast<std::int32_t>(2 + stable_hash(word) % static_cast<std::uint64_t>(vocab - 2)));
  return ids;
}

/// The words of the prompt, a 0, the words of the response, and a 1 at the end.
inline data::Renderer word_renderer(std::int64_t vocab) {
  data::Renderer renderer;
  renderer.render_prompt = [vocab](std::span<const preference::Message> prompt) {
    std::string text;
    for (const preference::Message& m : prompt) text += m.content + " ";
    std::vector<std::int32_t> ids = word_ids(text, vocab);
    ids.push_back(0);
    return ids;
  };
  renderer.render = [vocab, prompt_ids = renderer.render_prompt](std::span<const preference::Message> prompt,
                                                                 std::string_view response) {
    std::vector<std::int32_t> ids = prompt_ids(prompt);
    for (const std::int32_t id : word_ids(std::string(response), vocab)) ids.push_back(id);
    ids.push_back(1);
    return ids;
  };
  return renderer;
}

/// One token per prompt and one per response, numbered by their hashes, for tests that count groups and pairs but not tokens.
inline data::Renderer tiny_renderer() {
  const auto id_of = [](const std::string& text) { return static_cast<std::int32_t>(stable_hash(text) >> 34); };
  data::Renderer renderer;
  renderer.render_prompt = [id_of](std::span<const preference::Message> prompt) {
    std::string text;
    for (const preference::Message& m : prompt) text += m.content + "\n";
    return std::vector<std::int32_t>{id_of(text)};
  };
  renderer.render = [id_of, prompt_ids = renderer.render_prompt](std::span<const preference::Message> prompt,
                                                                 std::string_view response) {
    return std::vector<std::int32_t>{prompt_ids(prompt).front(), id_of(std::string(response))};
  };
  return renderer;
}

}  // namespace dmoerm::test
