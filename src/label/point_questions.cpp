#include "label/point_questions.h"

#include <fmt/format.h>

#include "judge/untrusted_text.h"

namespace dmoerm::label {

std::optional<Slot> PointQuestions::next() {
  while (group_ < pairs_.size() && pair_ >= pairs_[group_].pairs.size()) {
    ++group_;
    pair_ = 0;
  }
  if (group_ >= pairs_.size()) return std::nullopt;
  const auto [a, b] = pairs_[group_].pairs[pair_];
  const Slot slot{pairs_[group_].group, judge_, a, b, sample_, swapped_};
  swapped_ = !swapped_;
  if (swapped_) return slot;
  if (++sample_ < samples_) return slot;
  sample_ = 0;
  if (++judge_ < judges_.size()) return slot;
  judge_ = 0;
  ++pair_;
  return slot;
}

std::optional<judge::BuiltQuestion> PointQuestions::build(const Slot& slot, std::size_t answer_form) {
  const preference::Group& g = group(slot.group);
  const judge::PairToAsk pair{g.id, g.prompt, g.responses.at(static_cast<std::size_t>(slot.a)).text,
                              g.responses.at(static_cast<std::size_t>(slot.b)).text};
  return judges_.at(slot.judge)
      .answer_forms.at(answer_form)
      .build(pair, target_.category, target_.point, slot.swapped, slot.sample);
}

LookedUp PointQuestions::look_up(const Slot& slot, const label_store::LabelStore& store) {
  LookedUp result;
  for (std::size_t form = 0; form < judges_.at(slot.judge).answer_forms.size(); ++form) {
    const auto built = build(slot, form);
    if (!built) continue;
    const label_store::CachedVerdict* found = store.find(built->question.key);
    const bool stands = found != nullptr && found->verdict != preference::Verdict::error && !found->ask_again;
    const bool better = found != nullptr && (result.answer == nullptr || stands);
    if (result.skipped || better) result.cut = built->cut();
    result.skipped = false;
    if (better) result.answer = found;
    if (stands) break;
  }
  return result;
}

const label_store::CachedVerdict* PointQuestions::stored_answer(const Slot& slot, const judge::BuiltQuestion& built,
                                                                const label_store::LabelStore& store, bool retry,
                                                                bool other_forms) {
  const auto holds = [&](const label_store::CachedVerdict* found) {
    return found != nullptr && !found->ask_again && !(retry && found->verdict == preference::Verdict::error);
  };
  if (const auto* found = store.find(built.question.key); holds(found)) return found;
  if (!other_forms || judges_.at(slot.judge).answer_forms.size() == 1) return nullptr;
  const auto* found = look_up(slot, store).answer;
  return holds(found) ? found : nullptr;
}

const preference::Group& PointQuestions::group(std::size_t number) {
  if (loaded_number_ != number) {
    loaded_ = groups_.read(number);
    loaded_number_ = number;
  }
  return loaded_;
}

std::string PointQuestions::pair_name(const Slot& slot) const {
  constexpr std::size_t kIdBytes = 80;
  return fmt::format("responses {} and {} of group {}", slot.a, slot.b,
                     judge::one_line(groups_.entries().at(slot.group).id, kIdBytes));
}

std::int64_t PointQuestions::size() const {
  std::int64_t pairs = 0;
  for (const GroupPairs& g : pairs_) pairs += static_cast<std::int64_t>(g.pairs.size());
  return pairs * static_cast<std::int64_t>(judges_.size()) * samples_ * 2;
}

}  // namespace dmoerm::label
