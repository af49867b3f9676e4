#include "eval/ensemble.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace dmoerm::eval {
namespace {

constexpr double kUwoWeight = 0.5;

struct Combination {
  const char* name;
  double (*of)(const std::vector<double>& scores);
};

double mean(const std::vector<double>& scores) {
  double sum = 0;
  for (const double s : scores) sum += s;
  return sum / static_cast<double>(scores.size());
}

double variance(const std::vector<double>& scores) {
  const double middle = mean(scores);
  double sum = 0;
  for (const double s : scores) sum += (s - middle) * (s - middle);
  return sum / static_cast<double>(scores.size());
}

constexpr Combination kCombinations[] = {
    {"mean", mean},
    {"wco", [](const std::vector<double>& scores) { return *std::ranges::min_element(scores); }},
    {"uwo", [](const std::vector<double>& scores) { return mean(scores) - kUwoWeight * variance(scores); }}};

const Combination* combination_of(const std::string& what) {
  for (const Combination& c : kCombinations) {
    if (what.starts_with(fmt::format("{}(", c.name)) && what.ends_with(')')) return &c;
  }
  return nullptr;
}

const ModelScores& member(const std::string& name, const std::string& what, const std::vector<ModelScores>& models) {
  for (const ModelScores& model : models) {
    if (model.name != name) continue;
    if (std::ranges::any_of(model.items, [](const ItemScores& s) { return s.scores.empty(); }))
      throw ConfigError("member-without-scores", fmt::format("{}: {} gives preferences and not scores", what, name));
    return model;
  }
  throw ConfigError("unknown-ensemble-member",
                    fmt::format("{}: the model {} is not among those named before it with --model", what, name));
}

/// The scores of a model less the mean of their item, divided by the spread within items. Training fixes differences between the
/// responses to one prompt alone, so members may differ by any offset from prompt to prompt.
std::vector<std::vector<double>> standardised(const ModelScores& model) {
  std::vector<std::vector<double>> result;
  double squares = 0, freedom = 0;
  for (const ItemScores& item : model.items) {
    const double middle = mean(item.scores);
    std::vector<double>& own = result.emplace_back();
    for (const double s : item.scores) own.push_back(s - middle);
    squares += variance(item.scores) * static_cast<double>(item.scores.size());
    freedom += static_cast<double>(item.scores.size()) - 1;
  }
  const double spread = squares > 0 ? std::sqrt(squares / freedom) : 1;
  for (std::vector<double>& own : result) {
    for (double& s : own) s /= spread;
  }
  return result;
}

}  // namespace

bool is_ensemble(const std::string& what) { return combination_of(what) != nullptr; }

ModelScores ensemble(const std::string& name, const std::string& what, const std::vector<ModelScores>& models) {
  const Combination& combination = *combination_of(what);
  const std::size_t open = what.find('(');
  std::string names = what.substr(open + 1, what.size() - open - 2);
  ModelScores result{name, what, {}, {}};
  std::vector<std::vector<std::vector<double>>> members;
  std::vector<const ModelScores*> of;
  while (!names.empty()) {
    const std::size_t comma = std::min(names.find(','), names.size());
    const ModelScores& next = member(std::string(trim(names.substr(0, comma))), what, models);
    if (std::ranges::find(of, &next) != of.end())
      throw ConfigError("ensemble-member-twice", fmt::format("{}: {} is named twice", what, next.name));
    of.push_back(&next);
    members.push_back(standardised(*of.back()));
    names.erase(0, comma + 1);
  }
  if (members.size() < 2)
    throw ConfigError("ensemble-too-small", fmt::format("{}: expected at least two models, separated by commas", what));
  for (const ModelScores* m : of) {
    if (!m->tokens_unknown.empty()) result.tokens_unknown = fmt::format("of {}: {}", m->name, m->tokens_unknown);
  }
  for (std::size_t i = 0; i < members.front().size(); ++i) {
    ItemScores& item = result.items.emplace_back();
    for (const ModelScores* m : of) item.tokens += m->items[i].tokens;
    for (std::size_t r = 0; r < members.front()[i].size(); ++r) {
      std::vector<double> scores;
      for (const auto& m : members) scores.push_back(m[i][r]);
      item.scores.push_back(combination.of(scores));
    }
  }
  return result;
}

}  // namespace dmoerm::eval
