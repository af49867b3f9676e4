// The name of this machine, for messages and for file names that several machines use side by side.
#pragma once
#include <string>

namespace dmoerm {

/// The name that gethostname() gives, or "localhost" if it gives none.
std::string host_name();

/// Text that differs between machines even if they have the same name.
std::string host_identity();

/// Memory in MiB that this process and others of its host or control group may use together; 0 if it is not known.
double host_memory_mib();

}  // namespace dmoerm
