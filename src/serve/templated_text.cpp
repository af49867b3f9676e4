#include "serve/templated_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "base/error.h"
#include "base/text.h"

namespace dmoerm::serve {
namespace {

using preference::Message;
using Ids = std::vector<std::int32_t>;

// Contents by which the template's own words are found.
constexpr std::string_view kSystem = "Qsysq", kUser = "Quserq", kAnswer = "Qanswerq", kLast = "Qlastq";

/// The text between two contents; nothing if one of them is absent, as where a template changes contents.
std::optional<std::string> between(const std::string& text, std::string_view from, std::string_view to) {
  const std::size_t begin = from.empty() ? 0 : text.find(from);
  if (begin == std::string::npos) return std::nullopt;
  const std::size_t behind = begin + from.size(), end = to.empty() ? text.size() : text.find(to, behind);
  if (end == std::string::npos) return std::nullopt;
  return text.substr(behind, end - behind);
}

/// Tokens with which both end, without the first, which may have merged with the content before it.
Ids common_end(const Ids& a, const Ids& b) {
  const auto [in_a, in_b] = std::mismatch(a.rbegin(), a.rend(), b.rbegin(), b.rend());
  return {in_a.base(), a.end()};
}

/// Whether a response shows nothing but marks of an end: a client's own template may have others than the bundle's tokenizer.
bool is_only_an_end(std::string_view response) {
  response = trim(response);
  for (std::string_view mark = end_mark_of(response); !mark.empty(); mark = end_mark_of(response))
    response = trim(response.substr(0, response.size() - mark.size()));
  return shows_nothing(response);
}

}  // namespace

TemplatedTextReader::TemplatedTextReader(std::shared_ptr<const moe::Bundle> bundle) : bundle_(std::move(bundle)) {
  const tokenizer::ChatTemplate& chat = *bundle_->chat_template;
  const std::string user(kUser), answer(kAnswer), last(kLast);
  const std::vector<Message> one = {{"user", user}}, two = {{"system", std::string(kSystem)}, {"user", user}},
                             three = {{"user", user}, {"assistant", answer}, {"user", last}};
  const std::string prompt = chat.render_text(one, std::nullopt), whole = chat.render_text(one, answer),
                    with_system = chat.render_text(two, std::nullopt), turns = chat.render_text(three, std::nullopt);
  before_user_ = between(prompt, "", kUser).value_or("");
  answer_ = between(prompt, kUser, "").value_or("");
  const std::string to_response = between(whole, kUser, kAnswer).value_or("");
  if (to_response.starts_with(answer_)) answer_lead_ = to_response.substr(answer_.size());
  end_ = between(whole, kAnswer, "").value_or("");
  before_system_ = between(with_system, "", kSystem).value_or("");
  system_to_user_ = between(with_system, kSystem, kUser).value_or("");
  user_to_assistant_ = between(turns, kUser, kAnswer).value_or("");
  assistant_to_user_ = between(turns, kAnswer, kLast).value_or("");
  const Ids x = chat.render_prompt(std::vector<Message>{{"user", "x"}});
  answer_ids_ = common_end(x, chat.render_prompt(std::vector<Message>{{"user", "7 y"}}));
  const std::vector<Message> question = {{"user", "x"}};
  end_ids_ = common_end(chat.render(question, "x"), chat.render(question, "7 y"));
  head_ids_.assign(x.begin(), x.begin() + std::min<std::ptrdiff_t>(chat.head_tokens(), std::ssize(x)));
  for (const std::int32_t id : head_ids_) head_ += bundle_->tokenizer->token_of(id);
}

Ids TemplatedTextReader::encode(const std::string& text) const { return bundle_->tokenizer->encode(text, true); }

std::string TemplatedTextReader::with_head(std::string_view text, std::size_t& prompt_bytes) const {
  if (head_.empty()) return std::string(text);
  std::size_t dropped = 0;
  while (text.starts_with(head_)) {
    text.remove_prefix(head_.size());
    dropped += head_.size();
  }
  if (prompt_bytes > 0) prompt_bytes = std::max(prompt_bytes, dropped) - dropped + head_.size();
  return head_ + std::string(text);
}

Ids TemplatedTextReader::with_head(Ids ids) const {
  if (head_ids_.empty()) return ids;
  const auto size = std::ssize(head_ids_);
  while (std::ssize(ids) >= size && std::equal(head_ids_.begin(), head_ids_.end(), ids.begin()))
    ids.erase(ids.begin(), ids.begin() + size);
  ids.insert(ids.begin(), head_ids_.begin(), head_ids_.end());
  return ids;
}

/// The response without the template's end, which is written again. A tokenizer's text may lack the white space that ends it.
std::string TemplatedTextReader::without_end(std::string response) const {
  for (const std::string_view end : {std::string_view(end_), trim(end_)}) {
    if (end.empty() || !response.ends_with(end)) continue;
    response.resize(response.size() - end.size());
    break;
  }
  return response;
}

/// The text without the special tokens at its end, and the white space behind and between them, as far as the prompt reaches.
std::string TemplatedTextReader::without_special_end(std::string text) const {
  const std::string_view lead = trim(answer_);
  for (;;) {
    const std::string_view seen = std::string_view(text).substr(0, text.find_last_not_of(kWhiteSpace) + 1);
    const std::size_t length = bundle_->tokenizer->special_at_end(seen);
    if (length == 0 || (!lead.empty() && seen.ends_with(lead))) return text;
    text.resize(seen.size() - length);
  }
}

/// Where the text may be divided, the likeliest first. The template's end may be the same words as what leads to a response.
std::vector<TemplatedTextReader::Parts> TemplatedTextReader::divisions(const std::string& text, std::size_t prompt_bytes) const {
  std::vector<Parts> all;
  const auto divide = [&](std::size_t at) { all.push_back({text.substr(0, at), text.substr(at)}); };
  if (prompt_bytes > 0 && prompt_bytes <= text.size()) {
    const std::string_view before = std::string_view(text).substr(0, prompt_bytes),
                           behind = std::string_view(text).substr(prompt_bytes);
    if (before.ends_with(answer_ + answer_lead_)) {  // the client counts the space before the response to the prompt
      divide(prompt_bytes - answer_lead_.size());
    } else {
      divide(prompt_bytes + (behind.starts_with(answer_) ? answer_.size() : 0));
    }
  } else if (!answer_.empty()) {
    for (const std::string& searched : {without_end(text), text}) {
      const std::size_t at = searched.rfind(answer_);
      if (at != std::string::npos) divide(at + answer_.size());
    }
  }
  return all;
}

/// Conversations that a prompt may be, up to what leads to the response. Contents may hold the template's words, so that the
/// caller renders each again.
std::vector<std::vector<Message>> TemplatedTextReader::readings(std::string_view prompt) const {
  std::vector<std::vector<Message>> all;
  const auto turns = [&](std::string_view rest, std::vector<Message> messages) {
    for (bool user = true;; user = !user) {
      const std::string& next = user ? user_to_assistant_ : assistant_to_user_;
      const std::size_t end = next.empty() ? std::string_view::npos : rest.find(next);
      messages.push_back({user ? "user" : "assistant", std::string(rest.substr(0, end))});
      if (end == std::string_view::npos) break;
      rest.remove_prefix(end + next.size());
    }
    all.push_back(std::move(messages));
  };
  if (prompt.starts_with(before_user_)) {
    const std::string_view rest = prompt.substr(before_user_.size());
    all.push_back({{"user", std::string(rest)}});
    turns(rest, {});
  }
  if (prompt.starts_with(before_system_) && !system_to_user_.empty()) {
    const std::string_view rest = prompt.substr(before_system_.size());
    if (const std::size_t end = rest.find(system_to_user_); end != std::string_view::npos)
      turns(rest.substr(end + system_to_user_.size()), {{"system", std::string(rest.substr(0, end))}});
  }
  // A single turn that holds words of the template is the last choice, not the first.
  if (all.size() > 1 && all[1].size() > 1) std::ranges::rotate(all, all.begin() + 1);
  return all;
}

std::optional<moe::TokenTexts> TemplatedTextReader::as_messages(const Parts& parts) const {
  const tokenizer::ChatTemplate& chat = *bundle_->chat_template;
  if (!parts.prompt.ends_with(answer_) || !parts.response.starts_with(answer_lead_)) return std::nullopt;
  const std::string response = without_end(parts.response.substr(answer_lead_.size()));
  const auto is_token = [&](const std::string& content) {
    return !chat.special_in_text() && bundle_->tokenizer->has_special(content);
  };
  if (is_token(response)) return std::nullopt;
  const std::string_view before = std::string_view(parts.prompt).substr(0, parts.prompt.size() - answer_.size());
  for (const std::vector<Message>& messages : readings(before)) {
    if (std::ranges::any_of(messages, is_token, &Message::content)) continue;
    if (chat.render_text(messages, std::nullopt) != parts.prompt) continue;
    if (chat.render_text(messages, response) != parts.prompt + answer_lead_ + response + end_) continue;
    return moe::TokenTexts{chat.render_prompt(messages), {chat.render(messages, response)}};
  }
  return std::nullopt;
}

ReadText TemplatedTextReader::read(std::string_view given, std::size_t prompt_bytes) const {
  const std::string text = without_special_end(with_head(given, prompt_bytes));
  ReadText result;
  const std::vector<Parts> divided = divisions(text, std::min(prompt_bytes, text.size()));
  const bool empty = !divided.empty() && is_only_an_end(without_end(divided.front().response));
  for (const Parts& parts : divided) {
    if (auto texts = as_messages(parts); texts) return {std::move(*texts), empty ? Found::empty : Found::messages};
  }
  if (!divided.empty()) {
    const Parts& parts = divided.front();
    result.found = empty ? Found::empty : Found::split;
    result.texts = {encode(parts.prompt), {encode(parts.prompt + without_end(parts.response) + end_)}};
    if (result.texts.prompt.empty()) result.texts.prompt = result.texts.responses[0];
  } else {
    const Ids ids = encode(text);
    result.texts = {ids, {ids}};
  }
  if (result.texts.responses[0].empty())
    throw DataError("text-without-tokens", "the text has no tokens in the model's vocabulary");
  return result;
}

ReadText TemplatedTextReader::read(const Ids& given) const {
  if (given.empty()) throw DataError("text-without-tokens", "the list of token ids is empty");
  const auto vocabulary = bundle_->model.backbone->spec().vocab;
  for (const std::int32_t id : given) {
    if (id < 0 || id >= vocabulary)
      throw DataError("token-outside-vocabulary",
                      fmt::format("token id {} is outside the model's vocabulary of {} tokens: was it made by another tokenizer?",
                                  id, vocabulary));
  }
  const Ids ids = with_head(given);
  const bool ends =
      std::ssize(ids) >= std::ssize(end_ids_) && std::equal(end_ids_.begin(), end_ids_.end(), ids.end() - std::ssize(end_ids_));
  const std::span<const std::int32_t> searched(ids.data(), ids.size() - (ends ? end_ids_.size() : 0));
  const auto answer = std::ranges::find_end(searched, answer_ids_);
  if (answer_ids_.empty() || answer.empty()) return {{ids, {ids}}, Found::nothing};
  const auto is_special = [&](std::int32_t id) {
    const std::string token = bundle_->tokenizer->token_of(id);
    return !token.empty() && bundle_->tokenizer->special_at_end(token) == token.size();
  };
  const bool empty = std::all_of(answer.end(), searched.end(), is_special);
  return {{{searched.begin(), answer.end()}, {ids}}, empty ? Found::empty : Found::split};
}

}  // namespace dmoerm::serve
