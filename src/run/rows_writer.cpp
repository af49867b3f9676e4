#include "run/rows_writer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <system_error>

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
constexpr const char* kUnfinished = ".unfinished";

/// What the names of unfinished files of a task with these settings end with.
std::string ending_of(const TaskParts& parts) { return "." + parts.key().substr(0, 16) + kUnfinished; }

/// The part that says that a file is written. It stands for the file's content, which has no key of its own.
std::string mark_of(const fs::path& file) { return file.stem().string(); }

}  // namespace

RowsWriter::RowsWriter(const fs::path& file, const std::vector<nn::TensorLayout>& tensors, std::size_t counters, TaskParts& parts)
    : file_(file),
      unfinished_(file.string() + ending_of(parts)),
      note_(file.stem().string() + "-written"),
      parts_(parts),
      noted_(counters) {
  fs::create_directories(file.parent_path());
  if (const auto before = parts.load(note_)) {
    const at::Tensor counts = before->front().second;
    if (counts.numel() == static_cast<std::int64_t>(counters) && nn::SafetensorsWriter::is_begun(unfinished_, tensors)) {
      for (std::size_t i = 0; i < counters; ++i) noted_[i] = counts[static_cast<std::int64_t>(i)].item<std::int64_t>();
    } else {
      parts.drop(note_);  // it would be believed of the file that begins now
    }
  }
  const bool goes_on = std::ranges::any_of(noted_, [](std::int64_t rows) { return rows > 0; });
  writer_.emplace(unfinished_, tensors, goes_on);
  written_ = noted_;
}

void RowsWriter::advance(std::size_t counter, std::int64_t written) {
  written_[counter] = written;
  if (parts_.due()) note();
}

void RowsWriter::note() {
  writer_->flush();
  const at::Tensor counts = at::tensor(at::ArrayRef<std::int64_t>(written_), at::TensorOptions().dtype(at::kLong));
  if (parts_.keep(note_, {{"counts", counts}})) noted_ = written_;
}

void RowsWriter::publish() {
  parts_.drop(mark_of(file_));  // that of other settings would be believed of this file if this one's could not be kept
  writer_->publish(file_);
  parts_.keep(mark_of(file_), {{"rows", at::tensor(at::ArrayRef<std::int64_t>(written_))}});
}

bool rows_written(const fs::path& file, TaskParts& parts) { return parts.load(mark_of(file)).has_value() && fs::exists(file); }

void remove_unfinished_rows(const fs::path& folder, const TaskParts& parts) {
  std::vector<fs::path> others;
  std::error_code none;  // a task that begins has no folder
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(kUnfinished) && !name.ends_with(ending_of(parts))) others.push_back(entry.path());
  }
  for (const fs::path& other : others) fs::remove(other);
}

}  // namespace dmoerm::run
