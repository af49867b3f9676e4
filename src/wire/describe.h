// Replies to questions about the server and its models, which bring no texts.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "wire/endpoint.h"

namespace dmoerm::wire {

/// A bundle as clients see it.
struct ModelFacts {
  std::string name;          ///< or an alias of it
  std::string root;          ///< the bundle's own name
  std::int64_t created = 0;  ///< seconds since 1970
  std::int64_t max_length = 0;
  bool ready = true;
};
struct ServerFacts {
  std::string version;
  bool ready = true;
  std::size_t texts_max = 4096;  ///< Most texts of one request
  std::vector<ModelFacts> models;
};
struct Described {
  int status = 200;
  nlohmann::json body;
};
/// What is said of a model that the server does not have: its name, a known one that it resembles, and all known ones.
std::string unknown_model(std::string_view name, const std::vector<std::string>& known);

/// The reply to an endpoint without texts. @throws RequestError 404 for a model that is not among the server's
Described describe(const Endpoint& endpoint, const ServerFacts& server);

}  // namespace dmoerm::wire
