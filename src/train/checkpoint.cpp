#include "train/checkpoint.h"

#include <ATen/ops/cat.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "base/counted.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "nn/transfer.h"

namespace dmoerm::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
constexpr int kSchema = 2;

/// checkpoint-120.json, or checkpoint-120-2of4.json: the second of four shards.
fs::path manifest_path(const fs::path& directory, std::int64_t step, int shard, int shards) {
  return directory / (shards == 1 ? fmt::format("checkpoint-{}.json", step)
                                  : fmt::format("checkpoint-{}-{}of{}.json", step, shard + 1, shards));
}

fs::path tensor_file(fs::path manifest) { return manifest.replace_extension(".safetensors"); }

/// The manifests of one step, by shard.
struct Found {
  std::int64_t step = 0;
  int shards = 1;
  std::map<int, fs::path> manifests;
  [[nodiscard]] bool complete() const { return static_cast<int>(manifests.size()) == shards; }
};

/// The checkpoints of a folder, newest first.
std::vector<Found> scan(const fs::path& directory) {
  std::map<std::pair<std::int64_t, int>, Found> found;
  if (!fs::is_directory(directory)) return {};
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    std::int64_t step = 0;
    int shard = 1, shards = 1, read = 0;
    if (!name.ends_with(".json")) continue;
    const bool single =
        std::sscanf(name.c_str(), "checkpoint-%ld.json%n", &step, &read) == 1 && read == static_cast<int>(name.size());
    if (!single && (std::sscanf(name.c_str(), "checkpoint-%ld-%dof%d.json%n", &step, &shard, &shards, &read) != 3 ||
                    read != static_cast<int>(name.size()) || shard < 1 || shard > shards))
      continue;
    Found& group = found[{step, shards}];
    group.step = step, group.shards = shards, group.manifests[shard - 1] = entry.path();
  }
  std::vector<Found> newest;
  for (auto& [key, group] : found) newest.insert(newest.begin(), std::move(group));
  return newest;
}

constexpr const char* kSeal = "manifest_sha256";

/// Hash of everything else in a manifest.
std::string seal_of(json manifest) {
  manifest.erase(kSeal);
  return sha256_hex(manifest.dump());
}

/// Read a manifest. @throws DataError, IoError if it is damaged
json read_manifest(const fs::path& path) {
  json manifest = read_json(path);
  if (!manifest.is_object() || manifest.value(kSeal, "") != seal_of(manifest))
    throw DataError("file-damaged", path.string() + ": damaged: its contents do not match their checksum");
  return manifest;
}

void verify(const fs::path& manifest_file, const json& manifest) {
  const std::string found = sha256_file(tensor_file(manifest_file)), expected = manifest.value("sha256", "");
  if (found != expected)
    throw DataError("file-damaged", fmt::format("{}: checksum {} is not the manifest's {}", tensor_file(manifest_file).string(),
                                                found, expected));
}

/// Remove the files of steps older than the `kept` newest complete ones up to `newest`, and of those after it: training has gone
/// back behind them, to try failed experts again or because they are damaged.
void remove_others(const fs::path& directory, std::int64_t newest, int kept) {
  std::set<std::int64_t> complete;
  for (const Found& found : scan(directory)) {
    if (found.complete() && found.step <= newest) complete.insert(found.step);
  }
  const bool few = static_cast<int>(complete.size()) <= kept;
  const std::int64_t oldest = few ? 0 : *std::next(complete.rbegin(), kept - 1);
  for (const Found& found : scan(directory)) {
    if (found.step >= oldest && found.step <= newest) continue;
    for (const auto& [shard, path] : found.manifests) {
      fs::remove(path);
      fs::remove(tensor_file(path));
    }
  }
}

std::uintmax_t bytes_of(const Checkpoint& checkpoint) {
  std::uintmax_t bytes = 1 << 16;
  for (const CheckpointTensor& t : checkpoint.tensors) bytes += static_cast<std::uintmax_t>(t.values.nbytes());
  return bytes;
}

constexpr double kMib = 1024.0 * 1024.0;

}  // namespace

