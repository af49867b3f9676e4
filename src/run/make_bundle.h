// From a finished run directory to a bundle.
#pragma once
#include <filesystem>

#include "run/run_context.h"

namespace dmoerm::run {

/// Write <run>/bundle from the run's finished tasks, unless the one there was made from the same tasks and is whole. @return its
/// path
std::filesystem::path make_bundle(run::RunContext& context);

}  // namespace dmoerm::run
