// The forms in which people keep preference data, and how each becomes groups.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "pair/group.h"

namespace dmoerm::pair {

/// A row that cannot be used; the reader adds file and line. `what()` says what was expected and what was found.
class RowError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Form {
  std::string name;
  std::string looks;             ///< how a row looks, for `dmoerm ingest --forms`
  bool (*matches)(const nlohmann::json& row);
  Group (*parse)(const nlohmann::json& row);
  bool merges_rows = false;      ///< consecutive rows with the same prompt are one group (HelpSteer)
};

/// All forms, the more particular first.
const std::vector<Form>& forms();
/// The form of a row, or null.
const Form* detect_form(const nlohmann::json& row);
/// A form by name. @throws ConfigError listing the names
const Form& form_by_name(const std::string& name);

}  // namespace dmoerm::pair
