// The replies of the known protocols, made of scores.
#pragma once
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "wire/request.h"

namespace dmoerm::wire {

/// Everything that is known of one text's score.
struct Scored {
  double score = 0;                             ///< raw
  double standardised = 0;                      ///< (score - mean) / std of the statistics of the model that scored
  std::map<std::string, double> points;         ///< capability point -> standardised reward; empty if the single model scored
  std::optional<double> base;                   ///< standardised reward of the base, where the aggregator reads it
  std::map<std::string, double> contributions;  ///< capability point -> its part of `score`; empty where there are no parts
  std::optional<double> base_contribution;      ///< the base's part of `score`
  std::string second;                           ///< category whose rewards are mixed with those of `scored_by`; empty if none is
  double second_share = 0;                      ///< its share of the mixture
  double second_contribution = 0;               ///< its part of `score`
  double spread = 0;                            ///< standard deviation of `points`; 0 with fewer than two
  std::string scored_by;                        ///< category whose model scored, or "single"
  std::string category;                         ///< the router's likeliest category
  double confidence = 0, distance = 0;          ///< How sure the route is, and how far the prompt is from the category
  bool fallback = false;                        ///< whether the single model scored
  std::int64_t tokens = 0;                      ///< tokens of prompt and response, with those that were cut
  std::int64_t cut_tokens = 0;                  ///< tokens that the model did not read
  bool split = true;                            ///< Form::text, Form::tokens: whether prompt and response were told apart
};

/// What a reply says besides scores.
struct ReplyFacts {
  std::string model;                  ///< the name under which the bundle answers
  std::string id;                     ///< unique to the request; only letters, digits and hyphens
  std::int64_t created = 0;           ///< seconds since 1970
  std::string template_sha256;        ///< Digest of the bundle's chat template
  std::vector<std::string> points{};  ///< all capability points of the bundle's categories, each once
};

/// The body of a reply with status 200.
/// @param scored  one for each text, group by group in the request's order
nlohmann::json render(const Request& request, const std::vector<Scored>& scored, const ReplyFacts& facts);

}  // namespace dmoerm::wire
