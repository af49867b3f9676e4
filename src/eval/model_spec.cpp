#include "eval/model_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "judge/web_address.h"

namespace dmoerm::eval {
namespace {

bool is_name(const std::string& text) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._:-+").find(c) != std::string_view::npos;
  };
  return !text.empty() && std::ranges::all_of(text, fits);
}

/// A name for what has none: the last part of its path; of a server the model that is asked for, or its host and port.
std::string name_of(const std::string& what) {
  if (what.starts_with(kServer)) {
    const std::size_t hash = what.find('#'), host = what.find("://");
    if (hash != std::string::npos) return name_of(what.substr(hash + 1));
    return name_of(what.substr(0, what.find_first_of("/?", host == std::string::npos ? 0 : host + 3)).substr(kServer.size()));
  }
  if (what.starts_with(kJudges)) return name_of(std::string(kGivenScores) + what.substr(kJudges.size()));
  if (what.starts_with(kFieldScores)) return name_of(what.substr(kFieldScores.size()));
  std::filesystem::path path(what.starts_with(kGivenScores) ? what.substr(kGivenScores.size()) : what);
  if (!path.has_filename()) path = path.parent_path();
  std::string name = (what.starts_with(kGivenScores) ? path.stem() : path.filename()).string();
  std::ranges::replace_if(
      name, [](char c) { return !is_name({c}); }, '-');
  return name.empty() ? "model" : name;
}

}  // namespace

ModelSpec parse_model(const std::string& text) {
  const std::size_t equals = text.starts_with(kServer) ? std::string::npos : text.find('=');  // an address may have one
  ModelSpec spec;
  spec.what = equals == std::string::npos ? text : text.substr(equals + 1);
  spec.name = equals == std::string::npos ? name_of(spec.what) : text.substr(0, equals);
  if (spec.what.empty() || !is_name(spec.name))
    throw ConfigError("bad-model-argument",
                      fmt::format("--model {}: expected NAME=WHAT, where the name has letters, digits and ._:-+ only",
                                  text.find(kServer) == std::string::npos ? text : judge::shown_address(text)));
  return spec;
}

}  // namespace dmoerm::eval
