// The forms in which people keep preference data, and how each becomes groups.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "preference/group.h"

namespace dmoerm::preference {

/// A row that cannot be used; the reader adds file and line. `what()` says what was expected and what was found.
class RowError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  /// A row that is well formed, but that no group can hold: dropped and reported, not counted as bad.
  static RowError unusable(const std::string& why) {
    RowError error(why);
    error.bad_ = false;
    return error;
  }
  [[nodiscard]] bool bad() const { return bad_; }

 private:
  bool bad_ = true;
};

/// More responses than this in one group are refused: pairs grow with the square.
inline constexpr std::size_t kResponsesMax = 4096;

struct Form {
  std::string name;
  std::string looks;  ///< how a row looks, for `dmoerm ingest --forms`
  bool (*matches)(const nlohmann::json& row);
  Group (*parse)(const nlohmann::json& row);
  bool merges_rows = false;  ///< consecutive rows with the same prompt are one group (HelpSteer)
};

/// All forms, the more particular first.
const std::vector<Form>& forms();
/// The form of a row, or null.
const Form* detect_form(const nlohmann::json& row);
/// A form by name. @throws ConfigError listing the names
const Form& form_by_name(const std::string& name);

/// Whether a text has nothing but white space.
bool blank(const std::string& text);

/// A row as JSON. A nesting bomb is refused before it is built. @throws RowError saying why it is none
nlohmann::json parse_row(const std::string& line);

/// What `score` reads beside the forms: a prompt as in the forms of two responses, and "responses" (a list of texts) or
/// "response". @throws RowError
Group parse_unlabelled(const nlohmann::json& row);

// One function a form: row to group. @throws RowError
Group parse_native(const nlohmann::json& row);
Group parse_authors_ranked(const nlohmann::json& row);
Group parse_authors_points(const nlohmann::json& row);
Group parse_nemo(const nlohmann::json& row);
Group parse_ultrafeedback(const nlohmann::json& row);
Group parse_helpsteer(const nlohmann::json& row);
Group parse_helpsteer_preference(const nlohmann::json& row);
Group parse_helpsteer3(const nlohmann::json& row);
Group parse_safe_rlhf(const nlohmann::json& row);
Group parse_arena(const nlohmann::json& row);
Group parse_nectar(const nlohmann::json& row);
Group parse_swift(const nlohmann::json& row);
Group parse_rewardbench(const nlohmann::json& row);
Group parse_chosen_rejected(const nlohmann::json& row);  ///< TRL's four forms and OpenRLHF's

}  // namespace dmoerm::preference
