// The backbone's files and shape, for checks and the cost model.
#pragma once
#include <filesystem>
#include <vector>

#include "config/run_config.h"
#include "nn/backbone_spec.h"
#include "plan/cost_model.h"

namespace dmoerm::run {

/// What the backbone's config.json says, with as many layers as configured. @throws IoError, DataError
nn::BackboneSpec spec_of(const config::RunConfig& config);

/// The files of a model directory by which one can tell that the model has changed, sorted: settings and weights.
std::vector<std::filesystem::path> model_files(const std::filesystem::path& directory);

/// Shape that the backbone's config.json states, with as many layers as configured. @throws IoError, DataError
plan::ModelShape shape_of(const config::RunConfig& config);

}  // namespace dmoerm::run
