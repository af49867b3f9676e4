// Fuzzer of the verdict parser: any reply in any form gives a verdict of those it may give, and never the opposite for a copy in
// other letters.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "label/verdict_parser.h"

namespace {

using namespace dmoerm::label;

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
  for (const AnswerForm form : {AnswerForm::json_schema, AnswerForm::verdict_line}) {
    const Verdict verdict = parse_verdict(reply, form);
    demand(verdict <= Verdict::refused);
    const Verdict without_tie = parse_verdict(reply, form, false);
    demand(verdict != Verdict::first || without_tie == Verdict::first);
    demand(verdict != Verdict::second || without_tie == Verdict::second);
    if (verdict == Verdict::tie) demand(without_tie == Verdict::unparsable || without_tie == Verdict::refused);
    if (verdict == Verdict::first || verdict == Verdict::second) {  // the value that was read is there
      demand(reply.find(verdict == Verdict::first ? "1" : "2") != std::string_view::npos ||
             reply.find("回") != std::string_view::npos || reply.find("\xef\xbc") != std::string_view::npos);
    }
    if (size < 4096) {
      const auto probability = first_probability(as_tokens(reply, step), form);
      if (probability) demand(*probability >= 0 && *probability <= 1);
      if (probability) demand(verdict <= Verdict::tie);
    }
    (void)first_probability(nlohmann::json::parse(reply.begin(), reply.end(), nullptr, false), form);
  }
  const Verdict named = parse_named_verdict(reply, {{"Output (a)"}, {"Output (b)"}, {"tie"}});
  const Verdict mirrored = parse_named_verdict(reply, {{"Output (b)"}, {"Output (a)"}, {"tie"}});
  demand(named != Verdict::error && mirrored == (named == Verdict::first    ? Verdict::second
                                                 : named == Verdict::second ? Verdict::first
                                                                            : named));
  return 0;
}
