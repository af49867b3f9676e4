#include "nn/safetensors_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <span>
#include <utility>

#include "base/activity.h"
#include "base/error.h"
#include "base/files.h"
#include "base/flush.h"

namespace dmoerm::nn {
namespace {

std::uint64_t bytes_of_row(const TensorLayout& tensor) {
  std::uint64_t bytes = c10::elementSize(tensor.dtype);
  for (std::size_t d = 1; d < tensor.shape.size(); ++d) bytes *= static_cast<std::uint64_t>(tensor.shape[d]);
  return bytes;
}

std::uint64_t bytes_of(const TensorLayout& tensor) {
  DMOERM_CHECK(!tensor.shape.empty(), "the tensor has rows");
  return bytes_of_row(tensor) * static_cast<std::uint64_t>(tensor.shape[0]);
}

std::uint64_t bytes_of_file(const std::string& head, const std::vector<TensorLayout>& tensors) {
  std::uint64_t bytes = head.size();
  for (const TensorLayout& tensor : tensors) bytes += bytes_of(tensor);
  return bytes;
}

[[noreturn]] void fail_to_write(const std::filesystem::path& path) {
  throw IoError("cannot-write-file", fmt::format("{}: cannot write: {}", path.string(), std::strerror(errno)));
}

}  // namespace

bool SafetensorsWriter::is_begun(const std::filesystem::path& unfinished, const std::vector<TensorLayout>& tensors) {
  const std::string head = safetensors_head(tensors);
  std::error_code error;
  if (std::filesystem::file_size(unfinished, error) != bytes_of_file(head, tensors) || error) return false;
  std::string found(head.size(), '\0');
  std::ifstream(unfinished, std::ios::binary).read(found.data(), static_cast<std::streamsize>(found.size()));
  return found == head;
}

SafetensorsWriter::SafetensorsWriter(std::filesystem::path unfinished, const std::vector<TensorLayout>& tensors, bool go_on)
    : path_(std::move(unfinished)) {
  const std::string head = safetensors_head(tensors);
  std::uint64_t begin = head.size();
  for (const TensorLayout& tensor : tensors) {
    places_[tensor.name] = {tensor, begin};
    begin += bytes_of(tensor);
  }
  expect_no_special_file(path_);
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (go_on ? 0 : O_TRUNC), 0644);
  if (fd_ < 0) throw IoError("cannot-create-file", fmt::format("{}: cannot create: {}", path_.string(), std::strerror(errno)));
  if (go_on) return;
  try {
    write_bytes(head.data(), head.size(), 0);
    if (::ftruncate(fd_, static_cast<off_t>(begin)) != 0) fail_to_write(path_);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

SafetensorsWriter::~SafetensorsWriter() {
  if (fd_ >= 0) ::close(fd_);
}

void SafetensorsWriter::write(const std::string& name, std::int64_t first, const at::Tensor& rows) {
  const auto& [layout, begin] = places_.at(name);
  const bool fits = rows.scalar_type() == layout.dtype && rows.dim() == std::ssize(layout.shape) && first >= 0 &&
                    first + rows.size(0) <= layout.shape[0] &&
                    std::ranges::equal(rows.sizes().slice(1), std::span(layout.shape).subspan(1));
  DMOERM_CHECK(fits, "the rows have the type and shape that were announced");
  const at::Tensor local = rows.detach().cpu().contiguous();
  write_bytes(static_cast<const char*>(local.data_ptr()), local.nbytes(),
              begin + static_cast<std::uint64_t>(first) * bytes_of_row(layout));
  note_activity();
}

void SafetensorsWriter::write_bytes(const char* data, std::size_t bytes, std::uint64_t offset) {
  while (bytes > 0) {
    const ssize_t put = ::pwrite(fd_, data, bytes, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail_to_write(path_);
    data += put, bytes -= static_cast<std::size_t>(put), offset += static_cast<std::uint64_t>(put);
  }
}

void SafetensorsWriter::flush() {
  if (!flush_to_disk(fd_, path_)) fail_to_write(path_);
}

void SafetensorsWriter::publish(const std::filesystem::path& path) {
  if (::close(std::exchange(fd_, -1)) != 0 && errno != EINTR) fail_to_write(path_);  // NFS reports a full disk or quota here
  move_finished_file(path_, path);
}

}  // namespace dmoerm::nn
