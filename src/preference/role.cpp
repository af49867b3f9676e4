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
  constexpr std::array<std::string_view, 9> kModels = {"assistant", "gpt", "chatgpt", "chatbot", "model",
                                                       "bot",       "ai",  "bing",    "bard"};
  if (std::ranges::find(kModels, name) != kModels.end()) return RoleKind::assistant;
  for (const std::string_view front :
       {"functions.", "function.", "function:", "tools.", "tool.", "tool:"}) {  // and a name behind it
    if (name.starts_with(front)) return RoleKind::tool;
  }
  if (name.ends_with('s')) name.pop_back();
  constexpr std::array<std::string_view, 20> kTools = {
      "tool_use",          "function",         "plugin",          "action",      "tool",
      "tool_call",         "tool_response",    "tool_result",     "tool_output", "function_call",
      "function_response", "function_result",  "function_output", "observation", "ipython",
      "environment",       "code_interpreter", "execution",       "api",         "api_response"};
  return std::ranges::find(kTools, name) != kTools.end() ? RoleKind::tool : RoleKind::unknown;
}

}  // namespace dmoerm::preference
