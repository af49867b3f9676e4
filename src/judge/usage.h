// The cost of asking judges.
#pragma once
#include <cstdint>

namespace dmoerm::judge {

/// Requests, tokens and money of one question, or of many.
struct Usage {
  std::int64_t requests = 0, prompt_tokens = 0, completion_tokens = 0;
  std::int64_t cost_micros = 0;  ///< Millionths of the currency
  Usage& operator+=(const Usage& other) {
    requests += other.requests;
    prompt_tokens += other.prompt_tokens;
    completion_tokens += other.completion_tokens;
    cost_micros += other.cost_micros;
    return *this;
  }
  Usage& operator-=(const Usage& other) {
    requests -= other.requests;
    prompt_tokens -= other.prompt_tokens;
    completion_tokens -= other.completion_tokens;
    cost_micros -= other.cost_micros;
    return *this;
  }
  bool operator==(const Usage&) const = default;
};

}  // namespace dmoerm::judge
