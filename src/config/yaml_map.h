// The keys of one YAML map, read strictly: what is missing, unknown, given twice or of the wrong type becomes a problem with its
// place.
#pragma once
#include <string>
#include <vector>

#include "config/tree.h"

namespace dmoerm::config {

class YamlMap {
 public:
  /// @param tree   must be a map; anything else is one problem, and no further problem is reported for its keys
  /// @param name   what messages call the map, "" for the whole file
  /// @param known  the only keys that are allowed; empty: any
  YamlMap(const config::Tree& tree, std::string name, std::vector<std::string> known, config::Problems& problems);

  /// Each returns what a missing or unusable value is: "", false, null.
  std::string text(const std::string& key);
  bool truth(const std::string& key);
  /// The value, whatever it is. A missing one is a problem.
  const config::Tree* value(const std::string& key);
  /// Every key once, in the order written, the first of equal ones.
  [[nodiscard]] const std::vector<const config::Tree::Entry*>& entries() const { return entries_; }

 private:
  [[nodiscard]] std::string path(const std::string& key) const { return name_.empty() ? key : name_ + "." + key; }

  const config::Tree& tree_;
  std::string name_;
  config::Problems& problems_;
  std::vector<const config::Tree::Entry*> entries_;
};

/// A text that is not blank, without the line ends behind it; "" after a problem. `name` is its key in messages.
std::string yaml_text(const config::Tree& tree, const std::string& name, config::Problems& problems);

}  // namespace dmoerm::config
