// Compares judges with the data's own human labels on a few pairs, so that a judge can be known before the budget is spent on it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "label/group_file.h"
#include "label/point_verdicts.h"
#include "label_store/label_store.h"

namespace dmoerm::label {

/// The pairs of one point that an audit asks about.
struct AuditedPairs {
  Target target;
  bool by_point = false;  ///< Whether the data has labels of the point itself; if not, its overall preference is compared
  std::vector<GroupPairs> pairs = {};  ///< Ordered by that label
  std::int64_t asked_anyway = 0;       ///< Pairs that the labelling asks about too, so that they are not paid for twice

  /// "coherence" or "overall"
  [[nodiscard]] std::string compared_with() const { return by_point ? target.point : std::string(preference::kOverall); }
};

/// Draw pairs that the data's human labels order: stated pairs and scores; a verdict that the data records is a judge's and does
/// not count. The pairs are spread over the points, and over the prompts of each: a second pair of a group is taken only when
/// every group has given one. The draw depends on the seed and the groups' ids.
/// @param asked  the pairs that the labelling asks about, by target. Unless it chooses the hardest ones, they are taken first
/// @param read   whether training reads verdicts on each group of the file; the others are not drawn, nor is the test split
/// @return one element for each target, in their order
std::vector<AuditedPairs> draw_audit(const config::RunConfig& config, GroupFile& groups, const std::vector<Target>& targets,
                                     const std::vector<std::vector<GroupPairs>>& asked, const std::vector<bool>& read,
                                     std::int64_t pairs);

/// Believed verdicts on the pairs of one prompt.
struct PromptAgreement {
  std::uint64_t prompt = 0;  ///< preference::session_key()
  Agreement agreement;
};

/// One judge's answers about the audited pairs, or the votes of all judges, against the human label.
struct AuditCounts {
  VerdictCounts verdicts;  ///< Its `point` and `overall` are not filled in
  std::vector<PromptAgreement> prompts;
  [[nodiscard]] Agreement agreement() const;
  /// Add the answers about other pairs.
  AuditCounts& operator+=(const AuditCounts& other);
};

struct AuditResult {
  AuditedPairs about;
  std::vector<AuditCounts> judges;
  AuditCounts vote;
  std::int64_t not_asked = 0, skipped = 0;  ///< Pairs without all answers, and pairs that are too long for a judge
};

/// Read the answers to the audit's questions from the store and compare them with the data.
AuditResult read_audit(const AuditedPairs& about, GroupFile& groups, const label_store::LabelStore& store,
                       const std::vector<judge::Judge>& judges, const config::LabelsConfig& config);

}  // namespace dmoerm::label