void save_checkpoint(const fs::path& directory, const Checkpoint& checkpoint, int kept) {
  fs::create_directories(directory);
  const std::uintmax_t need = bytes_of(checkpoint), free = fs::space(directory).available;
  if (free < need) {
    throw IoError("disk-full",
                  fmt::format("{}: a checkpoint needs {}, the disk has {} left", directory.string(),
                              mib_text(static_cast<double>(need) / kMib), mib_text(static_cast<double>(free) / kMib)));
  }
  const fs::path manifest = manifest_path(directory, checkpoint.step, checkpoint.shard, checkpoint.shards);
  nn::NamedTensors tensors;
  json slices = json::object();
  for (const CheckpointTensor& t : checkpoint.tensors) {
    tensors.emplace_back(t.name, t.values);
    if (t.total > 0) slices[t.name] = {t.begin, t.begin + t.values.numel(), t.total};
  }
  nn::save_safetensors(tensor_file(manifest), tensors, {{"state", checkpoint.state.dump()}, {"slices", slices.dump()}});
  json content = checkpoint.identity;
  content.update({{"schema", kSchema}, {"step", checkpoint.step}, {"sha256", sha256_file(tensor_file(manifest))}});
  content[kSeal] = seal_of(content);
  write_json_atomically(manifest, content);
  if (checkpoint.shard == 0) remove_others(directory, checkpoint.step, kept);
}

bool CheckpointWriter::busy() const {
  return writing_.valid() && writing_.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
}

void CheckpointWriter::start(Checkpoint checkpoint) {
  wait();
  for (CheckpointTensor& t : checkpoint.tensors) t.values = nn::download_large(t.values);
  const auto taken = std::make_shared<const Checkpoint>(std::move(checkpoint));
  problem_.clear();
  try {
    writing_ = std::async(std::launch::async, [this, taken] { write(*taken); });
  } catch (const std::system_error&) {  // no thread is left: training waits for the write instead
    write(*taken);
  }
}

const std::string& CheckpointWriter::wait() {
  if (writing_.valid()) writing_.get();
  return problem_;
}

void CheckpointWriter::write(const Checkpoint& checkpoint) {
  const auto start = std::chrono::steady_clock::now();
  try {
    save_checkpoint(directory_, checkpoint, kept_);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double mib = static_cast<double>(bytes_of(checkpoint)) / kMib;
    mib_per_s_ = mib * checkpoint.shards / std::max(seconds, 1e-3);
    spdlog::debug("[checkpoint] {} step={} is written, {:.1f} MiB in {:.2f} s", directory_.string(), checkpoint.step, mib,
                  seconds);
    const std::uintmax_t need = bytes_of(checkpoint), free = fs::space(directory_).available;
    if (free < 2 * need && !warned_of_space_) {
      warned_of_space_ = true;
      spdlog::warn("[checkpoint] {}: the disk has {} left and a checkpoint takes {}: free some, or later checkpoints fail",
                   directory_.string(), mib_text(static_cast<double>(free) / kMib), mib_text(static_cast<double>(need) / kMib));
    }
  } catch (const std::exception& e) {
    problem_ = failure_of(e).message;
    spdlog::warn("[checkpoint] none was written at step {}: {}", checkpoint.step, problem_);
  }
}

