#include "label/estimate.h"

#include <unordered_set>

#include "label/asked_question.h"

namespace dmoerm::label {

std::vector<PointEstimate> estimate(const std::vector<Target>& targets, const std::vector<std::vector<GroupPairs>>& pairs,
                                    GroupFile& groups, const std::vector<judge::Judge>& judges,
                                    const label_store::LabelStore& store, const config::LabelsConfig& config) {
  std::vector<PointEstimate> estimates;
  std::unordered_set<Digest, KeyHash> counted;  // equal questions are asked once
  for (std::size_t i = 0; i < targets.size(); ++i) {
    PointQuestions questions(targets[i], groups, judges, pairs[i], static_cast<std::int32_t>(config.samples));
    PointEstimate estimate;
    estimate.target = targets[i];
    while (const auto slot = questions.next()) {
      ++estimate.total;
      const judge::Judge& judge = judges[slot->judge];
      const auto built = questions.build(*slot, judge.answer_form);
      if (!built) {
        ++estimate.skipped;
      } else if (questions.stored_answer(*slot, *built, store, config.retry_errors, store.size() > 0) != nullptr ||
                 !counted.insert(built->question.key).second) {
        ++estimate.known;
      } else {
        const judge::Usage max_cost = judge.estimated_cost(*built);
        estimate.prompt_tokens += max_cost.prompt_tokens;
        estimate.completion_tokens_max += max_cost.completion_tokens;
        estimate.cost_max_micros += max_cost.cost_micros;
        if (built->cut()) ++estimate.cut;
      }
    }
    estimates.push_back(std::move(estimate));
  }
  return estimates;
}

}  // namespace dmoerm::label
