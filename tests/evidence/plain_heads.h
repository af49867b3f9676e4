// Heads and stacks of the experiment written a second time, in plain loops over float64: what tests compare its arms with.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "evidence/heads.h"

namespace dmoerm::evidence::plain {

using Vector = std::vector<double>;
using Table = std::vector<Vector>;  ///< A row for each response

inline double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

inline Vector scaled(Vector values, double factor) {
  for (double& value : values) value *= factor;
  return values;
}

inline Vector sum(Vector a, const Vector& b, double factor = 1) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i] * factor;
  return a;
}

/// Winner less loser, with a weight so that every group counts once.
struct Difference {
  Vector x;
  double weight = 0;
};

inline std::vector<Difference> differences(const Table& x, const std::vector<moe::ExpertFeatures::Group>& groups) {
  std::vector<Difference> found;
  for (const auto& group : groups) {
    for (const auto& pair : group.pairs)
      found.push_back(
          {sum(x[static_cast<std::size_t>(group.first + pair.winner)], x[static_cast<std::size_t>(group.first + pair.loser)], -1),
           1.0 / static_cast<double>(group.pairs.size())});
  }
  return found;
}

inline double loss(const std::vector<Difference>& pairs, const Vector& head) {
  double total = 0;
  for (const Difference& pair : pairs) total += pair.weight * std::log1p(std::exp(-dot(pair.x, head)));
  return total;
}

/// Solution of a positive definite system, by elimination.
inline Vector solved(Table matrix, Vector right) {
  const std::size_t n = right.size();
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i + 1; j < n; ++j) {
      const double factor = matrix[j][i] / matrix[i][i];
      for (std::size_t k = i; k < n; ++k) matrix[j][k] -= factor * matrix[i][k];
      right[j] -= factor * right[i];
    }
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) right[i] -= matrix[i][k] * right[k];
    right[i] /= matrix[i][i];
  }
  return right;
}

/// Logistic regression with the penalty strength / 2 * |head - towards|^2.
inline Vector ridge(const std::vector<Difference>& pairs, double strength, const Vector& towards) {
  const std::size_t n = towards.size();
  Vector head = towards;
  const auto objective = [&](const Vector& at) {
    const Vector off = sum(at, towards, -1);
    return loss(pairs, at) + strength / 2 * dot(off, off);
  };
  for (int step = 0; step < 60; ++step) {
    Vector slope = scaled(sum(head, towards, -1), strength);
    Table curvature(n, Vector(n, 0));
    for (std::size_t i = 0; i < n; ++i) curvature[i][i] = strength;
    for (const Difference& pair : pairs) {
      const double right = 1 / (1 + std::exp(-dot(pair.x, head)));
      for (std::size_t i = 0; i < n; ++i) {
        slope[i] -= pair.weight * (1 - right) * pair.x[i];
        for (std::size_t j = 0; j < n; ++j) curvature[i][j] += pair.weight * right * (1 - right) * pair.x[i] * pair.x[j];
      }
    }
    const Vector way = solved(curvature, slope);
    const double now = objective(head);
    double length = 1;
    while (length > 1e-9 && objective(sum(head, way, -length)) > now + 1e-12) length /= 2;
    head = sum(head, way, -length);
    if (dot(way, slope) < 1e-20) break;
  }
  return head;
}

/// The factor that suits a reward best, of a penalty of 0.1.
inline double best_scale(const Vector& reward, const LabelledGroups& labelled) {
  Table x;
  for (const double value : reward) x.push_back({value});
  return std::max(0.0, ridge(differences(x, labelled.groups), 0.1, {0}).front());
}

/// The groups of one inner fold, or of all others.
inline LabelledGroups of_fold(const LabelledGroups& labelled, std::int64_t fold, bool others) {
  LabelledGroups some;
  for (std::size_t g = 0; g < labelled.groups.size(); ++g) {
    if ((labelled.fold[g] == fold) == others) continue;
    some.groups.push_back(labelled.groups[g]);
    some.fold.push_back(labelled.fold[g]);
  }
  return some;
}

struct PlainHeads {
  Vector all;
  Table without;  ///< A head for each inner fold
  double strength = 0, loss = std::numeric_limits<double>::infinity();
};

