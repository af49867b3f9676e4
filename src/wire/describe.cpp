#include "wire/describe.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "wire/known_names.h"
#include "wire/request_error.h"
#include "wire/tensors.h"

namespace dmoerm::wire {

using nlohmann::json;

namespace {

const ModelFacts& find_model(const Endpoint& endpoint, const ServerFacts& server) {
  const auto found = std::ranges::find(server.models, endpoint.model, &ModelFacts::name);
  if (found != server.models.end()) return *found;
  std::vector<std::string> names;
  for (const ModelFacts& model : server.models) names.push_back(model.name);
  throw RequestError("unknown-model", 404, family_of(endpoint.path), unknown_model(endpoint.model, names));
}

const char* triton_type(const KnownInput& input) { return input.texts ? "TYPE_STRING" : "TYPE_INT64"; }
const char* datatype_of(const KnownInput& input) { return input.texts ? "BYTES" : "INT64"; }

json openai_model(const ModelFacts& model) {
  return {{"id", model.name},   {"object", "model"}, {"created", model.created},         {"owned_by", "dmoerm"},
          {"root", model.root}, {"parent", nullptr}, {"max_model_len", model.max_length}};
}

json openai_models(const Endpoint& endpoint, const ServerFacts& server) {
  if (!endpoint.model.empty()) return openai_model(find_model(endpoint, server));
  json data = json::array();
  for (const ModelFacts& model : server.models) data.push_back(openai_model(model));
  return {{"object", "list"}, {"data", std::move(data)}};
}

json kserve_model(const ModelFacts& model) {
  json inputs = json::array();
  for (const KnownInput& input : kInputs)
    inputs.push_back({{"name", input.name}, {"datatype", datatype_of(input)}, {"shape", {-1, -1}}});
  return {{"name", model.name},
          {"versions", {"1"}},
          {"platform", "dmoerm"},
          {"inputs", std::move(inputs)},
          {"outputs", json::array({{{"name", "rewards"}, {"datatype", "FP32"}, {"shape", {-1, 1}}}})}};
}

/// As Triton writes its models' configurations.
json triton_config(const ModelFacts& model, std::size_t texts_max) {
  json inputs = json::array();
  for (const KnownInput& input : kInputs)
    inputs.push_back({{"name", input.name}, {"data_type", triton_type(input)}, {"dims", {-1}}, {"optional", true}});
  return {{"name", model.name},
          {"platform", ""},
          {"backend", "dmoerm"},
          {"version_policy", {{"latest", {{"num_versions", 1}}}}},
          {"max_batch_size", texts_max},
          {"input", std::move(inputs)},
          {"output", json::array({{{"name", "rewards"}, {"data_type", "TYPE_FP32"}, {"dims", {1}}}})},
          {"dynamic_batching", json::object()},
          {"instance_group", json::array({{{"name", model.name}, {"kind", "KIND_CPU"}, {"count", 1}}})},
          {"parameters", json::object()},
          {"model_transaction_policy", {{"decoupled", false}}}};
}

}  // namespace

std::string unknown_model(std::string_view name, const std::vector<std::string>& known) {
  return fmt::format("the model \"{}\" is unknown{}", utf8_prefix(name, 100), known_instead(name, known, "the server has"));
}

Described describe(const Endpoint& endpoint, const ServerFacts& server) {
  switch (endpoint.path) {
    case Path::models:
      return {200, openai_models(endpoint, server)};
    case Path::live:
      return {200, {{"live", true}}};
    case Path::ready:
      return {server.ready ? 200 : 503, {{"ready", server.ready}}};
    case Path::model:
      return {200, kserve_model(find_model(endpoint, server))};
    case Path::model_config:
      return {200, triton_config(find_model(endpoint, server), server.texts_max)};
    case Path::model_ready: {
      const ModelFacts& model = find_model(endpoint, server);
      return {model.ready ? 200 : 503, {{"name", model.name}, {"ready", model.ready}}};
    }
    default:
      return {200, {{"name", "dmoerm"}, {"version", server.version}, {"extensions", {"binary_tensor_data"}}}};
  }
}

}  // namespace dmoerm::wire
