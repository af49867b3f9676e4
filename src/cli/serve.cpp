// dmoerm serve: scores over HTTP.
#include <fmt/format.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/counted.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/text.h"
#include "base/workers.h"
#include "cli/verbs.h"
#include "cli/version.h"
#include "nn/device.h"
#include "serve/clock.h"
#include "serve/front.h"
#include "serve/origins.h"
#include "serve/rank.h"
#include "serve/service.h"

namespace dmoerm::cli {
namespace {

using serve::Clock;

struct Options {
  std::vector<std::string> bundles, aliases;
  std::string key_file, certificate, key, device = "cpu", weights = "float32", normalise = "none";
  serve::HttpOptions http;
  serve::EngineOptions engine;
  serve::ServiceOptions service;
  int threads = 0, ranks = 1, rank_socket = -1, rank = 0;
  double drain_s = 25, batch_wait_ms = 2;  // Kubernetes and Slurm kill 30 s after SIGTERM
};

volatile std::sig_atomic_t hang_ups = 0;

/// The keys of a file, one a line, or of DMOERM_API_KEY.
std::vector<std::string> read_keys(const std::string& file) {
  std::vector<std::string> keys;
  if (file.empty()) {
    const char* variable = std::getenv("DMOERM_API_KEY");
    if (variable == nullptr || *variable == '\0') return keys;
    keys.emplace_back(trim(variable));
    if (keys[0].empty()) throw ConfigError("api-key-missing", "DMOERM_API_KEY holds nothing but white space: put the key there");
    return keys;
  }
  constexpr std::string_view kByteOrderMark = "\uFEFF";
  std::string rest = read_file(file);
  if (rest.starts_with(kByteOrderMark)) rest.erase(0, kByteOrderMark.size());
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

/// Who may ask, and with which certificate the server answers. @throws ConfigError, IoError
void read_keys_and_certificate(Options& options) {
  options.service.api_keys = read_keys(options.key_file);
  options.service.keys_take_turns = options.service.api_keys.size() > 1;
  if (options.service.api_keys.empty() && !is_loopback(options.http.host))
    throw ConfigError(
        "api-key-missing",
        fmt::format("--host {}: other machines reach this address, so that an API key is wanted: give --api-key-file or "
                    "set DMOERM_API_KEY",
                    options.http.host));
  for (const std::string& origin : options.http.origins) {
    serve::expect_origin(origin);
    if (options.service.api_keys.empty())
      throw ConfigError("api-key-missing",
                        fmt::format("--cors {}: pages of other origins are let in only with an API key: give --api-key-file or "
                                    "set DMOERM_API_KEY",
                                    origin));
  }
  if (options.certificate.empty() != options.key.empty())
    throw ConfigError("tls-not-usable", "--tls-cert and --tls-key belong together: give both or neither");
  if (!options.certificate.empty()) {
    options.http.certificate = read_file(options.certificate);
    options.http.key = read_file(options.key);
    for (const auto& [option, file, text] : {std::tuple("--tls-cert", options.certificate, options.http.certificate),
                                             std::tuple("--tls-key", options.key, options.http.key)}) {
      if (is_blank(text)) throw ConfigError("tls-not-usable", fmt::format("{} {}: the file is empty", option, file));
    }
  }
}

/// What the options say together, before anything is loaded. @throws ConfigError, IoError
void complete(Options& options) {
  // A rank may start again at any time: it must not want files that have gone since, nor know other keys than its front.
  options.service.behind_front = options.rank_socket >= 0;
  if (!options.service.behind_front) read_keys_and_certificate(options);
  options.engine.threads = options.threads > 0 ? options.threads : processors();
  options.engine.batch_wait_s = options.batch_wait_ms / 1e3;
  options.service.version = std::string(version());
  options.service.limits.normalise = *wire::normalise_from(options.normalise);
}

std::string address_of(const Options& options, int port) {
  const bool v6 = options.http.host.find(':') != std::string::npos;
  return fmt::format("http{}://{}{}{}:{}", options.http.certificate.empty() ? "" : "s", v6 ? "[" : "", options.http.host,
                     v6 ? "]" : "", port);
}

/// A line a minute while requests come.
class MinuteLine {
 public:
  void show(const serve::Totals& now, std::size_t under_way) {
    const double spent = serve::seconds_since(shown_);
    if (spent < 60) return;
    if (now.requests != before_.requests || under_way > 0)
      spdlog::info("[serve] {:.1f} requests and {:.1f} texts a second, {} requests under way, {} answered with 429",
                   static_cast<double>(now.requests - before_.requests) / spent,
                   static_cast<double>(now.texts - before_.texts) / spent, under_way, now.refused - before_.refused);
    shown_ = Clock::now();
    before_ = now;
  }

 private:
  Clock::time_point shown_ = Clock::now();
  serve::Totals before_;
};

/// What was answered, and in how long: "served 3 requests (5 texts, 80 tokens) in 2 s".
std::string served(const serve::Totals& totals, Clock::time_point begun) {
  return fmt::format("served {} ({}, {}) in {}", counted(totals.requests, "request"), counted(totals.texts, "text"),
                     counted(totals.tokens, "token"), duration_text(serve::seconds_since(begun)));
}
std::string outcomes(const serve::Totals& totals) {
  const std::string left = totals.left > 0 ? fmt::format(", {} given up by clients", totals.left) : "";
  return fmt::format("{} answered, {} refused for lack of room, {} with mistakes of clients{}, {} failed here", totals.answered,
                     totals.refused, totals.mistaken, left, totals.failed);
}

/// Wait until no request is under way, at most `seconds`. @return whether all were answered
bool drain(serve::HttpServer& server, double seconds) {
  spdlog::info("[serve] {}: no new requests; finishing those that wait", stop_signal());
  server.stop_accepting();
  const Clock::time_point begun = Clock::now();
  while (server.under_way() > 0) {
    if (serve::seconds_since(begun) > seconds) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

/// Call `tick` now and then until a signal asks to stop, and `reload` after each SIGHUP.
void wait_for_stop(const std::function<void()>& tick, const std::function<void()>& reload) {
  for (; !stop_requested(); std::this_thread::sleep_for(std::chrono::milliseconds(20))) {
    if (hang_ups != 0) {
      hang_ups = 0;
      reload();
    }
    tick();
  }
}

void catch_signals() {
  catch_stop_signals();
  struct sigaction action {};
  action.sa_handler = [](int) { hang_ups = 1; };
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGHUP, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

void expect_answered(bool all, const Options& options) {
  if (!all)
    throw Error(
        "drain-took-too-long",
        fmt::format("some requests had no answer after {:.0f} s (--drain-s) and were told to go elsewhere", options.drain_s));
}

serve::Bundles load(const Options& options) {
  std::vector<serve::BundlePlace> places;
  for (const std::string& text : options.bundles) places.push_back(serve::parse_place(text));
  return {places, aliases_of(options), nn::pick_device(options.device, "--device"), options.engine.threads,
          nn::pick_weights(options.weights)};
}

/// A process that scores for a front.
void run_rank(const Options& options) {
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGHUP, SIGPIPE})
    std::signal(signal, SIG_IGN);  // the front has them
  serve::Bundles bundles = load(options);
  serve::Service service(options.service, options.engine, bundles);
  serve::work_for_front(
      options.rank_socket, [&](const serve::HttpRequest& request) { return service.check(request); },
      [&](std::shared_ptr<serve::Exchange> exchange) { service.handle(std::move(exchange)); },
      [&](std::function<void()> done) { service.reload("", nullptr, std::move(done)); }, [&] { return bundles.digests(); });
}

/// This program with these options, as a rank.
std::vector<std::string> rank_command(const Options& options) {
  std::vector<std::string> words = {std::filesystem::read_symlink("/proc/self/exe").string()};
  const std::string line = read_file("/proc/self/cmdline");
  for (std::size_t at = line.find('\0') + 1; at < line.size(); at = line.find('\0', at) + 1) {
    const std::string word = line.c_str() + at;
    if (word == "--np") {
      at = line.find('\0', at) + 1;  // its value
    } else if (!word.starts_with("--np=")) {
      words.push_back(word);
    }
  }
  if (options.threads == 0) words.push_back(fmt::format("--threads={}", std::max(1, processors() / options.ranks)));
  if (options.service.keys_take_turns) words.emplace_back("--rank-keys-take-turns");
  return words;
}

/// A front with ranks.
void run_front(const Options& options) {
  catch_signals();
  const Clock::time_point begun = Clock::now();
  bool all_answered = false;
  std::int64_t restarts = 0;
  serve::Totals totals;
  {
    serve::Front front(options.service.api_keys, rank_command(options), options.ranks, options.service.deadline_s);
    serve::HttpServer server(
        options.http, [&](const serve::HttpRequest& request) { return front.check(request); },
        [&](std::shared_ptr<serve::Exchange> exchange) { front.handle(std::move(exchange)); },
        [&](const serve::HttpRequest& request, int status, ErrorCode code, const std::string& message) {
          return front.refuse(request, status, code, message);
        });
    front.watch(&server);
    spdlog::info("[serve] {} ranks at {}; ready after {}", options.ranks, address_of(options, server.port()),
                 duration_text(serve::seconds_since(begun)));
    MinuteLine line;
    wait_for_stop([&] { line.show(front.totals(), server.under_way()); }, [&] { front.reload(); });
    front.drain();
    all_answered = drain(server, options.drain_s);
    restarts = front.restarts();
    front.abandon();
    server.finish();  // the answers that this makes count, too
    totals = front.totals();
  }
  fmt::print(stderr, "{} by {} ranks, of which {} were started again: {}\n", served(totals, begun), options.ranks, restarts,
             outcomes(totals));
  expect_answered(all_answered, options);
}

void run(Options options) {
  init_log(options.rank, options.rank_socket >= 0 ? 2 : 1, "info");  // a rank's lines have its number
  complete(options);
  if (options.rank_socket >= 0) return run_rank(options);
  if (options.ranks > 1) return run_front(options);
  catch_signals();
  const Clock::time_point begun = Clock::now();
  serve::Bundles bundles = load(options);
  bool all_answered = false;
  serve::Totals totals;
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
                 duration_text(serve::seconds_since(begun)));
    MinuteLine line;
    wait_for_stop([&] { line.show(service.metrics().totals(), server.under_way()); }, [&] { service.reload(""); });
    service.drain();
    all_answered = drain(server, options.drain_s);
    service.abandon();
    server.finish();  // the answers that this makes count, too
    totals = service.metrics().totals();
  }
  fmt::print(stderr, "{}: {}\n", served(totals, begun), outcomes(totals));
  expect_answered(all_answered, options);
}

void add_limits(CLI::App& verb, Options& options) {
  verb.add_option("--batch-tokens", options.engine.batch_tokens, "Tokens of one batch; 0 = as many as the bundle's passes have")
      ->check(kNonNegative)
      ->capture_default_str();
  verb.add_option("--batch-wait-ms", options.batch_wait_ms, "Longest time that a request waits for others to fill its batch")
      ->check(number_in(0.0, 1000.0))
      ->capture_default_str();
  verb.add_option("--queue-tokens", options.engine.queue_tokens_max,
                  "Largest number of tokens that may wait; further requests are answered with 429")
      ->check(kPositive)
      ->capture_default_str();
  verb.add_option("--queue-texts", options.engine.queue_texts_max, "Largest number of texts that may wait")
      ->check(kPositive)
      ->capture_default_str();
  verb.add_option("--queue-s", options.engine.queue_s_max,
                  "Longest time that a request may wait behind others, estimated from the speed so far; 0 = its deadline")
      ->check(kNonNegative)
      ->capture_default_str();
  verb.add_option("--normalise", options.normalise,
                  "Normalisation of the scores unless the request names one: none, standard (subtract the mean of the training "
                  "scores and divide by their standard deviation within a prompt), or sigmoid")
      ->check(CLI::IsMember({"none", "standard", "sigmoid"}))
      ->capture_default_str();
  verb.add_option(
          "--empty-reward", options.service.empty_reward,
          "Score of an empty response in a text that a trainer has templated, the same with --normalise none and standard; "
          "default: the request is refused")
      ->check(number_in(-1e6, 1e6));
  verb.add_option("--deadline-s", options.service.deadline_s,
                  "Longest time for an answer; a request may ask for less with the header X-Request-Timeout")
      ->check(kPositive)
      ->capture_default_str();
  verb.add_option("--drain-s", options.drain_s, "Longest time to finish waiting requests after SIGTERM")
      ->check(kNonNegative)
      ->capture_default_str();
  verb.add_option("--body-bytes", options.http.body_bytes_max, "Largest body of a request, in bytes after decompression")
      ->check(kPositive)
      ->capture_default_str();
  verb.add_option("--request-texts", options.service.limits.texts_max, "Largest number of texts in one request")
      ->check(kPositive)
      ->capture_default_str();
  verb.add_option("--request-tokens", options.service.request_tokens_max, "Largest number of tokens in one request")
      ->check(kPositive)
      ->capture_default_str();
  verb.add_option("--connections", options.http.connections_max, "Largest number of open connections; further ones wait")
      ->check(kPositive)
      ->capture_default_str();
  verb.add_option("--header-s", options.http.header_s, "Longest time that a client may take to send the headers")
      ->check(kPositive)
      ->capture_default_str();
  verb.add_option("--body-s", options.http.body_s, "Longest time that a client may take to send the body")
      ->check(kPositive)
      ->capture_default_str();
  verb.add_option("--write-s", options.http.write_s, "Longest time that a client may take to read an answer")
      ->check(kPositive)
      ->capture_default_str();
}

}  // namespace

void add_serve(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->http.port = 8000;
  CLI::App* verb = app.add_subcommand(
      "serve", "Serve scores over HTTP in the protocols of OpenRLHF, vLLM, SGLang, TEI, verl, LLaMA-Factory and KServe");
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
  verb->add_option("--tls-key", options->key, "PEM file of the certificate's key")->type_name(kFile);
  verb->add_option("--cors", options->http.origins,
                   "Origin whose pages may ask from a browser, with an API key, as https://app.example.com; may be repeated")
      ->type_name("ORIGIN")
      ->allow_extra_args(false);
  verb->add_option("--threads", options->threads, "Number of threads that compute; 0 = one per core")->check(kNonNegative);
  verb->add_option("--device", options->device, "Device to compute on: cpu, cuda, or auto (cuda if there is one)")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}));
  verb->add_option(
          "--weights", options->weights,
          "Number type in which the backbones' matrices are multiplied: float32, or int8, which is faster and less exact")
      ->check(CLI::IsMember({"float32", "int8"}));
  verb->add_option("--np", options->ranks,
                   "Number of processes that score, each with the bundles and, where there are GPUs, a GPU of its own")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  verb->add_option("--rank-socket", options->rank_socket)->group("");  // how a front starts its ranks
  verb->add_option("--rank-number", options->rank)->group("");
  verb->add_flag("--rank-keys-take-turns", options->service.keys_take_turns)->group("");
  add_limits(*verb, *options);
  verb->add_flag("--sglang", options->service.limits.sglang, "Answer /v1/rerank as SGLang does, not as vLLM");
  verb->add_flag("--verbose", options->service.verbose, "Log one line per request");
  verb->callback([options] { run(*options); });
}

}  // namespace dmoerm::cli
