// Fuzzer of the verdict parser: any bytes give a verdict that parse_verdict() may return, and a first or second only where the
// reply names it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "judge/verdict_parser.h"

namespace {

using namespace dmoerm;

void demand(bool good) {
  if (!good) std::abort();
}

/// The reply as tokens of a few bytes each, the last but one of them with an alternative.
nlohmann::json as_tokens(std::string_view reply, std::size_t step) {
  nlohmann::json content = nlohmann::json::array();
  for (std::size_t at = 0; at < reply.size(); at += step) {
    nlohmann::json bytes = nlohmann::json::array();
    for (const char c : reply.substr(at, step)) bytes.push_back(static_cast<unsigned>(static_cast<unsigned char>(c)));
    content.push_back({{"bytes", bytes}, {"logprob", -0.1}, {"top_logprobs", {{{"token", "2"}, {"logprob", -3.0}}}}});
  }
  return {{"content", content}};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t step = 1 + data[0] % 8;
  const std::string_view reply(reinterpret_cast<const char*>(data) + 1, size - 1);
  for (const judge::AnswerForm form : {judge::AnswerForm::json_schema, judge::AnswerForm::verdict_line}) {
    const preference::Verdict verdict = judge::parse_verdict(reply, form);
    demand(verdict <= preference::Verdict::refused);
    const preference::Verdict without_tie = judge::parse_verdict(reply, form, false);
    demand(verdict != preference::Verdict::first || without_tie == preference::Verdict::first);
    demand(verdict != preference::Verdict::second || without_tie == preference::Verdict::second);
    if (verdict == preference::Verdict::tie)
      demand(without_tie == preference::Verdict::unparsable || without_tie == preference::Verdict::refused);
    if (verdict == preference::Verdict::first || verdict == preference::Verdict::second) {  // the value that was read is there
      demand(reply.find(verdict == preference::Verdict::first ? "1" : "2") != std::string_view::npos ||
             reply.find("回") != std::string_view::npos || reply.find("\xef\xbc") != std::string_view::npos);
    }
    if (size < 4096) {
      const auto probability = judge::first_probability(as_tokens(reply, step), form);
      if (probability) demand(*probability >= 0 && *probability <= 1);
      if (probability) demand(verdict <= preference::Verdict::tie);
    }
    (void)judge::first_probability(nlohmann::json::parse(reply.begin(), reply.end(), nullptr, false), form);
  }
  return 0;
}
