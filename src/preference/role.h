// The roles of messages as data sets spell them.
#pragma once
#include <string_view>

namespace dmoerm::preference {

/// What a role of a message is, whatever its case: of those that a chat template writes, of tool use, or none.
enum class RoleKind { system, user, assistant, tool, unknown };
RoleKind role_kind(std::string_view role);

}  // namespace dmoerm::preference
