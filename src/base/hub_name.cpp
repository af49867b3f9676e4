#include "base/hub_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

namespace dmoerm {
namespace {

namespace fs = std::filesystem;

struct HubName {
  std::string name;  ///< owner/name
  std::string revision;
};

/// Whether a text has nothing but characters of names on the Hub, and begins with a letter or digit.
bool is_plain(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  return !text.empty() && letter(text.front()) &&
         std::ranges::all_of(text, [&](char c) { return letter(c) || c == '.' || c == '-' || c == '_'; });
}

/// A name from its owner, and the rest with a revision behind @.
std::optional<HubName> named(const std::string& owner, const std::string& rest) {
  const std::size_t at = rest.find('@');
  const std::string name = rest.substr(0, at), revision = at == std::string::npos ? "" : rest.substr(at + 1);
  if (!is_plain(owner) || !is_plain(name) || (at != std::string::npos && !is_plain(revision))) return std::nullopt;
  return HubName{owner + "/" + name, revision};
}

/// The name in an address such as https://huggingface.co/owner/name/tree/revision. The double slash of an address may be gone.
std::optional<HubName> in_address(const std::vector<std::string>& parts) {
  const auto host = std::ranges::find_if(parts, [](const std::string& part) {
    return part == "huggingface.co" || part == "hf.co" || part == "www.huggingface.co" || part == "hf:";
  });
  if (parts.end() - host < 3) return std::nullopt;
  std::optional<HubName> hub = named(*(host + 1), *(host + 2));
  const bool has_revision =
      parts.end() - host > 4 && (*(host + 3) == "tree" || *(host + 3) == "resolve" || *(host + 3) == "blob");
  if (hub && has_revision) hub->revision = *(host + 4);
  return hub;
}

/// The name that a path of no file may be: the part of it that does not exist has an owner and a name, and is no part of a run.
std::optional<HubName> in_path(const fs::path& path) {
  const fs::path owner = path.parent_path(), there = owner.parent_path();
  if (fs::exists(owner) || (!there.empty() && !fs::exists(there)) || path.filename() == "bundle" || path.filename() == "base")
    return std::nullopt;
  return named(owner.filename().string(), path.filename().string());
}

}  // namespace

std::string no_such_directory(const fs::path& path) {
  const std::string none = "there is no such directory";
  if (path.string().starts_with("~/"))
    return fmt::format("{}: the shell replaces a ~ only at the beginning of a word: write $HOME{}", none,
                       path.string().substr(1));
  std::vector<std::string> parts;
  for (const fs::path& part : path) {
    if (!part.empty()) parts.push_back(part.string());
  }
  std::optional<HubName> hub = in_address(parts);
  if (const std::string text = path.string(); !hub && (text.starts_with("http:/") || text.starts_with("https:/")))
    return none + ": this is an address; eval and bon ask a reward server that is named as server:ADDRESS";
  if (!hub) hub = in_path(path.has_filename() ? path : path.parent_path());  // a slash at the end is not a part
  if (!hub) return none;
  return fmt::format(
      "{}. dmoerm does not download models: if {} is a name on the Hugging Face Hub, fetch it with `hf download {}{} --local-dir "
      "DIR` and give DIR",
      none, hub->name, hub->name, hub->revision.empty() ? "" : " --revision " + hub->revision);
}

}  // namespace dmoerm
