// Combines the judges' stored answers about one capability point into the verdicts that experts train on, and counts how far they
// can be trusted.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "label/point_questions.h"
#include "label/vote.h"

namespace dmoerm::label {

/// Judged pairs for which the data has a preference of its own.
struct Agreement {
  std::int64_t right = 0, total = 0;
};

/// Counts of one judge's answers in both orders, one for each pair and sample; or of all judges' votes, one for each pair.
struct VerdictCounts {
  std::string judge, template_name;        ///< Both empty for the vote
  std::array<std::int64_t, 7> outcomes{};  ///< Counts by preference::SwapOutcome; for a judge each sample counts
  std::int64_t first_both = 0;             ///< Inconsistent answers that preferred the first shown in both orders; 0 for the vote
  std::int64_t second_both = 0;  ///< Inconsistent answers that preferred the second shown in both orders; 0 for the vote
  Agreement point,
      overall;  ///< Agreement of the believed verdicts with the data's own labels of the point, and with its overall preference

  /// Everything counted: pairs for the vote, answers in both orders for a judge.
  [[nodiscard]] std::int64_t pairs() const;
  /// The part with a verdict in both orders.
  [[nodiscard]] std::int64_t judged() const { return outcomes[0] + outcomes[1] + outcomes[2] + outcomes[3]; }
};

struct JudgedPair {
  int a = 0, b = 0;
  Vote vote;
};

/// Judged pairs of one group, which is named by its file and line.
struct JudgedGroup {
  std::string file;
  std::int64_t line = 0;
  std::vector<JudgedPair> pairs;
};

struct PointVerdicts {
  Target target;
  std::vector<JudgedGroup> groups;
  VerdictCounts vote;
  std::vector<VerdictCounts> judges;
  std::int64_t not_asked = 0;  ///< Pairs of which a question has no answer yet
  std::int64_t skipped = 0;    ///< Pairs left out because they do not fit a judge's context (`too_long: skip`)
  std::int64_t cut = 0;        ///< Pairs of the vote whose texts were cut to fit a judge's context
};

/// Answers about one pair, by judge, a ballot for each sample.
struct PairBallots {
  std::vector<std::vector<Ballot>> of_judge;
  bool complete = true;               ///< Whether every question has an answer
  bool skipped = false, cut = false;  ///< Whether a question is too long, or its texts were cut
};

/// Call `decide` with each pair of a point and its stored answers. @param by_weight  as read_verdicts()
void visit_pairs(PointQuestions& questions, const label_store::LabelStore& store, const std::vector<judge::Judge>& judges,
                 bool by_weight, const std::function<void(const Slot&, const PairBallots&)>& decide);

/// Count a ballot that preferred the same place in both orders.
void count_bias(VerdictCounts& counts, const Ballot& ballot);

/// Which of two responses the data's human labels prefer under a label: 1 = a, -1 = b, 0 = neither. Stated pairs take precedence
/// over scores; verdicts that the data records do not count.
int human_preference(const preference::Group& group, std::string_view label, int a, int b, double score_gap_min);

/// Read the answers to all questions of a point from the store.
/// @param by_weight  whether votes have their judge's weight; else all count 1
PointVerdicts read_verdicts(PointQuestions questions, const label_store::LabelStore& store,
                            const std::vector<judge::Judge>& judges, bool by_weight);

/// Write the groups' verdicts as JSON lines {"file","line","pairs":[[a,b,outcome,share],...]}.
void write_verdicts(const PointVerdicts& verdicts, const std::filesystem::path& path);
/// @throws IoError, DataError
std::vector<JudgedGroup> read_judged_groups(const std::filesystem::path& path);

}  // namespace dmoerm::label
