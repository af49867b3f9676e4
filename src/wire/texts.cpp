#include "wire/texts.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

#include "base/text.h"
#include "preference/messages_in_text.h"
#include "preference/question.h"
#include "preference/row_checks.h"
#include "preference/row_error.h"
#include "preference/row_fields.h"

namespace dmoerm::wire {

using nlohmann::json;

namespace {

/// Calls a reader of rows, and names the place in the body where it refuses.
template <typename Read>
auto read_at(const JsonPart& part, const Read& read) {
  try {
    return read();
  } catch (const preference::RowError& e) {
    part.complain(e.code(), e.what());
  }
}

/// A text, or what vLLM takes in its place: {"text"}, {"type": "text", "text"}, {"content": [parts]}.
JsonPart text_part(const JsonPart& part) {
  if (part.has("text_pair")) part.at("text_pair").complain("body-key-unknown", "pairs of texts are read by /predict alone");
  if (part.has("text")) return text_part(part.at("text"));
  if (part.has("content") && part.at("content").is_list()) {
    const std::vector<JsonPart> parts = part.at("content").items();
    if (parts.size() != 1 || !parts[0].has("text")) part.at("content").refuse("part-is-not-text", "one part with a text");
    return parts[0].at("text");
  }
  return part;
}

}  // namespace

const std::string& checked_text(const JsonPart& part, const Limits& limits) {
  const std::string& text = part.text();
  if (text.size() > limits.text_bytes_max)
    throw RequestError(
        "text-too-long", 413, part.family(),
        fmt::format("{}: the text has {} bytes, at most {} are read", part.where(), text.size(), limits.text_bytes_max));
  if (shows_nothing(text)) part.complain("text-is-blank", "the text is empty or shows nothing");
  return text;
}

std::vector<std::int32_t> token_ids(const JsonPart& ids) {
  std::vector<std::int32_t> tokens;
  for (const JsonPart& id : ids.items())
    tokens.push_back(static_cast<std::int32_t>(id.integer(0, std::numeric_limits<std::int32_t>::max())));
  return tokens;
}

Item TextCollector::item(const JsonPart& part) {
  if (count_ >= limits_.texts_max)
    throw RequestError(
        "too-many-texts", 413, part.family(),
        fmt::format("{}: a request has at most {} texts; ask in several requests", part.where(), limits_.texts_max));
  Item item;
  item.place = count_++;
  return item;
}

void TextCollector::add_text(const JsonPart& text, std::size_t prompt_bytes) {
  const JsonPart part = text_part(text);
  Item one = item(part);
  one.text = checked_text(part, limits_);
  if (prompt_bytes <= one.text.size()) one.prompt_bytes = prompt_bytes;
  request_.groups.push_back({Form::text, {}, {std::move(one)}, {}});
}

void TextCollector::add_tokens(const JsonPart& ids) { add_tokens(ids, token_ids(ids)); }

void TextCollector::add_tokens(const JsonPart& part, std::vector<std::int32_t> ids) {
  if (ids.empty()) part.complain("no-token-ids", "expected at least one token id, found an empty list");
  Item one = item(part);
  one.tokens = std::move(ids);
  request_.groups.push_back({Form::tokens, {}, {std::move(one)}, {}});
}

void TextCollector::add_input(const JsonPart& input) {
  if (!input.is_list()) return add_text(input);
  const std::vector<JsonPart> items = input.some_items();
  if (items[0].value().is_number()) return add_tokens(input);
  for (const JsonPart& one : items) {
    if (one.is_list()) {
      add_tokens(one);
    } else {
      add_text(one);
    }
  }
}

void TextCollector::add_conversation(const JsonPart& messages) {
  if (!messages.is_list()) messages.refuse("not-messages", "a list of messages {\"role\", \"content\"}");
  add_row(messages);
}

void TextCollector::add_pair(const JsonPart& prompt, const JsonPart& response) {
  const JsonPart asked = text_part(prompt), answered = text_part(response);
  const std::string& question = checked_text(asked, limits_);
  preference::Group group;
  group.prompt = {{"user", question}};
  group.responses.push_back({checked_text(answered, limits_), preference::kMissing, {}});
  read_at(answered, [&] { preference::check_texts(group); });
  Item one = item(answered);
  one.text = std::move(group.responses[0].text);
  const auto [found, added] = pairs_.try_emplace(question, request_.groups.size());
  if (added) request_.groups.push_back({Form::messages, std::move(group.prompt), {}, {}});
  request_.groups[found->second].items.push_back(std::move(one));
}

void TextCollector::add_row(const JsonPart& row) {
  preference::Question question = read_at(row, [&] {
    json copy = row.is_list() ? json{{"messages", row.value()}} : row.value();
    preference::unpack_messages(copy);
    return preference::question_of(copy);
  });
  Group group{Form::messages, std::move(question.prompt), {}, std::move(question.id)};
  for (std::string& text : question.responses) {
    if (text.size() > limits_.text_bytes_max)
      throw RequestError(
          "text-too-long", 413, row.family(),
          fmt::format("{}: a response has {} bytes, at most {} are read", row.where(), text.size(), limits_.text_bytes_max));
    Item one = item(row);
    one.text = std::move(text);
    group.items.push_back(std::move(one));
  }
  request_.groups.push_back(std::move(group));
}

}  // namespace dmoerm::wire
