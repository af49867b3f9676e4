// Scores and requests for tests of wire formats.
#pragma once
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "wire/parse.h"
#include "wire/reply.h"

namespace dmoerm::wire {

/// The request that a body makes at a path.
inline Request asked(std::string_view path, std::string_view body, const Limits& limits = {}) {
  return parse(find_endpoint("POST", path).value(), body, limits);
}

/// The scores 1.5, -0.5, 0.25, 2, ... for the texts of a request, group by group.
inline std::vector<Scored> some_scores(const Request& request) {
  const std::vector<double> values = {1.5, -0.5, 0.25, 2};
  std::vector<Scored> scored;
  for (std::size_t i = 0; i < request.size(); ++i) {
    Scored s;
    s.score = values[i % values.size()];
    s.standardised = 2 * s.score;
    s.points = {{"clarity", 0.5}, {"empathy", -1.0}};
    s.contributions = {{"clarity", 0.75}, {"empathy", -0.25}};
    s.base = 0.125;
    s.base_contribution = 1.0;
    s.spread = 0.75;
    s.scored_by = s.category = "chat";
    s.confidence = 0.875;
    s.distance = 0.25;
    s.tokens = 12;
    s.cut_tokens = 2;
    scored.push_back(s);
  }
  return scored;
}

inline nlohmann::json answered(const Request& request) {
  return render(request, some_scores(request), {"m", "abc", 1745383065, "feed", {"clarity", "empathy", "style"}});
}

inline nlohmann::json answered(std::string_view path, std::string_view body, const Limits& limits = {}) {
  return answered(asked(path, body, limits));
}

/// What a refusal says: status, code, sentence.
struct Refusal {
  int status = 0;
  std::string code, sentence;
  Family family = Family::own;
};
inline Refusal refused(std::string_view path, std::string_view body, const Limits& limits = {}) {
  try {
    (void)asked(path, body, limits);
  } catch (const RequestError& e) {
    return {e.status(), e.code().text(), e.what(), e.family()};
  }
  ADD_FAILURE() << path << " accepts " << body;
  return {};
}

}  // namespace dmoerm::wire
