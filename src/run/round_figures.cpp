#include "run/round_figures.h"

#include <set>
#include <tuple>

#include "run/stage_gaps.h"

namespace dmoerm::run {

nlohmann::json round_figures(const label::PointVerdicts& verdicts, const std::filesystem::path& before,
                             const std::filesystem::path& gaps) {
  using preference::SwapOutcome;
  std::set<std::tuple<std::string, std::int64_t, int, int>> known;
  for (const label::JudgedGroup& group : label::read_judged_groups(before)) {
    for (const label::JudgedPair& pair : group.pairs) known.emplace(group.file, group.line, pair.a, pair.b);
  }
  const auto rewards = read_gaps(gaps, verdicts.target.point);
  std::int64_t pairs = 0, believed = 0, compared = 0, agree = 0;
  for (const label::JudgedGroup& group : verdicts.groups) {
    const auto rated = rewards.find({group.file, group.line});
    for (const label::JudgedPair& pair : group.pairs) {
      if (known.contains({group.file, group.line, pair.a, pair.b})) continue;
      ++pairs;
      if (pair.vote.outcome != SwapOutcome::first && pair.vote.outcome != SwapOutcome::second) continue;
      ++believed;
      if (rated == rewards.end()) continue;
      const double gap = rated->second.at(static_cast<std::size_t>(pair.a)) - rated->second.at(static_cast<std::size_t>(pair.b));
      ++compared;
      agree += (gap > 0) == (pair.vote.outcome == SwapOutcome::first) ? 1 : 0;
    }
  }
  return {{"new_pairs", pairs}, {"new_believed", believed}, {"compared", compared}, {"experts_agree", agree}};
}

}  // namespace dmoerm::run
