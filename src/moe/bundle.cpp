#include "moe/bundle.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace dmoerm::moe {

TokenTexts tokenize(const Bundle& bundle, const std::vector<preference::Message>& prompt,
                    const std::vector<std::string>& responses) {
  if (std::ranges::all_of(prompt, [](const preference::Message& m) { return shows_nothing(m.content); }))
    throw DataError("empty-prompt", "the prompt is empty");
  if (responses.empty()) throw DataError("no-responses", "there is no response to score");
  const std::vector<std::string_view> views(responses.begin(), responses.end());
  auto [prompt_ids, ids] = bundle.chat_template->render_group(prompt, views);
  TokenTexts texts{std::move(prompt_ids), std::move(ids)};
  for (std::size_t i = 0; i < responses.size(); ++i) {
    if (shows_nothing(responses[i])) throw DataError("empty-response", fmt::format("response {} is empty", i));
    if (texts.responses[i].empty())
      throw DataError("response-without-tokens", fmt::format("response {} has no tokens in the model's vocabulary", i));
  }
  return texts;
}

GroupScore score_texts(const Bundle& bundle, const std::vector<preference::Message>& prompt,
                       const std::vector<std::string>& responses, const std::string& category) {
  return bundle.model.score(tokenize(bundle, prompt, responses), category);
}

}  // namespace dmoerm::moe
