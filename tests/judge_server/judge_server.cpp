// A judge for tests: an OpenAI-compatible server that answers chat completions about two responses, and misbehaves on request.
//
//   judge_server --port 0 --port-file F [--tls --cert C --key K] [--data capability.jsonl.gz | --synthetic] [--log F]
//   [--misbehave KIND=WHEN ...] [--rpm N]
//
// Prompts contain blocks "<response_1 TAG>\n...\n</response_1 TAG>" and a line "point: NAME". The verdict is {"verdict":"1"} if
// the request has a JSON schema, else a last line "Verdict: 1".
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

#include "base/error.h"
#include "base/files.h"
#include "judge_answer.h"
#include "plain_server.h"
#include "tls_server.h"

int main(int argc, char** argv) {
  using namespace dmoerm;
  judge_server::AnswerOptions options;
  std::string address = "127.0.0.1", port_file, certificate, key_file;
  int port = 0;
  bool tls = false, synthetic = false;
  CLI::App app("A judge for tests");
  app.add_option("--port", port, "Port; 0 = any free one");
  app.add_option("--address", address, "Address without --tls");
  app.add_option("--port-file", port_file, "File that gets the port, written atomically once the server listens");
  app.add_flag("--tls", tls, "Serve HTTPS");
  app.add_option("--cert", certificate, "PEM file of the certificate chain");
  app.add_option("--key", key_file, "PEM file of the certificate's key");
  auto* data = app.add_option("--data", options.data, "Rows of preference data to answer from");
  app.add_flag("--synthetic", synthetic, "Answer from the texts alone (the default without --data)")->excludes(data);
  app.add_option("--log", options.log, "File to append a line to for each POST: sha256 of the body, ms, status, misbehaviour");
  app.add_option(
      "--misbehave", options.misbehave,
      "KIND=WHEN; WHEN: a share, every:N, first:N tries of a body, from:N. Kinds: " + judge_server::Misbehaviour::kinds());
  app.add_option("--rpm", options.requests_per_minute, "Most requests in any 60 seconds");
  app.add_option("--require-key", options.key, "Answer 401 to other API keys");
  app.add_option("--model", options.model, "Answer 404 to other models");
  app.add_option("--latency-ms", options.latency_ms, "Milliseconds before an answer");
  app.add_option("--batch-delay-s", options.batch_delay_s, "Seconds from the creation of a batch to its end");
  app.add_option("--slow-s", options.slow_s, "Seconds that slow_headers and slow_body take");
  app.add_flag("--no-schema", options.no_schema, "Answer 400 to requests with a response_format");
  app.add_flag("--gzip", options.gzip, "Compress replies if the client accepts it");
  app.add_option("--seed", options.seed, "Seed of the order effect and of the shares");
  CLI11_PARSE(app, argc, argv);
  std::signal(SIGPIPE, SIG_IGN);
  try {
    judge_server::JudgeAnswer answer(options);
    const auto listening = [&](int bound) {
      if (!port_file.empty()) write_file_atomically(port_file, std::to_string(bound) + "\n");
      std::fprintf(stderr, "[judge] port=%d\n", bound);
    };
    if (tls) {
      judge_server::serve_tls(answer, port, certificate, key_file, listening);
    } else {
      judge_server::serve_plain(answer, address, port, listening);
    }
  } catch (const Error& e) {
    std::fprintf(stderr, "judge_server: %s\n", e.what());
    return e.exit_code();
  }
  return 0;
}
