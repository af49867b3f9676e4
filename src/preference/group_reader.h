// Reads the groups of a file one at a time and checks them. Rows that cannot be used are reported with their lines.
#pragma once
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/workers.h"
#include "preference/formats.h"
#include "preference/line_reader.h"
#include "preference/row_error.h"

namespace dmoerm::preference {

/// A row or group that the reader left out.
struct Dropped {
  std::string file;
  std::int64_t line = 0;
  std::string reason;
  ErrorCode code;  ///< short name of the reason
  bool bad =
      false;  ///< true: malformed, counts towards data.bad_lines_max; false: well-formed, but no group, as a single response
};

class GroupReader {
 public:
  /// @param format       "auto", or the name of a data format. @throws IoError, ConfigError
  /// @param unknown_max  rows of no known format that may stand before the row that shows the format; they count as bad
  GroupReader(const std::filesystem::path& path, const std::string& format, std::function<void(const Dropped&)> on_dropped,
              std::int64_t unknown_max = 0);

  /// Parse the rows on these threads, as soon as the format is known. Groups, dropped rows and errors come in the same order.
  void read_on(Workers& workers);
  /// Read into Group::clusters what each row says under `key`, a text or a whole number. "" = nothing
  void read_cluster(const std::string& key) { cluster_key_ = key; }
  /// The next group that can be used: its prompt and responses are not blank, and at least two responses differ.
  /// @throws DataError for a damaged file, or one whose first rows match no known format; Stopped after a signal (base/stop.h)
  std::optional<Group> next();
  /// The format of the file; null before the first row if it is detected.
  [[nodiscard]] const Format* format() const { return format_; }

 private:
  using Row = std::variant<Group, Dropped>;
  std::optional<Group> next_row();
  /// The next row that is not blank, read and parsed here or on other threads.
  std::optional<Row> read_row();
  std::optional<Row> take_parsed();
  void read_ahead();
  /// @param look  called with the JSON of the row before its format counts; may be empty
  [[nodiscard]] Row parse(const std::string& line, std::int64_t number,
                          const std::function<void(const nlohmann::json&)>& look) const;
  void detect(const nlohmann::json& row);
  [[noreturn]] void refuse_unknown() const;
  [[nodiscard]] bool fits(const nlohmann::json& row) const;
  [[nodiscard]] RowError other_format(const nlohmann::json& row) const;
  bool finish(Group& group);
  std::string path_;
  LineReader lines_;
  std::string cluster_key_;
  bool detected_;                           ///< whether a row decided the format
  bool any_ = false;                        ///< whether a row became a group
  std::int64_t unknown_max_, unknown_ = 0;  ///< rows before that row
  std::string first_unknown_;               ///< the first of them, for a message
  const Format* format_ = nullptr;
  std::function<void(const Dropped&)> on_dropped_;
  std::optional<Group> held_;  ///< first row of the next group, if consecutive rows are merged
  // Rows that other threads parse:
  std::deque<Row> parsed_;
  bool all_read_ = false;
  std::exception_ptr failure_;                          ///< why no more lines could be read
  std::unique_ptr<InOrder<std::vector<Row>>> parsing_;  ///< null: rows are parsed here
};

/// Refuse a group of which a row says nothing under the key of GroupReader::read_cluster(). Groups are fine if the key is "".
/// @throws DataError
void expect_cluster(const Group& group, const std::string& key);

/// What Group::merged counts, as the words of a note.
inline constexpr const char* kMergedNote =
    "responses with the text of another one of their prompt, merged into it with the mean of their scores";

/// Merge responses with equal texts into the first of them. Its score under each label is the mean of theirs, whatever their
/// order; Group::places then says where each went. Exposed for tests.
/// @param rows_repeat  whether rows of the format repeat responses as a rule, so that only other scores are worth telling
void merge_equal_responses(Group& group, bool rows_repeat = false);
/// What single raters gave the responses that are left: of each rater the mean of the scores of those with one text.
/// @param scores  [response][rater] of the responses as read  @param places  Group::places, empty if none were merged
std::vector<std::vector<double>> merge_rater_scores(const std::vector<std::vector<double>>& scores,
                                                    const std::vector<int>& places);

}  // namespace dmoerm::preference
