// The arms of the experiment, as tables name them.
#pragma once

namespace dmoerm::evidence {

/// An arm, and what it is.
struct ArmText {
  const char* name;
  const char* text;
};
/// In the order of the tables.
inline constexpr ArmText kArms[] = {
    {"single", "single, overall labels"},
    {"single_of_4", "single over 4 categories"},
    {"single_of_2", "single over 2 categories"},
    {"single_of_1", "single over 1 category"},
    {"single_points", "single, overall and all points"},
    {"own", "one per category, overall labels (own)"},
    {"base", "base of the experts"},
    {"pooled", "one per category, overall and points pooled"},
    {"pooled_weighted", "the same, overall pairs weighted 1, 3 or 10 times"},
    {"universal", "one per category, points pooled"},
    {"mean", "mean of experts"},
    {"linear", "experts, ridge to the mean"},
    {"inner", "inner layer only: experts over all categories, no router"},
    {"dmoerm", "DMoERM, as chosen by held-out prompts (of runs: and routed)"},
    {"oracle_route", "DMoERM, routed without errors"},
    {"stack", "stack: experts and base, ridge to the mean"},
    {"stack_in_sample", "stack without folds: its experts have seen its prompts"},
    {"stack_split", "stack without folds: experts on three fifths of the prompts, weights on the others"},
    {"stack_clusters", "stack with weights for each of four clusters of prompts"},
    {"stack_gate", "stack with weights linear in the prompt (gate)"},
    {"stack_doubt", "stack with the experts' disagreement as one more reward"},
    {"stack_doubt_alone", "the same, of rewards with their means over the prompt"},
    {"gate", "gate on the prompt's state"},
    {"mlp", "stack and a network on the experts' states"},
    {"paper_mlp", "the paper's network on the experts' states"},
    {"stack_universal", "experts, base and universal expert, ridge to the universal"},
    {"warm", "head that shrinks to the universal expert"},
    {"residual", "head that shrinks to the pooled model"},
    {"best", "the likeliest of own, pooled, ridge and the two heads"},
    {"equal", "these five, equal weights"},
    {"vote", "these five, by their likelihood"},
    {"ensemble_mean", "ensemble of overall models, mean"},
    {"ensemble_wco", "ensemble, worst of members"},
    {"ensemble_uwo", "ensemble, mean less variance"},
    {"bag", "bag of tokens, overall labels"},
    {"length", "length only"},
};

}  // namespace dmoerm::evidence
