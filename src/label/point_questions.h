// The questions of one capability point, made one at a time: memory does not grow with the data.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "judge/judge.h"
#include "label/group_file.h"
#include "label_store/label_store.h"

namespace dmoerm::label {

/// One capability point whose pairs are to be labelled.
struct Target {
  std::string category, point;
  double score_gap_min = 0;  ///< smaller gaps of the data's own scores are no preference
};

/// The pairs of a group that are asked about, a < b.
struct GroupPairs {
  std::size_t group = 0;  ///< number in the GroupFile
  std::vector<std::pair<int, int>> pairs;
};

/// One place in the enumeration: which question, before it is built.
struct Slot {
  std::size_t group = 0, judge = 0;
  int a = 0, b = 0;
  std::int32_t sample = 0;
  bool swapped = false;
};

/// What is known of a slot's question.
struct LookedUp {
  const label_store::Known* answer = nullptr;  ///< in whichever form it was asked; an error only if no form has an answer
  bool skipped = true;                         ///< too long in every answer form
  bool cut = false;                            ///< a text of the question as asked was cut to fit
};

class PointQuestions {
 public:
  PointQuestions(Target target, GroupFile& groups, const std::vector<judge::Judge>& judges, const std::vector<GroupPairs>& pairs,
                 std::int32_t samples)
      : target_(std::move(target)), groups_(groups), judges_(judges), pairs_(pairs), samples_(samples) {}

  /// The next slot; both orders of a pair follow each other. Nothing at the end.
  std::optional<Slot> next();
  /// Its question in one of its judge's answer forms. @return nothing if it is too long and the rule is to skip
  /// @throws DataError, ConfigError as QuestionBuilder::build()
  std::optional<judge::BuiltQuestion> build(const Slot& slot, std::size_t form);
  /// Its answer in the store.
  LookedUp look_up(const Slot& slot, const label_store::LabelStore& store);
  /// The group of a slot; the last one read is kept.
  const preference::Group& group(std::size_t number);
  [[nodiscard]] const Target& target() const { return target_; }
  /// Slots in all.
  [[nodiscard]] std::int64_t size() const;

 private:
  Target target_;
  GroupFile& groups_;
  const std::vector<judge::Judge>& judges_;
  const std::vector<GroupPairs>& pairs_;
  std::int32_t samples_;
  std::size_t group_ = 0, pair_ = 0, judge_ = 0;
  std::int32_t sample_ = 0;
  bool swapped_ = false;
  std::optional<std::size_t> loaded_number_;
  preference::Group loaded_;
};

}  // namespace dmoerm::label
