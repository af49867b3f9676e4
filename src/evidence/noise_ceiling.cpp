#include "evidence/noise_ceiling.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/text_table.h"
#include "evidence/state_cache.h"
#include "preference/formats.h"
#include "preference/formats_of_groups.h"
#include "preference/group_reader.h"
#include "preference/line_reader.h"
#include "preference/row_error.h"

namespace dmoerm::evidence {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Whether two gaps say the same order: 1 or 0, a half where one is a tie; nothing where both are, or a score is missing.
std::optional<double> agreement_of(double gap, double other) {
  if (std::isnan(gap) || std::isnan(other) || (gap == 0 && other == 0)) return std::nullopt;
  if (gap == 0 || other == 0) return 0.5;
  return (gap > 0) == (other > 0) ? 1.0 : 0.0;
}

/// Agreements within a prompt, and the shares of those before it.
class Mean {
 public:
  void add(double agreement) { sum_ += agreement, ++count_, any_ = true; }
  void end_pair() { pairs_ += std::exchange(any_, false) ? 1 : 0; }
  void end_prompt() {
    if (count_ > 0) shares_ += sum_ / static_cast<double>(count_), ++prompts_;
    sum_ = 0, count_ = 0;
  }
  [[nodiscard]] Agreement result() const {
    return {prompts_ > 0 ? shares_ / static_cast<double>(prompts_) : 0, prompts_, pairs_};
  }

 private:
  double sum_ = 0, shares_ = 0;
  std::int64_t count_ = 0, prompts_ = 0, pairs_ = 0;
  bool any_ = false;  ///< Whether the pair has an agreement
};

/// The gaps of two responses by each rater that both have.
std::vector<double> gaps_of(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> gaps;
  for (std::size_t r = 0; r < std::min(a.size(), b.size()); ++r) gaps.push_back(a[r] - b[r]);
  return gaps;
}

/// The mean gap of all raters but one; NaN without another.
double gap_of_others(const std::vector<double>& gaps, std::size_t rater) {
  double sum = 0, count = 0;
  for (std::size_t r = 0; r < gaps.size(); ++r) {
    if (r != rater && !std::isnan(gaps[r])) sum += gaps[r], ++count;
  }
  return sum / count;
}

/// What to read of the prompts of one data file.
struct Wanted {
  std::size_t category = 0;  ///< Place among those of the configuration
  std::int64_t group = 0;    ///< In the store
};
using WantedLines = std::map<std::int64_t, Wanted>;

/// What was read of a category.
struct Found {
  std::map<std::string, std::vector<RaterScores>> labels;
  std::string why;  ///< Why not all of it was read
};

std::string changed(const std::string& file) {
  return fmt::format("{} has changed since its prompts were read: `dmoerm evidence states` reads it again", file);
}

/// Whether a row with raters states another id than the group has.
bool is_other_row(const json& row, std::string_view id) {
  const json stated = row.value("id", json());
  return stated.is_string() && !stated.get_ref<const std::string&>().empty() && stated.get_ref<const std::string&>() != id;
}

/// Add the raters' scores of a row, of which equal responses are one, to those of its category.
/// @return false for the row of another group than `id`
bool read_row(const std::string& line, std::string_view id, Found& category) {
  const json row = preference::parse_row(line);
  auto labels = preference::rater_scores(row);
  if (!labels.empty() && is_other_row(row, id)) return false;
  if (labels.empty()) return true;
  preference::Group group = preference::parse_native(row);
  preference::merge_equal_responses(group);
  for (const auto& [label, scores] : labels)
    category.labels[label].push_back(preference::merge_rater_scores(scores, group.places));
  return true;
}

void read_file(const std::string& file, WantedLines wanted, const data::TokenStore& store, std::vector<Found>& found) {
  const auto say = [&](const std::string& why) {
    for (const auto& [line, of] : wanted) found[of.category].why = why;
  };
  std::error_code error;
  if (!fs::exists(file, error) && !error) return say(fmt::format("{} is not there any more", file));
  try {
    preference::LineReader lines(file);
    for (std::string line; !wanted.empty() && lines.next(line);) {
      const auto at = wanted.find(lines.number());
      if (at == wanted.end()) continue;
      Found& category = found[at->second.category];
      try {
        if (!read_row(line, store.group(at->second.group).id, category)) return say(changed(file));
      } catch (const preference::RowError& e) {
        category.why = fmt::format("{}:{}: {}", file, lines.number(), e.what());
      }
      wanted.erase(at);
    }
  } catch (const IoError& e) {
    return say(e.what());
  } catch (const DataError& e) {
    return say(e.what());
  }
  say(changed(file));  // of lines that are gone
}

/// The agreement of a label with at least one pair that two raters order, or nothing.
std::optional<NoiseCeiling> ceiling_of(const std::string& category, const std::string& label, const Found& found) {
  const auto at = found.labels.find(label);
  if (at == found.labels.end()) return std::nullopt;
  NoiseCeiling ceiling{category, label, rater_agreement(at->second), "", false};
  if (ceiling.agreement.with_ties.prompts == 0) return std::nullopt;
  return ceiling;
}

std::string share_text(const Agreement& agreement) {
  return agreement.prompts > 0 ? fmt::format("{:.3f}", agreement.share) : "-";
}

json json_of(const Agreement& agreement) {
  return {{"share", agreement.prompts > 0 ? json(agreement.share) : json()},
          {"prompts", agreement.prompts},
          {"pairs", agreement.pairs}};
}

}  // namespace

