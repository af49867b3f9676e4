// What is said where a file cannot be written and the system gives no reason.
#pragma once
#include <string>
#include <string_view>

namespace dmoerm {

/// "FILE: cannot write: is the disk full, ...". @param what  "write", or what exactly cannot be done
std::string cannot_write(std::string_view file, std::string_view what = "write");

}  // namespace dmoerm
