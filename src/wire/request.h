// What a client asks: texts to score, by prompts, and how to answer. Read by parse().
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "preference/group.h"
#include "wire/endpoint.h"

namespace dmoerm::wire {

/// How a text came.
enum class Form : std::uint8_t {
  messages,  ///< a prompt of messages, and a response
  text,      ///< one text in which prompt and response follow each other, as a chat template wrote them
  tokens,    ///< the same as token ids
};

struct Item {
  std::string text;                  ///< the response; with Form::text the whole conversation
  std::vector<std::int32_t> tokens;  ///< Form::tokens: the ids, none of them negative
  std::size_t prompt_bytes = 0;      ///< Form::text: bytes at its beginning that the client calls the prompt; 0 = it says nothing
  std::size_t place = 0;             ///< number of the text in the request
};

/// Texts that share a prompt and are to be scored together.
struct Group {
  Form form = Form::messages;
  std::vector<preference::Message> prompt;  ///< Form::messages
  std::vector<Item> items;                  ///< at least one; exactly one with Form::text and Form::tokens
  nlohmann::json id;                        ///< what the client calls the group, echoed; null = nothing
};

enum class Normalise : std::uint8_t { none, sigmoid, softmax, standard };
const char* name_of(Normalise normalise);
std::optional<Normalise> normalise_from(std::string_view name);

/// Which protocol's reply the client waits for.
enum class Reply : std::uint8_t {
  reward,
  openrlhf,
  vllm_classify,
  vllm_pooling,
  vllm_score,
  vllm_rerank,
  sglang_classify,
  sglang_score,
  sglang_rerank,
  embeddings,
  tei_predict,
  tei_rerank,
  score_evaluation,
  kserve,
};

struct Request {
  Reply reply = Reply::reward;
  Family family = Family::own;  ///< form of errors
  std::string model;            ///< "" = the default
  std::string category;         ///< "use_category" of ours: the category whose model scores; "" = the router decides
  std::string id;               ///< what the client calls the request; "" = nothing
  std::vector<Group> groups;    ///< may be none, as in OpenRLHF's empty list
  Normalise normalise = Normalise::none;
  std::size_t top_n = 0;            ///< rerank: how many to return; 0 = all
  bool return_text = false;         ///< rerank: whether to return the texts
  bool refuse_overlong = false;     ///< a text that the model cannot read whole is refused; else it is cut as `dmoerm score` does
  bool nested = false;              ///< the reply is a list of lists (TEI's batches), or has "items" (ours)
  bool base64 = false;              ///< numbers as base64 of float32 (OpenAI's encoding_format)
  std::vector<std::string> unread;  ///< keys and inputs of the body that nothing here reads
  [[nodiscard]] std::size_t size() const;  ///< number of texts
};

/// What a request may have.
struct Limits {
  std::size_t texts_max = 4096;  ///< texts of one request
  std::size_t text_bytes_max = 8 << 20;
  int depth_max = 32;   ///< nested lists and objects
  bool sglang = false;  ///< /v1/rerank is answered as SGLang does, not as vLLM: their requests are the same
  Normalise normalise =
      Normalise::none;  ///< Scores of requests that ask for no other form; false switches of a protocol are no such
};

}  // namespace dmoerm::wire
