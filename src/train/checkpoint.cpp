#include "train/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"

namespace dmoerm::train {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kKept = 2;

/// Manifests of a directory, newest first.
std::map<std::int64_t, fs::path, std::greater<>> manifests(const fs::path& directory) {
  std::map<std::int64_t, fs::path, std::greater<>> found;
  if (!fs::exists(directory)) return found;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    std::int64_t step = 0;
    if (name.ends_with(".json") && std::sscanf(name.c_str(), "checkpoint-%ld.json", &step) == 1) found[step] = entry.path();
  }
  return found;
}

fs::path tensor_file(fs::path manifest) { return manifest.replace_extension(".safetensors"); }

}  // namespace

void save_checkpoint(const fs::path& directory, const Checkpoint& checkpoint) {
  fs::create_directories(directory);
  const fs::path manifest = directory / fmt::format("checkpoint-{}.json", checkpoint.step);
  tensor::save_safetensors(tensor_file(manifest), checkpoint.tensors, {{"state", checkpoint.state.dump()}});
  write_json_atomically(
      manifest,
      {{"step", checkpoint.step}, {"sha256", sha256_file(tensor_file(manifest))}, {"key", checkpoint.state.value("key", "")}});
  std::size_t kept = 0;
  for (const auto& [step, path] : manifests(directory)) {
    if (++kept > kKept) {
      fs::remove(path);
      fs::remove(tensor_file(path));
    }
  }
}

std::optional<Checkpoint> load_checkpoint(const fs::path& directory, const std::string& key) {
  for (const auto& [step, path] : manifests(directory)) {
    try {
      const nlohmann::json manifest = read_json(path);
      if (manifest.value("key", "") != key) {
        spdlog::warn("[checkpoint] {}: of another configuration or input, not used", path.string());
        continue;
      }
      const std::string found = sha256_file(tensor_file(path)), expected = manifest.value("sha256", "");
      if (found != expected)
        throw DataError(fmt::format("{}: checksum {} is not the manifest's {}", tensor_file(path).string(), found, expected));
      const auto reader = tensor::SafetensorsReader::open(tensor_file(path));
      Checkpoint checkpoint;
      checkpoint.step = step;
      checkpoint.state = nlohmann::json::parse(reader.metadata().at("state"));
      for (const std::string& name : reader.names()) checkpoint.tensors.emplace_back(name, reader.load(name));
      return checkpoint;
    } catch (const std::exception& e) {
      spdlog::warn("[checkpoint] damaged, trying an older one: {}", e.what());
    }
  }
  return std::nullopt;
}

void remove_checkpoints(const fs::path& directory) {
  if (!fs::exists(directory)) return;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().filename().string().starts_with("checkpoint-")) fs::remove(entry.path());
  }
}

}  // namespace dmoerm::train
