// dmoerm serve: scores over HTTP.
#include <fmt/format.h>
#include <sched.h>

#include <csignal>
#include <cstdlib>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/text.h"
#include "cli/verbs.h"
#include "cli/version.h"
#include "nn/device.h"
#include "serve/service.h"

namespace dmoerm::cli {
namespace {

using serve::Clock;

struct Options {
  std::vector<std::string> bundles, aliases;
  std::string key_file, certificate, key, device = "cpu";
  serve::HttpOptions http;
  serve::EngineOptions engine;
  serve::ServiceOptions service;
  int threads = 0;
  double drain_s = 30, batch_wait_ms = 2;
};

volatile std::sig_atomic_t hang_ups = 0;

/// Cores that this process may use.
int cores() {
  cpu_set_t set;
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

/// The keys of a file, one a line, or of DMOERM_API_KEY.
std::vector<std::string> read_keys(const std::string& file) {
  std::vector<std::string> keys;
  if (file.empty()) {
    if (const char* key = std::getenv("DMOERM_API_KEY"); key != nullptr && *key != '\0') keys.emplace_back(key);
    return keys;
  }
  std::string rest = read_file(file);
  for (std::size_t end = 0; !rest.empty(); rest.erase(0, end == std::string::npos ? rest.size() : end + 1)) {
    end = rest.find('\n');
    const std::string_view key = trim(std::string_view(rest).substr(0, end));
    if (!key.empty() && !key.starts_with('#')) keys.emplace_back(key);
  }
  if (keys.empty())
    throw ConfigError("api-key-missing", fmt::format("--api-key-file {}: there is no key in it: write one key a line", file));
  return keys;
}

bool is_loopback(const std::string& host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

std::map<std::string, std::string> aliases_of(const Options& options) {
  std::map<std::string, std::string> aliases;
  for (const std::string& text : options.aliases) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
      throw ConfigError("bad-model-argument", fmt::format("--alias {}: expected OTHER=NAME", text));
    aliases[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return aliases;
}

/// What the options say together, before anything is loaded. @throws ConfigError, IoError
void complete(Options& options) {
  options.service.api_keys = read_keys(options.key_file);
  if (options.service.api_keys.empty() && !is_loopback(options.http.host))
    throw ConfigError(
        "api-key-missing",
        fmt::format("--host {}: other machines reach this address, so that an API key is wanted: give --api-key-file or "
                    "set DMOERM_API_KEY",
                    options.http.host));
  if (options.certificate.empty() != options.key.empty())
    throw ConfigError("tls-not-usable", "--tls-cert and --tls-key belong together: give both or neither");
  if (!options.certificate.empty()) {
    options.http.certificate = read_file(options.certificate);
    options.http.key = read_file(options.key);
  }
  options.engine.threads = options.threads > 0 ? options.threads : cores();
  options.engine.batch_wait_s = options.batch_wait_ms / 1e3;
  options.service.version = std::string(version());
}

std::string address_of(const Options& options, int port) {
  const bool v6 = options.http.host.find(':') != std::string::npos;
  return fmt::format("http{}://{}{}{}:{}", options.http.certificate.empty() ? "" : "s", v6 ? "[" : "", options.http.host,
                     v6 ? "]" : "", port);
}

/// A line a minute while requests come.
class MinuteLine {
 public:
  void show(const serve::Service& service) {
    const double spent = std::chrono::duration<double>(Clock::now() - shown_).count();
    if (spent < 60) return;
    const serve::Metrics::Totals now = service.metrics().totals();
    const serve::Engine::State queue = service.queue();
    if (now.requests != before_.requests || queue.requests > 0)
      spdlog::info("[serve] {:.1f} requests and {:.1f} texts a second, {} texts in the queue, {} answered with 429",
                   static_cast<double>(now.requests - before_.requests) / spent,
                   static_cast<double>(now.texts - before_.texts) / spent, queue.texts, now.refused - before_.refused);
    shown_ = Clock::now();
    before_ = now;
  }

 private:
  Clock::time_point shown_ = Clock::now();
  serve::Metrics::Totals before_;
};

/// Wait until no request is under way, at most `seconds`. @return whether all were answered
bool drain(serve::Service& service, serve::HttpServer& server, double seconds) {
  service.drain();
  server.stop_accepting();
  const Clock::time_point begun = Clock::now();
  while (server.under_way() > 0) {
    if (std::chrono::duration<double>(Clock::now() - begun).count() > seconds) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

void run(Options options) {
  init_log(0, 1, "info");
  complete(options);
  std::vector<serve::BundlePlace> places;
  for (const std::string& text : options.bundles) places.push_back(serve::parse_place(text));
  catch_stop_signals();
  struct sigaction action {};
  action.sa_handler = [](int) { hang_ups = 1; };
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGHUP, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  const Clock::time_point begun = Clock::now();
  serve::Bundles bundles(places, aliases_of(options), nn::pick_device(options.device, "--device"), options.engine.threads);
  bool all_answered = false;
  serve::Metrics::Totals totals;
  {
    serve::Service service(options.service, options.engine, bundles);
    serve::HttpServer server(
        options.http, [&](const serve::HttpRequest& request) { return service.check(request); },
        [&](std::shared_ptr<serve::Exchange> exchange) { service.handle(std::move(exchange)); },
        [&](const serve::HttpRequest& request, int status, ErrorCode code, const std::string& message) {
          return service.refuse(request, status, code, message);
        });
    service.watch(&server);
    spdlog::info("[serve] {} at {}; ready after {}", bundles.names(), address_of(options, server.port()),
                 duration_text(std::chrono::duration<double>(Clock::now() - begun).count()));
    for (MinuteLine line; !stop_requested(); std::this_thread::sleep_for(std::chrono::milliseconds(20))) {
      if (hang_ups != 0) {
        hang_ups = 0;
        service.reload("");
      }
      line.show(service);
    }
    spdlog::info("[serve] {}: no new requests; finishing those that wait", stop_signal());
    all_answered = drain(service, server, options.drain_s);
    service.abandon();
    totals = service.metrics().totals();
  }
  fmt::print(
      stderr, "served {} requests ({} texts, {} tokens) in {}: {} answered, {} refused for lack of room, {} wrong or failed\n",
      totals.requests, totals.texts, totals.tokens, duration_text(std::chrono::duration<double>(Clock::now() - begun).count()),
      totals.answered, totals.refused, totals.failed);
  if (!all_answered)
    throw Error(
        "drain-took-too-long",
        fmt::format("some requests had no answer after {:.0f} s (--drain-s) and were told to go elsewhere", options.drain_s));
}

void add_limits(CLI::App& verb, Options& options) {
  verb.add_option("--batch-tokens", options.engine.batch_tokens, "Tokens of one batch; 0 = as many as the bundle's passes have")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb.add_option("--batch-wait-ms", options.batch_wait_ms, "Longest time that a request waits for others to fill its batch")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
  verb.add_option("--queue-tokens", options.engine.queue_tokens_max,
                  "Tokens that may wait; further requests are answered with 429")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb.add_option("--queue-texts", options.engine.queue_texts_max, "Texts that may wait")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb.add_option("--deadline-s", options.service.deadline_s,
                  "Longest time for an answer; a request may ask for less with the header X-Request-Timeout")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb.add_option("--drain-s", options.drain_s, "Longest time to finish what waits after SIGTERM")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb.add_option("--body-bytes", options.http.body_bytes_max, "Longest body of a request")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb.add_option("--request-texts", options.service.limits.texts_max, "Texts of one request")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb.add_option("--request-tokens", options.service.request_tokens_max, "Tokens of one request")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb.add_option("--connections", options.http.connections_max, "Connections at a time; others wait")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb.add_option("--header-s", options.http.header_s, "Longest time that a client may take to send the headers")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb.add_option("--body-s", options.http.body_s, "Longest time that a client may take to send the body")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb.add_option("--write-s", options.http.write_s, "Longest time that a client may take to read an answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

}  // namespace

void add_serve(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->http.port = 8000;
  CLI::App* verb = app.add_subcommand(
      "serve", "Answer scores over HTTP in the protocols of OpenRLHF, vLLM, SGLang, TEI, verl, LLaMA-Factory and KServe");
  verb->footer(example("serve --bundle runs/quickstart/bundle --port 8000"));
  verb->add_option("--bundle", options->bundles,
                   "Folder of a bundle, or NAME=DIR; may be repeated, requests choose by \"model\", and the first is the default")
      ->type_name(kFolder)
      ->required()
      ->allow_extra_args(false);
  verb->add_option("--alias", options->aliases, "Another name for a bundle, as OTHER=NAME; may be repeated")
      ->allow_extra_args(false);
  verb->add_option("--host", options->http.host, "Address to listen at; other machines are let in only with an API key")
      ->capture_default_str();
  verb->add_option("--port", options->http.port, "Port; 0 = any free one")->check(CLI::Range(0, 65535))->capture_default_str();
  verb->add_option("--api-key-file", options->key_file,
                   "File with one API key a line, one of which each request must send; default: the variable DMOERM_API_KEY")
      ->type_name(kFile);
  verb->add_option("--tls-cert", options->certificate, "PEM file of the certificate, for HTTPS")->type_name(kFile);
  verb->add_option("--tls-key", options->key, "PEM file of its key")->type_name(kFile);
  verb->add_option("--threads", options->threads, "Number of threads that compute; 0 = one per core")
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--device", options->device, "Device to compute on: cpu, cuda, or auto (cuda if there is one)")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}));
  add_limits(*verb, *options);
  verb->add_flag("--sglang", options->service.limits.sglang, "Answer /v1/rerank as SGLang does, not as vLLM");
  verb->add_flag("--verbose", options->service.verbose, "Log a line a request");
  verb->callback([options] { run(*options); });
}

}  // namespace dmoerm::cli
