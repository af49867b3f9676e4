// The backbone's shape, for the cost model.
#pragma once
#include "config/run_config.h"
#include "nn/backbone_spec.h"
#include "plan/cost_model.h"

namespace dmoerm::run {

/// What the backbone's config.json says, with as many layers as configured. @throws IoError, DataError
nn::BackboneSpec spec_of(const config::RunConfig& config);

/// Shape that the backbone's config.json states, with as many layers as configured. @throws IoError, DataError
plan::ModelShape shape_of(const config::RunConfig& config);

}  // namespace dmoerm::run
