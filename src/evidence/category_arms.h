// The arms of one category in one outer fold. Shapes: N responses of the category, F features, K experts.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "evidence/arm_table.h"
#include "evidence/heads.h"
#include "evidence/regime.h"

namespace dmoerm::evidence {

constexpr std::size_t kPointGroupsMin = 8;  ///< Training groups with pairs that an expert needs

/// One category with its groups: where they stand, which fold they are in, what is tested.
struct CategoryData {
  std::string name;
  const config::CategoryConfig* config = nullptr;
  std::vector<std::int64_t> groups;              ///< Indices in the store
  std::vector<moe::ExpertFeatures::Group> rows;  ///< Rows within the category and prompt, without pairs
  std::vector<std::int64_t> outer, inner;        ///< Fold of each group
  /// Outer folds in which some category tests the conversation or cluster of each group; empty if only `outer` counts
  std::vector<std::set<std::int64_t>> conversation_tested;
  std::int64_t first_row = 0, row_count = 0;     ///< Rows of the category among those of all
  std::int64_t first_group = 0;                  ///< Its first group among those of all
  at::Tensor topic_GD;                           ///< Of each group the mean state of its responses
  PairLists overall;                             ///< What is tested
  PairLists equal_length;                        ///< Those of the tested pairs whose responses are equally long
  ResponseGold responses;                        ///< Of each row; gold in standard deviations within the lists that are tested
  std::map<std::string, PairLists> points;       ///< Pairs of each point
  std::map<std::string, PairLists> tied_points;  ///< The same and all ties, whose target is 0.5

  /// Whether models of an outer fold may learn from a group: no category tests its conversation there.
  [[nodiscard]] bool trains(std::size_t group, std::int64_t fold) const {
    return outer[group] != fold && (conversation_tested.empty() || !conversation_tested[group].contains(fold));
  }
  /// Groups that models of an outer fold learn from, and that have pairs.
  [[nodiscard]] LabelledGroups training(const PairLists& pairs, std::int64_t fold) const;
  /// The same groups with the rows and blocks that they have among those of all categories.
  [[nodiscard]] LabelledGroups among_all(LabelledGroups labelled) const;
  /// What the experts of an outer fold learn from with one seed, without noise: the pairs of each point.
  [[nodiscard]] std::map<std::string, PairLists> taught(const Regime& regime, const StoreScores& scores, std::int64_t fold,
                                                        std::uint64_t seed) const;
  /// Tested groups of an outer fold.
  [[nodiscard]] std::vector<moe::ExpertFeatures::Group> tested(std::int64_t fold) const;
  /// The same groups, perhaps without pairs.
  [[nodiscard]] std::vector<moe::ExpertFeatures::Group> tested_at_equal_length(std::int64_t fold) const;
  [[nodiscard]] std::vector<std::int64_t> tested_groups(std::int64_t fold) const;
  /// An empty table of the tested groups.
  [[nodiscard]] ArmTable table(std::int64_t fold) const { return {tested(fold), tested_at_equal_length(fold), responses}; }
};

/// Overall labels of a regime with one seed: the chosen prompts of the training groups.
LabelledGroups labelled_overall(const data::TokenStore& store, const StoreScores& scores, const CategoryData& category,
                                std::int64_t fold, const Regime& regime, std::uint64_t seed);

/// Capability labels of a regime with one seed: of each point the training groups that have pairs.
std::map<std::string, LabelledGroups> labelled_points(const data::TokenStore& store, const StoreScores& scores,
                                                      const CategoryData& category, std::int64_t fold, const Regime& regime,
                                                      std::uint64_t seed);

/// What the arms of a category share in one outer fold: the heads of its points.
class CategoryArms {
 public:
  CategoryArms(const data::TokenStore& store, const StoreScores& scores, const CategoryData& category, std::int64_t fold,
               const at::Tensor& x_NF, const at::Tensor& prompt_GF, const at::Tensor& bag_NB);
  /// All arms of one category with one seed.
  void run(const Regime& regime, std::uint64_t seed, ArmTable& table);
  /// How the experts of a regime, but without noise in its points, order the tested groups: point -> {groups, own, universal,
  /// length: shares of pairs of the point; overall: share of overall pairs that its expert orders correctly}, or
  /// {groups: 0, labelled} without an expert. @param seed  draws the prompts with capability labels, where a regime leaves few
  [[nodiscard]] nlohmann::json experts(const Regime& regime, std::uint64_t seed);

