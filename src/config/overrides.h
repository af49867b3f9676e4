// Overrides of single values, grafted into the tree before it is read, so that they meet the same checks as the file.
#pragma once
#include <string>
#include <vector>

#include "config/problems.h"
#include "config/tree.h"

namespace dmoerm::config {

/// Set the value that `override` ("base.lr=1e-5", "data.inputs.0.path=x", "points=[a, b]") names, making the maps and list
/// elements on the way; `source` is its number. What is wrong with it goes to `problems`, a key's old name to `warnings`.
void apply_override(Tree& root, const std::string& override, int source, Problems& problems, std::vector<std::string>& warnings);

}  // namespace dmoerm::config
