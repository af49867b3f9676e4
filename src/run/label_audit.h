// How `dmoerm label --audit` shows what it found: how far judges agree with the data's human labels, and what the whole labelling
// would cost.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "label/audit.h"
#include "label/estimate.h"

namespace dmoerm::run {

/// What was paid and what the rest of the labelling may cost.
struct AuditCost {
  judge::Usage audit, store;                ///< Of this audit, and everything that the store has ever paid for
  judge::Usage rest_most;                   ///< The most that the questions without an answer can cost
  std::optional<judge::Usage> rest_likely;  ///< The same, if they cost as much as the replies so far; nothing if none was paid
};

/// The sums over all points: questions without an answer, and the most that they can cost.
judge::Usage most_of(const std::vector<label::PointEstimate>& estimates);
/// What the rest will probably cost, from what was paid for questions that could have cost `paid_most` at most.
std::optional<judge::Usage> likely_cost(const judge::Usage& rest_most, const judge::Usage& paid, const judge::Usage& paid_most,
                                        std::int64_t answered);
/// Raise the most to what is likely, as a server may count more tokens than estimated.
void raise_to(judge::Usage& most, const judge::Usage& likely);

/// What an audit found, for its page and its JSON file.
struct Audit {
  std::vector<label::AuditResult> points;
  AuditCost cost;
  std::string currency, ended;  ///< `ended`: why not every question was asked; "" if all were
  bool priced = false;          ///< Whether every judge has a price
  double cost_max = 0;          ///< `labels.budget.cost_max`
  std::uint64_t seed = 0;       ///< Of the intervals
};

/// A Markdown page: by point and judge, and over all points, the agreement with its 95 % interval over prompts, position bias,
/// ties and replies of no use; then the costs.
std::string audit_page(const Audit& audit);
/// The same numbers.
nlohmann::json audit_json(const Audit& audit);

}  // namespace dmoerm::run