RaterAgreement rater_agreement(const std::vector<RaterScores>& prompts) {
  Mean with_ties, without_ties, with_others;
  for (const RaterScores& responses : prompts) {
    for (std::size_t i = 0; i < responses.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        const std::vector<double> gaps = gaps_of(responses[i], responses[j]);
        for (std::size_t r = 0; r < gaps.size(); ++r) {
          for (std::size_t s = 0; s < r; ++s) {
            const std::optional<double> agreement = agreement_of(gaps[r], gaps[s]);
            if (agreement) with_ties.add(*agreement);
            if (agreement && gaps[r] != 0 && gaps[s] != 0) without_ties.add(*agreement);
          }
          if (const auto agreement = agreement_of(gaps[r], gap_of_others(gaps, r))) with_others.add(*agreement);
        }
        for (Mean* mean : {&with_ties, &without_ties, &with_others}) mean->end_pair();
      }
    }
    for (Mean* mean : {&with_ties, &without_ties, &with_others}) mean->end_prompt();
  }
  return {with_ties.result(), without_ties.result(), with_others.result()};
}

std::vector<NoiseCeiling> noise_ceilings(const data::TokenStore& store, const config::RunConfig& config, bool test) {
  const auto groups = choose_groups(store, {.test = test, .seed = config.seed});
  std::map<std::string, WantedLines> files;
  for (std::size_t c = 0; c < config.categories.size(); ++c) {
    const auto at = std::ranges::find(store.categories(), config.categories[c].name);
    if (at == store.categories().end()) continue;
    for (const std::int64_t group : groups[static_cast<std::size_t>(at - store.categories().begin())]) {
      const auto [file, line] = store.source(group);
      files[std::string(file)][line] = {c, group};
    }
  }
  std::vector<Found> found(config.categories.size());
  for (auto& [file, wanted] : files) read_file(file, std::move(wanted), store, found);
  std::vector<NoiseCeiling> ceilings;
  for (std::size_t c = 0; c < found.size(); ++c) {
    const config::CategoryConfig& category = config.categories[c];
    const std::string overall(preference::kOverall);
    if (auto ceiling = found[c].why.empty() ? ceiling_of(category.name, overall, found[c]) : std::nullopt) {
      ceiling->first_rater_unnamed = std::ranges::find(category.points, preference::kFirstRater) == category.points.end();
      ceilings.push_back(std::move(*ceiling));
    } else {
      ceilings.push_back(
          {category.name,
           overall,
           {},
           found[c].why.empty() ? "no two raters order a pair of its responses (`overall_raters` of the data)" : found[c].why,
           false});
    }
    for (const std::string& point : category.points) {
      if (auto ceiling = found[c].why.empty() ? ceiling_of(category.name, point, found[c]) : std::nullopt)
        ceilings.push_back(std::move(*ceiling));
    }
  }
  return ceilings;
}

std::string noise_ceiling_section(const std::vector<NoiseCeiling>& ceilings, json& figures) {
  if (ceilings.empty()) return "";
  std::vector<std::vector<std::string>> rows = {{"category", "label", "prompts", "pairs", "rater with rater",
                                                 "where neither ties (pairs)", "rater with the mean of the others"}};
  bool points = false;
  std::vector<std::string> unnamed;
  for (const NoiseCeiling& ceiling : ceilings) {
    json& own = figures[ceiling.category][ceiling.label];
    points = points || ceiling.label != preference::kOverall;
    if (ceiling.first_rater_unnamed) unnamed.push_back(ceiling.category);
    if (!ceiling.why.empty()) {
      rows.push_back({ceiling.category, ceiling.label, "-", "-", ceiling.why, "-", "-"});
      own["why"] = ceiling.why;
      continue;
    }
    const auto& [with_ties, without_ties, with_others] = ceiling.agreement;
    rows.push_back({ceiling.category, ceiling.label, std::to_string(with_ties.prompts), std::to_string(with_ties.pairs),
                    share_text(with_ties), fmt::format("{} ({})", share_text(without_ties), without_ties.pairs),
                    share_text(with_others)});
    own = {{"with_ties", json_of(with_ties)}, {"without_ties", json_of(without_ties)}, {"with_others", json_of(with_others)}};
  }
  return fmt::format(
      "## Inter-rater agreement (noise ceiling)\n\nHow far single raters agree: the share of pairs that two raters order alike, "
      "a mean over the prompts with several raters. A model can exceed it: it is tested against the mean of all raters, which "
      "is less noisy than one rater. A pair that one of the two ties counts a half, as if a coin broke the tie; a pair that "
      "both tie is left out.{}\n\n{}{}\n",
      points ? "" : " No point has scores of single raters (`scores_raters` of the data).", markdown_table(rows),
      unnamed.empty() ? ""
                      : fmt::format("\nThe configuration does not name `{0}` among the points of {1}. Under regimes of one rater "
                                    "(`rater`) pairs of its overall labels are turned round at random instead.\n",
                                    preference::kFirstRater, fmt::join(unnamed, ", ")));
}

}  // namespace dmoerm::evidence
