// The templates and points that come with dmoerm, loaded for tests.
#pragma once
#include <string>

#include "judge/judge_template.h"
#include "judge/point_criteria.h"

namespace dmoerm::judge {

inline JudgeTemplate shipped_template(const std::string& language) {
  return JudgeTemplate::load(DMOERM_SOURCE "/configs/judge/pairwise-" + language + ".yaml");
}
inline PointCriteria shipped_points(const std::string& language) {
  return PointCriteria::load(DMOERM_SOURCE "/configs/judge/points-" + language + ".yaml");
}

}  // namespace dmoerm::judge