 private:
  struct Points {
    std::vector<std::string> names;
    std::vector<Heads> heads;
    std::vector<at::Tensor> early_F;             ///< Heads of the prompts of the first folds (kEarlyFolds)
    std::map<std::string, std::size_t> too_few;  ///< Points without an expert: training groups with pairs
    LabelledGroups heap;
    Heads universal;
  };
  /// The heads of the points, and one of all their pairs as one heap. They are the same for all seeds, unless a regime draws the
  /// labels of points.
  const Points& points_with(const Regime& regime, std::uint64_t seed);
  /// Rewards of all responses: those of training groups by heads that have not seen them.
  [[nodiscard]] at::Tensor rewards(const Heads& heads) const { return out_of_fold(heads, x_NF_, training_); }
  /// A head on the prompts of the first folds, of the strength of another.
  [[nodiscard]] at::Tensor early_head(const LabelledGroups& labelled, const Heads& heads) const;
  void ensemble(const LabelledGroups& labelled, const Heads& own, std::uint64_t seed, ArmTable& table) const;
  /// Length and bag of tokens.
  void shallow(const LabelledGroups& labelled, ArmTable& table) const;
  [[nodiscard]] at::Tensor lengths() const;
  /// What a run makes of the rewards of experts and base (run/stage_aggregator.h): the mean or the stack, by prompts held out. A
  /// run also chooses between these and networks, which take too long here.
  /// @param columns   rewards of the experts, then of the base  @param features  their names
  void as_chosen(const std::vector<at::Tensor>& columns, const std::vector<std::string>& features, const LabelledGroups& labelled,
                 std::uint64_t seed, ArmTable& table) const;
  /// The stack without folds: on the rewards of heads that have seen its prompts, and, as with phase1_share, of heads that were
  /// trained on three fifths of the prompts, fitted on the others.
  void without_folds(const Points& points, const Heads& own, const std::vector<double>& target, const LabelledGroups& labelled,
                     ArmTable& table) const;
  /// What weights may depend on, of each response's prompt, as [N] each and learnt from the training groups: 1 in its cluster of
  /// prompts and 0 elsewhere; and its place along the directions in which prompts differ most.
  void find_topics(const std::vector<std::int64_t>& seen);
  /// The weighted sum of experts and base with weights that differ from cluster to cluster of the prompts, with weights that are
  /// linear in the prompt (a gate), and with the experts' disagreement as one more reward: less the means over a prompt's
  /// responses, and with them, as a response alone has it. @param columns  rewards of the experts, then of the base
  /// @param alone  rewards of the experts with the means over the prompts
  void variants(const std::vector<at::Tensor>& columns, const std::vector<at::Tensor>& alone, const std::vector<double>& target,
                const LabelledGroups& labelled, ArmTable& table) const;
  /// Members weighted by how likely the labels of prompts left out are under each; equally; and the best alone.
  void mixtures(const std::vector<std::pair<std::string, at::Tensor>>& members, const LabelledGroups& labelled,
                double linear_loss, ArmTable& table) const;

  const data::TokenStore& store_;
  const StoreScores& scores_;
  const CategoryData& category_;
  std::int64_t fold_;
  at::Tensor x_NF_, bag_NB_;
  at::Tensor whole_NF_;      ///< x_NF_ and the means over the prompts' responses, less the mean of training prompts
  LabelledGroups training_;  ///< Groups outside the fold, without pairs
  std::vector<at::Tensor> clusters_, directions_;  ///< See find_topics()
  /// By noise, prompts with labels, what experts learn from and, where a regime draws labels of points, the seed
  std::map<std::tuple<double, std::int64_t, Regime::Taught, std::uint64_t>, Points> points_;
};

}  // namespace dmoerm::evidence
