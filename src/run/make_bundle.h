// From a finished run directory to a bundle.
#pragma once
#include <filesystem>
#include <string>

#include "run/run_context.h"

namespace dmoerm::run {

/// Write <run>/bundle from the run's finished tasks, unless the one there was made from the same tasks and is whole. @return its
/// path
std::filesystem::path make_bundle(run::RunContext& context);

/// The bundle's template must be the one that the model has learnt: the file of a pinned one may have changed since the inputs
/// were read. @param provenance  of the token store. @throws DataError naming the template and both digests
void check_bundle_template(const std::string& named, const std::string& digest, const std::string& provenance);

}  // namespace dmoerm::run
