// What the judges' stored answers about one capability point come to: the verdicts that experts train on, and how far to trust
// them.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "label/point_questions.h"
#include "label/vote.h"

namespace dmoerm::label {

/// Judged pairs of which the data has an opinion of its own.
struct Agreement {
  std::int64_t right = 0, total = 0;
};

/// Counts of one judge's answers in both orders, one for each pair and sample; or of all judges' votes, one for each pair.
struct VerdictCounts {
  std::string judge, template_name;        ///< both empty: the vote
  std::array<std::int64_t, 7> outcomes{};  ///< by pair::SwapOutcome; of a judge each sample counts
  std::int64_t first_both = 0;   ///< inconsistent, because the first shown was preferred in both orders; not counted of the vote
  std::int64_t second_both = 0;  ///< likewise, the second shown
  Agreement point, overall;  ///< of the believed verdicts with the data's own labels of the point, and of the overall preference

  /// All that was counted: of the vote pairs, of a judge answers in both orders.
  [[nodiscard]] std::int64_t pairs() const;
  /// Those with a verdict in both orders.
  [[nodiscard]] std::int64_t judged() const { return outcomes[0] + outcomes[1] + outcomes[2] + outcomes[3]; }
};

struct JudgedPair {
  int a = 0, b = 0;
  Vote vote;
};

/// Judged pairs of one group, which is named by where it was read.
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
  std::int64_t not_asked = 0;   ///< pairs without an answer to every question yet
  std::int64_t skipped = 0;     ///< pairs that are left out, because they do not fit a judge's context (`too_long: skip`)
  std::int64_t cut = 0;         ///< pairs of the vote whose texts were cut to fit a judge's context
  std::int64_t responses = 0;   ///< shown to a judge
  std::int64_t suspicious = 0;  ///< of them, those that seem to talk to the judge
};

/// Read the answers of all questions of a point from the store.
/// @param by_weight  judges' votes have their weights; else one each
PointVerdicts read_verdicts(PointQuestions questions, const label_store::LabelStore& store,
                            const std::vector<judge::Judge>& judges, bool by_weight);

/// Write the groups' verdicts as JSON lines {"file","line","pairs":[[a,b,outcome,share],...]}.
void write_verdicts(const PointVerdicts& verdicts, const std::filesystem::path& path);
/// @throws IoError, DataError
std::vector<JudgedGroup> read_judged_groups(const std::filesystem::path& path);

}  // namespace dmoerm::label
