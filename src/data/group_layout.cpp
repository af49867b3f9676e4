#include "data/group_layout.h"

#include <algorithm>

#include "base/error.h"

namespace dmoerm::data {
namespace {

std::size_t common_prefix(const std::vector<std::vector<std::int32_t>>& texts) {
  std::size_t length = texts.front().size();
  for (const auto& text : texts) {
    const auto [a, b] = std::mismatch(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(std::min(length, text.size())),
                                      texts.front().begin());
    length = static_cast<std::size_t>(a - text.begin());
  }
  return length;
}

}  // namespace

GroupLayout lay_out_group(std::vector<std::vector<std::int32_t>> texts, std::int64_t prompt_tokens, const LayoutLimits& limits) {
  GroupLayout layout;
  std::int64_t longest = 0, shortest = INT64_MAX;
  for (const auto& text : texts) {
    DMOERM_CHECK(!text.empty(), "a text has tokens");
    longest = std::max(longest, static_cast<std::int64_t>(text.size()));
    shortest = std::min(shortest, static_cast<std::int64_t>(text.size()));
  }
  if (longest > limits.max_length) {
    const std::int64_t prompt = std::min(
        {prompt_tokens, shortest - 1, texts.size() > 1 ? static_cast<std::int64_t>(common_prefix(texts)) : prompt_tokens});
    const std::int64_t spare = std::max<std::int64_t>(0, prompt - limits.head_tokens - limits.min_prompt_tokens);
    layout.prompt_cut = std::min(longest - limits.max_length, spare);
    for (auto& text : texts) {
      const auto begin = text.begin() + limits.head_tokens;
      text.erase(begin, begin + layout.prompt_cut);
      if (static_cast<std::int64_t>(text.size()) > limits.max_length) {
        text[static_cast<std::size_t>(limits.max_length) - 1] = text.back();
        text.resize(static_cast<std::size_t>(limits.max_length));
        ++layout.responses_cut;
      }
    }
  }
  std::size_t shared = common_prefix(texts);
  for (const auto& text : texts) shared = std::min(shared, text.size() - 1);
  layout.prefix.assign(texts.front().begin(), texts.front().begin() + static_cast<std::ptrdiff_t>(shared));
  for (auto& text : texts) layout.responses.emplace_back(text.begin() + static_cast<std::ptrdiff_t>(shared), text.end());
  return layout;
}

std::vector<std::int32_t> cut_prompt(std::vector<std::int32_t> prompt, const GroupLayout& layout, const LayoutLimits& limits) {
  const auto size = static_cast<std::int64_t>(prompt.size());
  const std::int64_t begin = std::min(limits.head_tokens, size);
  const std::int64_t cut = std::clamp<std::int64_t>(std::max(layout.prompt_cut, size - limits.max_length), 0, size - begin);
  prompt.erase(prompt.begin() + begin, prompt.begin() + begin + cut);
  return prompt;
}

}  // namespace dmoerm::data
