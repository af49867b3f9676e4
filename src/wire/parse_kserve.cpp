#include "wire/parse_kserve.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "wire/tensors.h"
#include "wire/texts.h"

namespace dmoerm::wire {

using nlohmann::json;

namespace {

const Tensor* find_tensor(const std::vector<Tensor>& tensors, std::string_view name) {
  const auto found = std::ranges::find(tensors, name, &Tensor::name);
  return found == tensors.end() ? nullptr : &*found;
}

/// Rows of token ids, each as long as its entry of sequence_lengths says.
void add_token_rows(const Tensor& tokens, const std::vector<Tensor>& tensors, TextCollector& texts) {
  if (tokens.numbers.empty()) tokens.place.complain("no-token-ids", "expected at least one token id");
  const auto width = static_cast<std::size_t>(tokens.shape.back());
  const std::size_t rows = tokens.numbers.size() / width;
  const Tensor* lengths = find_tensor(tensors, "sequence_lengths");
  if (lengths == nullptr && rows > 1)
    tokens.place.complain("body-field-missing",
                          fmt::format("{} rows of token ids need the input sequence_lengths, which says how "
                                      "much of each row is padding",
                                      rows));
  if (lengths != nullptr && lengths->numbers.size() != rows)
    lengths->place.complain("lists-of-other-lengths",
                            fmt::format("expected {} lengths, as tokens has rows, found {}", rows, lengths->numbers.size()));
  for (std::size_t row = 0; row < rows; ++row) {
    const std::int64_t length = lengths == nullptr ? static_cast<std::int64_t>(width) : lengths->numbers[row];
    if (length < 1 || length > static_cast<std::int64_t>(width))
      lengths->place.complain("sequence-of-wrong-length",
                              fmt::format("expected lengths from 1 to {}, found {} in row {}", width, length, row));
    std::vector<std::int32_t> ids;
    for (std::size_t i = 0; i < static_cast<std::size_t>(length); ++i) {
      const std::int64_t id = tokens.numbers[row * width + i];
      if (id < 0 || id > std::numeric_limits<std::int32_t>::max())
        tokens.place.complain("body-number-out-of-range", fmt::format("expected token ids, found {} in row {}", id, row));
      ids.push_back(static_cast<std::int32_t>(id));
    }
    texts.add_tokens(tokens.place, std::move(ids));
  }
}

/// Each response with its prompt. There may be one prompt for each, one for all, or one for each row: [B] or [B, 1] with [B, N].
void add_pairs(const Tensor& prompts, const Tensor& responses, TextCollector& texts) {
  const std::size_t asked = prompts.texts.size(), answered = responses.texts.size();
  const bool rows = responses.shape.size() > 1 && static_cast<std::size_t>(responses.shape[0]) == asked;
  if (asked != answered && (answered == 0 || (asked != 1 && !rows)))
    responses.place.complain(
        "lists-of-other-lengths",
        fmt::format("expected {0} elements, as prompts has, or the shape [{0}, K] for K responses to each, found the "
                    "shape [{1}]",
                    asked, fmt::join(responses.shape, ", ")));
  for (std::size_t i = 0; i < answered; ++i) {
    const std::size_t its = i / (answered / asked);
    const json prompt = prompts.texts[its], response = responses.texts[i];
    texts.add_pair(prompts.place.element(prompt, its), responses.place.element(response, i));
  }
}

}  // namespace

void read_kserve(const JsonPart& body, std::string_view binary, const Limits& limits, Request& request) {
  request.reply = Reply::kserve;
  request.id = body.text_or("id", "");
  std::vector<std::string> unknown;
  const std::vector<Tensor> tensors = tensors_of(body, binary, limits.text_bytes_max, unknown);
  TextCollector texts(request, limits);
  const Tensor *sentences = find_tensor(tensors, "sentences"), *tokens = find_tensor(tensors, "tokens");
  const Tensor *prompts = find_tensor(tensors, "prompts"), *responses = find_tensor(tensors, "responses");
  if ((sentences != nullptr) + (tokens != nullptr) + (prompts != nullptr && responses != nullptr) > 1)
    body.at("inputs").complain("two-forms-at-once",
                               "sentences, tokens, and prompts with responses are three ways to bring texts: send one of them");
  if (sentences != nullptr) {
    for (std::size_t i = 0; i < sentences->texts.size(); ++i) {
      const json text = sentences->texts[i];
      texts.add_text(sentences->place.element(text, i));
    }
  } else if (tokens != nullptr) {
    add_token_rows(*tokens, tensors, texts);
  } else if (prompts != nullptr && responses != nullptr) {
    add_pairs(*prompts, *responses, texts);
  } else {
    body.at("inputs").complain("nothing-to-score",
                               "expected the input sentences, the inputs tokens and sequence_lengths, or the inputs prompts and "
                               "responses");
  }
  const auto used = [&](const std::string& name) {
    if (sentences != nullptr) return name == "sentences";
    return tokens != nullptr ? name == "tokens" || name == "sequence_lengths" : name == "prompts" || name == "responses";
  };
  for (const Tensor& tensor : tensors) {
    if (!used(tensor.name)) unknown.push_back(tensor.name);
  }
  for (const std::string& name : unknown) request.unread.push_back("inputs." + name);
  if (!body.has("outputs")) return;
  for (const JsonPart& output : body.at("outputs").items()) {
    if (output.at("name").text() != "rewards") output.at("name").refuse("body-value-unknown", "the output rewards");
  }
}

}  // namespace dmoerm::wire
