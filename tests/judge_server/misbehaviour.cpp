#include "misbehaviour.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/error.h"
#include "base/rng.h"

namespace dmoerm::judge_server {
namespace {

constexpr std::string_view kKinds[] = {"429",
                                       "429_bare",
                                       "429_ms",
                                       "429_date",
                                       "429_long",
                                       "quota",
                                       "500",
                                       "502",
                                       "503",
                                       "504",
                                       "524",
                                       "503_wait",
                                       "400",
                                       "401",
                                       "403",
                                       "403_key",
                                       "404",
                                       "408",
                                       "409",
                                       "425",
                                       "reset",
                                       "slow_headers",
                                       "slow_body",
                                       "half_json",
                                       "cut_body",
                                       "wrong_json",
                                       "no_choices",
                                       "two_choices",
                                       "huge",
                                       "gzip_bomb",
                                       "redirect",
                                       "refusal",
                                       "filter",
                                       "prose",
                                       "bias",
                                       "echo_key",
                                       "deep",
                                       "not_utf8",
                                       "not_http",
                                       "error_200",
                                       "empty",
                                       "cut",
                                       "blank",
                                       "no_usage",
                                       "zero_usage",
                                       "small_usage",
                                       "long_usage",
                                       "prompt_usage",
                                       "other_usage",
                                       "cost_usage",
                                       "cost_alone",
                                       "created",
                                       "sse",
                                       "sse_cut",
                                       "moderated",
                                       "moderated_451",
                                       "moderated_azure",
                                       "moderated_prompt",
                                       "guardrail",
                                       "declined",
                                       "unsupported",
                                       "batch_fails",
                                       "batch_full",
                                       "batch_expires",
                                       "batch_missing_line",
                                       "batch_bad_line",
                                       "batch_page",
                                       "batch_half",
                                       "batch_half_always",
                                       "batch_dialect",
                                       "batch_lost",
                                       "batch_lost_nameless",
                                       "batch_lost_unlisted",
                                       "batch_slow",
                                       "batch_quota",
                                       "get_500",
                                       "get_cut",
                                       "upload_cut"};

std::string_view scope_of(std::string_view kind) {
  for (const std::string_view scope : {"batch_", "get_", "upload_"}) {
    if (kind.starts_with(scope)) return scope;
  }
  return "";
}

template <class Number>
Number number_of(std::string_view text, const std::string& rule) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw ConfigError(fmt::format("--misbehave {}: \"{}\" is not a number", rule, text));
  return value;
}

}  // namespace

std::string Misbehaviour::kinds() { return fmt::format("{}", fmt::join(kKinds, " ")); }

Misbehaviour::Misbehaviour(const std::vector<std::string>& rules, std::uint64_t seed) : seed_(seed) {
  for (const std::string& text : rules) {
    const std::size_t equals = text.find('=');
    Rule rule;
    rule.kind = text.substr(0, equals);
    if (equals == std::string::npos || std::find(std::begin(kKinds), std::end(kKinds), rule.kind) == std::end(kKinds)) {
      throw ConfigError(fmt::format("--misbehave {}: expected KIND=WHEN with a kind of: {}", text, kinds()));
    }
    const std::string_view when = std::string_view(text).substr(equals + 1);
    if (when.substr(0, 6) == "every:") {
      rule.every = number_of<std::uint64_t>(when.substr(6), text);
    } else if (when.substr(0, 6) == "first:") {
      rule.first = number_of<std::uint64_t>(when.substr(6), text);
    } else if (when.substr(0, 5) == "from:") {
      rule.from = number_of<std::uint64_t>(when.substr(5), text);
    } else {
      rule.share = number_of<double>(when, text);
    }
    rules_.push_back(std::move(rule));
  }
}

std::string Misbehaviour::next(const Digest& body, std::string_view scope) {
  if (rules_.empty()) return "";
  std::uint64_t name = 0;
  std::memcpy(&name, body.data(), sizeof name);
  const std::lock_guard lock(mutex_);
  const std::uint64_t number = ++requests_;
  const std::uint32_t tries = ++tries_[name];
  for (const Rule& rule : rules_) {
    if (scope_of(rule.kind) != scope) continue;
    const bool drawn = rule.share > 0 && Rng(mix64(seed_ ^ name) + tries, rule.kind).uniform() < rule.share;
    const bool counted = (rule.every && number % rule.every == 0) || tries <= rule.first || (rule.from && number > rule.from);
    if (drawn || counted) return rule.kind;
  }
  return "";
}

}  // namespace dmoerm::judge_server
