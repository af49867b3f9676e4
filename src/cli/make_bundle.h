// From a finished run directory to a bundle.
#pragma once
#include <filesystem>

#include "train/run_context.h"

namespace dmoerm::cli {

/// Write <run>/bundle from the run's finished tasks, unless the one there was made from the same tasks and is whole. @return its
/// path
std::filesystem::path make_bundle(train::RunContext& context);

}  // namespace dmoerm::cli
