// What the names that temporary_name() makes say about their writers.
#pragma once
#include <string>

namespace dmoerm {

/// Whether a file name has the form of a temporary_name() of any host.
bool is_temporary_name(const std::string& file_name);
/// Whether a process of this host made a file name as temporary_name() and is dead.
bool is_stale_temporary(const std::string& file_name);

}  // namespace dmoerm
