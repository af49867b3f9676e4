// The list of data formats: how people keep preference data, and which function turns a row of each into a group.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "preference/group.h"

namespace dmoerm::preference {

/// Groups with more responses are refused: the number of pairs grows with the square.
inline constexpr std::size_t kResponsesMax = 4096;

struct Format {
  std::string name;
  std::string example;  ///< example of a row, for `dmoerm ingest --formats`
  bool (*matches)(const nlohmann::json& row);
  Group (*parse)(const nlohmann::json& row);  ///< throws RowError
  bool merges_rows = false;                   ///< whether consecutive rows with the same prompt are one group (HelpSteer)
  /// How to parse a row whose format the user has named, if that leaves nothing to guess; null if as any other row.
  Group (*parse_named)(const nlohmann::json& row) = nullptr;
};

/// All formats, in the order in which a row is compared with them: the more specific ones come first.
const std::vector<Format>& formats();
/// The first format that a row matches, or null.
const Format* detect_format(const nlohmann::json& row);
/// The format of that name. @throws ConfigError listing the names
const Format& format_by_name(const std::string& name);

/// The group of a row that matches the format. Its texts show something, and the row holds no images or tools.
/// @param named  whether the user has named the format @throws RowError
Group parse_group(const Format& format, const nlohmann::json& row, bool named = false);

/// Parse one line as JSON; a row nested too deeply is refused before it is built. Messages that a text holds as JSON are
/// unpacked. @throws RowError saying why it is not JSON
nlohmann::json parse_row(const std::string& line);

}  // namespace dmoerm::preference
