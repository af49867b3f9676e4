// The addresses that clients of reward servers use, and which of them this server answers.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wire/request_error.h"

namespace dmoerm::wire {

enum class Path : std::uint8_t {
  reward,            ///< /v1/reward: ours
  get_reward,        ///< OpenRLHF
  classify,          ///< vLLM, and SGLang's own form
  pooling,           ///< vLLM
  score,             ///< vLLM and SGLang
  rerank,            ///< vLLM, SGLang and TEI
  embeddings,        ///< OpenAI's form, as verl asks SGLang
  predict,           ///< TEI
  score_evaluation,  ///< LLaMA-Factory
  infer,             ///< KServe v2 (Triton, NeMo)
  // These take no body:
  models,        ///< OpenAI's list
  server,        ///< KServe v2: what the server is
  live,          ///< KServe v2
  ready,         ///< KServe v2
  model,         ///< KServe v2: tensors of a model
  model_config,  ///< Triton: the same in its own words
  model_ready,   ///< KServe v2
};

struct Endpoint {
  Path path = Path::reward;
  std::string model;       ///< the model that the path names; "" = the body may name one
  bool versioned = false;  ///< whether the path begins with /v1; some clients expect another form there
};

/// Whether requests to it bring texts to score. The others are answered by describe().
bool scores_texts(Path path);
/// The form of its errors where the body does not show another.
Family family_of(Path path);

/// The endpoint of a path without its query, or nothing if it is none of these.
/// @throws RequestError 405 for another method, 404 for a version of a model that the server does not have
std::optional<Endpoint> find_endpoint(std::string_view method, std::string_view path);

/// A path with names in braces where it may have any: "/v2/models/{model}/infer"; "" if it is none of these.
std::string_view pattern_of(std::string_view path);

/// The methods with which a path is asked; none if it is none of these.
std::vector<std::string_view> methods_of(std::string_view path);

/// The paths that are answered, with their methods, for an error or a document: "POST /classify".
std::vector<std::string> endpoint_names();

}  // namespace dmoerm::wire
