// Asks the questions without a stored answer, stores each answer before it counts, and stops at a limit, a signal or a fatal
// reply with every paid answer kept.
//
//   PointQuestions -> answer in the store? -> Budget::reserve -> JudgeBackend -> parse_verdict -> LabelStore::append
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "judge/judge.h"
#include "label/budget.h"
#include "label/judge_watch.h"
#include "label/labelling_end.h"
#include "label/point_questions.h"
#include "label_store/label_store.h"

namespace dmoerm::label {

/// The state of one point's questions.
struct PointProgress {
  Target target;
  std::int64_t total = 0;                  ///< Questions
  std::int64_t known = 0;                  ///< Questions answered by an earlier run, or by an equal question
  std::int64_t answered = 0;               ///< Questions answered in this run
  std::int64_t skipped = 0;                ///< Questions too long for the judge
  std::array<std::int64_t, 6> verdicts{};  ///< Answers of this run by Verdict
  std::int64_t both = 0, consistent = 0;   ///< Pairs of this run with a verdict in both orders, and the believed ones among them
  bool enumerated = false;                 ///< Whether its last question has been reached
  std::int64_t outstanding = 0;            ///< Questions sent and not answered, or waiting to be asked again
  [[nodiscard]] bool done() const { return enumerated && outstanding == 0; }
};

struct LabelProgress {
  std::vector<PointProgress> points;
  judge::Usage run;  ///< Cost of this run
  std::int64_t in_flight = 0;
  std::int64_t throttled = 0;  ///< Tries answered with "too many requests"
  std::vector<std::string> notes =
      {};  ///< At the end, for each judge with replies that have no verdict: how many, why, an example
};

class Labeller {
 public:
  /// @param pairs  the pairs to ask about, by target
  Labeller(std::vector<Target> targets, std::vector<std::vector<GroupPairs>> pairs, GroupFile& groups,
           std::vector<judge::Judge>& judges, label_store::LabelStore& store, const config::LabelsConfig& config);
  ~Labeller();

  /// Before run(): take over what an earlier labelling of the same run has learnt of the judges, so that none is paid again until
  /// it has shown that it is of no use. @param watches  of watches(), or empty
  void go_on_with(std::vector<JudgeWatch> watches);
  /// After run(): what is known of each judge's replies.
  [[nodiscard]] const std::vector<JudgeWatch>& watches() const;

  struct Watch {
    std::function<bool()> stop;                          ///< Returns true to end the run; answers in flight are still collected
    std::function<void(std::size_t)> point_done;         ///< Called when every question of a target is answered and stored
    std::function<void(const LabelProgress&)> progress;  ///< Called often
  };
  /// Ask all questions. @throws DataError, IoError if the store cannot be written; then only answers in flight are lost
  LabellingEnd run(Budget& budget, const Watch& watch);

  [[nodiscard]] const LabelProgress& progress() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dmoerm::label
