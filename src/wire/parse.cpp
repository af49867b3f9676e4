#include "wire/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <set>

#include "base/text.h"
#include "config/nearest.h"
#include "preference/question.h"
#include "wire/json_part.h"
#include "wire/known_names.h"
#include "wire/parse_kserve.h"
#include "wire/texts.h"

namespace dmoerm::wire {

using nlohmann::json;

namespace {

/// The one of the keys that the body has; null if it has none. Refuses two, as only one of them would be read.
const char* only_key(const JsonPart& body, std::initializer_list<const char*> keys) {
  const char* found = nullptr;
  for (const char* key : keys) {
    if (!body.has(key)) continue;
    if (found != nullptr)
      body.complain("two-forms-at-once", fmt::format("{} and {} are two ways to say one thing: send one of them", found, key));
    found = key;
  }
  return found;
}

[[noreturn]] void nothing_to_score(const JsonPart& body, const std::string& expected) {
  body.refuse("nothing-to-score", expected);
}

/// Refuses a setting that would change scores and that no bundle has.
void expect_unset(const JsonPart& body, const char* key, const char* why) {
  if (body.has(key)) body.at(key).complain("setting-not-supported", why);
}

/// The three names that vLLM gave to one switch.
void read_activation(const JsonPart& body, Request& request) {
  for (const char* key : {"use_activation", "activation", "softmax"}) {
    if (body.boolean_or(key, false)) request.normalise = Normalise::sigmoid;
  }
}

/// vLLM's other number types and byte orders, with which a client would read other numbers out of our base64.
void expect_float32(const JsonPart& body) {
  if (body.text_or("embed_dtype", "float32") != "float32")
    body.at("embed_dtype").refuse("setting-not-supported", "float32 in base64");
  const std::string order = body.text_or("endianness", "little");
  if (order != "little" && order != "native") body.at("endianness").refuse("setting-not-supported", "little in base64");
}

void read_encoding(const JsonPart& body, Request& request) {
  if (body.has("encoding_format")) {
    const std::string& format = body.at("encoding_format").text();
    if (format != "float" && format != "base64") body.at("encoding_format").refuse("body-value-unknown", "float or base64");
    request.base64 = format == "base64";
  }
  if (request.base64) expect_float32(body);
  if (body.has("dimensions") && body.at("dimensions").value() != 1)
    body.at("dimensions").refuse("setting-not-supported", "1, as a score has one dimension");
}

/// What vLLM's requests have in common.
void read_vllm(const JsonPart& body, Request& request) {
  read_activation(body, request);
  request.id = body.text_or("request_id", "");
  expect_unset(body, "chat_template", "the bundle's own chat template is used, as the model was trained with it");
  if (body.boolean_or("add_generation_prompt", false))
    body.at("add_generation_prompt").refuse("setting-not-supported", "false, as a response is scored");
  if (body.has("truncate_prompt_tokens") && body.at("truncate_prompt_tokens").value() != -1)
    body.at("truncate_prompt_tokens").refuse("setting-not-supported", "-1, as texts are cut to the model's length only");
}

/// "input" or "messages" of vLLM and OpenAI.
void read_input(const JsonPart& body, TextCollector& texts) {
  const char* key = only_key(body, {"input", "messages"});
  if (key == nullptr) nothing_to_score(body, "the key input (texts or token ids) or messages (a conversation)");
  if (std::string_view(key) == "input") return texts.add_input(body.at(key));
  texts.add_conversation(body.at(key));
}

// --- ours ---

Normalise normalise_of(const JsonPart& word) {
  if (word.value().is_boolean()) return word.boolean() ? Normalise::standard : Normalise::none;
  if (word.is_text()) {
    if (const auto known = normalise_from(word.text())) return *known;
  }
  word.refuse("body-value-unknown", "none, sigmoid, softmax or standard");
}

/// Columns of data that say nothing of a row's texts.
constexpr const char* kRowColumns[] = {"category", "split", "label", "task_name"};

/// Keys of a row, or of a request with one, that say nothing of its texts.
constexpr std::string_view kOtherKeys[] = {"category",     "split",     "label",     "task_name", "model",
                                           "use_category", "normalise", "normalize", "truncate"};

/// Refuses a key that nothing reads, as a misspelt setting would change scores without a word.
void refuse_unknown_key(const std::string& path, const std::string& key, const std::vector<std::string>& known) {
  throw RequestError("body-key-unknown", 400, Family::own,
                     fmt::format("{}{}{}: this key is not read here{}", path, path.empty() ? "" : ".", utf8_prefix(key, 100),
                                 known_instead(key, known, "those that are:")));
}

/// Refuses a misspelt key of a row that lacks the one that is meant, before the row is found to say nothing.
void expect_no_misspelling(const JsonPart& row) {
  if (!row.is_object() || preference::is_row_of_data(row.value())) return;
  const std::vector<std::string>& known = preference::question_keys();
  for (const auto& [key, value] : row.value().items()) {
    if (std::ranges::find(known, key) != known.end() || std::ranges::find(kOtherKeys, key) != std::end(kOtherKeys)) continue;
    if (const auto meant = config::nearest(key, known); meant && !row.value().contains(*meant))
      refuse_unknown_key(row.path(), key, known);
  }
}

/// Refuses unknown keys of a row. A row of a data set may have columns of its own.
void expect_row_keys(const JsonPart& row) {
  if (!row.is_object() || preference::is_row_of_data(row.value())) return;
  std::vector<std::string> known = preference::question_keys();
  known.insert(known.end(), std::begin(kRowColumns), std::end(kRowColumns));
  for (const auto& [key, value] : row.value().items()) {
    if (std::ranges::find(known, key) == known.end()) refuse_unknown_key(row.path(), key, known);
  }
}

/// Refuses keys of the whole body that were not asked for.
void expect_body_keys(const JsonPart& body, const std::set<std::string>& asked, const Request& request) {
  const bool row = !request.groups.empty() && !request.nested && request.groups[0].form == Form::messages;
  const bool columns = row && preference::is_row_of_data(body.value());
  const std::vector<std::string> settings = {"use_category", "normalise", "normalize", "truncate"};
  std::vector<std::string> known(asked.begin(), asked.end());
  if (row) {
    const std::vector<std::string>& keys = preference::question_keys();
    known.insert(known.end(), keys.begin(), keys.end());
  }
  if (columns) known.insert(known.end(), std::begin(kRowColumns), std::end(kRowColumns));  // and not use_category misspelt
  for (const auto& [key, value] : body.value().items()) {
    if (std::ranges::find(known, key) != known.end()) continue;
    if (!columns || config::nearest(key, settings)) refuse_unknown_key("", key, known);
  }
}

void read_reward(const JsonPart& body, const Limits& limits, Request& request) {
  TextCollector texts(request, limits);
  request.category = body.text_or("use_category", "");
  request.refuse_overlong = !body.boolean_or("truncate", true);
  if (body.has("items")) {
    request.nested = true;
    for (const JsonPart& row : body.at("items").items()) {
      expect_no_misspelling(row);
      texts.add_row(row);
      expect_row_keys(row);
    }
  } else if (body.has("texts")) {
    for (const JsonPart& text : body.at("texts").items()) texts.add_text(text);
  } else if (body.has("input_ids")) {
    const JsonPart ids = body.at("input_ids");
    if (!ids.is_list() || !ids.value().empty()) texts.add_input(ids);
  } else {
    expect_no_misspelling(body);
    texts.add_row(body);
  }
}

// --- OpenRLHF ---

/// The elements of a list, or one that stands by itself.
std::vector<JsonPart> one_or_more(const JsonPart& part) { return part.is_list() ? part.items() : std::vector{part}; }

/// The word with which a text begins if it looks like a special token: "<s>", "[CLS]", "<|begin_of_text|>".
std::string_view leading_token(std::string_view text) {
  constexpr std::size_t kLongest = 40;
  if (text.empty() || (text[0] != '<' && text[0] != '[')) return {};
  const std::size_t end = text.find(text[0] == '<' ? '>' : ']');
  if (end >= kLongest || text.substr(0, end).find_first_of(" \n") != std::string_view::npos) return {};
  return text.substr(0, end + 1);
}

/// Bytes of a text that are its prompt. Of both, one alone may begin with the token that begins every text.
/// @return nothing if the text begins with something else
std::optional<std::size_t> prompt_bytes_of(std::string_view text, std::string_view prompt) {
  if (text.starts_with(prompt)) return prompt.size();
  if (const std::string_view token = leading_token(text); !token.empty() && text.substr(token.size()).starts_with(prompt))
    return token.size() + prompt.size();
  if (const std::string_view token = leading_token(prompt);
      !token.empty() && token.size() < prompt.size() && text.starts_with(prompt.substr(token.size())))
    return prompt.size() - token.size();
  return std::nullopt;
}

void read_openrlhf(const JsonPart& body, const Limits& limits, Request& request) {
  const char* key = only_key(body, {"query", "queries"});
  if (key == nullptr) nothing_to_score(body, "the key query, a list of texts");
  (void)body.has("labels");  // its trainer sends them, and no score depends on them
  TextCollector texts(request, limits);
  const std::vector<JsonPart> queries = one_or_more(body.at(key));
  if (!body.has("prompts")) {
    for (const JsonPart& query : queries) texts.add_text(query);
    return;
  }
  const std::vector<JsonPart> prompts = one_or_more(body.at("prompts"));
  if (prompts.size() != queries.size())
    body.at("prompts").complain("lists-of-other-lengths",
                                fmt::format("expected as many as {} has ({}), found {}", key, queries.size(), prompts.size()));
  bool begins = true;
  for (std::size_t i = 0; i < queries.size(); ++i) {
    const bool says_nothing = prompts[i].value().is_null();
    const auto bytes = prompt_bytes_of(queries[i].text(), says_nothing ? "" : prompts[i].text());
    // Its trainer also sends prompts that were cut, or without the template that the text has: the text itself tells then.
    if (!bytes) begins = false;
    texts.add_text(queries[i], bytes.value_or(0));
  }
  if (!begins) request.unread.emplace_back("prompts that do not begin their texts");
}

// --- vLLM and SGLang ---

void read_classify(const JsonPart& body, const Limits& limits, Request& request) {
  TextCollector texts(request, limits);
  const char* own = only_key(body, {"input", "messages", "text", "conv", "input_ids"});
  if (own == nullptr || std::string_view(own) == "input" || std::string_view(own) == "messages") {
    request.reply = Reply::vllm_classify;
    read_vllm(body, request);
    return read_input(body, texts);
  }
  request.reply = Reply::sglang_classify;
  request.family = Family::sglang;
  const JsonPart part = body.at(own).in(Family::sglang);
  request.nested = part.is_list();
  if (std::string_view(own) != "conv") {
    request.nested = request.nested && !(part.items().size() > 0 && part.items()[0].value().is_number());
    return texts.add_input(part);
  }
  const std::vector<JsonPart> conversations = part.items();
  if (conversations.empty()) part.complain("no-texts", "expected at least one conversation, found an empty list");
  request.nested = conversations[0].is_list();
  if (!request.nested) return texts.add_conversation(part);
  for (const JsonPart& one : conversations) texts.add_conversation(one);
}

void read_embeddings(const JsonPart& body, const Limits& limits, Request& request) {
  request.reply = Reply::embeddings;
  read_vllm(body, request);
  read_encoding(body, request);
  TextCollector texts(request, limits);
  read_input(body, texts);
}

void read_pooling(const JsonPart& body, const Limits& limits, Request& request) {
  if (body.has("task")) {
    const std::string& task = body.at("task").text();
    if (task != "classify" && task != "reward" && task != "score")
      body.at("task").refuse("setting-not-supported", "classify, reward or score, as the model gives scores");
  }
  read_embeddings(body, limits, request);
  request.reply = Reply::vllm_pooling;
}

/// SGLang's score: each item follows the query.
void read_sglang_score(const JsonPart& body, const Limits& limits, Request& request) {
  request.reply = Reply::sglang_score;
  request.family = Family::sglang;
  expect_unset(
      body, "label_token_ids",
      "the model gives one reward for each item and no probabilities of tokens: leave the key out and read scores[i][0]");
  if (body.boolean_or("item_first", false))
    body.at("item_first").refuse("setting-not-supported", "false, as a response follows its prompt");
  if (body.boolean_or("apply_softmax", false)) request.normalise = Normalise::sigmoid;
  const JsonPart query = body.at("query"), items = body.at("items");
  TextCollector texts(request, limits);
  if (items.is_text()) return texts.add_pair(query, items);
  const std::vector<JsonPart> list = items.some_items();
  for (const JsonPart& one : list) {
    if (query.is_text()) {
      texts.add_pair(query, one);
      continue;
    }
    std::vector<std::int32_t> ids = token_ids(query), rest = token_ids(one);
    ids.insert(ids.end(), rest.begin(), rest.end());
    texts.add_tokens(one, std::move(ids));
  }
}

void read_score(const JsonPart& body, const Limits& limits, Request& request) {
  const char* first = only_key(body, {"query", "queries", "data_1", "text_1"});
  const char* second = only_key(body, {"documents", "items", "data_2", "text_2"});
  if (body.has("query") && body.has("items")) return read_sglang_score(body.in(Family::sglang), limits, request);
  request.reply = Reply::vllm_score;
  read_vllm(body, request);
  if (first == nullptr || second == nullptr || body.has("query"))
    nothing_to_score(
        body, "queries and documents (or items), data_1 and data_2, text_1 and text_2, or as SGLang has it query and items");
  const JsonPart queries = body.at(first), documents = body.at(second);
  TextCollector texts(request, limits);
  const std::vector<JsonPart> many = documents.is_list() ? documents.some_items() : std::vector{documents};
  const std::vector<JsonPart> asked = queries.is_list() ? queries.items() : std::vector{queries};
  if (asked.size() != 1 && asked.size() != many.size())
    queries.complain("lists-of-other-lengths",
                     fmt::format("expected 1 text, or as many as {} has ({}), found {}", second, many.size(), asked.size()));
  for (std::size_t i = 0; i < many.size(); ++i) texts.add_pair(asked[asked.size() == 1 ? 0 : i], many[i]);
}

/// TEI's rerank, which asks about "texts".
void read_tei_rerank(const JsonPart& body, const Limits& limits, Request& request);

void read_rerank(const JsonPart& body, bool as_sglang, const Limits& limits, Request& request) {
  const char* key = only_key(body, {"documents", "texts"});
  if (key != nullptr && std::string_view(key) == "texts") return read_tei_rerank(body.in(Family::tei), limits, request);
  request.reply = as_sglang ? Reply::sglang_rerank : Reply::vllm_rerank;
  request.family = as_sglang ? Family::sglang : Family::vllm;
  const JsonPart ask = body.in(request.family);
  read_vllm(ask, request);
  request.return_text = ask.boolean_or("return_documents", true);
  if (ask.has("top_n"))
    request.top_n = static_cast<std::size_t>(ask.at("top_n").integer(0, std::numeric_limits<std::int32_t>::max()));
  const JsonPart query = ask.at("query"), documents = ask.at("documents");
  const std::vector<JsonPart> list = documents.some_items();
  TextCollector texts(request, limits);
  for (const JsonPart& one : list) texts.add_pair(query, one);
}

// --- TEI ---

void read_tei(const JsonPart& body, Request& request) {
  if (body.has("raw_scores")) request.normalise = body.at("raw_scores").boolean() ? Normalise::none : Normalise::sigmoid;
  request.refuse_overlong = !body.boolean_or("truncate", false);
  if (body.has("truncation_direction")) {
    const std::string direction = lower(body.at("truncation_direction").text());
    if (direction != "left" && direction != "right")
      body.at("truncation_direction").refuse("body-value-unknown", "left or right");
    request.unread.emplace_back("truncation_direction");  // texts are cut where the model's training cut them
  }
  if (!body.has("parameters") || !body.at("parameters").has("function_to_apply")) return;
  const JsonPart function = body.at("parameters").at("function_to_apply");  // as the Hub's clients say it
  if (function.text() != "none" && function.text() != "sigmoid" && function.text() != "softmax")
    function.refuse("body-value-unknown", "none, sigmoid or softmax");
  request.normalise = function.text() == "none" ? Normalise::none : Normalise::sigmoid;
}

void read_tei_rerank(const JsonPart& body, const Limits& limits, Request& request) {
  request.reply = Reply::tei_rerank;
  request.family = Family::tei;
  read_tei(body, request);
  request.return_text = body.boolean_or("return_text", false);
  const JsonPart query = body.at("query"), list = body.at("texts");
  const std::vector<JsonPart> many = list.items();
  if (many.empty()) throw RequestError("no-texts", 400, Family::tei, "texts: expected at least one text, found an empty list");
  TextCollector texts(request, limits);
  for (const JsonPart& one : many) texts.add_pair(query, one);
}

/// One text, ["text"], ["prompt", "response"], or {"text": prompt, "text_pair": response} as pipelines of transformers have it.
void add_sequence(const JsonPart& sequence, TextCollector& texts) {
  if (sequence.is_object() && sequence.has("text_pair")) return texts.add_pair(sequence.at("text"), sequence.at("text_pair"));
  if (!sequence.is_list()) return texts.add_text(sequence);
  const std::vector<JsonPart> parts = sequence.items();
  if (parts.size() == 1) return texts.add_text(parts[0]);
  if (parts.size() == 2) return texts.add_pair(parts[0], parts[1]);
  sequence.refuse("sequence-of-wrong-length", "one text, or a pair of prompt and response");
}

void read_predict(const JsonPart& body, const Limits& limits, Request& request) {
  request.reply = Reply::tei_predict;
  if (only_key(body, {"inputs", "texts"}) != nullptr && body.has("texts") && body.has("query"))
    return read_tei_rerank(body, limits, request);
  read_tei(body, request);
  TextCollector texts(request, limits);
  const JsonPart inputs = body.at("inputs");
  request.nested = inputs.is_list() && !inputs.value().empty() && inputs.value()[0].is_structured();
  if (!request.nested) return add_sequence(inputs, texts);
  for (const JsonPart& one : inputs.items()) add_sequence(one, texts);
}

// --- LLaMA-Factory ---

void read_score_evaluation(const JsonPart& body, const Limits& limits, Request& request) {
  request.reply = Reply::score_evaluation;
  request.model = "";  // its trainer sends "model" whatever the model's name is
  expect_unset(body, "max_length", "texts are cut to the model's length only; leave the key out");
  const JsonPart messages = body.at("messages");
  const std::vector<JsonPart> list = messages.some_items();
  TextCollector texts(request, limits);
  for (const JsonPart& one : list) texts.add_text(one);
}

void read(const Endpoint& endpoint, const JsonPart& body, std::string_view binary, const Limits& limits, Request& request) {
  switch (endpoint.path) {
    case Path::get_reward:
      request.reply = Reply::openrlhf;
      return read_openrlhf(body, limits, request);
    case Path::classify:
      return read_classify(body, limits, request);
    case Path::pooling:
      return read_pooling(body, limits, request);
    case Path::score:
      return read_score(body, limits, request);
    case Path::rerank:
      return read_rerank(body, limits.sglang && endpoint.versioned, limits, request);
    case Path::embeddings:
      return read_embeddings(body, limits, request);
    case Path::predict:
      return read_predict(body, limits, request);
    case Path::score_evaluation:
      return read_score_evaluation(body, limits, request);
    case Path::infer:
      return read_kserve(body, binary, limits, request);
    default:
      return read_reward(body, limits, request);
  }
}

}  // namespace

Request parse(const Endpoint& endpoint, std::string_view body, const Limits& limits, std::optional<std::size_t> json_length) {
  Request request;
  request.family = family_of(endpoint.path);
  request.normalise = limits.normalise;
  const std::size_t length = json_length.value_or(body.size());
  if (length > body.size())
    throw RequestError("tensor-data-too-short", 400, request.family,
                       fmt::format("the header announces {} bytes of JSON, the body has {} bytes", length, body.size()));
  const json document = parse_body(body.substr(0, length), limits.depth_max, request.family);
  std::set<std::string> asked;
  const JsonPart root(document, request.family, &asked);
  if (!root.is_object()) root.refuse("body-field-wrong-type", "a JSON object");
  request.model = endpoint.model.empty() ? root.text_or("model", "") : endpoint.model;
  read(endpoint, root, body.substr(length), limits, request);
  // KServe's clients can write settings below "parameters" alone.
  const auto says = [](const json& object) { return object.contains("normalise") || object.contains("normalize"); };
  const bool below =
      endpoint.path == Path::infer && !says(document) && document.contains("parameters") && says(document["parameters"]);
  const JsonPart settings = below ? root.at("parameters") : root;
  if (const char* key = only_key(settings, {"normalise", "normalize"}); key != nullptr) {
    const JsonPart word = settings.at(key).in(request.family);
    request.normalise = normalise_of(word);
    const bool texts_alone = std::ranges::any_of(request.groups, [](const Group& g) { return g.form != Form::messages; });
    if (request.normalise == Normalise::softmax && texts_alone)
      word.complain("setting-not-supported", "a softmax is over the responses to one prompt; send a prompt and its responses");
  }
  if (endpoint.path == Path::reward) expect_body_keys(root, asked, request);
  for (const auto& [key, value] : document.items()) {
    if (endpoint.path != Path::reward && !asked.contains(key)) request.unread.push_back(key);
  }
  return request;
}

}  // namespace dmoerm::wire
