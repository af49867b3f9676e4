// The questions of one capability point, built one at a time so that memory does not grow with the data.
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

/// One capability point whose pairs are labelled.
struct Target {
  std::string category, point;
  double score_gap_min = 0;    ///< Smaller gaps of the data's own scores at the point do not count as a preference
  double overall_gap_min = 0;  ///< The same for the data's overall scores
};

/// Pairs of a group that are asked about, a < b.
struct GroupPairs {
  std::size_t group = 0;  ///< Number in the GroupFile
  std::vector<std::pair<int, int>> pairs;
};

/// One place in the enumeration of questions: identifies a question that is not built yet.
struct Slot {
  std::size_t group = 0, judge = 0;
  int a = 0, b = 0;
  std::int32_t sample = 0;
  bool swapped = false;
};

/// The stored answer to a slot's question.
struct LookedUp {
  const label_store::CachedVerdict* answer =
      nullptr;          ///< Answer in any form; nullptr if never asked; an error only if no form has an answer
  bool skipped = true;  ///< Whether it is too long in every answer form
  bool cut = false;     ///< Whether a text of the question was cut to fit
};

class PointQuestions {
 public:
  PointQuestions(Target target, GroupFile& groups, const std::vector<judge::Judge>& judges, const std::vector<GroupPairs>& pairs,
                 std::int32_t samples)
      : target_(std::move(target)), groups_(groups), judges_(judges), pairs_(pairs), samples_(samples) {}

  /// The next slot, nothing at the end. The two orders of a pair are consecutive.
  std::optional<Slot> next();
  /// Build a slot's question in one of its judge's answer forms. @return nothing if it is too long and the rule is to skip
  /// @throws DataError, ConfigError as QuestionBuilder::build()
  std::optional<judge::BuiltQuestion> build(const Slot& slot, std::size_t answer_form);
  /// Look a slot's answer up in the store, in all answer forms.
  LookedUp look_up(const Slot& slot, const label_store::LabelStore& store);
  /// The stored answer to a slot's question that makes asking needless; nullptr if it is to be asked.
  /// @param built       the question in the answer form in use
  /// @param retry       whether errors are asked again
  /// @param other_forms whether an answer in another form counts
  const label_store::CachedVerdict* stored_answer(const Slot& slot, const judge::BuiltQuestion& built,
                                                  const label_store::LabelStore& store, bool retry, bool other_forms);
  /// Group number `number`; the last one read is kept.
  const preference::Group& group(std::size_t number);
  /// "responses 0 and 3 of group g17", for messages. It reads no file.
  [[nodiscard]] std::string pair_name(const Slot& slot) const;
  [[nodiscard]] const Target& target() const { return target_; }
  /// Number of slots.
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
