// Groups of a file, one at a time, checked; what cannot be used is reported with its line.
#pragma once
#include <functional>
#include <optional>

#include "preference/forms.h"
#include "preference/line_reader.h"

namespace dmoerm::preference {

/// A row or group that was not used.
struct Dropped {
  std::string file;
  std::int64_t line = 0;
  std::string reason;
  bool bad = false;  ///< true: malformed, counts against the limit of tolerated bad lines; false: well-formed but of no use, e.g.
                     ///< a single response
};

class GroupReader {
 public:
  /// @param form  "auto", or a form's name. @throws IoError, ConfigError
  GroupReader(const std::filesystem::path& path, const std::string& form, std::function<void(const Dropped&)> on_dropped);

  /// The next group that can be used: prompt and responses not blank, at least two different responses.
  /// @throws DataError for a damaged file, or one whose first row has no known form; Stopped after a signal (base/stop.h)
  std::optional<Group> next();
  /// The form taken; null before the first row.
  [[nodiscard]] const Form* form() const { return form_; }

 private:
  std::optional<Group> next_row();
  void detect(const nlohmann::json& row);
  void refuse_array(const std::string& line) const;
  bool finish(Group& group);
  std::string path_;
  LineReader lines_;
  const Form* form_ = nullptr;
  std::function<void(const Dropped&)> on_dropped_;
  std::optional<Group> held_;  ///< the next group's first row, when rows are merged
};

/// Merge responses of equal text, keeping the first; labels follow. Exposed for tests.
void merge_equal_responses(Group& group);

/// Prompt as one text that names its roles: equal for equal prompts.
std::string prompt_key(const std::vector<Message>& prompt);

}  // namespace dmoerm::preference
