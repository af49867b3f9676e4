// Numbers of things as a sentence has them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace dmoerm {

/// "1 rank", "2 ranks", "0 ranks". @param things  the plural, if it is not the singular with an s
std::string counted(std::int64_t count, std::string_view thing, std::string_view things = {});
/// "12 MiB", or "40 KiB" below one.
std::string mib_text(double mib);

}  // namespace dmoerm
