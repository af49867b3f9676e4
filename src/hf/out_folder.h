// The folder that an export writes: it appears when it is complete.
#pragma once
#include <filesystem>

namespace dmoerm::hf {

class OutFolder {
 public:
  /// @param out  absent or an empty folder, not inside `bundle`. @throws ConfigError, IoError
  OutFolder(const std::filesystem::path& bundle, const std::filesystem::path& out);
  /// Removes what was written if it was not published.
  ~OutFolder();
  OutFolder(const OutFolder&) = delete;
  OutFolder& operator=(const OutFolder&) = delete;

  /// Where to write.
  [[nodiscard]] const std::filesystem::path& path() const { return temporary_; }
  void publish();

 private:
  std::filesystem::path out_, temporary_;
  bool published_ = false;
};

}  // namespace dmoerm::hf