std::optional<CheckpointReader> find_checkpoint(const fs::path& directory, const std::string& key,
                                                std::optional<std::int64_t> step) {
  for (const Found& found : scan(directory)) {
    if (step && found.step != *step) continue;
    if (!found.complete()) {
      spdlog::warn("[checkpoint] {}: step {} has {} of {} shards, trying an older one", directory.string(), found.step,
                   found.manifests.size(), found.shards);
      continue;
    }
    CheckpointReader reader;
    bool other = false;
    try {
      for (const auto& [shard, path] : found.manifests) {
        const json manifest = read_manifest(path);
        if (!step) verify(path, manifest);
        if (manifest.value("schema", 0) != kSchema) {
          throw ConfigError(
              "other-schema",
              fmt::format("{}: this checkpoint has schema {}, this program reads schema {}: continue with the program that "
                          "wrote it, or remove the folder to train this task again",
                          path.string(), manifest.value("schema", 0), kSchema));
        }
        other = other || manifest.value("key", "") != key;
        reader.files_.push_back(nn::SafetensorsReader::open(tensor_file(path)));
        const nn::SafetensorsReader& file = reader.files_.back();
        const json slices = json::parse(file.metadata().at("slices"));
        if (shard == 0) reader.state_ = json::parse(file.metadata().at("state"));
        for (const std::string& name : file.names()) {
          CheckpointReader::Slice slice{reader.files_.size() - 1, name, 0, 0, 0};
          if (slices.contains(name)) {
            slice.begin = slices[name][0];
            slice.end = slices[name][1];
            slice.total = slices[name][2];
          }
          reader.slices_[name].push_back(slice);
        }
      }
    } catch (const ConfigError&) {
      throw;
    } catch (const std::exception& e) {
      spdlog::warn("[checkpoint] damaged, trying an older one: {}", failure_of(e).message);
      continue;
    }
    if (other) {
      spdlog::warn("[checkpoint] {}: step {} has another configuration or input and is not used", directory.string(), found.step);
      continue;
    }
    reader.step_ = found.step;
    return reader;
  }
  return std::nullopt;
}

at::Tensor CheckpointReader::load(const std::string& name) const {
  const auto found = slices_.find(name);
  if (found == slices_.end()) throw DataError("checkpoint-incomplete", "the checkpoint holds no " + name);
  const Slice& first = found->second.front();
  return first.total == 0 ? files_[first.file].load(first.stored) : load(name, 0, first.total);
}

at::Tensor CheckpointReader::load(const std::string& name, std::int64_t begin, std::int64_t end) const {
  const auto found = slices_.find(name);
  if (found == slices_.end()) throw DataError("checkpoint-incomplete", "the checkpoint holds no " + name);
  std::vector<Slice> slices = found->second;
  if (slices.front().total == 0 || begin == end) return files_[slices.front().file].load(name).flatten().slice(0, begin, end);
  std::ranges::sort(slices, {}, &Slice::begin);
  std::vector<at::Tensor> pieces;
  std::int64_t at = begin;
  for (const Slice& slice : slices) {
    if (slice.end <= at || slice.begin > at || at >= end) continue;
    const std::int64_t until = std::min(end, slice.end);
    pieces.push_back(files_[slice.file].load(slice.stored).slice(0, at - slice.begin, until - slice.begin));
    at = until;
  }
  if (at != end) throw DataError("checkpoint-incomplete", fmt::format("the checkpoint's shards of {} lack element {}", name, at));
  return at::cat(pieces);
}

std::vector<std::string> CheckpointReader::names() const {
  std::vector<std::string> names;
  for (const auto& [name, slices] : slices_) names.push_back(name);
  return names;
}

std::vector<CheckpointInfo> list_checkpoints(const fs::path& directory) {
  std::vector<CheckpointInfo> infos;
  for (const Found& found : scan(directory)) {
    CheckpointInfo info;
    info.step = found.step;
    info.shards = found.shards;
    info.shards_found = static_cast<int>(found.manifests.size());
    if (!found.complete()) info.problem = fmt::format("{} of {} shards", info.shards_found, info.shards);
    for (const auto& [shard, path] : found.manifests) {
      try {
        const json manifest = read_manifest(path);
        if (info.manifest.is_null()) info.manifest = manifest;
        if (manifest.value("schema", 0) != kSchema)
          info.problem = fmt::format("schema {}, this program reads {}", manifest.value("schema", 0), kSchema);
        info.bytes += fs::file_size(tensor_file(path));
        verify(path, manifest);
      } catch (const std::exception& e) {
        info.problem = failure_of(e).message;
      }
    }
    infos.push_back(std::move(info));
  }
  return infos;
}

bool is_checkpoint_file(const fs::path& file) { return file.filename().string().starts_with("checkpoint-"); }

void remove_checkpoints(const fs::path& directory) {
  if (!fs::is_directory(directory)) return;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (is_checkpoint_file(entry.path())) fs::remove(entry.path());
  }
}

}  // namespace dmoerm::train
