#include "eval/server_scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <string_view>

#include "base/counted.h"
#include "base/error.h"
#include "base/log.h"
#include "eval/server_address.h"
#include "eval/server_client.h"
#include "eval/server_protocol.h"
#include "eval/server_texts.h"

namespace dmoerm::eval {
namespace {

constexpr const char* kNoCount = "the server does not count them";
/// What `dmoerm serve` says of how it found the prompt (manual, page serving.md): all messages, the place where the response
/// begins, nothing.
constexpr std::array<std::string_view, 3> kPromptsFound = {"messages", "text", "none"};

/// Some responses of an item.
struct Part {
  std::size_t item = 0, first = 0, count = 0;
};

std::vector<Part> parts_of(const Data& data, std::size_t most) {
  std::vector<Part> parts;
  for (std::size_t i = 0; i < data.items.size(); ++i) {
    const std::size_t responses = data.items[i].responses.size();
    for (std::size_t first = 0; first < responses; first += most) parts.push_back({i, first, std::min(most, responses - first)});
  }
  return parts;
}

/// How texts are written: nullptr for a server that is sent messages. vLLM takes both, so that a template need not be named.
std::unique_ptr<ServerTexts> texts_for(const ServerAddress& address, const ScoringOptions& options) {
  if (address.protocol == ServerProtocol::reward) return nullptr;
  if (!options.chat_template.empty()) return std::make_unique<ServerTexts>(options.chat_template);
  if (address.protocol != ServerProtocol::get_reward) return nullptr;
  throw ConfigError(
      "no-chat-template",
      fmt::format("{}: this protocol takes texts in the chat template of the server's model; name it with --template: "
                  "a name, or the file that launch/pin_chat_template.py makes of the model's own",
                  address.shown));
}

/// The replies of one server, put together.
class Replies {
 public:
  Replies(const ModelSpec& spec, const Data& data, const ServerAddress& address, const OnScored& on_scored)
      : data_(data), address_(address), on_scored_(on_scored), left_(data.items.size()) {
    model_.name = spec.name;
    model_.server = {{"url", address.shown}, {"protocol", name_of(address.protocol)}};
    for (const Item& item : data.items) {
      model_.items.push_back({.scores = std::vector<double>(item.responses.size())});
      left_[model_.items.size() - 1] = item.responses.size();
    }
  }

  [[nodiscard]] std::string place(const Part& part) const {
    const Item& item = data_.items[part.item];
    const std::string row = fmt::format("{}:{}", item.file, item.line);
    return row.ends_with(item.id) ? row : fmt::format("{}: {}", row, item.id);  // rows without an id are called by their place
  }

  void add(const Part& part, const judge::HttpResult& result) {
    const ServerReply reply = read(part, result);
    expect_same_model(part, reply);
    ItemScores& own = model_.items[part.item];
    std::ranges::copy(reply.scores, own.scores.begin() + static_cast<std::ptrdiff_t>(part.first));
    const std::int64_t tokens = result.tokens >= 0 ? result.tokens : reply.tokens;
    if (tokens < 0) model_.tokens_unknown = kNoCount;
    own.tokens += std::max<std::int64_t>(tokens, 0);
    if (std::ranges::find(kPromptsFound, result.prompt_found) != kPromptsFound.end())
      model_.prompts_found[result.prompt_found] += static_cast<std::int64_t>(part.count);
    left_[part.item] -= part.count;
    if (left_[part.item] == 0) on_scored_(model_.name, ++items_done_, data_.items.size());
  }

  /// @param texts  how texts were written; nullptr: messages were sent
  ModelScores result(const ServerTexts* texts) {
    model_.server.insert(facts_.begin(), facts_.end());
    if (!address_.model.empty()) model_.server["asked_for"] = address_.model;
    if (texts != nullptr) {
      model_.server["sent_template"] = texts->name();
      model_.server["sent_template_sha256"] = texts->digest();
    }
    model_.doubt = doubt();
    if (!model_.doubt.empty()) spdlog::warn("[eval] server={} warning=\"{}\"", address_.shown, model_.doubt);
    const auto model = facts_.find("model");
    model_.source = address_.shown + (model == facts_.end() ? "" : fmt::format(" (model {})", model->second));
    return std::move(model_);
  }

