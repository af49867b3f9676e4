// timeline.jsonl: the events of a run, one per line. A kill leaves at most one torn line, which readers skip.
#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dmoerm::watch {

class Timeline {
 public:
  /// Appends to the file. If its last line is torn, the first event begins a new line.
  explicit Timeline(std::filesystem::path file);
  ~Timeline();
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  /// Append an event as one line with one write. If it cannot be written (full disk), it is lost with one warning and the run
  /// continues.
  void append(const nlohmann::json& event);

 private:
  bool open();
  bool put(const std::string& text);
  std::filesystem::path file_;
  int fd_ = -1;
  bool torn_ = false, warned_ = false;
};

/// Pass every whole line to `take`, in order. A missing file has no lines.
void read_timeline(const std::filesystem::path& file, const std::function<void(const nlohmann::json& event)>& take);

}  // namespace dmoerm::watch
