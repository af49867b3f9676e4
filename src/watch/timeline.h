// timeline.jsonl: what happened in a run, one event a line. A kill leaves at most one torn line, which readers pass over.
#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dmoerm::watch {

class Timeline {
 public:
  /// Appends to the file; begins a line of its own if the last one is torn.
  explicit Timeline(std::filesystem::path file);
  ~Timeline();
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  /// One line, handed to the system at once. What cannot be written (a full disk) is lost with one warning: the run goes on.
  void append(const nlohmann::json& event);

 private:
  bool open();
  bool put(const std::string& text);
  std::filesystem::path file_;
  int fd_ = -1;
  bool torn_ = false, warned_ = false;
};

/// Hand every whole line to `take`, in order. A missing file has none.
void read_timeline(const std::filesystem::path& file, const std::function<void(const nlohmann::json& event)>& take);

}  // namespace dmoerm::watch