 private:
  /// What the server says of texts that it did not read as messages in its own template; "" if there are none. Where most were
  /// read so, the template is the server's, and the others hold something that messages cannot.
  [[nodiscard]] std::string doubt() const {
    std::int64_t all = 0, others = 0;
    std::string said;
    for (const auto& [word, texts] : model_.prompts_found) {
      all += texts;
      if (word == kPromptsFound.front()) continue;
      others += texts;
      said += fmt::format("{}{}: {}", said.empty() ? "" : ", ", word, texts);
    }
    if (others == 0) return "";
    const auto sent = model_.server.find("sent_template");
    return fmt::format(
        "the server did not find the messages in {} of {}{} (X-Prompt-Found {}), so its model reads {}", others,
        counted(all, "text"), sent == model_.server.end() ? "" : " in the template " + sent->second, said,
        2 * others < all ? "these in another form than its own: they may hold special tokens of the template"
                         : "another form than its own: name the server's own template with --template (its GET /info states the "
                           "name and hash), or leave path and --template out, so that `dmoerm serve` gets messages");
  }

  [[nodiscard]] ServerReply read(const Part& part, const judge::HttpResult& result) const {
    try {
      return read_server_reply(address_.protocol, result.body, part.count);
    } catch (const DataError& e) {
      throw DataError(e.code(), fmt::format("{}: the reply of {} cannot be used: {}", place(part), address_.shown, e.what()));
    }
  }

  void expect_same_model(const Part& part, const ServerReply& reply) {
    if (replies_++ == 0) facts_ = reply.facts;
    if (facts_ == reply.facts) return;
    const auto shown = [](const std::map<std::string, std::string>& facts) {
      std::string text;
      for (const auto& [key, value] : facts) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key, value);
      return text.empty() ? "nothing" : text;
    };
    throw DataError("server-changed",
                    fmt::format("{}: {} said of itself {} and now says {}: its model changed during the evaluation; run again",
                                place(part), address_.shown, shown(facts_), shown(reply.facts)));
  }

  const Data& data_;
  const ServerAddress& address_;
  const OnScored& on_scored_;
  ModelScores model_;
  std::vector<std::size_t> left_;  ///< Responses of each item without a score
  std::map<std::string, std::string> facts_;
  std::size_t replies_ = 0, items_done_ = 0;
};

}  // namespace

void check_server(const ModelSpec& spec, const ScoringOptions& options) {
  const ServerAddress address = parse_server(spec.what.substr(kServer.size()));
  (void)texts_for(address, options);
}

ModelScores server_scores(const ModelSpec& spec, const Data& data, const ScoringOptions& options, const OnScored& on_scored) {
  const ServerAddress address = parse_server(spec.what.substr(kServer.size()));
  const std::unique_ptr<ServerTexts> texts = texts_for(address, options);
  const std::vector<Part> parts = parts_of(data, responses_max(address.protocol));
  Replies replies(spec, data, address, on_scored);
  ServerRequests requests;
  requests.count = parts.size();
  requests.body = [&](std::size_t i) {
    const Item& item = data.items[parts[i].item];
    return request_body(address, item.prompt, std::span(item.responses).subspan(parts[i].first, parts[i].count), texts.get());
  };
  requests.place = [&](std::size_t i) { return replies.place(parts[i]); };
  requests.reply = [&](std::size_t i, const judge::HttpResult& result) { replies.add(parts[i], result); };
  ask_server(address, requests);
  return replies.result(texts.get());
}

}  // namespace dmoerm::eval
