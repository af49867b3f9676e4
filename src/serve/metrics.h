// Figures of a server in Prometheus' text format.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "moe/model.h"
#include "serve/engine.h"
#include "serve/http_server.h"

namespace dmoerm::serve {

/// Counts of values up to bounds, as Prometheus has them.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);
  /// Bounds for times in seconds.
  static std::vector<double> latency_bounds();
  void add(double value);
  /// Its lines. @param labels  "" or as in `a="b"`
  [[nodiscard]] std::string text(const std::string& name, const std::string& labels) const;

 private:
  std::vector<double> bounds_;
  std::vector<std::int64_t> counts_;
  std::int64_t count_ = 0;
  double sum_ = 0;
};

/// What a server holds at the moment.
struct Gauges {
  Engine::State queue;
  std::optional<ConnectionGauges> connections{};  ///< nothing where another process has them
  std::int64_t reloads = 0;
  bool ready = true;
};

/// Sums for the log.
struct Totals {
  std::int64_t requests = 0, answered = 0;
  std::int64_t refused = 0;   ///< 429
  std::int64_t mistaken = 0;  ///< Other 4xx: what the client sent cannot be answered
  std::int64_t left = 0;      ///< 499: the client hung up before
  std::int64_t failed = 0;    ///< 5xx, and 424; not the 503 that answers a probe of whether the server or a model is ready
  std::int64_t texts = 0, tokens = 0;
  /// @param endpoint  as label_of() names it
  void add(const std::string& endpoint, int status, std::int64_t count = 1);
};

/// Requests by address and status, and how long the answered ones took.
class RequestCounts {
 public:
  void add(const std::string& endpoint, int status, double seconds);
  [[nodiscard]] std::string text() const;
  /// Without texts and tokens.
  [[nodiscard]] Totals totals() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, std::int64_t> requests_;  ///< By endpoint and status
  std::map<std::string, Histogram> seconds_;                      ///< By endpoint, of answered requests
};

std::string text_of(const ConnectionGauges& gauges);
std::string text_of_ready(bool ready);

/// A bundle whose scores are counted.
struct Scorer {
  std::string name;
  std::string digest;         ///< Another digest under the same name is another bundle
  std::uint64_t reading = 0;  ///< Greater for what was read later
  const moe::Model* model = nullptr;
};

class Metrics {
 public:
  void request(const std::string& endpoint, int status, double seconds) { requests_.add(endpoint, status, seconds); }
  void batch(const BatchFacts& batch);
  void queued(double seconds);
  /// Scores that a bundle gave and somebody got. With the first of another bundle under a name, what is recent starts over, and
  /// the categories that it lacks are forgotten; later scores of the one before do not count.
  void scored(const Scorer& scorer, std::span<const moe::GroupScore* const> groups);
  [[nodiscard]] std::string text(const Gauges& gauges) const;

  [[nodiscard]] Totals totals() const;

 private:
  /// Mean of about the last thousand values, and of their squares.
  struct Recent {
    std::int64_t count = 0;
    double mean = 0, square = 0;
    void add(double value);
  };
  /// Scores of one category of one bundle.
  struct Drift {
    std::int64_t count = 0, cut = 0;
    double sum = 0, squares = 0;
    Recent recent;
    moe::ScoreStats trained;
  };
  /// The newest bundle of a name that scored.
  struct Newest {
    std::uint64_t reading = 0;
    std::string digest;
    Recent fallback;  ///< 1 for a text that the single model scored, else 0
  };
  void start_over(const Scorer& scorer);
  [[nodiscard]] std::string drift_text() const;

  RequestCounts requests_;
  mutable std::mutex mutex_;
  Histogram queue_seconds_{Histogram::latency_bounds()}, batch_seconds_{Histogram::latency_bounds()};
  Histogram batch_texts_{{1, 2, 4, 8, 16, 32, 64, 128, 256}}, batch_tokens_{{64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384}};
  std::int64_t texts_ = 0, tokens_ = 0, shared_ = 0;
  std::map<std::pair<std::string, std::string>, Drift> drift_;          ///< By bundle and category that scored
  std::map<std::pair<std::string, std::string>, std::int64_t> routes_;  ///< By bundle and likeliest category
  std::map<std::string, Newest> newest_;                                ///< By bundle
};

}  // namespace dmoerm::serve