/// Rewards of some groups by the heads without their folds, of all others by the head on all.
inline Vector rewards(const PlainHeads& heads, const Table& x, const LabelledGroups& seen) {
  Vector reward;
  for (const Vector& row : x) reward.push_back(dot(row, heads.all));
  for (std::size_t g = 0; g < seen.groups.size(); ++g) {
    for (std::int64_t i = seen.groups[g].first; i < seen.groups[g].first + seen.groups[g].count; ++i)
      reward[static_cast<std::size_t>(i)] =
          dot(x[static_cast<std::size_t>(i)], heads.without[static_cast<std::size_t>(seen.fold[g])]);
  }
  return reward;
}

inline PlainHeads fit(const Table& x, const LabelledGroups& labelled, const std::vector<double>& strengths,
                      const LabelledGroups* judged = nullptr, const PlainHeads* towards = nullptr, double scale = 1) {
  const Vector zeros(x.front().size(), 0);
  PlainHeads best;
  for (const double strength : strengths) {
    PlainHeads heads{zeros, {}, strength, 0};
    for (std::int64_t fold = 0; fold < kInnerFolds; ++fold) {
      const Vector target = towards == nullptr ? zeros : scaled(towards->without[static_cast<std::size_t>(fold)], scale);
      heads.without.push_back(ridge(differences(x, of_fold(labelled, fold, true).groups), strength, target));
      heads.loss += loss(differences(x, of_fold(labelled, fold, false).groups), heads.without.back());
    }
    if (judged != nullptr) {
      const Vector reward = rewards(heads, x, *judged);
      Table one;
      for (const double value : reward) one.push_back({value});
      heads.loss = loss(differences(one, judged->groups), {best_scale(reward, *judged)});
    }
    if (heads.loss < best.loss) {
      best = heads;
    } else if (judged == nullptr && heads.loss > best.loss * 1.01) {
      break;
    }
  }
  best.all = ridge(differences(x, labelled.groups), best.strength, towards == nullptr ? zeros : scaled(towards->all, scale));
  best.loss /= static_cast<double>((judged == nullptr ? labelled : *judged).groups.size());
  return best;
}

/// Rewards less the mean of their group.
inline Vector centred(Vector reward, const std::vector<moe::ExpertFeatures::Group>& groups) {
  for (const auto& group : groups) {
    double mean = 0;
    for (std::int64_t i = group.first; i < group.first + group.count; ++i)
      mean += reward[static_cast<std::size_t>(i)] / static_cast<double>(group.count);
    for (std::int64_t i = group.first; i < group.first + group.count; ++i) reward[static_cast<std::size_t>(i)] -= mean;
  }
  return reward;
}

/// Rewards divided by their spread within the groups, of which the code keeps the digits of float32.
inline Vector standardised(const Vector& reward, const std::vector<moe::ExpertFeatures::Group>& groups) {
  const Vector apart = centred(reward, groups);
  double squares = 0, freedom = 0;
  for (const auto& group : groups) {
    for (std::int64_t i = group.first; i < group.first + group.count; ++i)
      squares += apart[static_cast<std::size_t>(i)] * apart[static_cast<std::size_t>(i)];
    freedom += static_cast<double>(group.count - 1);
  }
  return scaled(reward, 1 / static_cast<double>(static_cast<float>(std::sqrt(squares / freedom))));
}

struct PlainStack {
  Vector reward, weight;
  double loss = std::numeric_limits<double>::infinity();  ///< Of a group left out
};

/// Columns weighted by the ridge regression whose strength predicts each group best that is left out.
inline PlainStack stack(const std::vector<Vector>& columns, const Vector& target, const LabelledGroups& labelled) {
  Table z(columns.front().size());
  for (const Vector& column : columns) {
    for (std::size_t n = 0; n < z.size(); ++n) z[n].push_back(column[n]);
  }
  Vector along;
  for (const Vector& row : z) along.push_back(dot(row, target));
  const Vector towards = scaled(target, std::max(0.02, best_scale(along, labelled)));
  PlainStack best;
  for (const double strength : {300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3}) {
    double left_out = 0;
    for (std::size_t g = 0; g < labelled.groups.size(); ++g) {
      std::vector<moe::ExpertFeatures::Group> others = labelled.groups;
      others.erase(others.begin() + static_cast<std::ptrdiff_t>(g));
      left_out += loss(differences(z, {labelled.groups[g]}), ridge(differences(z, others), strength, towards));
    }
    left_out /= static_cast<double>(labelled.groups.size());
    if (left_out >= best.loss - 1e-12) continue;
    best = {{}, ridge(differences(z, labelled.groups), strength, towards), left_out};
  }
  for (const Vector& row : z) best.reward.push_back(dot(row, best.weight));
  return best;
}

}  // namespace dmoerm::evidence::plain
