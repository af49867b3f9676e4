#include "run/run_directory.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/summed_json.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
constexpr const char* kManifest = "manifest.json";
constexpr const char* kRevision = "revision";
constexpr const char* kMadeOf = "made_of";

/// {"a": {"b": 1}} as {"a.b": "1"}.
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

json contents_json(const TaskIdentity& identity) {
  json contents = json::object();
  for (const auto& [key, content] : identity.contents) contents[key] = {{"title", content.title}, {"place", content.place}};
  return contents;
}

/// The settings of a task, and what the hashes among them stand for, as contents_json() has it.
struct Described {
  std::map<std::string, std::string> settings;
  json contents;

  /// The value of a setting. @param hashed  whether it is a hash, here or elsewhere
  [[nodiscard]] std::string value(const std::string& key, bool hashed) const {
    const auto found = settings.find(key);
    if (found == settings.end()) return "(absent)";
    if (!hashed) return found->second;
    const std::string hash = fmt::format("SHA-256 {}", found->second.substr(1, 12));  // behind the quotation mark
    return contents.contains(key) ? fmt::format("{} ({})", contents[key].at("place").get<std::string>(), hash) : hash;
  }
};

/// "lr: 0.1 -> 0.2", or "imported expert of tone in chat: adapters/a (SHA-256 ...) -> adapters/b (SHA-256 ...)"
std::string difference(const std::string& key, const Described& before, const Described& after) {
  const bool known_now = after.contents.contains(key), hashed = known_now || before.contents.contains(key);
  const std::string title = hashed ? (known_now ? after : before).contents[key].at("title").get<std::string>() : key;
  return fmt::format("{}: {} -> {}", title, before.value(key, hashed), after.value(key, hashed));
}

bool is_text(const json& value) { return value.is_string(); }

/// Whether a task's manifest has what is read of it. Those of earlier versions have no checksum that says so.
bool is_manifest(const json& found) {
  if (!found.is_object()) return false;
  const json settings = found.value("settings", json()), outputs = found.value("outputs", json()),
             contents = found.value("contents", json::object());
  return is_text(found.value("key", json())) && (settings.is_object() || settings.is_null()) && outputs.is_object() &&
         std::ranges::all_of(outputs, is_text) && contents.is_object() && found.contains("metrics") &&
         found.value("schema", json(1)).is_number_integer();
}

}  // namespace

std::string TaskIdentity::key() const { return sha256_hex(json{{"settings", settings}, {"inputs", inputs}}.dump()); }

fs::path RunDirectory::manifest(const std::string& id) const {
  return id == plan::TaskId::bundle().text() ? root_ / (id + "." + kManifest) : task(id) / kManifest;
}

json RunDirectory::read_manifest(const std::string& id) const {
  const fs::path file = manifest(id);
  if (!fs::exists(file)) return nullptr;
  const std::string text = read_file(file);
  json found = json::parse(text, nullptr, false);
  return has_own_sum(text) && is_manifest(found) ? found : json(nullptr);
}

bool RunDirectory::done(const std::string& id, const TaskIdentity& identity) const {
  const fs::path file = manifest(id);
  if (!fs::exists(file)) return false;
  const auto again = [&](const fs::path& path) {
    spdlog::warn("[run] {}: missing or damaged, task {} is done again", path.string(), id);
    return false;
  };
  const json found = read_manifest(id);
  if (found.is_null()) return again(file);
  if (found.at("key") != identity.key()) return false;
  if (const auto damaged = damaged_output(id, found, *hashes_)) return again(*damaged);
  const json made_of = found.value(kMadeOf, json::object());  // earlier versions did not write it
  for (const std::string& source : identity.sources) {
    const std::string now = results_sum(source);
    if (now.empty() || !made_of.contains(source) || made_of[source] == now) continue;
    spdlog::warn("[run] task {} is done again: task {}, of whose results it was made, has left others since", id, source);
    return false;
  }
  return true;
}

bool RunDirectory::still_done(const std::string& id, const TaskIdentity& identity) const {
  const json found = read_manifest(id);
  if (found.is_null() || found.at("key") != identity.key()) return false;
  const json made_of = found.value(kMadeOf, json::object());
  const auto is_of = [&](const std::string& source) {
    return made_of.contains(source) && made_of[source] == results_sum(source);
  };
  HashCache hashes(root_ / kHashes);
  return std::ranges::all_of(identity.sources, is_of) && !damaged_output(id, found, hashes);
}

std::optional<fs::path> RunDirectory::damaged_output(const std::string& id, const json& manifest, HashCache& hashes) const {
  for (const auto& [output, sha] : manifest.at("outputs").items()) {
    fs::path path = task(id) / output;
    if (!fs::exists(path) || hashes.sha256(path) != sha.get<std::string>()) return path;
  }
  return std::nullopt;
}

