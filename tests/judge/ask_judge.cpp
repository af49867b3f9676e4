// Asks an OpenAI-compatible server a few questions through the judge client and prints one JSON line per reply, for tests against
// other servers.
//
//   ask_judge --url http://127.0.0.1:PORT/v1 --model NAME [--questions N]
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "judge/judge_client.h"
#include "judge/verdict_parser.h"

int main(int argc, char** argv) {
  using namespace dmoerm;
  config::EndpointConfig endpoint;
  endpoint.concurrency_max = 2;
  std::string model;
  int questions = 4;
  CLI::App app("asks a judge");
  app.add_option("--url", endpoint.url)->required();
  app.add_option("--model", model)->required();
  app.add_option("--questions", questions);
  CLI11_PARSE(app, argc, argv);
  try {
    judge::JudgeClient client({endpoint});
    for (int i = 0; i < questions; ++i) {
      const std::string question = fmt::format(
          "Which response answers \"What is {0} + {0}?\" better?\n<response_1>\n{1}\n</response_1>\n<response_2>\nI do not "
          "know.\n</response_2>\n"
          "Answer with one line: Verdict: 1 or Verdict: 2",
          i, 2 * i);
      const nlohmann::json body = {
          {"model", model},
          {"temperature", 0},
          {"max_tokens", 16},
          {"messages",
           {{{"role", "system"}, {"content", "You compare two responses."}}, {{"role", "user"}, {"content", question}}}}};
      client.submit(static_cast<std::uint64_t>(i), body.dump(), 200);
    }
    while (client.pending() > 0) {
      for (const judge::JudgeReply& reply : client.poll(std::chrono::milliseconds(1000))) {
        const auto verdict = judge::parse_verdict(reply.text, judge::AnswerForm::verdict_line);
        const nlohmann::json line = {{"ticket", reply.ticket},
                                     {"status", to_string(reply.status)},
                                     {"verdict", to_string(verdict)},
                                     {"text", reply.text},
                                     {"detail", reply.detail},
                                     {"finish_reason", reply.finish_reason},
                                     {"tries", reply.tries},
                                     {"prompt_tokens", reply.prompt_tokens},
                                     {"completion_tokens", reply.completion_tokens}};
        std::puts(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
      }
    }
  } catch (const Error& e) {
    std::fprintf(stderr, "ask_judge: %s\n", e.what());
    return e.exit_code();
  }
  return 0;
}
