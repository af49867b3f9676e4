// Texts of a request as items: conversations in messages, texts that a chat template wrote, token ids, pairs of prompt and
// response.
#pragma once
#include <string>
#include <unordered_map>
#include <vector>

#include "wire/json_part.h"
#include "wire/request.h"

namespace dmoerm::wire {

// All functions throw RequestError.

/// What a text must be: not blank, not larger than `limits` say.
const std::string& checked_text(const JsonPart& part, const Limits& limits);

/// Collects the texts of a request and gives each its place.
class TextCollector {
 public:
  TextCollector(Request& request, const Limits& limits) : request_(request), limits_(limits) {}

  /// A text that prompt and response share. @param prompt_bytes  as in Item
  void add_text(const JsonPart& text, std::size_t prompt_bytes = 0);
  /// A list of token ids.
  void add_tokens(const JsonPart& ids);
  void add_tokens(const JsonPart& part, std::vector<std::int32_t> ids);
  /// What "input" means to OpenAI and vLLM: a text, texts, token ids, or lists of token ids.
  void add_input(const JsonPart& input);
  /// Messages that end with the response.
  void add_conversation(const JsonPart& messages);
  /// A prompt of the user and a response. Pairs with the same prompt become one group.
  void add_pair(const JsonPart& prompt, const JsonPart& response);
  /// A row as `dmoerm score` reads it, a group of its own.
  void add_row(const JsonPart& row);

 private:
  Item item(const JsonPart& part);
  Request& request_;
  const Limits& limits_;
  std::size_t count_ = 0;
  std::unordered_map<std::string, std::size_t> pairs_;  ///< prompt of add_pair() -> its group
};

/// A list of token ids. @throws RequestError
std::vector<std::int32_t> token_ids(const JsonPart& ids);

}  // namespace dmoerm::wire
