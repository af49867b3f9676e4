// Asks what is not known yet, writes each answer to the store before it counts, and stops at a limit, a signal or a fatal reply
// with everything paid for kept.
//
//   PointQuestions -> known in the store? -> Budget::reserve -> JudgeClient -> parse_verdict -> LabelStore::append
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "judge/judge.h"
#include "label/budget.h"
#include "label/label_end.h"
#include "label/point_questions.h"
#include "label_store/label_store.h"

namespace dmoerm::label {

/// A point with what has become of its questions so far.
struct PointProgress {
  Target target;
  std::int64_t total = 0;                  ///< questions
  std::int64_t known = 0;                  ///< answered by an earlier run, or by an equal question
  std::int64_t answered = 0;               ///< in this run
  std::int64_t skipped = 0;                ///< too long for the judge
  std::array<std::int64_t, 6> verdicts{};  ///< of this run, by Verdict
  std::int64_t both = 0, consistent = 0;   ///< pairs of this run with a verdict in both orders; of them believed
  bool enumerated = false;                 ///< its last question has been looked at
  std::int64_t outstanding = 0;            ///< on their way
  [[nodiscard]] bool done() const { return enumerated && outstanding == 0; }
};

struct LabelProgress {
  std::vector<PointProgress> points;
  judge::Usage run;  ///< what this run has cost
  std::int64_t in_flight = 0;
  std::int64_t throttled = 0;  ///< tries that were told "too much"
};

/// What a dry run finds.
struct PointEstimate {
  Target target;
  std::int64_t total = 0, known = 0, skipped = 0, cut = 0;
  std::int64_t prompt_tokens = 0;          ///< of what is new
  std::int64_t completion_tokens_max = 0;  ///< likewise
  std::int64_t cost_max_micros = 0;        ///< likewise
};

class Labeller {
 public:
  /// @param pairs  for each target the pairs to ask about
  Labeller(std::vector<Target> targets, std::vector<std::vector<GroupPairs>> pairs, GroupFile& groups,
           std::vector<judge::Judge>& judges, label_store::LabelStore& store, const config::LabelsConfig& config);
  ~Labeller();

  /// What a run would ask, and the most it can cost. Sends nothing.
  std::vector<PointEstimate> estimate();

  struct Watch {
    std::function<bool()> stop;                          ///< true: collect what is in flight, and end
    std::function<void(std::size_t)> point_done;         ///< every question of a target is answered and stored
    std::function<void(const LabelProgress&)> progress;  ///< often
  };
  /// Ask. @throws DataError, IoError (the store cannot be written: what is in flight is lost, nothing else)
  LabelEnd run(Budget& budget, const Watch& watch);

  [[nodiscard]] const LabelProgress& progress() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::label
