// The folder that an export writes: it appears when it is complete. An empty folder that is there already stays the one it is,
// since it may be a mount, a link to another disk or have rights of its own; its content appears when it is complete.
#pragma once
#include <filesystem>
#include <vector>

namespace dmoerm::hf {

class OutFolder {
 public:
  /// @param out  absent or an empty folder, not inside `bundle`. @throws ConfigError, IoError
  OutFolder(const std::filesystem::path& bundle, const std::filesystem::path& out);
  /// If the export was not finished, removes what was written and the empty folders that were made for it.
  ~OutFolder();
  OutFolder(const OutFolder&) = delete;
  OutFolder& operator=(const OutFolder&) = delete;

  /// To be called between steps of the work: a signal that asks to stop ends it here, and the destructor removes what was
  /// written.
  /// @throws Stopped
  static void expect_no_stop();
  /// Where to write.
  [[nodiscard]] const std::filesystem::path& path() const { return temporary_; }
  /// Nothing that another program has put into the folder since is replaced: then the finished export gets a name of its own.
  /// @throws ConfigError that says where it is, IoError
  void publish();

 private:
  [[noreturn]] void refuse(const std::filesystem::path& taken);

  std::filesystem::path out_, temporary_;
  std::vector<std::filesystem::path> made_;  // folders above `out_` that were not there, innermost first
  bool there_ = false;                       // whether `out_` was there
  bool stays_ = false;                       // whether what was written stays
};

}  // namespace dmoerm::hf
