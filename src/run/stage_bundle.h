// The stage "bundle": the finished model as one directory.
#pragma once
#include <string>

#include "comm/communicator.h"
#include "run/run_context.h"

namespace dmoerm::run {

/// Write <run>/bundle from the run's finished tasks, load it again and compare. Collective over `ranks`; only the first works.
void run_bundle(RunContext& context, const TaskIdentity& identity, comm::Communicator& ranks);

/// The bundle's template must be the one that the model has learnt: the file of a pinned one may have changed since the inputs
/// were read. @param provenance  of the token store. @throws DataError naming the template and both digests
void check_bundle_template(const std::string& named, const std::string& digest, const std::string& provenance);

}  // namespace dmoerm::run
