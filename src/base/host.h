// The name of this machine, for messages and for file names that several machines use side by side.
#pragma once
#include <string>
#include <string_view>

namespace dmoerm {

/// The name that gethostname() gives, or "localhost" if it gives none.
std::string host_name();

/// Text that differs between machines even if they have the same name.
std::string host_identity();

/// Whether a host of an address is this machine: localhost, a name below it, or an address of the loopback (127.0.0.0/8, ::1).
/// @param host  in small letters, without port; an IPv6 address with or without its brackets
bool is_own_machine(std::string_view host);

/// Memory in MiB that this process and others of its host or control group may use together; 0 if it is not known.
double host_memory_mib();

}  // namespace dmoerm
