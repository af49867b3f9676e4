#include "run/task_parts.h"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <algorithm>

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

bool TaskParts::keep(const std::string& name, const nn::NamedTensors& tensors) {
  kept_ = std::chrono::steady_clock::now();
  try {
    fs::create_directories(folder_);
    nn::save_safetensors(folder_ / (name + ".safetensors"), tensors, {{"key", key_}});
    return true;
  } catch (const std::exception& e) {
    spdlog::warn("[run] this part of the task is not kept: {}", failure_of(e).message);
    return false;
  }
}

void TaskParts::drop(const std::string& name) {
  const fs::path file = folder_ / (name + ".safetensors");
  if (fs::exists(file)) fs::remove(file);
}

bool TaskParts::stop() { return stop_requested(); }

bool TaskParts::due() const { return std::chrono::steady_clock::now() - kept_ >= kKeepEvery; }

void TaskParts::remove(const fs::path& task_folder) {
  std::error_code ignored;  // the next start tries again
  fs::remove_all(task_folder / kFolder, ignored);
}

void leave_after(const std::string& task, const std::string& what, std::int64_t done, std::int64_t kept) {
  const std::string only = kept >= done ? "" : fmt::format("; only the first {} of them could be kept", kept);
  throw Stopped("stopped-on-request", fmt::format("{}: interrupted after {} {}{}", task, done, what, only));
}

std::optional<nn::NamedTensors> KeptRows::next(const nn::NamedTensors& shapes) {
  std::optional<nn::NamedTensors> piece = parts_.load(fmt::format("{}-{}", name_, rows_));
  if (!piece || piece->size() != shapes.size() || piece->front().second.dim() == 0) return std::nullopt;
  const std::int64_t count = piece->front().second.size(0);
  if (count == 0) return std::nullopt;
  for (const auto& [name, tensor] : *piece) {
    const auto like = std::ranges::find(shapes, name, &nn::NamedTensors::value_type::first);
    if (like == shapes.end() || tensor.dim() == 0 || tensor.size(0) != count || rows_ + count > like->second.size(0))
      return std::nullopt;
    if (tensor.sizes().slice(1) != like->second.sizes().slice(1)) return std::nullopt;
  }
  rows_ += count;
  return piece;
}

bool KeptRows::keep(const nn::NamedTensors& all, std::int64_t end) {
  if (end <= rows_) return true;
  nn::NamedTensors piece;
  for (const auto& [name, tensor] : all) piece.emplace_back(name, tensor.narrow(0, rows_, end - rows_));
  if (!parts_.keep(fmt::format("{}-{}", name_, rows_), piece)) return false;
  rows_ = end;
  return true;
}

void KeptRows::leave(const nn::NamedTensors& all, std::int64_t end, const std::string& task, const std::string& what) {
  leave_after(task, what, end, keep(all, end) ? end : rows_);
}

}  // namespace dmoerm::run
