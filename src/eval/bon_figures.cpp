#include "eval/bon_figures.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/chart.h"
#include "base/counted.h"
#include "base/error.h"
#include "base/text.h"
#include "base/text_table.h"
#include "eval/best_of_n.h"
#include "eval/paired_difference.h"
#include "eval/resampling.h"

namespace dmoerm::eval {
namespace {

using nlohmann::json;

constexpr const char* kGoldModel = "gold";
enum { kProxy, kGold, kProxyGain, kGoldGain, kLongest, kKinds };
constexpr const char* kKindNames[] = {"proxy", "gold", "proxy_gain", "gold_gain", "picks_the_longest"};

double mean_of_values(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

/// Standard deviation of scores around the mean of their lists; 1 if there is none.
double spread_within(const std::vector<std::vector<double>>& lists) {
  double squares = 0, count = 0;
  for (const std::vector<double>& list : lists) {
    const double middle = mean_of_values(list);
    for (const double v : list) squares += (v - middle) * (v - middle);
    count += static_cast<double>(list.size());
  }
  return squares > 0 ? std::sqrt(squares / count) : 1;
}

/// 0 for a gain that is 0 but for rounding, as that of one response is; tables would show -0.000.
double without_rounding(double gain) { return std::abs(gain) < 1e-12 ? 0 : gain; }

double low_of(const json& band) { return band[band["low"].is_null() ? "value" : "low"]; }
double high_of(const json& band) { return band[band["high"].is_null() ? "value" : "high"]; }

/// What of the files is not in the figures; "" if all is.
std::string left_out_text(const json& result) {
  std::int64_t lists = 0, responses = 0, other = 0;
  for (const json& file : result["files"]) {
    lists += file["left_out"].get<std::int64_t>();
    responses += file["responses_left_out"].get<std::int64_t>();
    other += file["other_split"].get<std::int64_t>();
  }
  if (lists + responses + other == 0) return "";
  return fmt::format(
      "Left out: {} of another split or none, {} with too few responses that have a gold score (2, or --n-max), and {} without "
      "one.\n\n",
      counted(other, "list"), counted(lists, "list"), counted(responses, "response"));
}

/// Why n does not go up to the size of the longest list; "" if it does, or if --n-max says where it ends.
std::string end_text(const json& result) {
  const auto shortest = result["shortest_list"].get<std::int64_t>(), longest = result["longest_list"].get<std::int64_t>();
  if (result["n_max"] != 0 || shortest == longest) return "";
  return fmt::format(
      "n ends at {}, the size of the shortest list; the longest has {}. --n-max N goes on to N and leaves out shorter "
      "lists.\n\n",
      shortest, longest);
}

/// That gains are mostly those of the categories with widely spread gold scores; "" where the spreads are alike.
std::string spreads_text(const json& result) {
  constexpr double kAlike = 2;  // times the smallest
  double smallest = INFINITY, largest = 0;
  std::vector<std::string> list;
  const json spreads = result.value("gold_spreads", json::object());
  for (const auto& [category, value] : spreads.items()) {
    const double spread = value;
    smallest = std::min(smallest, spread), largest = std::max(largest, spread);
    list.push_back(fmt::format("{} {:.3g}", category, spread));
  }
  if (largest <= kAlike * smallest) return "";
  return fmt::format(
      "Within lists the gold scores spread differently: {}. All are divided by one standard deviation, so that categories with "
      "widely spread scores make most of the gains: a call for each category, with a file of its own, measures them apart.\n\n",
      fmt::join(list, ", "));
}

class Curves {
 public:
  Curves(const Scored& scored, const std::string& gold, std::int64_t largest) : scored_(scored), largest_(largest) {
    shortest_ = scored.data.items.front().responses.size();
    for (const Item& item : scored.data.items) {
      shortest_ = std::min(shortest_, item.responses.size());
      longest_ = std::max(longest_, item.responses.size());
      gold_.push_back(item.scores.at(gold));
      std::vector<double>& lengths = lengths_.emplace_back();
      for (const std::string& text : item.responses) lengths.push_back(static_cast<double>(utf8_characters(text)));
    }
    const auto most = static_cast<std::int64_t>(shortest_);
    sizes_ = sizes_up_to(largest > 0 ? std::min(largest, most) : most);
    for (const ModelScores& model : scored.models) {
      names_.push_back(model.name);
      std::vector<std::vector<double>>& proxy = proxies_.emplace_back();
      for (const ItemScores& item : model.items) {
        if (item.scores.empty())
          throw DataError("model-without-scores",
                          fmt::format("{} gives preferences and not scores: best-of-n needs scores", model.name));
        proxy.push_back(item.scores);
      }
    }
    names_.emplace_back(kGoldModel);
    proxies_.push_back(gold_);
  }

  json result() {
    const double gold_spread = spread_within(gold_);
    json prompts = json::array();
    std::vector<Cluster> clusters;
    std::map<std::string, std::size_t> place;
    for (std::size_t i = 0; i < gold_.size(); ++i) {
      std::vector<double> values(names_.size() * sizes_.size() * kKinds);
      json own = {{"id", scored_.data.items[i].id},
                  {"cluster", scored_.data.items[i].cluster},
                  {"responses", gold_[i].size()},
                  {"models", json::object()}};
      for (std::size_t m = 0; m < names_.size(); ++m) {
        const double proxy_spread = spread(m), gold_mean = mean_of_values(gold_[i]), proxy_mean = mean_of_values(proxies_[m][i]);
        for (std::size_t s = 0; s < sizes_.size(); ++s) {
          const BestOfN best = best_of_n(proxies_[m][i], gold_[i], lengths_[i], sizes_[s]);
          const double all[] = {best.proxy, best.gold, without_rounding((best.proxy - proxy_mean) / proxy_spread),
                                without_rounding((best.gold - gold_mean) / gold_spread), best.longest};
          for (std::size_t k = 0; k < kKinds; ++k) {
            values[at(m, s, k)] = all[k];
            own["models"][names_[m]][kKindNames[k]].push_back(all[k]);
          }
        }
      }
      prompts.push_back(std::move(own));
      const auto [found, fresh] = place.try_emplace(scored_.data.items[i].cluster, clusters.size());
      if (fresh) clusters.push_back({.right = std::vector<double>(values.size()), .shares = std::vector<double>(values.size())});
      Cluster& cluster = clusters[found->second];
      cluster.pairs += 1;  // a list is what is counted
      cluster.prompts += 1;
      for (std::size_t v = 0; v < values.size(); ++v) cluster.right[v] += values[v];
    }
    const Resampled drawn =
        resample(clusters, names_.size() * sizes_.size() * kKinds, scored_.options.seed, "bon", scored_.options.resamples).pooled;
    json result = {{"schema", 1},
                   {"seed", scored_.options.seed},
                   {"resamples", scored_.options.resamples},
                   {"lists", gold_.size()},
                   {"n", sizes_},
                   {"n_max", largest_},
                   {"shortest_list", shortest_},
                   {"longest_list", longest_},
                   {"kl", json::array()},
                   {"gold_spread", gold_spread},
                   {"gold_spreads", gold_spreads()},
                   {"curves", json::object()},
                   {"differences", json::array()}};
    for (const std::int64_t n : sizes_) result["kl"].push_back(best_of_n_kl(n));
    for (std::size_t m = 0; m < names_.size(); ++m) {
      for (std::size_t s = 0; s < sizes_.size(); ++s) {
        for (std::size_t k = 0; k < kKinds; ++k) {
          std::vector<double> draws;
          for (const auto& draw : drawn.draws) draws.push_back(draw[at(m, s, k)]);
          json band = to_json(percentile_interval(drawn.value[at(m, s, k)], std::move(draws)));
          if (clusters.size() < 2) band["low"] = band["high"] = json();  // one prompt drawn again and again does not vary
          result["curves"][names_[m]][kKindNames[k]].push_back(std::move(band));
        }
      }
    }
    for (std::size_t a = 0; a + 1 < names_.size(); ++a) {
      for (std::size_t b = a + 1; b + 1 < names_.size(); ++b) {
        if (are_compared(scored_.models[a], scored_.models[b])) add_differences(result["differences"], drawn, clusters, a, b);
      }
    }
    result["prompts"] = std::move(prompts);
    return result;
  }

 private:
  [[nodiscard]] std::size_t at(std::size_t model, std::size_t size, std::size_t kind) const {
    return (model * sizes_.size() + size) * kKinds + kind;
  }
  double spread(std::size_t model) {
    while (spreads_.size() <= model) spreads_.push_back(spread_within(proxies_[spreads_.size()]));
    return spreads_[model];
  }
  /// The spread of gold scores within the lists of each category; without categories whose lists have equal scores.
  [[nodiscard]] json gold_spreads() const {
    std::map<std::string, std::vector<std::vector<double>>> lists;
    for (std::size_t i = 0; i < gold_.size(); ++i) {
      const std::string& category = scored_.data.items[i].category;
      lists[category.empty() ? kNoCategory : category].push_back(gold_[i]);
    }
    const auto varies = [](const std::vector<double>& list) {
      const auto [worst, best] = std::ranges::minmax(list);
      return worst < best;
    };
    json spreads = json::object();
    for (const auto& [category, own] : lists) {
      if (std::ranges::any_of(own, varies)) spreads[category] = spread_within(own);
    }
    return spreads;
  }
  /// The largest difference of two gold gains: picks lie between the worst and the best of their list.
  [[nodiscard]] double widest_gain() const {
    double widest = 0;
    for (const std::vector<double>& list : gold_) {
      const auto [worst, best] = std::ranges::minmax(list);
      widest = std::max(widest, best - worst);
    }
    return widest > 0 ? widest / spread_within(gold_) : 1;
  }
  void add_differences(json& to, const Resampled& drawn, const std::vector<Cluster>& clusters, std::size_t a,
                       std::size_t b) const {
    for (std::size_t s = 1; s < sizes_.size(); ++s) {
      const std::size_t first = at(a, s, kGoldGain), second = at(b, s, kGoldGain);
      std::vector<PairedCluster> paired;
      for (const Cluster& c : clusters) paired.push_back({c.pairs, (c.right[first] - c.right[second]) / c.pairs});
      const PairedDifference found =
          paired_difference(drawn.value[first] - drawn.value[second], paired, drawn.differences(first, second), widest_gain());
      json one = to_json(found.interval);
      one.update({{"n", sizes_[s]}, {"a", names_[a]}, {"b", names_[b]}, {"p", found.p}});
      one["interval"] = found.interval.bounded ? "bounds" : "bootstrap";
      to.push_back(std::move(one));
    }
  }

  const Scored& scored_;
  std::vector<std::string> names_;
  std::vector<std::int64_t> sizes_;
  std::int64_t largest_;                    ///< --n-max; 0: not given
  std::size_t shortest_ = 0, longest_ = 0;  ///< Responses of the shortest and the longest list
  std::vector<double> spreads_;
  std::vector<std::vector<double>> gold_, lengths_;
  std::vector<std::vector<std::vector<double>>> proxies_;  ///< By model and list
};

}  // namespace

json bon_figures(const Scored& scored, const std::string& gold, std::int64_t largest) {
  for (const ModelScores& model : scored.models) {
    if (model.name == kGoldModel)
      throw ConfigError("model-named-gold", "--model: the name gold is that of the gold scores; choose another name");
  }
  json result = Curves(scored, gold, largest).result();
  result["gold"] = gold;
  result["files"] = json::array();
  for (const Data::File& f : scored.data.files)
    result["files"].push_back({{"path", f.path},
                               {"sha256", f.sha256},
                               {"lists", f.items},
                               {"other_split", f.other_split},
                               {"left_out", f.left_out},
                               {"responses_left_out", f.responses_left_out}});
  result["models"] = json::array();
  for (const ModelScores& m : scored.models) result["models"].push_back(source_json(m));
  return result;
}

std::string bon_text(const json& result) {
  const auto cell = [](const json& v, const char* form) {
    if (v["low"].is_null()) return fmt::format(fmt::runtime(form), v["value"].get<double>());
    return fmt::format(fmt::runtime(std::string(form) + " [" + form + ", " + form + "]"), v["value"].get<double>(),
                       v["low"].get<double>(), v["high"].get<double>());
  };
  std::vector<std::vector<std::string>> rows = {{"model", "n", "KL", "gold", "gold gain", "proxy gain", "picks the longest"}};
  std::string peaks;
  std::vector<std::string> order;
  for (const json& m : result["models"]) order.push_back(m["name"]);
  order.emplace_back(kGoldModel);
  for (const std::string& name : order) {
    const json& curves = result["curves"][name];
    std::size_t peak = 0;
    for (std::size_t s = 0; s < result["n"].size(); ++s) {
      if (curves["gold_gain"][s]["value"] > curves["gold_gain"][peak]["value"]) peak = s;
      rows.push_back({s == 0 ? name : "", fmt::format("{}", result["n"][s].get<std::int64_t>()),
                      fmt::format("{:.3f}", result["kl"][s].get<double>()), cell(curves["gold"][s], "{:.3f}"),
                      cell(curves["gold_gain"][s], "{:+.3f}"), cell(curves["proxy_gain"][s], "{:+.3f}"),
                      cell(curves["picks_the_longest"][s], "{:.3f}")});
    }
    peaks += fmt::format("- {}: the picks are worth most at n = {}\n", name, result["n"][peak].get<std::int64_t>());
  }
  std::string text = fmt::format(
      "# Best of n\n\n{}, gold score: {}. The best of n by a model's own score, averaged exactly over all subsets of n "
      "responses; gain: above the mean of the "
      "list, in standard deviations within lists; {}. KL = log n - (n - 1) / n.\n\n{}{}{}{}\n{}",
      counted(result["lists"].get<std::int64_t>(), "list"), result["gold"].get<std::string>(),
      result["curves"][kGoldModel]["gold"][0]["low"].is_null() ? "one prompt has no bands" : "95 % bootstrap bands over prompts",
      left_out_text(result), end_text(result), spreads_text(result), markdown_table(rows), peaks + notes_text(result["models"]));
  rows = {{"n", "difference of gold gains", "p"}};
  for (const json& d : result["differences"]) {
    const auto n = d["n"].get<std::int64_t>();
    if (n != 16 && n != 64 && n != result["n"].back().get<std::int64_t>()) continue;
    rows.push_back({fmt::format("{}", n),
                    fmt::format("{} minus {}: {}{}", d["a"].get<std::string>(), d["b"].get<std::string>(), cell(d, "{:+.3f}"),
                                d["interval"] == "bounds" ? kBoundsMark : ""),
                    fmt::format("{:.4f}", d["p"].get<double>())});
  }
  return rows.size() == 1 ? text : text + "\n## Differences\n\n" + markdown_table(rows);
}

std::string bon_plot(const json& result) {
  std::vector<std::string> names;
  for (const json& m : result["models"]) names.push_back(m["name"]);
  names.emplace_back(kGoldModel);
  double low = 0, high = 0.1;
  for (const std::string& name : names) {
    for (const char* kind : {"gold_gain", "proxy_gain"}) {
      for (const json& v : result["curves"][name][kind]) {
        low = std::min(low, low_of(v));
        high = std::max(high, high_of(v));
      }
    }
  }
  const double kl = std::max(0.2, result["kl"].back().get<double>());
  Chart chart(
      "Best of n",
      "Solid: gold score of the pick, with 95 % bands. Dashed: the model's own. Standard deviations above the list's mean.",
      {"KL = log n - (n - 1) / n, in nats", 0, kl * 1.02}, {"gain", low - 0.05, high + 0.05});
  for (std::size_t m = 0; m < names.size(); ++m) {
    const json& curves = result["curves"][names[m]];
    std::vector<Chart::Point> gold, proxy;
    for (std::size_t s = 0; s < result["kl"].size(); ++s) {
      const json &g = curves["gold_gain"][s], &p = curves["proxy_gain"][s];
      gold.push_back({result["kl"][s], g["value"], low_of(g), high_of(g)});
      proxy.push_back({result["kl"][s], p["value"], low_of(p), high_of(p)});
    }
    if (names[m] != kGoldModel) chart.line(proxy, m, Chart::Style::dashed);
    chart.line(gold, m, Chart::Style::with_band);
  }
  chart.legend(names);
  return chart.svg();
}

}  // namespace dmoerm::eval
