#include "run/task_parts.h"

#include "base/error.h"
#include "base/log.h"
#include "base/stop.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
constexpr std::chrono::seconds kKeepEvery{30};

}  // namespace

TaskParts::TaskParts(const fs::path& task_folder, std::string key) : folder_(task_folder / kFolder), key_(std::move(key)) {}

std::optional<nn::NamedTensors> TaskParts::load(const std::string& name) {
  const fs::path file = folder_ / (name + ".safetensors");
  if (!fs::exists(file)) return std::nullopt;
  try {
    const auto reader = nn::SafetensorsReader::open(file);
    const auto key = reader.metadata().find("key");
    if (key == reader.metadata().end() || key->second != key_) return std::nullopt;
    nn::NamedTensors tensors;
    for (const std::string& tensor : reader.names()) tensors.emplace_back(tensor, reader.load(tensor));
    return tensors;
  } catch (const Error& e) {
    spdlog::warn("[run] this part of the task is done again: {}", e.what());
    return std::nullopt;
  }
}

void TaskParts::keep(const std::string& name, const nn::NamedTensors& tensors) {
  kept_ = std::chrono::steady_clock::now();
  try {
    fs::create_directories(folder_);
    nn::save_safetensors(folder_ / (name + ".safetensors"), tensors, {{"key", key_}});
  } catch (const std::exception& e) {
    spdlog::warn("[run] this part of the task is not kept: {}", failure_of(e).message);
  }
}

bool TaskParts::stop() { return stop_requested(); }

bool TaskParts::due() const { return std::chrono::steady_clock::now() - kept_ >= kKeepEvery; }

void TaskParts::remove(const fs::path& task_folder) {
  std::error_code ignored;  // the next start tries again
  fs::remove_all(task_folder / kFolder, ignored);
}

}  // namespace dmoerm::run
