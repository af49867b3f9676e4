// The names of the models that answered for each judge, in the report of a run's labelling.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "label/judge_watch.h"
#include "label/labeller.h"

namespace dmoerm::run {

/// Names in the report of an earlier labelling, the latest last; none if it does not say.
std::vector<std::string> models_in(const std::filesystem::path& report, const std::string& judge);
/// The names by judge once a labelling has ended, with those of earlier ones. @param watches  by judge, or empty
nlohmann::json models_after(const std::filesystem::path& report, const std::vector<judge::Judge>& judges,
                            const std::vector<label::JudgeWatch>& watches);

}  // namespace dmoerm::run