std::string RunDirectory::results_sum(const std::string& id) const {
  const json found = read_manifest(id);
  return found.is_null() ? "" : sha256_hex(found.at("outputs").dump());
}

void RunDirectory::expect_whole(const std::string& id) const {
  const json found = read_manifest(id);
  HashCache nothing_known{fs::path()};  // a disk may change bits without the file's time
  const std::optional<fs::path> damaged = found.is_null() ? manifest(id) : damaged_output(id, found, nothing_known);
  if (!damaged) return;
  HashCache hashes(root_ / kHashes);
  hashes.forget(*damaged);
  hashes.save();
  throw DataError("task-output-damaged", fmt::format("{}: missing or damaged since task {} was done: run again, which does the "
                                                     "task again, and check the disk if this happens twice",
                                                     damaged->string(), id));
}

std::optional<TaskChange> RunDirectory::change(const std::string& id, const TaskIdentity& identity) const {
  json found;
  int schema = kIdentitySchema;
  if (fs::exists(manifest(id))) {
    found = read_manifest(id);  // a damaged one tells nothing, and done() says that
    if (found.is_null()) return std::nullopt;
    schema = found.value("schema", 1);
  } else if (read_begun_) {
    found = read_begun_(task(id));
  }
  if (found.is_null() || found.value("key", "") == identity.key()) return std::nullopt;
  TaskChange change{id, {}};
  if (schema != kIdentitySchema) {
    change.differences.push_back(
        fmt::format("schema of the identity: {} -> {} (another version of dmoerm made it)", schema, kIdentitySchema));
    return change;
  }
  const Described before{flatten(found.value("settings", json::object())), found.value("contents", json::object())};
  const Described after{flatten(identity.settings), contents_json(identity)};
  for (const auto& [key, value] : after.settings) {
    const auto old = before.settings.find(key);
    if (old == before.settings.end() || old->second != value) change.differences.push_back(difference(key, before, after));
  }
  for (const auto& [key, value] : before.settings) {
    if (!after.settings.contains(key)) change.differences.push_back(difference(key, before, after));
  }
  return change;
}

std::vector<plan::TaskId> RunDirectory::finished() const {
  std::vector<plan::TaskId> found;
  if (!fs::exists(root_)) return found;
  for (const auto& entry : fs::recursive_directory_iterator(root_, fs::directory_options::skip_permission_denied)) {
    const std::string file = entry.path().lexically_relative(root_).string();
    if (!file.ends_with(kManifest)) continue;
    const std::string id = file.substr(0, file.size() - std::string_view(kManifest).size() - 1);  // "/" or "." between them
    if (const auto known = plan::TaskId::parse(id); known && manifest(id) == entry.path()) found.push_back(*known);
  }
  return found;
}

void RunDirectory::complete(const std::string& id, const TaskIdentity& identity, const std::vector<std::string>& outputs,
                            const json& metrics) const {
  json sums = json::object();
  for (const std::string& output : outputs) sums[output] = sha256_file(task(id) / output);
  fs::create_directories(task(id));
  json written = {{"task", id},
                  {"schema", kIdentitySchema},
                  {"key", identity.key()},
                  {"settings", identity.settings},
                  {"inputs", identity.inputs},
                  {"outputs", sums},
                  {"metrics", metrics}};
  for (const std::string& source : identity.sources) {
    if (const std::string sum = results_sum(source); !sum.empty()) written[kMadeOf][source] = sum;
  }
  if (!identity.contents.empty()) written["contents"] = contents_json(identity);
  write_summed_json(manifest(id), written);
}

TaskIdentity RunDirectory::with_revision(const std::string& id, TaskIdentity identity) const {
  identity.settings[kRevision] = 0;
  const json found = read_manifest(id);
  if (found.is_null()) return identity;
  TaskIdentity revised = identity;
  revised.settings[kRevision] = found.at("settings").value(kRevision, 0);
  return change(id, revised) ? identity : revised;
}

TaskIdentity RunDirectory::complete_revision(const std::string& id, TaskIdentity identity,
                                             const std::vector<std::string>& outputs, const json& metrics) const {
  if (const json found = read_manifest(id); !found.is_null() && !change(id, identity)) {
    const json& before = found.at("outputs");
    const bool differs =
        std::ranges::any_of(outputs, [&](const std::string& o) { return before.value(o, "") != sha256_file(task(id) / o); });
    if (differs) identity.settings[kRevision] = identity.settings.at(kRevision).get<int>() + 1;
  }
  complete(id, identity, outputs, metrics);
  return identity;
}

json RunDirectory::metrics(const std::string& id) const { return read_json(manifest(id)).at("metrics"); }

void RunDirectory::forget(const std::string& id) const {
  fs::remove(manifest(id));
  if (id != plan::TaskId::bundle().text()) fs::remove_all(task(id));
}

}  // namespace dmoerm::run
