// How well the gap between two scores tells the probability that the better one is better.
#pragma once
#include <optional>
#include <vector>

namespace dmoerm::eval {

/// One bin of a reliability diagram.
struct ReliabilityBin {
  double low = 0, high = 0;                     ///< Confidences that fall into it
  double count = 0, confidence = 0, right = 0;  ///< Answers, and their mean confidence and share of correct ones
};

/// Equal bins of [0.5, 1] for pairs whose better response leads by `gaps`: the model's confidence in its answer is
/// sigmoid(|gap|). A gap of 0 is half right.
std::vector<ReliabilityBin> reliability(const std::vector<double>& gaps, int bins = 10);

/// Mean over the bins, weighted by their answers, of |confidence - share right|. 0 without answers.
double calibration_error(const std::vector<ReliabilityBin>& bins);

/// Mean of -log sigmoid(gap / temperature).
double log_loss(const std::vector<double>& gaps, double temperature = 1);

/// The temperature with the lowest log_loss(). 1 if all gaps are 0; none if there is no lowest: where all pairs are right every
/// lower temperature is better, where the gaps say the opposite every higher one.
std::optional<double> best_temperature(const std::vector<double>& gaps);

}  // namespace dmoerm::eval
