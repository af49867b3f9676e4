#include "serve/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace dmoerm::serve {
namespace {

constexpr double kRecent = 1.0 / 1000;     // weight of the newest score in the recent mean
constexpr const char* kSingle = "single";  // stands for the category where the single model scored

/// A label's value, with what would end it escaped.
std::string escaped(const std::string& value) {
  std::string out;
  for (const char c : value) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string head(const char* name, const char* type, const char* help) {
  return fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

template <class Value>
std::string single(const char* name, const char* type, const char* help, Value value) {
  return head(name, type, help) + fmt::format("{} {}\n", name, value);
}

}  // namespace

Histogram::Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

void Histogram::add(double value) {
  ++counts_[static_cast<std::size_t>(std::ranges::lower_bound(bounds_, value) - bounds_.begin())];
  ++count_;
  sum_ += value;
}

std::string Histogram::text(const std::string& name, const std::string& labels) const {
  const std::string comma = labels.empty() ? "" : labels + ",", braces = labels.empty() ? "" : "{" + labels + "}";
  std::string out;
  std::int64_t below = 0;
  for (std::size_t b = 0; b < bounds_.size(); ++b) {
    below += counts_[b];
    out += fmt::format("{}_bucket{{{}le=\"{}\"}} {}\n", name, comma, bounds_[b], below);
  }
  return out + fmt::format("{}_bucket{{{}le=\"+Inf\"}} {}\n{}_sum{} {}\n{}_count{} {}\n", name, comma, count_, name, braces, sum_,
                           name, braces, count_);
}

std::vector<double> Histogram::latency_bounds() {
  return {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
}

void Totals::add(const std::string& endpoint, int status, std::int64_t count) {
  requests += count;
  constexpr int kFailed = 424;                                           // in TEI's protocol
  const bool not_ready = status == 503 && endpoint.ends_with("/ready");  // what the probe asked; KServe has one for each model
  (status < 300 || not_ready           ? answered
   : status == 429                     ? refused
   : status == 499                     ? left
   : status < 500 && status != kFailed ? mistaken
                                       : failed) += count;
}

void RequestCounts::add(const std::string& endpoint, int status, double seconds) {
  const std::lock_guard lock(mutex_);
  ++requests_[{endpoint, status}];
  if (status == 200) seconds_.try_emplace(endpoint, Histogram::latency_bounds()).first->second.add(seconds);
}

std::string RequestCounts::text() const {
  const std::lock_guard lock(mutex_);
  std::string out = head("dmoerm_requests_total", "counter", "Requests by endpoint and HTTP status");
  for (const auto& [key, count] : requests_)
    out += fmt::format("dmoerm_requests_total{{endpoint=\"{}\",status=\"{}\"}} {}\n", escaped(key.first), key.second, count);
  out += head("dmoerm_request_seconds", "histogram", "Time from the end of a request to its answer, of answered requests");
  for (const auto& [endpoint, histogram] : seconds_)
    out += histogram.text("dmoerm_request_seconds", fmt::format("endpoint=\"{}\"", escaped(endpoint)));
  return out;
}

Totals RequestCounts::totals() const {
  const std::lock_guard lock(mutex_);
  Totals totals;
  for (const auto& [key, count] : requests_) totals.add(key.first, key.second, count);
  return totals;
}

std::string text_of(const ConnectionGauges& gauges) {
  return single("dmoerm_connections", "gauge", "Open connections", gauges.connections) +
         single("dmoerm_requests_under_way", "gauge", "Requests whose answer is not sent yet", gauges.under_way) +
         single("dmoerm_connections_timed_out_total", "counter", "Connections closed because the client was too slow",
                gauges.timed_out);
}

std::string text_of_ready(bool ready) { return single("dmoerm_ready", "gauge", "1 if requests are accepted", ready ? 1 : 0); }

void Metrics::batch(const BatchFacts& batch) {
  const std::lock_guard lock(mutex_);
  batch_texts_.add(static_cast<double>(batch.texts));
  batch_tokens_.add(static_cast<double>(batch.tokens));
  batch_seconds_.add(batch.seconds);
  texts_ += batch.texts;
  tokens_ += batch.tokens;
  shared_ += batch.shared;
}

void Metrics::queued(double seconds) {
  const std::lock_guard lock(mutex_);
  queue_seconds_.add(seconds);
}

void Metrics::Recent::add(double value) {
  const double weight = std::max(kRecent, 1.0 / static_cast<double>(++count));
  mean += weight * (value - mean);
  square += weight * (value * value - square);
}

/// The caller holds the lock.
void Metrics::start_over(const Scorer& scorer) {
  const std::vector<std::string>& categories = scorer.model->router.categories();
  const auto gone = [&](const std::pair<std::string, std::string>& key) {
    return key.first == scorer.name && key.second != kSingle && std::ranges::find(categories, key.second) == categories.end();
  };
  std::erase_if(drift_, [&](const auto& row) { return gone(row.first); });
  std::erase_if(routes_, [&](const auto& row) { return gone(row.first); });
  for (auto& [key, drift] : drift_) {
    if (key.first != scorer.name) continue;
    drift.recent = {};
    drift.trained = scorer.model->stats(key.second == kSingle ? std::string() : key.second);
  }
}

void Metrics::scored(const Scorer& scorer, std::span<const moe::GroupScore* const> groups) {
  const std::lock_guard lock(mutex_);
  Newest& newest = newest_[scorer.name];
  if (scorer.reading < newest.reading && scorer.digest != newest.digest) return;
  newest.reading = std::max(newest.reading, scorer.reading);
  if (newest.digest != scorer.digest) {
    newest.digest = scorer.digest;
    newest.fallback = {};
    start_over(scorer);
  }
  for (const moe::GroupScore* group : groups) {
    ++routes_[{scorer.name, scorer.model->router.categories()[static_cast<std::size_t>(group->route.likeliest)]}];
    Drift& drift = drift_[{scorer.name, group->category.empty() ? kSingle : group->category}];
    drift.trained = scorer.model->stats(group->category);
    for (const moe::Score& score : group->responses) {
      ++drift.count;
      drift.sum += score.reward;
      drift.squares += score.reward * score.reward;
      drift.recent.add(score.reward);
      newest.fallback.add(group->category.empty() ? 1 : 0);
      if (score.cut_tokens > 0) ++drift.cut;
    }
  }
}

Totals Metrics::totals() const {
  Totals totals = requests_.totals();
  const std::lock_guard lock(mutex_);
  totals.texts = texts_;
  totals.tokens = tokens_;
  return totals;
}

std::string Metrics::drift_text() const {
  struct Row {
    const char *name, *type, *help;
    double (*value)(const Drift&);
    bool recent = false;  // left out while there is no recent score
  };
  const Row rows[] = {
      {"dmoerm_scores_total", "counter", "Texts that the model of a category scored (\"single\": the fallback)",
       [](const Drift& d) { return static_cast<double>(d.count); }},
      {"dmoerm_score_sum", "counter", "Sum of their raw scores", [](const Drift& d) { return d.sum; }},
      {"dmoerm_score_squares_sum", "counter", "Sum of the squares of their raw scores", [](const Drift& d) { return d.squares; }},
      {"dmoerm_texts_cut_total", "counter", "Texts that were longer than the model reads",
       [](const Drift& d) { return static_cast<double>(d.cut); }},
      {"dmoerm_score_recent_mean", "gauge", "Mean of about the last 1000 raw scores",
       [](const Drift& d) { return d.recent.mean; }, true},
      {"dmoerm_score_recent_std", "gauge", "Standard deviation of about the last 1000 raw scores",
       [](const Drift& d) { return std::sqrt(std::max(0.0, d.recent.square - d.recent.mean * d.recent.mean)); }, true},
      {"dmoerm_score_trained_mean", "gauge", "Mean of the scores in training, as the bundle states it",
       [](const Drift& d) { return d.trained.mean; }},
      {"dmoerm_score_trained_std", "gauge", "Standard deviation of the scores within a prompt in training",
       [](const Drift& d) { return d.trained.std; }},
      {"dmoerm_score_drift", "gauge", "How far the recent mean lies from the mean in training, in its standard deviations",
       [](const Drift& d) { return (d.recent.mean - d.trained.mean) / std::max(d.trained.std, 1e-6); }, true},
  };
  std::string out;
  for (const Row& row : rows) {
    out += head(row.name, row.type, row.help);
    for (const auto& [key, drift] : drift_) {
      if (row.recent && drift.recent.count == 0) continue;
      out += fmt::format("{}{{model=\"{}\",scored_by=\"{}\"}} {}\n", row.name, escaped(key.first), escaped(key.second),
                         row.value(drift));
    }
  }
  out += head("dmoerm_fallback_share", "gauge", "Share of the texts that the single model scored, because the router was unsure");
  std::map<std::string, std::pair<double, double>> shares;
  for (const auto& [key, drift] : drift_) {
    auto& [single_model, all] = shares[key.first];
    all += static_cast<double>(drift.count);
    if (key.second == kSingle) single_model += static_cast<double>(drift.count);
  }
  for (const auto& [model, share] : shares)
    out += fmt::format("dmoerm_fallback_share{{model=\"{}\"}} {}\n", escaped(model), share.first / share.second);
  out += head("dmoerm_fallback_recent_share", "gauge", "The same of about the last 1000 texts");
  for (const auto& [model, newest] : newest_) {
    if (newest.fallback.count == 0) continue;
    out += fmt::format("dmoerm_fallback_recent_share{{model=\"{}\"}} {}\n", escaped(model), newest.fallback.mean);
  }
  out += head("dmoerm_routes_total", "counter", "Prompts by the router's likeliest category");
  for (const auto& [key, count] : routes_)
    out +=
        fmt::format("dmoerm_routes_total{{model=\"{}\",category=\"{}\"}} {}\n", escaped(key.first), escaped(key.second), count);
  return out;
}

std::string Metrics::text(const Gauges& gauges) const {
  std::string out = requests_.text();
  const std::lock_guard lock(mutex_);
  out += head("dmoerm_queue_seconds", "histogram", "Time that requests waited for their batch");
  out += queue_seconds_.text("dmoerm_queue_seconds", "");
  out += head("dmoerm_batch_texts", "histogram", "Texts of a batch") + batch_texts_.text("dmoerm_batch_texts", "");
  out += head("dmoerm_batch_tokens", "histogram", "Tokens of a batch") + batch_tokens_.text("dmoerm_batch_tokens", "");
  out += head("dmoerm_batch_seconds", "histogram", "Time that a batch took") + batch_seconds_.text("dmoerm_batch_seconds", "");
  out += single("dmoerm_texts_total", "counter", "Texts that were scored", texts_);
  out += single("dmoerm_tokens_total", "counter", "Tokens that were read, with shared prompts once", tokens_);
  out += single("dmoerm_shared_prompts_total", "counter", "Prompts that were computed together with an equal one", shared_);
  out += single("dmoerm_queue_requests", "gauge", "Requests without an answer in the engine", gauges.queue.requests);
  out += single("dmoerm_queue_texts", "gauge", "Texts in the queue", gauges.queue.texts);
  out += single("dmoerm_queue_tokens", "gauge", "Tokens in the queue", gauges.queue.tokens);
  out += single("dmoerm_queue_oldest_seconds", "gauge", "Age of the oldest request in the engine", gauges.queue.oldest_s);
  out += single("dmoerm_tokens_per_second", "gauge", "Recent speed while computing", gauges.queue.tokens_per_s);
  if (gauges.connections) out += text_of(*gauges.connections);
  out += single("dmoerm_reloads_total", "counter", "Bundles that were read again", gauges.reloads);
  return out + text_of_ready(gauges.ready) + drift_text();
}

}  // namespace dmoerm::serve
