#include "preference/role.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/text.h"

namespace dmoerm::preference {

RoleKind role_kind(std::string_view role) {
  std::string name = lower(trim(role));
  std::ranges::replace_if(
      name, [](char c) { return c == '-' || c == ' '; }, '_');
  if (name == "system" || name == "developer") return RoleKind::system;
  if (name == "user" || name == "human" || name == "prompter") return RoleKind::user;
  constexpr std::array<std::string_view, 8> kModels = {"assistant", "gpt", "chatgpt", "model", "bot", "ai", "bing", "bard"};
  if (std::ranges::find(kModels, name) != kModels.end()) return RoleKind::assistant;
  constexpr std::array<std::string_view, 22> kTools = {
      "tool_use",          "functions",       "plugin",          "plugins",     "action",      "tool",        "tools",
      "tool_call",         "tool_calls",      "tool_response",   "tool_result", "tool_output", "function",    "function_call",
      "function_response", "function_result", "function_output", "observation", "ipython",     "environment", "code_interpreter",
      "execution"};
  return std::ranges::find(kTools, name) != kTools.end() ? RoleKind::tool : RoleKind::unknown;
}

}  // namespace dmoerm::preference
