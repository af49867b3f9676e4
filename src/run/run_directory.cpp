#include "run/run_directory.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "train/checkpoint.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
constexpr const char* kManifest = "manifest.json";

/// {"a": {"b": 1}} as "a.b" -> "1".
std::map<std::string, std::string> flatten(const json& value) {
  std::map<std::string, std::string> flat;
  const json pointers = value.flatten();
  for (const auto& [pointer, leaf] : pointers.items()) {
    std::string key = pointer.substr(std::min<std::size_t>(1, pointer.size()));
    std::ranges::replace(key, '/', '.');
    flat[key] = leaf.dump();
  }
  return flat;
}

}  // namespace

std::string TaskIdentity::key() const { return sha256_hex(json{{"settings", settings}, {"inputs", inputs}}.dump()); }

bool RunDirectory::done(const std::string& id, const TaskIdentity& identity) const {
  const fs::path file = task(id) / kManifest;
  if (!fs::exists(file)) return false;
  const json manifest = read_json(file);
  if (manifest.value("key", "") != identity.key()) return false;
  for (const auto& [output, sha] : manifest.at("outputs").items()) {
    const fs::path path = task(id) / output;
    if (!fs::exists(path) || sha256_file(path) != sha.get<std::string>()) {
      spdlog::warn("[run] {}: missing or damaged, task {} is done again", path.string(), id);
      return false;
    }
  }
  return true;
}

std::optional<TaskChange> RunDirectory::change(const std::string& id, const TaskIdentity& identity) const {
  json manifest;
  int schema = kIdentitySchema;
  if (const fs::path file = task(id) / kManifest; fs::exists(file)) {
    manifest = read_json(file);
    schema = manifest.value("schema", 1);
  } else {
    for (const train::CheckpointInfo& checkpoint : train::list_checkpoints(task(id))) {
      if (manifest.is_null()) manifest = checkpoint.manifest;  // the newest that can be read
    }
  }
  if (manifest.is_null() || manifest.value("key", "") == identity.key()) return std::nullopt;
  TaskChange change{id, {}};
  if (schema != kIdentitySchema) {
    change.differences.push_back(
        fmt::format("schema of the identity: {} -> {} (another version of dmoerm made it)", schema, kIdentitySchema));
    return change;
  }
  const auto before = flatten(manifest.value("settings", json::object())), after = flatten(identity.settings);
  for (const auto& [key, value] : after) {
    const auto old = before.find(key);
    if (old == before.end() || old->second != value)
      change.differences.push_back(fmt::format("{}: {} -> {}", key, old == before.end() ? "(absent)" : old->second, value));
  }
  for (const auto& [key, value] : before) {
    if (!after.contains(key)) change.differences.push_back(fmt::format("{}: {} -> (absent)", key, value));
  }
  return change;
}

void RunDirectory::complete(const std::string& id, const TaskIdentity& identity, const std::vector<std::string>& outputs,
                            const json& metrics) const {
  json sums = json::object();
  for (const std::string& output : outputs) sums[output] = sha256_file(task(id) / output);
  fs::create_directories(task(id));
  write_json_atomically(task(id) / kManifest, {{"task", id},
                                               {"schema", kIdentitySchema},
                                               {"key", identity.key()},
                                               {"settings", identity.settings},
                                               {"inputs", identity.inputs},
                                               {"outputs", sums},
                                               {"metrics", metrics}});
}

json RunDirectory::metrics(const std::string& id) const { return read_json(task(id) / kManifest).at("metrics"); }

void RunDirectory::forget(const std::string& id) const { fs::remove_all(task(id)); }

}  // namespace dmoerm::run
