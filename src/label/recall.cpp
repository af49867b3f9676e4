#include "label/recall.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

namespace dmoerm::label {

void recall(const label_store::LabelStore& store, const judge::Judge& judge, JudgeWatch& watch) {
  using label_store::Label;
  const std::vector<Label> latest =
      store.latest(JudgeWatch::kWindow, judge.config.model, judge.answer_forms.front().judge_template().id());
  const std::size_t count = std::min<std::size_t>(latest.size(), JudgeWatch::kProbe);
  for (std::size_t i = latest.size() - count; i < latest.size(); ++i) watch.recall(latest[i].verdict);
  std::map<std::tuple<std::string, std::string, Digest, std::int32_t>, const Label*> one_order;
  std::vector<Ballot> ballots;
  for (const Label& label : latest) {
    const auto [other, alone] = one_order.try_emplace({label.category, label.point, label.pair, label.sample}, &label);
    if (alone || other->second->swapped == label.swapped) {
      other->second = &label;
      continue;
    }
    const auto [first, second] = label.swapped ? std::pair(other->second, &label) : std::pair(&label, other->second);
    ballots.push_back({first->verdict, second->verdict});
    one_order.erase(other);
  }
  const auto pairs = std::min<std::size_t>(ballots.size(), JudgeWatch::kPairsProbe);
  for (std::size_t i = ballots.size() - pairs; i < ballots.size(); ++i) watch.recall_pair(ballots[i]);
}

}  // namespace dmoerm::label
